"""Read PubMed records as MEDLINE text: the `.nbib` files and `efetch rettype=medline` answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from elara.collect.africa import countries
from elara.collect.fields import (
    NO_PMID,
    language_code,
    medline_date,
    partial_date,
    plain_doi,
    plain_pmid,
)
from elara.collect.formulas import flat_runs
from elara.collect.licences import UNKNOWN, licence_of, redistributable
from elara.collect.notices import names_in
from elara.collect.parsed import Dropped, Parsed
from elara.collect.payload import PayloadError, as_utf8
from elara.collect.pubmed import add_abstract, own_title
from elara.records import Article
from elara.text.placeholders import REASON, is_placeholder

# A field starts at the margin and the text of a long one goes on indented, so `PMID- ` at the
# margin begins a record whatever stands before it.
_START = re.compile(rb"^PMID- ", re.MULTILINE)
_FIELD = re.compile(r"([A-Z][A-Z0-9 ]{3})-(?:$| (.*))")
# Fields in which a source may print that it has nothing.
_STATED = {"TI", "BTI", "TT", "AB", "JT", "TA", "OT", "FAU", "AU", "CN"}
_LARGEST = 16 << 20  # bytes: no record is that long, so this is no MEDLINE text
_SUFFIX = re.compile(r" (?:Jr|Sr|[1-9](?:st|nd|rd|th)|II|III|IV)\.?$")
# Words by which a part of a structured abstract is told from other text in capitals.
_LABEL_WORDS = (
    "AIMS?|APPROACH|BACKGROUND|CASE|CONCLUSIONS?|CONTEXT|DATA|DESIGN|DISCUSSION|EVIDENCE|FINDINGS"
    "|FUNDING|HYPOTHESIS|IMPLICATIONS?|IMPORTANCE|INTERPRETATION|INTERVENTIONS?|INTRODUCTION"
    "|LIMITATIONS?|MAIN|MEASUREMENTS?|MEASURES?|METHODS?|METHODOLOGY|OBJECTIVES?|OUTCOMES?"
    "|PARTICIPANTS?|PATIENTS?|PURPOSE|RATIONALE|RECOMMENDATIONS?|REGISTRATION|RELEVANCE|RESULTS?"
    "|SETTINGS?|SIGNIFICANCE|SUMMARY|UNLABELLED"
)
_CAPITALS = "[A-Z /&,()-]*"
_LABEL = rf"(?={_CAPITALS}\b(?:{_LABEL_WORDS})\b{_CAPITALS}: )[A-Z]{_CAPITALS}: (?=\S)"
_FIRST_PART = re.compile(_LABEL)
_NEXT_PART = re.compile(rf"(?<=[.?!)\]]) (?={_LABEL})")


def split_records(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut MEDLINE text into its records.

    Args:
        chunks: pieces of one file, in order.

    Yields:
        The bytes of one record at a time, in UTF-8, from its PMID to the blank line after it.
        Text before the first PMID is yielded too.

    Raises:
        PayloadError: a record is too long to be one.
    """
    buffer = b""
    for chunk in as_utf8(chunks):
        # The start of the next record may itself be split between two pieces.
        searched = max(len(buffer) - 8, 1)
        buffer += chunk
        while found := _START.search(buffer, searched):
            if record := buffer[: found.start()].strip(b"\r\n"):
                yield record
            buffer, searched = buffer[found.start() :], 1
        if len(buffer) > _LARGEST:
            raise PayloadError("a MEDLINE record does not end: fetch the file again")
    if record := buffer.strip(b"\r\n"):
        yield record


def parse(chunks: Iterable[bytes]) -> Iterator[Parsed]:
    """Read MEDLINE text, with the conventions of `elara.collect.pubmed`.

    Args:
        chunks: pieces of one file, in order.

    Yields:
        One `Parsed` per record. One that was cut off or altered is an error, and its
        neighbours are read.

    Raises:
        PayloadError: a record is too long to be one.

    Source: https://www.nlm.nih.gov/bsd/mms/medlineelements.html
    """
    for number, record in enumerate(split_records(chunks)):
        try:
            fields = _fields(record)
        except ValueError as error:
            yield Parsed(record=number, status="error", reason=f"malformed MEDLINE text: {error}")
            continue
        pmid = _first(fields, "PMID")
        # The citation (SO) is always last; book records have none but end with identifiers (AID).
        last = "AID" if _first(fields, "BTI") else "SO"
        if not plain_pmid(pmid):
            yield Parsed(record=number, status="error", reason=NO_PMID)
            continue
        if not _first(fields, last):
            reason = f"cut off before its {last} field: fetch it again"
            yield Parsed(record=number, native_id=pmid, status="error", reason=reason)
            continue
        said_none = [(t, text) for t, text in fields if t in _STATED and is_placeholder(text)]
        kept = [field for field in fields if field not in said_none]
        article = _article(kept, pmid)
        notices = [text for tag in ("ROF", "PROF", "RRF") for text in _all(fields, tag)]
        dropped = [Dropped(tag, text, REASON) for tag, text in said_none]
        dropped += _other_abstracts(article, kept)
        yield Parsed(
            record=number,
            native_id=pmid,
            article=article,
            revision="0001" + _digits_date(_first(fields, "LR")),
            licence_stated=_first(fields, "CI") if article.licence == UNKNOWN else "",
            retracts=list(dict.fromkeys(name for text in notices for name in names_in(text))),
            dropped=dropped,
        )


def _fields(record: bytes) -> list[tuple[str, str]]:
    """The fields of a record in their order: tag and text, continued lines joined.

    Raises:
        ValueError: the bytes are not UTF-8, or a line is neither a field nor goes on with one.
    """
    fields: list[tuple[str, str]] = []
    for number, line in enumerate(re.split(r"\r?\n", record.decode("utf-8")), start=1):
        if not line.strip():
            continue
        if line[0] in " \t" and fields:
            tag, text = fields[-1]
            fields[-1] = tag, f"{text} {line.strip()}"
        elif found := _FIELD.match(line):
            fields.append((found[1].rstrip(), found[2] or ""))
        else:
            what = f"line {number} of the record is neither a field nor the rest of one"
            raise ValueError(f"{what}: fetch the file again")
    return [(tag, flat_runs(" ".join(text.split()))) for tag, text in fields]


def _first(fields: list[tuple[str, str]], *tags: str) -> str:
    """The first text under one of these tags, the first tag preferred."""
    return next((text for tag in tags for name, text in fields if name == tag and text), "")


def _all(fields: list[tuple[str, str]], tag: str) -> list[str]:
    return [text for name, text in fields if name == tag and text]


def _article(fields: list[tuple[str, str]], pmid: str) -> Article:
    licence = licence_of(_first(fields, "CI"))
    types = _all(fields, "PT")
    book = _first(fields, "BTI")
    if book:
        types.append("Book chapter" if _first(fields, "TI") else "Book")
    article = Article(
        id=f"pubmed:{pmid}",
        source="pubmed",
        title=_first(fields, "TI", "BTI"),
        abstract=_parts(_first(fields, "AB")),
        language=language_code(_first(fields, "LA")),
        published=_digits_date(_first(fields, "CTDT"))
        or medline_date(_first(fields, "DP"))
        or _digits_date(_first(fields, "DEP")),
        journal=book or _first(fields, "JT", "TA"),
        volume=_first(fields, "VI"),
        pages=_first(fields, "PG"),
        keywords=[text.removeprefix("*") for text in _all(fields, "OT")],
        # A star marks the major topics; what follows a slash are qualifiers.
        mesh=[text.split("/")[0].removeprefix("*") for text in _all(fields, "MH")],
        authors=_authors(fields),
        affiliation_countries=countries(affiliations=_all(fields, "AD")),
        publication_types=types,
        url=f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/",
        doi=plain_doi(_identifier(fields, "AID") or _identifier(fields, "LID")),
        pmid=pmid,
        pmcid=_first(fields, "PMC").upper(),
        licence=licence,
        redistributable=redistributable(licence),
        retracted="Retracted Publication" in types or bool(_first(fields, "RIN", "PRIN", "RRI")),
    )
    own_title(article, _first(fields, "TT"))
    return article


def _other_abstracts(article: Article, fields: list[tuple[str, str]]) -> list[Dropped]:
    """Add what follows `OAB`, `PIP: The text …`, whose language (`OABL`) stands behind it."""
    dropped = []
    languages = iter(text for tag, text in fields if tag == "OABL")
    for text in _all(fields, "OAB"):
        kind, _, said = text.partition(": ")
        if reason := add_abstract(article, _parts(said or text), next(languages, "eng"), kind):
            dropped.append(Dropped("OAB", text[:80], reason))
    return dropped


def _parts(abstract: str) -> str:
    """One line for each part of a structured abstract, whose labels stand inside the text."""
    return "\n".join(_NEXT_PART.split(abstract)) if _FIRST_PART.match(abstract) else abstract


def _digits_date(text: str) -> str:
    """A date written as `20040131`, or ""."""
    return partial_date(text[:4], text[4:6], text[6:8])


def _authors(fields: list[tuple[str, str]]) -> list[str]:
    names = []
    full = False  # the short form (AU) follows the full one (FAU) of the same author
    for tag, text in fields:
        if tag == "CN":
            names.append(text)
        elif tag == "FAU":
            last, _, fore = text.partition(", ")
            names.append(f"{_SUFFIX.sub('', fore)} {last}".strip())
        elif tag == "AU" and not full:
            last, _, initials = _SUFFIX.sub("", text).rpartition(" ")
            names.append(f"{initials} {last}".strip())
        full = tag == "FAU"
    return names


def _identifier(fields: list[tuple[str, str]], tag: str) -> str:
    """The DOI among identifiers such as `10.1000/abc [doi]` and `S0140-6736(20)30183-5 [pii]`."""
    found = (text for text in _all(fields, tag) if text.endswith(" [doi]"))
    return next(found, "").removesuffix(" [doi]")

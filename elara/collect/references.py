r"""Read references as reference managers export them: RIS and BibTeX, with their abstracts."""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

from elara.collect.formulas import one_line
from elara.collect.own import decoded, own_article
from elara.collect.parsed import Parsed
from elara.text.placeholders import is_placeholder

_TAG = re.compile(r"([A-Z][A-Z0-9])  -(?: (.*))?")
# The tags of RIS that say the same thing, the first that is there. Source:
# https://en.wikipedia.org/wiki/RIS_(file_format), from the specification of Research Information
# Systems, which is not online any more.
_RIS = {
    "title": ("TI", "T1", "CT"),
    "abstract": ("AB", "N2"),
    "journal": ("JO", "JF", "T2", "JA", "J2"),
    "date": ("PY", "Y1", "DA"),
    "language": ("LA",),
    "doi": ("DO",),
    "url": ("UR",),
    "id": ("ID", "AN"),
}
_PUBMED = re.compile(r"pubmed|medline", re.IGNORECASE)
_ENTRY = re.compile(r"^[ \t]*@(\w+)[ \t]*[{(]", re.MULTILINE)
_BIBTEX = {
    "title": "title", "abstract": "abstract", "journal": "journal", "doi": "doi", "url": "url",
    "language": "language", "pmid": "pmid", "pmcid": "pmcid", "licence": "copyright",
}  # fmt: skip
_NAME = ("first_names", "middle_names", "prelast_names", "last_names", "lineage_names")
_RAISED = re.compile(r"\\text(super|sub)script\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_DOLLAR = "\ue020"  # holds the place of a dollar sign that is one


def ris_records(chunks: Iterable[bytes]) -> Iterator[str]:
    """Cut a RIS file into its records, each from `TY` to the line before the next one.

    Args:
        chunks: pieces of the file.

    Raises:
        PayloadError: it is not text.
    """
    yield from _cut(chunks, re.compile(r"^TY  -", re.MULTILINE))


def bibtex_records(chunks: Iterable[bytes]) -> Iterator[str]:
    """Cut a BibTeX file into its entries, each from the `@` that begins a line to the next one.

    Args:
        chunks: pieces of the file.

    Raises:
        PayloadError: it is not text.
    """
    yield from _cut(chunks, _ENTRY)


def _cut(chunks: Iterable[bytes], start: re.Pattern[str]) -> Iterator[str]:
    waiting = ""
    for piece in decoded(chunks):
        waiting += piece
        begins = [found.start() for found in start.finditer(waiting)]
        for begin, end in itertools.pairwise(begins):
            yield waiting[begin:end].strip()
        if begins:
            waiting = waiting[begins[-1] :]
    if start.match(waiting):
        yield waiting.strip()


def parse_ris(chunks: Iterable[bytes]) -> Iterator[Parsed]:
    """Read RIS: each record becomes one article with title and abstract.

    Args:
        chunks: pieces of the file.

    Yields:
        One `Parsed` per record; one that does not end is an error.

    Raises:
        PayloadError: it is not text.
    """
    for number, record in enumerate(ris_records(chunks)):
        values = _ris_values(record)
        if "ER" not in values:
            reason = "the record breaks off before its line `ER  -`: export it again"
            yield Parsed(record=number, status="error", reason=reason)
            continue
        said: dict[str, str | list[str]] = {}
        for field, tags in _RIS.items():
            said[field] = next((values[t][0] for t in tags if values.get(t, [""])[0]), "")
        if _PUBMED.search(" ".join(values.get("DB", []))):
            said["pmid"] = values.get("AN", [""])[0]
        said["authors"] = [name for tag in ("AU", "A1") for name in values.get(tag, [])]
        said["keywords"] = [k for word in values.get("KW", []) for k in word.split("\n")]
        abstracts = {text for tag in _RIS["abstract"] for text in values.get(tag, [])}
        found = _reference(said, number)
        if found.article and len(abstracts) > 1:
            found.reason = f"{len(abstracts) - 1} more abstracts are not used"
        yield found


def _ris_values(record: str) -> dict[str, list[str]]:
    """Tag to its values; a line without a tag goes on with the value before."""
    values: dict[str, list[str]] = {}
    last: list[str] = []
    for line in record.split("\n"):
        if found := _TAG.fullmatch(line.rstrip()):
            last = values.setdefault(found[1], [])
            last.append((found[2] or "").strip())
        elif last:
            last[-1] = f"{last[-1]}\n{line.strip()}".strip()
    return values


def parse_bibtex(chunks: Iterable[bytes]) -> Iterator[Parsed]:
    """Read BibTeX: each entry becomes one article with title and abstract.

    Args:
        chunks: pieces of the file.

    Yields:
        One `Parsed` per entry. Damage to one does not touch the others; comments and
        abbreviations are skipped by name.

    Raises:
        PayloadError: it is not text.

    Source: https://docs.pybtex.org/api/parsing.html
    """
    from pybtex.database import parse_string
    from pybtex.exceptions import PybtexError

    macros = ""
    for number, entry in enumerate(bibtex_records(chunks)):
        found = _ENTRY.match(entry)
        kind = found[1].lower() if found else ""
        if kind in ("comment", "preamble", "string"):
            macros += entry if kind == "string" else ""
            yield Parsed(record=number, status="skipped", reason=f"BibTeX @{kind}, not an entry")
            continue
        try:
            ((key, read),) = parse_string(f"{macros}\n{entry}", "bibtex").entries.items()
        except (PybtexError, ValueError) as error:
            reason = f"BibTeX entry that cannot be read ({' '.join(str(error).split())}): fix it"
            yield Parsed(record=number, status="error", reason=reason)
            continue
        plain = {name.lower(): latex_text(value) for name, value in read.fields.items()}
        said: dict[str, str | list[str]] = {f: plain.get(name, "") for f, name in _BIBTEX.items()}
        said["journal"] = plain.get("journal") or plain.get("booktitle", "")
        date = " ".join(plain[part] for part in ("year", "month", "day") if part in plain)
        said |= {"id": key, "date": plain.get("date") or date, "url": read.fields.get("url", "")}
        said["doi"] = read.fields.get("doi", "")
        said["authors"] = [
            latex_text(" ".join(name for part in _NAME for name in getattr(person, part)))
            for person in read.persons.get("author", [])
        ]
        said["keywords"] = [k for k in re.split(r"[;,]\s*", plain.get("keywords", "")) if k]
        yield _reference(said, number)


def latex_text(text: str) -> str:
    r"""A value of BibTeX as plain text: accents as letters, no braces, no `\textit`.

    Args:
        text: as it stands in the file.
    """
    import latexcodec

    text = text.replace("\\$", _DOLLAR)
    while found := _RAISED.search(text):
        before, after = text[: found.start()], text[found.end() :]
        kind = "sup" if found[1] == "super" else "sub"
        plain = re.sub(r"[{}]", "", before)
        text = before + one_line(kind, latex_text(found[2]), plain, after) + after
    assert latexcodec  # importing it registers the codec
    text = codecs.decode(cast(Any, text), "ulatex")
    text = re.sub(r"\\(?:bf|it|em|rm|sc|tt|sf|sl)\b\s*", "", text)
    text = re.sub(r"\\[A-Za-z]+\s*(?=\{)", "", text).replace("}{", "} {")
    text = re.sub(r"([\^_])\{([^{}]+[-–−,/+ ][^{}]*)\}", r"\1(\2)", text)  # 10^{6-8}
    return re.sub(r"[{}$]", "", text).replace(_DOLLAR, "$").strip()


def _reference(said: dict[str, str | list[str]], number: int) -> Parsed:
    """An article with an abstract or without: what it lacks, a record of PubMed may add."""
    texts = str(said["title"]), str(said["abstract"])
    if not any(text and not is_placeholder(text) for text in texts):
        reason = "reference without title and abstract"
        return Parsed(record=number, native_id=str(said["id"]), status="skipped", reason=reason)
    found = own_article(said, [])
    found.record = number
    return found

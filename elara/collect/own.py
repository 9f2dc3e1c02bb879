"""Turn a user's own texts into articles: what their formats have in common."""

from __future__ import annotations

import codecs
import datetime
import difflib
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from elara.collect.fields import iso_date, language_code, medline_date, plain_doi, plain_pmid
from elara.collect.licences import OWN, UNKNOWN, redistributable, stated_licence
from elara.collect.parsed import Dropped, Parsed
from elara.collect.payload import PayloadError, peek
from elara.records import Article, Section
from elara.text.objects import headed, headed_lines, person
from elara.text.placeholders import REASON, is_placeholder

LONGEST_TITLE = 150  # characters: a first line that is longer is text

# What a column of a table (or a key of front matter) may hold, and the names by which it is
# recognised, without case and without anything but letters and digits; the first that is there.
FIELDS: dict[str, tuple[str, ...]] = {
    "title": ("title", "articletitle", "documenttitle", "headline", "heading"),
    "text": (
        "text", "fulltext", "body", "bodytext", "content", "articletext", "documenttext",
        "note", "notetext", "passage", "transcription",
    ),
    "abstract": ("abstract", "abstracttext", "abstractnote", "summary"),
    "question": ("question", "questiontext"),
    "answer": ("answer", "answertext", "longanswer"),
    "licence": ("licence", "license", "licenceurl", "licenseurl", "rights"),
    "id": ("id", "uid", "identifier", "key", "recordid", "articleid", "documentid", "docid"),
    "url": ("url", "link", "uri", "sourceurl"),
    "date": (
        "date", "published", "publisheddate", "publishedat", "publicationdate", "datepublished",
        "pubdate", "year", "publicationyear",
    ),
    "language": ("language", "lang"),
    "doi": ("doi",),
    "pmid": ("pmid", "pubmedid"),
    "pmcid": ("pmcid", "pmc"),
    "journal": ("journal", "journaltitle", "publicationtitle"),
    "authors": ("authors", "author"),
    "keywords": ("keywords", "tags", "manualtags"),
}  # fmt: skip
TEXTS = ("text", "abstract", "answer")
_NAMED = ("title", "abstract", "journal")  # fields in which a source may print that it has none
_WRONG = re.compile("[\udc80-\udcff]+")  # bytes, as Python carries them
_SHOWN = 12  # columns named in a message


def decoded(chunks: Iterable[bytes]) -> Iterator[str]:
    r"""Decode a text that says nothing about its encoding.

    Args:
        chunks: pieces of the file.

    Yields:
        Pieces of its text with `\n` between lines: UTF-16 where it begins with that mark, else
        UTF-8, in which single bytes that are not are taken for windows-1252.

    Raises:
        PayloadError: it holds zero bytes, as no text does.

    Source: https://encoding.spec.whatwg.org/#names-and-labels
    """
    first, pieces = peek(iter(chunks), 2)
    wide = first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    name, errors = ("utf-16", "replace") if wide else ("utf-8-sig", "surrogateescape")
    decoder = codecs.getincrementaldecoder(name)(errors=errors)
    newlines = io.IncrementalNewlineDecoder(decoder, translate=True)
    for piece in pieces:
        text = _WRONG.sub(_windows, newlines.decode(piece))
        if "\0" in text:
            raise PayloadError("it holds zero bytes, which no text does: save it as UTF-8")
        yield text
    yield _WRONG.sub(_windows, newlines.decode(b"", final=True))


def _windows(wrong: re.Match[str]) -> str:
    """Bytes that are not UTF-8 are taken for windows-1252, which is what old files are in."""
    return wrong[0].encode("utf-8", "surrogateescape").decode("windows-1252", "replace")


def check_columns(columns: Mapping[str, str]) -> None:
    """Refuse a mapping of columns that names something an article does not have.

    Args:
        columns: the parameter `columns`: name of a column to what it holds, a key of `FIELDS`.

    Raises:
        ValueError: a value is not one of these keys.
    """
    for column, field in ((c, f) for c, f in columns.items() if f not in FIELDS):
        close = difflib.get_close_matches(str(field), FIELDS, 1)
        hint = f" Did you mean `{close[0]}`?" if close else ""
        raise ValueError(
            f"Parameter `columns` takes column {column!r} for {field!r}, which is nothing that an "
            f"article has.{hint} Use one of: {', '.join(FIELDS)}."
        )


def columns_of(names: Sequence[str], columns: Mapping[str, str]) -> dict[str, list[str]]:
    """Tell what the columns of a table hold.

    Args:
        names: the columns.
        columns: the parameter `columns`, which comes before what the names suggest.

    Returns:
        A key of `FIELDS` to the columns that hold it: several only where `columns` says so.
    """
    given = {_plain(column): field for column, field in columns.items()}
    found: dict[str, list[str]] = {}
    for name in names:
        if field := given.get(_plain(name)):
            found.setdefault(field, []).append(name)
    taken = {name for known in found.values() for name in known}
    by_name = {_plain(name): name for name in reversed(names) if name not in taken}
    for field, candidates in FIELDS.items():
        if field not in found and (hits := [by_name[c] for c in candidates if c in by_name]):
            found[field] = hits[:1]
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def untold(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Why a table is not read whose columns do not say where the text is, and what to do.

    Args:
        names: its columns.
        rows: some of its rows: the column with the longest values is the likely one.
    """
    seen = list(rows)
    likely = max(names, key=lambda n: sum(len(text_of_value(row.get(n))) for row in seen))
    return (
        f"table without a column that Elara knows as text; its columns are {_listed(names)}. Say "
        f"what they hold, e.g. with -p 'columns={{{json.dumps(likely[:40])}: \"text\"}}'; the "
        f"first line of a file must name its columns"
    )


def unused(names: Sequence[str], known: Mapping[str, list[str]]) -> str:
    """The columns that become no part of an article, as a note for the first outcome; or "".

    Args:
        names: the columns.
        known: from `columns_of`.
    """
    used = {name for columns in known.values() for name in columns}
    rest = [name for name in names if name not in used]
    return f"columns not used: {_listed(rest)} (`columns` can name them)" if rest else ""


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{' '.join(n.split())[:40]}`" for n in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def row_article(row: Mapping[str, Any], known: Mapping[str, list[str]], place: str) -> Parsed:
    """An article from a row of a table.

    Args:
        row: column to value, of any type that JSON or Parquet has.
        known: from `columns_of`.
        place: how the row is called where it has no title.

    Returns:
        A record whose position the caller sets: an article, or skipped for want of text.
    """
    values = {field: row.get(names[0]) for field, names in known.items()}
    texts = known.get("text", [])
    found = [(name, section) for name in texts for section in _sections(row.get(name))]
    body = [Section(name, s.text) if len(texts) > 1 else s for name, s in found]
    question, answer = text_of_value(values.get("question")), text_of_value(values.get("answer"))
    if answer:
        body += [Section("", question, "question")] if question else []
        body.append(Section("", answer, "answer"))
    abstract = _abstract(values)
    if not body and (not abstract or is_placeholder(abstract)):
        columns = [name for field in TEXTS for name in known.get(field, ())]
        native, reason = text_of_value(values.get("id")), f"no text in {_listed(columns)}"
        return Parsed(record=0, native_id=native, status="skipped", reason=reason)
    called = question if question and can_be_title(question) else titled(body, place)
    return own_article(values, body, called)


def titled(body: Sequence[Section], fallback: str) -> str:
    """The first line of a text where it can be a title, else something to call it by."""
    first = body[0].text.partition("\n")[0].strip() if body else ""
    several = len(body) > 1 or any("\n" in section.text for section in body[:1])
    return first if several and can_be_title(first) else fallback


def take_title(sections: list[Section]) -> str:
    """The first heading of a text, which the first section then does without; or "".

    Args:
        sections: in reading order, none of them without heading and text; changed in place.
    """
    heading = next((s.heading for s in sections if s.heading), "")
    if sections[0].heading == heading:
        sections[0].heading = ""
    return heading


def can_be_title(line: str) -> bool:
    """Whether a line is short enough, and is more than a rule of dashes."""
    return len(line) <= LONGEST_TITLE and any(sign.isalnum() for sign in line)


def own_article(values: Mapping[str, Any], body: list[Section], called: str = "") -> Parsed:
    """An article from what a file or record says about itself.

    Its id is taken from its text alone: the same text has the same id in every run, whatever
    its file is called, and two texts never share one because a table counts from 1 again.

    Args:
        values: keys of `FIELDS` to values; those that are not known are left out.
        body: the sections.
        called: the title of a text that states none; the id does not depend on it.

    Returns:
        A record whose position the caller sets.
    """
    said = {field: text_of_value(values.get(field)) for field in FIELDS}
    if isinstance(values.get("title"), dict):
        said["title"] = " ".join(text for _, text in headed(values["title"])[:1])
    said["abstract"] = _abstract(values)
    dropped = [Dropped(f, said[f], REASON) for f in _NAMED if is_placeholder(said[f])]
    said |= dict.fromkeys((d.block for d in dropped), "")
    title = " ".join(said["title"].split())
    content = [title, said["abstract"], *(part for s in body for part in (s.heading, s.text))]
    digest = hashlib.sha256("\0".join(content).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    licence = stated_licence(said["licence"])
    pmid = plain_pmid(said["pmid"].removesuffix(".0"))
    if said["pmid"] and not pmid:
        dropped.append(Dropped("pmid", said["pmid"][:80], "not a PMID"))
    between = r"[;\n]" if ";" in said["keywords"] else r"[,\n]"
    keywords = _several(values, "keywords", between, dropped)
    authors = _several(values, "authors", r";|\n| and ", dropped)
    pmcid = re.fullmatch(r"(?:PMC)?(\d+)(?:\.0)?", said["pmcid"], re.IGNORECASE)
    article = Article(
        id=f"{OWN}:{digest}",
        source=OWN,
        title=title or called,
        abstract=said["abstract"],
        body=body,
        language=language_code(said["language"]),
        published=max(iso_date(said["date"]), medline_date(said["date"]), key=len),
        journal=said["journal"],
        keywords=keywords,
        authors=[_forename_first(a) for a in authors],
        url=said["url"],
        doi=plain_doi(said["doi"]),
        pmid=pmid,
        pmcid=f"PMC{pmcid[1]}" if pmcid else "",
        licence=licence,
        redistributable=redistributable(licence),
    )
    return Parsed(
        record=0,
        native_id=said["id"] or digest,
        article=article,
        licence_stated=said["licence"] if licence == UNKNOWN else "",
        dropped=dropped,
    )


def bare_name(file: str) -> str:
    """What a file is called, without folder, archive, and the suffix of its packing.

    Args:
        file: `Article.raw_file`.
    """
    return re.sub(r"\.(?:gz|bz2|xz)$", "", re.split("[/!]", file)[-1], flags=re.IGNORECASE)


def file_title(file: str) -> str:
    """What a file is called, without folder, archive and suffix.

    Args:
        file: `Article.raw_file`.
    """
    return PurePosixPath(bare_name(file)).stem


def text_of_value(value: Any) -> str:
    """The text of a cell, whatever type it has; lists item by item as paragraphs."""
    if value is None or value != value:  # NaN is what pandas writes for an empty cell
        return ""
    if isinstance(value, str):
        return value.replace("\r\n", "\n").strip()
    if isinstance(value, list | tuple):
        return "\n\n".join(text for text in map(text_of_value, value) if text)
    if isinstance(value, dict):
        parts = [text_of_value(value.get(key)) for key in ("heading", "text")]
        if "text" in value:
            return "\n".join(part for part in parts if part)
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value)


def _sections(value: Any) -> list[Section]:
    """Text as sections: a list of headings with their texts, as Elara's own tables hold, stays."""
    parts = [("", text_of_value(value))]
    if isinstance(value, dict):
        parts = headed(value) or parts
    elif isinstance(value, list) and all(isinstance(v, dict) and "text" in v for v in value):
        parts = [(text_of_value(v.get("heading")), text_of_value(v["text"])) for v in value]
    return [Section(heading, text) for heading, text in parts if text]


def _abstract(values: Mapping[str, Any]) -> str:
    return headed_lines(values.get("abstract")) or text_of_value(values.get("abstract"))


def _several(
    values: Mapping[str, Any], field: str, between: str, dropped: list[Dropped]
) -> list[str]:
    """The values of a list without those that say only that there is none."""
    value = [values[field]] if isinstance(values.get(field), dict) else values.get(field)
    parts = value if isinstance(value, list | tuple) else re.split(between, text_of_value(value))
    texts = [(isinstance(part, dict) and person(part)) or text_of_value(part) for part in parts]
    dropped += [Dropped(field, text, REASON) for text in texts if is_placeholder(text)]
    return [text for text in texts if text and not is_placeholder(text)]


def _forename_first(name: str) -> str:
    last, _, first = name.partition(",")
    return f"{first.strip()} {last.strip()}" if first.strip() and "," not in first else name

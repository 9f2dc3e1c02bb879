"""Define the records that travel between stages: the only schemas in Elara.

A record is a plain dataclass; `frame` turns many of them into a polars table whose columns and
types follow from the dataclass, so that nothing has to be declared twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import polars as pl

SectionKind = Literal["text", "question", "answer", "translation"]
Origin = Literal["curated", "grounded", "qa"]
Split = Literal["train", "validation", "test"]
Status = Literal["article", "skipped", "error"]
# The licence of texts that their owner lets nobody pass on, but may train on.
PRIVATE = "private"
Opinion = Literal["pair", "desirable", "undesirable"]
Record = TypeVar("Record")


@dataclass(slots=True)
class Section:
    """A piece of an article's body.

    Running text has kind `text`. In question-and-answer sources each `question` section is
    followed by its `answer` sections, best answer first. A `translation` is the title or abstract
    in another language: it is kept with the article, is no part of the text that is judged and
    compared, and gives training examples of its own.

    Args:
        heading: title of the section; for an answer, who gave it (attribution); for a
            translation, what it is with its language: `Title (fr)`, `Abstract (es)`; or "".
        text: plain text, paragraphs separated by a blank line.
        kind: `text`, `question`, `answer` or `translation`.
    """

    heading: str
    text: str
    kind: SectionKind = "text"


@dataclass(slots=True, kw_only=True)
class Article:
    """One document from one source, with its licence and the raw record it came from.

    Args:
        id: `source:native_id`, unique in a collection, e.g. `pubmed:31452104`.
        source: `pubmed`, `pmc`, `stackexchange`, `medquad`, `medlineplus`, `cdc`, `who` …, or
            `own` for a user's own files.
        title: plain text, inline markup removed.
        abstract: plain text; a structured abstract has one line per part, `LABEL: text`.
        body: full-text sections or questions and answers; empty where the source has none.
        language: ISO 639-1 code (`en`, `fr`), or `und` where the source does not say.
        published: ISO 8601 date as precise as the source states it: `2021`, `2021-11`,
            `2021-11-05`, or "".
        journal: journal, site or publisher.
        volume: of the journal, as the source states it.
        pages: first and last page, or the number that stands for them.
        keywords: author keywords or tags.
        mesh: MeSH descriptor names.
        authors: `ForeName LastName`, or the collective name.
        publication_types: as the source names them (`Review`, `Retracted Publication`).
        url: where a reader finds the original.
        doi: lower case, without resolver prefix.
        pmid: PubMed id, digits only.
        pmcid: PubMed Central id, `PMC…`.
        licence: SPDX identifier (`CC-BY-4.0`), `public-domain`, `private` (a text of the user's
            own, for training that stays private), or `unknown`.
        redistributable: whether the licence lets others pass the text on.
        retracted: the source marks the article as retracted.
        topics: the specialties (see `elara/text/topics.yaml`) that the article belongs to.
        countries: African countries that its title, abstract, keywords or MeSH name.
        affiliation_countries: African countries in which an author works.
        retrieved_at: when the raw payload was fetched, ISO 8601 in UTC.
        raw_file: file that holds the raw record, relative to the folder it was read from.
        raw_record: position of the record in that file, counted from 0 over all its records.
    """

    id: str
    source: str
    title: str
    abstract: str = ""
    body: list[Section] = field(default_factory=list)
    language: str = "und"
    published: str = ""
    journal: str = ""
    volume: str = ""
    pages: str = ""
    keywords: list[str] = field(default_factory=list)
    mesh: list[str] = field(default_factory=list)
    authors: list[str] = field(default_factory=list)
    publication_types: list[str] = field(default_factory=list)
    url: str = ""
    doi: str = ""
    pmid: str = ""
    pmcid: str = ""
    licence: str = "unknown"
    redistributable: bool = False
    retracted: bool = False
    topics: list[str] = field(default_factory=list)
    countries: list[str] = field(default_factory=list)
    affiliation_countries: list[str] = field(default_factory=list)
    retrieved_at: str = ""
    raw_file: str = ""
    raw_record: int = 0


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of one raw record or one whole file: nothing is dropped without a line here.

    Args:
        file: the raw file, relative to the folder it was read from.
        record: position of the record in the file, or -1 when the line is about the whole file.
        native_id: the source's own id where one could be read, else "".
        status: `article`, `skipped` (on purpose) or `error` (could not be read).
        reason: why it was skipped or what went wrong; "" for an article.
        article_id: the article that the record became or was merged into, else "".
    """

    file: str
    record: int
    native_id: str
    status: Status
    reason: str = ""
    article_id: str = ""


@dataclass(slots=True, kw_only=True)
class Removal:
    """A piece of a raw record that collect left out of the article.

    Args:
        file: the raw file, relative to the folder it was read from.
        record: position of the record in the file.
        article_id: the article that the record became, or "".
        block: what it was in the source: the element (`nav`, `table`, `p`), or the field.
        words: its first words.
        reason: why it is left out.
    """

    file: str
    record: int
    article_id: str
    block: str
    words: str
    reason: str


@dataclass(slots=True, kw_only=True)
class Piece:
    """Where a piece of an article's text comes from, where several records describe the article.

    Args:
        article_id: the article.
        piece: `title`, `abstract` or `body`.
        file: the raw file that holds the record.
        record: position of the record in the file.
        licence: of the record, and so of the piece: an SPDX id, `private` or `unknown`.
    """

    article_id: str
    piece: str
    file: str
    record: int
    licence: str


@dataclass(slots=True, kw_only=True)
class Payload:
    """One answer of a live source as it was kept: where it is, whence it came, what it must be.

    Args:
        source: the live source that fetched it, e.g. `pubmed`.
        step: what it answers, unique within the source, e.g. `search/asthma/…`.
        file: where it is, relative to the folder of all payloads.
        url: the address it came from, without query.
        sha256: of the stored file, in hexadecimal.
        bytes: size of the stored file.
        retrieved_at: when it came, ISO 8601 in UTC.
        ids: the source's own ids of the records that it holds; none for lists and large files.
    """

    source: str
    step: str
    file: str
    url: str
    sha256: str
    bytes: int
    retrieved_at: str
    ids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Message:
    """One turn of a chat.

    Args:
        role: `system`, `user` or `assistant`.
        content: the text of the turn.
    """

    role: str
    content: str


@dataclass(slots=True)
class Span:
    """A passage of a clean article that stands in an answer.

    Args:
        turn: position of the answer among the example's messages.
        article_id: the article.
        part: `abstract`, or `body/N`: section N of the body, counted from 0.
        start: first character of the passage in the text of that part.
        end: the character behind its last one.
    """

    turn: int
    article_id: str
    part: str
    start: int
    end: int


@dataclass(slots=True, kw_only=True)
class Example:
    """One training example: a chat whose last message is the answer to learn.

    Args:
        id: unique and stable: the same source and recipe give the same id.
        messages: system, user and assistant turns, in this order.
        specialty: one of the 13 specialties, or `General`.
        origin: `curated` (written by us), `grounded` (built from an article's text) or `qa`
            (a question and answer found in a source).
        recipe: the rule that built it, e.g. `conclusion`.
        article_ids: the articles whose text it holds; a curated example names itself.
        licence: SPDX identifier of that text, or `unknown`.
        redistributable: whether the example may be passed on.
        split: `train`, `validation` or `test`.
        language: of the answer, as `Article.language`.
        spans: the passages that its answers consist of; none in a curated example.
        article_sha256: of the clean article, see `elara.audit.tracing`; "" if curated.
    """

    id: str
    messages: list[Message]
    specialty: str
    origin: Origin
    recipe: str
    article_ids: list[str]
    licence: str
    redistributable: bool
    split: Split = "train"
    language: str = "en"
    spans: list[Span] = field(default_factory=list)
    article_sha256: str = ""


@dataclass(slots=True, kw_only=True)
class Preference:
    """What a reader thought of an answer: better than another one, or good or bad by itself.

    Args:
        id: unique and stable.
        prompt: the turns before the answer, the last one from the user.
        chosen: the better answer; where one answer was judged by itself, that answer.
        rejected: the worse answer; "" where one answer was judged by itself.
        label: `pair`, or `desirable` or `undesirable` for one answer judged by itself.
        source: who or what judged, without personal data, e.g. `reader` or `synthetic`.
        adapter: the adapter that wrote the answers: its name or hash, or "".
        created_at: when it was judged, ISO 8601 in UTC, or "".
    """

    id: str
    prompt: list[Message]
    chosen: str
    rejected: str = ""
    label: Opinion = "pair"
    source: str = ""
    adapter: str = ""
    created_at: str = ""


_PLAIN = {str: pl.String(), int: pl.Int64(), float: pl.Float64(), bool: pl.Boolean()}


def _dtype(hint: Any) -> pl.DataType:
    if get_origin(hint) is list:
        return pl.List(_dtype(get_args(hint)[0]))
    if get_origin(hint) is Literal:
        return pl.String()
    if dataclasses.is_dataclass(hint):
        return pl.Struct(schema(hint))
    return _PLAIN[hint]


def schema(record: Any) -> dict[str, pl.DataType]:
    """The polars column types that belong to a record class.

    Args:
        record: a dataclass of this module.

    Returns:
        Column name to polars type, in field order.
    """
    hints = get_type_hints(record)
    return {f.name: _dtype(hints[f.name]) for f in dataclasses.fields(record)}


def frame(records: Iterable[Any], record: Any) -> pl.DataFrame:
    """Turn records into a table with one row each.

    Args:
        records: instances of `record`; may be empty.
        record: the dataclass, which gives the columns.

    Returns:
        A table with the columns of `schema(record)`.
    """
    import pyarrow as pa

    rows = list(records)
    columns = []
    for name, dtype in schema(record).items():
        values: Any = [getattr(row, name) for row in rows]
        if dtype.is_nested():  # by way of Arrow, which builds them ten times as fast
            empty = pl.Series([], dtype=dtype).to_arrow(compat_level=pl.CompatLevel.oldest())
            values = pa.array([_plain(value) for value in values], type=empty.type)
        columns.append(pl.Series(name, values, dtype=dtype))
    return pl.DataFrame(columns)


def _plain(value: Any) -> Any:
    """Records inside a value as dictionaries. (`dataclasses.asdict` also copies all the rest.)"""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return value


def _revive(hint: Any, value: Any) -> Any:
    if get_origin(hint) is list:
        return [_revive(get_args(hint)[0], item) for item in value or []]
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = get_type_hints(hint)
        return hint(**{name: _revive(hints[name], item) for name, item in value.items()})
    return value


def records(table: pl.DataFrame, record: type[Record]) -> list[Record]:
    """Turn a table back into records: the inverse of `frame`.

    Args:
        table: a table with (at least) the columns of `schema(record)`.
        record: the dataclass to build.

    Returns:
        One instance per row, in row order.
    """
    columns = list(schema(record))
    return [_revive(record, row) for row in table.select(columns).iter_rows(named=True)]

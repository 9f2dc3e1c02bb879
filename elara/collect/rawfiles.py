"""Read raw files of any format, record by record."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from elara.collect import (
    documents,
    europepmc,
    jats,
    medline,
    medlineplus,
    medquad,
    pubmed,
    stackexchange,
    tables,
    webpage,
)
from elara.collect.archives import (
    NotReadError,
    WordFileError,
    kind_of,
    on_disk,
    open_members,
)
from elara.collect.licences import licensed
from elara.collect.listing import LICENCE_FILES, RawFile
from elara.collect.notices import says_retracted
from elara.collect.own import bare_name
from elara.collect.parsed import Parsed
from elara.collect.payload import (
    DEEPEST,
    Allowance,
    PayloadError,
    peek,
    raw_chunks,
    unpacked,
)
from elara.collect.recognise import recognise
from elara.collect.xmlrecords import split_records
from elara.workspace.names import unescaped_path

_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.(com|net|org)")
_INSIDE = "!"  # between the name of an archive and that of a file inside it
_HEAD = 65_536  # bytes by which a format is told


def read_listed(file: RawFile, columns: Mapping[str, str] | None = None) -> Iterator[Parsed]:
    """Parse one file of a listing, unless it is a copy of an earlier one.

    Args:
        file: from `list_files`.
        columns: as for `read_file`.
    """
    reason = file.no_file or (file.same_as and f"byte-identical to {file.same_as}")
    if reason:
        yield _unread(file.name, reason, "error" if file.broken else "skipped")
        return
    found = read_file(file.path, file.name, file.retrieved_at, columns, fetched=file.fetched)
    yield from licensed(found, file.licence)


def read_file(
    path: Path,
    file: str,
    retrieved_at: str,
    columns: Mapping[str, str] | None = None,
    *,
    fetched: bool = False,
) -> Iterator[Parsed]:
    """Parse one raw file.

    Args:
        path: where it is.
        file: how the records are to name it.
        retrieved_at: when it was fetched, ISO 8601 in UTC.
        columns: what the columns of tables hold where their names do not say it: name of a
            column to a key of `elara.collect.own.FIELDS`.
        fetched: whether it comes from a live source: then a page of an unknown site is an error
            page, and not a text of the user's own.

    Yields:
        One `Parsed` per record, or one for the whole file. A file that breaks off yields what
        was whole, then one error.
    """
    try:
        source = _Source(path, Allowance(path.stat().st_size), retrieved_at, columns or {}, fetched)
    except OSError as error:  # it is gone since it was listed
        yield _unread(file, str(error), "error")
        return
    for content in _contents(raw_chunks(path), file, path, source):
        yield from [content] if isinstance(content, Parsed) else _placed(content)


def _unread(file: str, reason: str, status: Literal["error", "skipped"] = "skipped") -> Parsed:
    return Parsed(record=-1, file=file, status=status, reason=reason)


class _Source(NamedTuple):
    """A raw file and what is known of it."""

    path: Path
    allowance: Allowance
    retrieved_at: str = ""
    columns: Mapping[str, str] = {}
    fetched: bool = False


class _Content(NamedTuple):
    """What a parser is given: the content in pieces, its name, and where it lies as it is."""

    format: str
    chunks: Iterator[bytes]
    file: str
    lies_at: Path | None
    source: _Source


def _contents(
    chunks: Iterator[bytes], file: str, lies_at: Path | None, source: _Source, depth: int = 0
) -> Iterator[_Content | Parsed]:
    """A file, or all that an archive holds and the archives in it; what is not read says why."""
    try:
        head, chunks = peek(unpacked(chunks, source.allowance), _HEAD)
        if not (kind := kind_of(head)):
            name, reason = recognise(head, file)
            if bare_name(file).lower() in LICENCE_FILES:
                reason = "a licence inside an archive holds for nothing: put it beside the archive"
            content = _Content(name, chunks, file, lies_at, source)
            yield _unread(file, reason) if reason else content
            return
        if depth >= DEEPEST:
            raise NotReadError(f"{kind} archive inside {DEEPEST} others: unpack it first")
        with nullcontext(lies_at) if lies_at else on_disk(chunks) as path:
            found = False
            try:
                for member, pieces in open_members(path, source.allowance):
                    found = True
                    inside = f"{file}{_INSIDE}{member}"
                    yield from _contents(pieces, inside, None, source, depth + 1)
            except WordFileError:
                found = True
                document = unpacked(raw_chunks(path), source.allowance)
                yield _Content("docx", document, file, path, source)
            if not found:
                raise NotReadError("empty archive")
    except (PayloadError, OSError) as error:
        yield _unread(file, str(error), "skipped" if isinstance(error, NotReadError) else "error")


def _placed(content: _Content) -> Iterator[Parsed]:
    """What a parser finds, with the place where it was found."""
    file, count = content.file, 0
    try:
        found = _FORMATS[content.format].parse(content)
        first = next(found, None) or _unread(file, f"{content.format} file without records")
        for parsed in itertools.chain([first], found):
            count = max(count, parsed.record + 1)
            parsed.file = file
            if parsed.article:
                parsed.article.raw_file = file
                parsed.article.raw_record = parsed.record
                parsed.article.retrieved_at = content.source.retrieved_at
                if says_retracted(parsed.article.title):
                    parsed.article.retracted = True
                    parsed.remark("retracted, says the title")
                elif parsed.article.retracted:
                    parsed.remark("retracted, says the record")
            yield parsed
    except (PayloadError, OSError) as error:
        reason = f"after {count} whole records, {error}"
        yield Parsed(record=count, file=file, status="error", reason=reason)


_Parse = Callable[[Iterable[bytes]], Iterator[Parsed]]
# A row of a table, an entry of text, or bytes as they are.
_Cut = Callable[[Iterable[bytes]], Iterator[tables.Row | bytes]]


class _Format(NamedTuple):
    """How a format is parsed, and cut into raw records; without a cut it is read whole."""

    parse: Callable[[_Content], Iterator[Parsed]]
    cut: _Cut | None = None


def _stream(parse: _Parse, names: tuple[str, ...] = ()) -> _Format:
    """A format of which nothing but the content matters, and the elements that are its records."""
    cut = partial(split_records, names=names) if names else None
    return _Format(lambda content: parse(content.chunks), cut)


def _table(rows: Callable[[Iterable[bytes]], Iterator[tables.Row]]) -> _Format:
    """A format of a user's own tables."""
    return _Format(lambda c: tables.parse(rows(c.chunks), c.source.columns, c.file), rows)


def _parquet_rows(chunks: Iterable[bytes]) -> Iterator[tables.Row]:
    with on_disk(iter(chunks)) as copy:
        yield from tables.parquet_rows(copy)


_FORMATS = {
    "pubmed": _stream(pubmed.parse, pubmed.RECORDS),
    "jats": _stream(jats.parse, jats.RECORDS),
    "medquad": _stream(medquad.parse, medquad.RECORDS),
    "medlineplus": _stream(medlineplus.parse, medlineplus.RECORDS),
    "medline": _Format(lambda c: medline.parse(c.chunks), medline.split_records),
    "posts": _Format(
        lambda c: stackexchange.parse_posts(c.chunks, _site(c.source.path, c.file)),
        partial(split_records, names=stackexchange.RECORDS),
    ),
    "api": _stream(stackexchange.parse_api),
    "europepmc": _stream(europepmc.parse),
    "webpage": _Format(lambda c: webpage.parse(c.chunks, "" if c.source.fetched else c.file)),
    "text": _Format(lambda c: iter([documents.parse_text(c.chunks, c.file)])),
    "markdown": _Format(lambda c: iter([documents.parse_markdown(c.chunks, c.file)])),
    "ris": _table(tables.ris_rows),
    "docx": _Format(lambda c: _from_disk(c, lambda path: [documents.parse_docx(path, c.file)])),
    "pdf": _Format(lambda c: _from_disk(c, lambda path: [documents.parse_pdf(path, c.file)])),
    "parquet": _Format(
        lambda c: _from_disk(
            c, lambda path: tables.parse(tables.parquet_rows(path), c.source.columns, c.file)
        ),
        _parquet_rows,
    ),
    "csv": _table(tables.csv_rows),
    "jsonl": _table(tables.jsonl_rows),
    "json": _table(tables.json_rows),
}


def _from_disk(content: _Content, read: Callable[[Path], Iterable[Parsed]]) -> Iterator[Parsed]:
    """Read a format that is read from its end: where the file lies, or else from a copy."""
    head, chunks = peek(content.chunks, 4)
    file = content.lies_at
    lies_open = file and next(raw_chunks(file), b"").startswith(head[:4])
    with nullcontext(file) if file and lies_open else on_disk(chunks) as path:
        yield from read(path)


def raw_record(folder: Path, file: str, record: int) -> bytes:
    """The raw bytes that an article was read from.

    Args:
        folder: the folder that was collected.
        file: `Article.raw_file`.
        record: `Article.raw_record`.

    Returns:
        The record in UTF-8; a row of a table as JSON; the file where it is read whole, such as
        web pages, API answers, texts and documents.

    Raises:
        FileNotFoundError: there is no such file any more.
        IndexError: the file has no such record any more.
    """
    # The names of an archive and of a file in it may hold the sign that stands between the two.
    for name in [file, *(file[: sign.start()] for sign in re.finditer(_INSIDE, file))]:
        path = folder / unescaped_path(name)
        if path.is_file():
            source = _Source(path, Allowance(path.stat().st_size))
            for content in _contents(raw_chunks(path), name, path, source):
                if isinstance(content, _Content) and content.file == file:
                    return _raw(content, record)
    raise FileNotFoundError(f"{folder} holds no file {file!r}: it changed since it was collected.")


def _raw(content: _Content, record: int) -> bytes:
    cut = _FORMATS[content.format].cut
    if cut is None:
        return b"".join(content.chunks)
    found = next(itertools.islice(cut(content.chunks), record, None), None)
    if found is None:
        raise IndexError(
            f"{content.file} has no record {record}: it changed since it was collected."
        )
    if isinstance(found, bytes):
        return found
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, default=str)
    return text.encode()


def _site(path: Path, file: str) -> str:
    """The host name that a dump's folder or archive bears: the dump does not say its site.

    Without one, the file's name without dots (which no host name is) keeps the ids apart.
    """
    names = [re.sub(r"\.(7z|zip|tar)$", "", part) for part in re.split(r"[/!]", file)]
    hosts = (n for n in reversed([*path.resolve().parts[:-1], *names]) if _HOST.fullmatch(n))
    return next(hosts, file.replace(".", "-"))

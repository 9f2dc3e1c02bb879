"""Parse raw files of any format, one by one."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from elara.collect import (
    documents,
    europepmc,
    jats,
    medline,
    medlineplus,
    medquad,
    plaintext,
    pubmed,
    references,
    stackexchange,
    tables,
    webpage,
)
from elara.collect.archives import (
    NotReadError,
    OfficeFileError,
    WordFileError,
    kind_of,
    on_disk,
    open_member,
    open_members,
)
from elara.collect.licences import licensed
from elara.collect.listing import LICENCE_FILES, RawFile, list_files, sample_folder
from elara.collect.notices import says_retracted
from elara.collect.own import bare_name
from elara.collect.parsed import Parsed
from elara.collect.payload import (
    DEEPEST,
    Allowance,
    PayloadError,
    open_chunks,
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
_RECORDS = {
    "pubmed": pubmed.RECORDS,
    "posts": stackexchange.RECORDS,
    "jats": jats.RECORDS,
    "medquad": medquad.RECORDS,
    "medlineplus": medlineplus.RECORDS,
}
_CUT = {"ris": references.ris_records, "bibtex": references.bibtex_records}
_ROWS = {"csv": tables.csv_rows, "jsonl": tables.jsonl_rows, "json": tables.json_rows}


def source_folder(local_files: str) -> Path:
    """The folder that a run collects from.

    Args:
        local_files: a folder, absolute or relative to the current directory; "" means the
            embedded sample.

    Raises:
        NotADirectoryError: there is no such folder.
        FileNotFoundError: there is no file in it.
    """
    if not local_files:
        return sample_folder()
    folder = Path(local_files).expanduser()
    if not folder.is_dir():
        raise NotADirectoryError(
            f"Parameter `local_files` names {local_files!r}, which is not a folder: name one "
            f"that exists, or leave it empty for the embedded sample."
        )
    if not any(files for _, _, files in os.walk(folder)):
        raise FileNotFoundError(
            f"Parameter `local_files` names {local_files!r}, a folder without any file: put the "
            f"files there, or name the folder that holds them."
        )
    return folder


def read_folder(folder: Path) -> Iterator[Parsed]:
    """Parse every file in a folder, in the order of their names.

    Args:
        folder: where the raw files are.

    Yields:
        What `read_file` yields, and a line for each file whose bytes were already read.
    """
    for file in list_files(folder):
        yield from read_listed(file)


def read_listed(file: RawFile, columns: Mapping[str, str] | None = None) -> Iterator[Parsed]:
    """Parse one file of a listing, unless it is a copy of an earlier one.

    Args:
        file: from `list_files`.
        columns: as for `read_file`.
    """
    if file.no_file:
        status: Literal["error", "skipped"] = "error" if file.broken else "skipped"
        yield Parsed(record=-1, file=file.name, status=status, reason=file.no_file)
        return
    if file.same_as:
        reason = f"byte-identical to {file.same_as}"
        yield Parsed(record=-1, file=file.name, status="skipped", reason=reason)
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
        allowance = Allowance(path.stat().st_size)
    except OSError as error:  # it is gone since it was listed
        yield Parsed(record=0, file=file, status="error", reason=f"after 0 whole records, {error}")
        return
    reading = _Reading(path, retrieved_at, allowance, columns or {}, fetched)
    yield from reading.of(raw_chunks(path), file, path, 0)


@dataclass(frozen=True, slots=True)
class _Reading:
    """How one raw file is read, and whatever is packed in it."""

    path: Path
    retrieved_at: str
    allowance: Allowance
    columns: Mapping[str, str]
    fetched: bool

    def of(
        self, content: Iterator[bytes], file: str, lies_at: Path | None, depth: int
    ) -> Iterator[Parsed]:
        """The records of some content, which may be an archive of more."""
        try:
            head, chunks = peek(unpacked(content, self.allowance), _HEAD)
        except NotReadError as error:
            yield Parsed(record=-1, file=file, status="skipped", reason=str(error))
            return
        except (PayloadError, OSError) as error:
            reason = f"after 0 whole records, {error}"
            yield Parsed(record=0, file=file, status="error", reason=reason)
            return
        kind = kind_of(head)
        if not kind:
            yield from self._placed(_parse(head, chunks, file, self, lies_at), file)
        elif depth >= DEEPEST:
            reason = f"{kind} archive inside {DEEPEST} others: unpack it first"
            yield Parsed(record=-1, file=file, status="skipped", reason=reason)
        else:
            yield from self._members(chunks, file, lies_at, depth)

    def _placed(self, found: Iterator[Parsed], file: str) -> Iterator[Parsed]:
        """What a parser finds, with the place where it was found."""
        count = 0
        try:
            for parsed in found:
                count = max(count, parsed.record + 1)
                parsed.file = file
                if parsed.article:
                    parsed.article.raw_file = file
                    parsed.article.raw_record = parsed.record
                    parsed.article.retrieved_at = self.retrieved_at
                    if says_retracted(parsed.article.title):
                        parsed.article.retracted = True
                        parsed.remark("retracted, says the title")
                    elif parsed.article.retracted:
                        parsed.remark("retracted, says the record")
                yield parsed
        except (PayloadError, OSError) as error:
            reason = f"after {count} whole records, {error}"
            yield Parsed(record=count, file=file, status="error", reason=reason)

    def _members(
        self, chunks: Iterator[bytes], file: str, lies_at: Path | None, depth: int
    ) -> Iterator[Parsed]:
        found = False
        try:
            with nullcontext(lies_at) if lies_at else on_disk(chunks) as path:
                try:
                    for member, content in open_members(path, self.allowance):
                        found = True
                        yield from self.of(content, f"{file}{_INSIDE}{member}", None, depth + 1)
                except WordFileError:
                    found = True
                    read = partial(documents.parse_docx, file=file)
                    yield from self._placed(_from_disk(chunks, path, read), file)
        except OfficeFileError as error:
            yield Parsed(record=-1, file=file, status="skipped", reason=str(error))
        except (PayloadError, OSError) as error:
            yield Parsed(record=-1, file=file, status="error", reason=str(error))
        else:
            if not found:
                yield Parsed(record=-1, file=file, status="skipped", reason="empty archive")


def _parse(
    head: bytes, chunks: Iterator[bytes], file: str, reading: _Reading, lies_at: Path | None
) -> Iterator[Parsed]:
    name, reason = recognise(head, file)
    if bare_name(file).lower() in LICENCE_FILES:
        reason = "a licence inside an archive holds for nothing: put it beside the archive"
    if reason:
        yield Parsed(record=-1, status="skipped", reason=reason)
        return
    found = _records(name, chunks, file, reading, lies_at)
    first = next(found, None)
    if first is None:
        yield Parsed(record=-1, status="skipped", reason=f"{name} file without records")
        return
    yield first
    yield from found


def _records(
    name: str, chunks: Iterator[bytes], file: str, reading: _Reading, lies_at: Path | None
) -> Iterator[Parsed]:
    match name:
        case "pubmed":
            return pubmed.parse(chunks)
        case "jats":
            return jats.parse(chunks)
        case "posts":
            return stackexchange.parse_posts(chunks, _site(reading.path, file))
        case "api":
            return stackexchange.parse_api(chunks)
        case "europepmc":
            return europepmc.parse(chunks)
        case "medquad":
            return medquad.parse(chunks)
        case "medline":
            return medline.parse(chunks)
        case "medlineplus":
            return medlineplus.parse(chunks)
        case "webpage":
            return webpage.parse(chunks, "" if reading.fetched else file)
        case "text":
            return plaintext.parse_text(chunks, file)
        case "markdown":
            return plaintext.parse_markdown(chunks, file)
        case "ris":
            return references.parse_ris(chunks)
        case "bibtex":
            return references.parse_bibtex(chunks)
        case "pdf":
            return _from_disk(chunks, lies_at, partial(documents.parse_pdf, file=file))
        case "parquet":
            return _from_disk(
                chunks,
                lies_at,
                lambda path: tables.parse(tables.parquet_rows(path), reading.columns, file),
            )
        case _:
            return tables.parse(_ROWS[name](chunks), reading.columns, file)


def _from_disk(
    chunks: Iterator[bytes], lies_at: Path | None, read: Callable[[Path], Iterator[Parsed]]
) -> Iterator[Parsed]:
    """Read a format that is read from its end: where the file lies, or else from a copy."""
    head, chunks = peek(chunks, 4)
    if lies_at and next(raw_chunks(lies_at), b"").startswith(head[:4]):
        yield from read(lies_at)
        return
    with on_disk(chunks) as path:
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
        IndexError: the file has no such record any more.
    """
    path = folder / unescaped_path(file)
    if _INSIDE in file and not path.exists():
        chunks = list(_packed(folder, file))
    else:
        chunks = list(open_chunks(path))
    name, _ = recognise(b"".join(chunks)[:_HEAD], file)
    records: Iterator[bytes]
    if name == "medline":
        records = medline.split_records(chunks)
    elif name in _RECORDS:
        records = split_records(chunks, _RECORDS[name])
    elif name in _CUT:
        records = (entry.encode() for entry in _CUT[name](chunks))
    elif name in _ROWS:
        records = map(_as_json, _ROWS[name](chunks))
    elif name == "parquet":
        with on_disk(iter(chunks)) as copy:
            return _nth(map(_as_json, tables.parquet_rows(copy)), record, file)
    else:
        return b"".join(chunks)
    return _nth(records, record, file)


def _nth(records: Iterator[bytes], record: int, file: str) -> bytes:
    found = next(itertools.islice(records, record, None), None)
    if found is None:
        raise IndexError(f"{file} has no record {record}: it changed since it was collected.")
    return found


def _as_json(row: tables.Row) -> bytes:
    return json.dumps(row, ensure_ascii=False, default=str).encode()


def _packed(folder: Path, file: str) -> Iterator[bytes]:
    """A file in an archive: the name of either may hold the sign that stands between the two."""
    parts = file.split(_INSIDE)
    for end in range(1, len(parts)):
        archive = folder / unescaped_path(_INSIDE.join(parts[:end]))
        if archive.is_file():
            return _member(archive, parts[end:])
    raise FileNotFoundError(f"{file}: there is no such archive in {folder} any more.")


def _member(archive: Path, parts: list[str]) -> Iterator[bytes]:
    """A file in an archive, perhaps in another one that lies in there."""
    for end in range(len(parts), 0, -1):
        try:
            _, chunks = peek(open_member(archive, _INSIDE.join(parts[:end])), _HEAD)
        except KeyError:
            continue
        chunks = unpacked(chunks, Allowance(archive.stat().st_size))
        if end == len(parts):
            yield from chunks
        else:
            with on_disk(chunks) as inner:
                yield from _member(inner, parts[end:])
        return
    raise KeyError(f"{archive.name} holds no file {parts[-1]!r}: it changed since.")


def _site(path: Path, file: str) -> str:
    """The host name that a dump's folder or archive bears: the dump does not say its site.

    Without one, the file's name without dots (which no host name is) keeps the ids apart.
    """
    names = [re.sub(r"\.(7z|zip|tar)$", "", part) for part in re.split(r"[/!]", file)]
    hosts = (n for n in reversed([*path.resolve().parts[:-1], *names]) if _HOST.fullmatch(n))
    return next(hosts, file.replace(".", "-"))

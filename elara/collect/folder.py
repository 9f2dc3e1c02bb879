"""Parse raw files of any format, one by one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from elara.collect import (
    europepmc,
    jats,
    medline,
    medlineplus,
    medquad,
    pubmed,
    stackexchange,
    webpage,
)
from elara.collect.archives import (
    NotReadError,
    OfficeFileError,
    kind_of,
    on_disk,
    open_member,
    open_members,
)
from elara.collect.listing import RawFile, list_files, sample_folder
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
from elara.collect.xmlrecords import split_records, split_rows
from elara.names import real_path

_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.(com|net|org)")
_INSIDE = "!"  # between the name of an archive and that of a file inside it
_HEAD = 65_536  # bytes by which a format is told
_RECORDS = {
    "pubmed": pubmed.RECORDS,
    "jats": jats.RECORDS,
    "medquad": medquad.RECORDS,
    "medlineplus": medlineplus.RECORDS,
}


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
    if not any(path.is_file() for path in folder.rglob("*")):
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


def read_listed(file: RawFile) -> Iterator[Parsed]:
    """Parse one file of a listing, unless it is a copy of an earlier one.

    Args:
        file: from `list_files`.
    """
    if file.no_file:
        status: Literal["error", "skipped"] = "error" if file.broken else "skipped"
        yield Parsed(record=-1, file=file.name, status=status, reason=file.no_file)
        return
    if file.same_as:
        reason = f"byte-identical to {file.same_as}"
        yield Parsed(record=-1, file=file.name, status="skipped", reason=reason)
        return
    yield from read_file(file.path, file.name, file.retrieved_at)


def read_file(path: Path, file: str, retrieved_at: str) -> Iterator[Parsed]:
    """Parse one raw file.

    Args:
        path: where it is.
        file: how the records are to name it.
        retrieved_at: when it was fetched, ISO 8601 in UTC.

    Yields:
        One `Parsed` per record, or one for the whole file. A file that breaks off yields what
        was whole, then one error.
    """
    try:
        allowance = Allowance(path.stat().st_size)
    except OSError as error:  # it is gone since it was listed
        yield Parsed(record=0, file=file, status="error", reason=f"after 0 whole records, {error}")
        return
    yield from _Reading(path, retrieved_at, allowance).of(raw_chunks(path), file, path, 0)


@dataclass(frozen=True, slots=True)
class _Reading:
    """How one raw file is read, and whatever is packed in it."""

    path: Path
    retrieved_at: str
    allowance: Allowance

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
            site = _site(self.path, file)
            yield from _read_chunks(head, chunks, site, file, self.retrieved_at)
        elif depth >= DEEPEST:
            reason = f"{kind} archive inside {DEEPEST} others: unpack it first"
            yield Parsed(record=-1, file=file, status="skipped", reason=reason)
        else:
            yield from self._members(chunks, file, lies_at, depth)

    def _members(
        self, chunks: Iterator[bytes], file: str, lies_at: Path | None, depth: int
    ) -> Iterator[Parsed]:
        found = False
        try:
            with nullcontext(lies_at) if lies_at else on_disk(chunks) as path:
                for member, content in open_members(path, self.allowance):
                    found = True
                    yield from self.of(content, f"{file}{_INSIDE}{member}", None, depth + 1)
        except OfficeFileError as error:
            yield Parsed(record=-1, file=file, status="skipped", reason=str(error))
        except (PayloadError, OSError) as error:
            yield Parsed(record=-1, file=file, status="error", reason=str(error))
        else:
            if not found:
                yield Parsed(record=-1, file=file, status="skipped", reason="empty archive")


def _read_chunks(
    head: bytes, chunks: Iterator[bytes], site: str, file: str, retrieved_at: str
) -> Iterator[Parsed]:
    count = 0
    try:
        for parsed in _parse(head, chunks, site):
            count = max(count, parsed.record + 1)
            parsed.file = file
            if parsed.article:
                parsed.article.raw_file = file
                parsed.article.raw_record = parsed.record
                parsed.article.retrieved_at = retrieved_at
            yield parsed
    except (PayloadError, OSError) as error:
        reason = f"after {count} whole records, {error}"
        yield Parsed(record=count, file=file, status="error", reason=reason)


def _parse(head: bytes, chunks: Iterator[bytes], site: str) -> Iterator[Parsed]:
    name, reason = recognise(head)
    if reason:
        yield Parsed(record=-1, status="skipped", reason=reason)
        return
    found = _records(name, chunks, site)
    first = next(found, None)
    if first is None:
        yield Parsed(record=-1, status="skipped", reason=f"{name} file without records")
        return
    yield first
    yield from found


def _records(name: str, chunks: Iterable[bytes], site: str) -> Iterator[Parsed]:
    match name:
        case "pubmed":
            return pubmed.parse(chunks)
        case "jats":
            return jats.parse(chunks)
        case "posts":
            return stackexchange.parse_posts(chunks, site)
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
        case _:
            return webpage.parse(chunks)


def raw_record(folder: Path, file: str, record: int) -> bytes:
    """The raw bytes that an article was read from.

    Args:
        folder: the folder that was collected.
        file: `Article.raw_file`.
        record: `Article.raw_record`.

    Returns:
        The record in UTF-8; for web pages and API answers, which are read whole, the file.

    Raises:
        IndexError: the file has no such record any more.
    """
    path = folder / real_path(file)
    if _INSIDE in file and not path.exists():
        chunks = list(_packed(folder, file))
    else:
        chunks = list(open_chunks(path))
    name, _ = recognise(b"".join(chunks)[:65_536])
    if name == "posts":
        records = split_rows(chunks, "row")
    elif name == "medline":
        records = medline.split_records(chunks)
    elif name in _RECORDS:
        records = split_records(chunks, _RECORDS[name])
    else:
        return b"".join(chunks)
    found = next(itertools.islice(records, record, None), None)
    if found is None:
        raise IndexError(f"{file} has no record {record}: it changed since it was collected.")
    return found


def _packed(folder: Path, file: str) -> Iterator[bytes]:
    """A file in an archive: the name of either may hold the sign that stands between the two."""
    parts = file.split(_INSIDE)
    for end in range(1, len(parts)):
        archive = folder / real_path(_INSIDE.join(parts[:end]))
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

"""Read a folder of raw files into one collection of articles."""

from __future__ import annotations

import datetime
import hashlib
import importlib
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from elara.collect import jats, medlineplus, medquad, pubmed, stackexchange, webpage
from elara.collect.merge import merge
from elara.collect.parsed import Parsed
from elara.collect.payload import PayloadError, open_chunks
from elara.collect.recognise import recognise
from elara.collect.topics import load_topics
from elara.collect.xmlrecords import split_records, split_rows
from elara.progress import track
from elara.records import Article, Outcome, frame
from elara.workspace import file_sha256

# When the embedded sample was written: reading it must give the same bytes everywhere.
SAMPLE_DATE = "2026-11-22T00:00:00Z"
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.(com|net|org)")
_RECORDS = {
    "pubmed": pubmed.RECORDS,
    "jats": jats.RECORDS,
    "medquad": medquad.RECORDS,
    "medlineplus": medlineplus.RECORDS,
}


@dataclass(slots=True)
class Collection:
    """What a folder held.

    Args:
        articles: one row per `Article`, sorted by id.
        outcomes: one row per `Outcome`: what became of every file and record.
    """

    articles: pl.DataFrame
    outcomes: pl.DataFrame

    def example(self) -> dict[str, Any]:
        """One article as a row to look at: the first from PubMed, or else the first.

        Raises:
            ValueError: the folder held no article.
        """
        if not self.articles.height:
            raise ValueError(
                f"None of the {self.outcomes['file'].n_unique()} files holds an article that "
                f"Elara can read: {', '.join(self.outcomes['reason'].unique().sort().head(5))}. "
                f"Name another folder in `local_files`."
            )
        return self.articles.sort(pl.col("source") != "pubmed", "id").row(0, named=True)


def sample_folder() -> Path:
    """The embedded sample: small, synthetic, in each source's own format."""
    return Path(importlib.import_module("elara.sample").__path__[0])


def source_folder(local_files: str) -> Path:
    """The folder that a run collects from.

    Args:
        local_files: a folder, absolute or relative to the current directory; "" means the
            embedded sample.

    Raises:
        NotADirectoryError: there is no such folder.
    """
    if not local_files:
        return sample_folder()
    folder = Path(local_files).expanduser()
    if not folder.is_dir():
        raise NotADirectoryError(
            f"Parameter `local_files` names {local_files!r}, which is not a folder: name one "
            f"that exists, or leave it empty for the embedded sample."
        )
    return folder


def collect_folder(folder: Path) -> Collection:
    """Read every file in a folder and the folders below it.

    Args:
        folder: where the raw files are. Formats are recognised by content.

    Returns:
        Articles, merged where several records describe the same one, and the outcome of every
        file and record.
    """
    found = track(read_folder(folder), label="read records")
    articles, outcomes = merge(found)
    topics = load_topics()
    for article in articles:
        article.topics = topics.of(article.title, article.keywords, article.mesh)
    return Collection(frame(articles, Article), frame(outcomes, Outcome))


def read_folder(folder: Path) -> Iterator[Parsed]:
    """Parse every file in a folder, in the order of their names.

    Args:
        folder: where the raw files are.

    Yields:
        What `read_file` yields, and a line for each file whose bytes were already read.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    sizes: dict[int, int] = {}
    for path in files:
        size = path.stat().st_size
        sizes[size] = sizes.get(size, 0) + 1
    seen: dict[str, str] = {}
    sample = folder.resolve() == sample_folder().resolve()
    for path in files:
        file = path.relative_to(folder).as_posix()
        if sizes[path.stat().st_size] > 1 and path.stat().st_size:
            earlier = seen.setdefault(_digest(path), file)
            if earlier != file:
                reason = f"byte-identical to {earlier}"
                yield Parsed(record=-1, file=file, status="skipped", reason=reason)
                continue
        retrieved = SAMPLE_DATE if sample else _modified(path)
        yield from read_file(path, file, retrieved)


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
    count = 0
    try:
        for parsed in _parse(path, file):
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


def _parse(path: Path, file: str) -> Iterator[Parsed]:
    head, chunks = _peek(open_chunks(path))
    name, reason = recognise(head)
    if reason:
        yield Parsed(record=-1, status="skipped", reason=reason)
        return
    found = _records(name, chunks, path, file)
    first = next(found, None)
    if first is None:
        yield Parsed(record=-1, status="skipped", reason=f"{name} file without records")
        return
    yield first
    yield from found


def _peek(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first 64 KiB, and all pieces again: an early end is reported after what is readable."""
    head = b""
    try:
        for chunk in chunks:
            head += chunk
            if len(head) >= 65_536:
                break
    except PayloadError as error:
        if not head:
            raise
        broken = error

        def fail() -> bytes:
            raise broken

        chunks = iter(fail, b"")
    return head, itertools.chain([head], chunks)


def _records(name: str, chunks: Iterable[bytes], path: Path, file: str) -> Iterator[Parsed]:
    match name:
        case "pubmed":
            return pubmed.parse(chunks)
        case "jats":
            return jats.parse(chunks)
        case "posts":
            return stackexchange.parse_posts(chunks, _site(path, file))
        case "api":
            return stackexchange.parse_api(chunks)
        case "medquad":
            return medquad.parse(chunks)
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
    chunks = list(open_chunks(folder / file))
    name, _ = recognise(b"".join(chunks)[:65_536])
    if name == "posts":
        records = split_rows(chunks, "row")
    elif name in _RECORDS:
        records = split_records(chunks, _RECORDS[name])
    else:
        return b"".join(chunks)
    found = next(itertools.islice(records, record, None), None)
    if found is None:
        raise IndexError(f"{file} has no record {record}: it changed since it was collected.")
    return found


def _site(path: Path, file: str) -> str:
    """The host name that a dump's folder bears, since the dump itself does not say its site.

    Without one, the file's name without dots (which no host name is) keeps the ids apart.
    """
    hosts = (p for p in reversed(path.resolve().parts[:-1]) if _HOST.fullmatch(p))
    return next(hosts, file.replace(".", "-"))


def _digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError:  # named when the file is read
        return hashlib.sha256(path.as_posix().encode()).hexdigest()


def _modified(path: Path) -> str:
    moment = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

"""The raw files of a folder, and how they are shared out."""

from __future__ import annotations

import datetime
import hashlib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from elara.collect.live.store import BOOKKEEPING, JOURNAL, retrieval_times
from elara.workspace import file_sha256

# When the embedded sample was written: reading it must give the same bytes everywhere.
SAMPLE_DATE = "2026-11-22T00:00:00Z"
_PORTION = 8 << 20  # bytes: small files are read together up to this size
_PORTION_FILES = 2_000


@dataclass(frozen=True, slots=True)
class RawFile:
    """A raw file as it was found.

    Args:
        path: where it is.
        name: the same relative to the folder, with `/`.
        rank: its place in the order in which files are read, which decides ties.
        size: in bytes.
        retrieved_at: when it was fetched, ISO 8601 in UTC.
        same_as: name of an earlier file with the same bytes, else "".
    """

    path: Path
    name: str
    rank: int
    size: int
    retrieved_at: str
    same_as: str = ""


def sample_folder() -> Path:
    """The embedded sample: small, synthetic, in each source's own format."""
    return Path(importlib.import_module("elara.sample").__path__[0])


def list_files(folder: Path) -> list[RawFile]:
    """Find the files in a folder and the folders below it.

    Beside a journal of live sources only the payloads that it names are raw files.

    Args:
        folder: where the raw files are.

    Returns:
        The files in reading order. They count as fetched when the journal of a live source says
        so, or else when they were last changed.
    """
    times = retrieval_times(folder)
    stores = {journal.parent for journal in folder.rglob(JOURNAL)}
    found = [
        (path, path.stat())
        for path in sorted(p for p in folder.rglob("*") if p.is_file())
        if path.parent not in stores or path.relative_to(folder).as_posix() in times
        if path.name not in BOOKKEEPING
    ]
    sizes: dict[int, int] = {}
    for _, stat in found:
        sizes[stat.st_size] = sizes.get(stat.st_size, 0) + 1
    seen: dict[str, str] = {}
    sample = folder.resolve() == sample_folder().resolve()
    fetched = retrieval_times(folder)
    files = []
    for rank, (path, stat) in enumerate(found):
        name = path.relative_to(folder).as_posix()
        twins = stat.st_size and sizes[stat.st_size] > 1
        earlier = seen.setdefault(_digest(path), name) if twins else name
        retrieved = SAMPLE_DATE if sample else fetched.get(name) or _moment(stat.st_mtime)
        same = "" if earlier == name else earlier
        files.append(RawFile(path, name, rank, stat.st_size, retrieved, same))
    return files


def portions(files: Iterable[RawFile]) -> list[list[RawFile]]:
    """Share files out: a large one alone, small ones together.

    Args:
        files: from `list_files`.

    Returns:
        The files sorted by name and cut into portions. They depend on nothing but the files, so
        that results do not depend on who reads which portion.
    """
    shared: list[list[RawFile]] = []
    size = 0
    for file in sorted(files, key=lambda f: f.name):
        if not shared or size + file.size > _PORTION or len(shared[-1]) >= _PORTION_FILES:
            shared.append([])
            size = 0
        shared[-1].append(file)
        size += file.size
    return shared


def _digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError:  # named when the file is read
        return hashlib.sha256(path.as_posix().encode()).hexdigest()


def _moment(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

"""List the raw files of a folder, and share them out into portions."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from elara.collect.licences import UNKNOWN, stated_licence
from elara.collect.live.store import BOOKKEEPING, JOURNAL, retrieval_times
from elara.collect.own import decoded
from elara.collect.payload import PayloadError
from elara.workspace import file_sha256
from elara.workspace.names import escaped_path

# When the embedded sample was written: reading it must give the same bytes everywhere.
SAMPLE_DATE = "2026-11-22T00:00:00Z"
_PORTION = 8 << 20  # bytes: small files are read together up to this size
_PORTION_FILES = 2_000
# What stands in a folder and is no file. To open a pipe would wait for its other end for ever.
LICENCE_FILES = ("licence.txt", "license.txt")
_LONGEST_LICENCE = 1 << 20  # bytes
_NO_FILE = {
    stat.S_IFIFO: "a named pipe, not a file",
    stat.S_IFSOCK: "a socket, not a file",
    stat.S_IFCHR: "a device, not a file",
    stat.S_IFBLK: "a device, not a file",
    stat.S_IFDIR: "a link to a folder, which is not followed: name that folder in `local_files`",
}


@dataclass(frozen=True, slots=True)
class RawFile:
    """A raw file as it was found.

    Args:
        path: where it is.
        name: the same relative to the folder, with `/`, as `elara.workspace.names` shows it.
        rank: its place in the order in which files are read, which decides ties.
        size: in bytes.
        retrieved_at: when it was fetched, ISO 8601 in UTC.
        same_as: name of an earlier file with the same bytes, else "".
        no_file: why there is nothing to read (a pipe, a folder without permission), else "".
        broken: whether something is missing that should be there.
        licence: of texts in it that state none: what `licence.txt` in its folder or the nearest
            one above says, `unknown` where that cannot be read, or "" without such a file.
        fetched: whether a live source keeps it here, so that it is nothing of the user's own.
    """

    path: Path
    name: str
    rank: int
    size: int
    retrieved_at: str
    same_as: str = ""
    no_file: str = ""
    broken: bool = False
    licence: str = ""
    fetched: bool = False


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


def list_files(folder: Path, licence: str = "") -> list[RawFile]:
    """Find the files in a folder and the folders below it.

    Beside a journal of live sources only the payloads that it names are raw files.

    Args:
        folder: where the raw files are.
        licence: of texts that state none, where no `licence.txt` holds for them.

    Returns:
        The files in reading order, and what is no file or cannot be reached, which its outcome
        is to name. Files count as fetched when the journal of a live source says so, or else
        when they were last changed.
    """
    fetched = retrieval_times(folder)
    stores = {journal.parent for journal in folder.rglob(JOURNAL) if journal.is_file()}
    found = []
    for path, error in sorted(_walk(folder), key=lambda pair: pair[0]):
        name = path.relative_to(folder).as_posix()
        if path.name not in BOOKKEEPING and (path.parent not in stores or name in fetched):
            found.append((path, name, error or _state(path)))
    licences = {
        path.parent: _folder_licence(path)
        for path, _, state in found
        if path.name.lower() in LICENCE_FILES and isinstance(state, os.stat_result)
    }
    sizes = Counter(s.st_size for _, _, s in found if isinstance(s, os.stat_result))
    seen: dict[tuple[str, str], str] = {}
    sample = folder.resolve() == sample_folder().resolve()
    files = []
    for rank, (path, real, state) in enumerate(found):
        file = RawFile(path, escaped_path(real), rank, 0, "")
        held = licences.get(path.parent, "") if path.name.lower() in LICENCE_FILES else ""
        if isinstance(state, OSError):
            why = f"cannot be reached ({state.strerror}): repair the link or change the permissions"
            files.append(replace(file, no_file=why, broken=True))
            continue
        if why := _NO_FILE.get(stat.S_IFMT(state.st_mode), "") or _told(held):
            files.append(replace(file, no_file=why, broken=held == UNKNOWN))
            continue
        size = state.st_size
        holds = next((licences[p] for p in path.parents if p in licences), licence)
        # The same text under another licence is another text.
        key = (_digest(path) if size and sizes[size] > 1 else file.name, holds)
        earlier = seen.setdefault(key, file.name)
        moment = SAMPLE_DATE if sample else fetched.get(real) or _moment(state.st_mtime)
        files.append(
            replace(
                file,
                size=size,
                retrieved_at=moment,
                same_as="" if earlier == file.name else earlier,
                licence=holds,
                fetched=path.parent in stores,
            )
        )
    return files


def _folder_licence(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return stated_licence("".join(decoded([file.read(_LONGEST_LICENCE)])))
    except (PayloadError, OSError):
        return UNKNOWN


def _told(licence: str) -> str:
    if licence != UNKNOWN:
        return licence and f"read as the licence of this folder: {licence}"
    return (
        "names no licence that Elara knows, so that the texts of this folder count as unknown: "
        "write an SPDX id such as CC-BY-4.0, the address of a licence, or the word private"
    )


def _walk(folder: Path) -> Iterator[tuple[Path, OSError | None]]:
    """Whatever stands in a folder and below, but for its folders; those that stay shut, too."""
    shut: list[OSError] = []
    for root, folders, files in os.walk(folder, onerror=shut.append):
        links = [name for name in folders if Path(root, name).is_symlink()]
        yield from ((Path(root, name), None) for name in [*files, *links])
    for error in shut:
        path = Path(os.fsdecode(error.filename))
        if path == folder:
            raise error
        yield path, error


def _state(path: Path) -> os.stat_result | OSError:
    try:
        return path.stat()
    except OSError as error:  # a link to nothing or to itself, or the file is gone by now
        return error


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
        size += file.size
        if not shared or size > _PORTION or len(shared[-1]) >= _PORTION_FILES:
            shared.append([])
            size = file.size
        shared[-1].append(file)
    return shared


def _digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError:  # named when the file is read
        return hashlib.sha256(os.fsencode(path)).hexdigest()


def _moment(seconds: float) -> str:
    with contextlib.suppress(OverflowError, ValueError, OSError):  # beyond the year 9999
        return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"
    return ""  # no clock was right

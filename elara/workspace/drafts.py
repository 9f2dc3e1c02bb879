"""Make a file or folder whole or not at all: write a draft, under a lock, then move it."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

from elara.workspace.disk import WorkspaceError


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old content or the new, never a part.

    Args:
        path: the file; its folder must exist.
        text: the whole new content.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def lock(path: Path, what: str, *, wait: bool = False) -> filelock.BaseFileLock:
    """Take a lock that the operating system frees when this process ends, however it ends.

    Args:
        path: the lock file. A file beside it keeps the id of the process that holds the lock.
        what: what the lock protects, for the message.
        wait: wait for another process that holds it.

    Raises:
        WorkspaceError: another process holds it, and `wait` is not set.
    """
    held = filelock.FileLock(path)
    owner = path.with_suffix(".owner")
    try:
        held.acquire(timeout=-1 if wait else 0)
    except filelock.Timeout:
        by = owner.read_text(encoding="utf-8") if owner.exists() else "another process"
        raise WorkspaceError(
            f"{what} is already running in {path.parents[1]} ({by}): wait for it to end, stop "
            f"it, or name another workspace."
        ) from None
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    owner.write_text(f"process {os.getpid()} since {since}", encoding="utf-8")
    return held


def empty_folder(path: Path) -> None:
    """Make a folder that is empty, whatever a killed process left in it."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)


@contextlib.contextmanager
def draft_folder(path: Path, lock_file: Path, what: str, *, wait: bool = False) -> Iterator[Path]:
    """Give one process at a time an empty folder for drafts, removed afterwards however it ends.

    Args:
        path: the folder, on the disk on which its content will stand.
        lock_file: see `lock`; its folder is made when needed.
        what: see `lock`.
        wait: see `lock`.

    Raises:
        WorkspaceError: see `lock`.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    held = lock(lock_file, what, wait=wait)
    try:
        empty_folder(path)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        held.release()


def replace_folder(draft: Path, final: Path) -> None:
    """Put a finished folder in the place of an earlier one, whole or not at all.

    Args:
        draft: the finished folder.
        final: its name from now on, on the same disk.
    """
    old = draft.with_name(f"{draft.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.replace(old)
    draft.replace(final)
    shutil.rmtree(old, ignore_errors=True)

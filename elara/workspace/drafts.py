"""Make a file or folder whole or not at all, and say in one line why that failed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import polars as pl

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
# Advice with a margin, not a measure: tables, adapter and checkpoints, and room for one export.
_NEEDED_MB = 500


class WorkspaceError(RuntimeError):
    """A workspace cannot be used as asked; the message says which file and what to do."""


def disk_trouble(text: str) -> int | None:
    """The error number of a full, limited or read-only disk that a message speaks of, or None."""
    for code in (*sorted(_FULL), errno.EROFS):
        if f"[Errno {code}]" in text or os.strerror(code) in text or f"os error {code})" in text:
            return code
    return None


def cannot_write(folder: Path, error: Exception) -> WorkspaceError:
    """Say in one line why a folder cannot be written, and what to do.

    Args:
        folder: where the result belongs.
        error: what the system or Polars said. A path of its own is named as well.

    Returns:
        The error to raise.
    """
    code = getattr(error, "errno", None) or disk_trouble(str(error))
    disk = Path(getattr(error, "filename", None) or folder).absolute()
    # os.path, not pathlib: what may not be looked at counts as not there.
    while not os.path.exists(disk) or not (os.path.ismount(disk) or disk == disk.parent):  # noqa: PTH110
        disk = disk.parent
    if code in _FULL:
        free = shutil.disk_usage(disk).free
        limit = " (your quota is used up)" if code == errno.EDQUOT else ""
        return WorkspaceError(
            f"Cannot write to {folder}: no space left on {disk}{limit}: {free / 1e6:,.1f} MB are "
            f"free; a whole run on the sample should have {_NEEDED_MB} MB. Remedy: free some "
            "space and run again, or name a workspace on another disk (--workspace, "
            "ELARA_WORKSPACE); what earlier runs stored is untouched."
        )
    why = f"{disk} is read-only" if code == errno.EROFS else str(error)
    return WorkspaceError(
        f"Cannot write to {folder}: {why}. Remedy: name a folder that you may write to "
        "(--workspace, ELARA_WORKSPACE, in a notebook the parameter `workspace`)."
    )


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Raise what goes wrong while a folder is written as one clear error.

    Raises:
        WorkspaceError: see `cannot_write`.
    """
    try:
        yield
    except (OSError, pl.exceptions.ComputeError) as error:
        raise cannot_write(folder, error) from error


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Args:
        path: the file; its folder must exist.
        content: the whole new content; text is written in UTF-8.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as handle:
            handle.write(content.encode() if isinstance(content, str) else content)
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

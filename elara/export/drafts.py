"""Give drafts a folder of their own, under a lock, and move finished ones into place."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from elara.workspace import lock


@contextlib.contextmanager
def draft_folder(path: Path, lock_file: Path, what: str) -> Iterator[Path]:
    """Give one process at a time an empty folder for drafts, removed afterwards however it ends.

    Args:
        path: the folder, on the disk on which its content will stand.
        lock_file: see `elara.workspace.lock`; its folder is made when needed.
        what: what the lock protects, for the message.

    Raises:
        WorkspaceError: another process holds the lock.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    held = lock(lock_file, what)
    try:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
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

"""Say in one line why a folder cannot be written, and what to do about it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

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

"""Make a folder whole or not at all: drafts, and one writer at a time."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from elara.train.config import TrainingError
from elara.workspace import lock


class ExportError(TrainingError):
    """A model cannot be exported as asked; the message says why and what to do."""


@contextlib.contextmanager
def drafts_in(into: Path) -> Iterator[Path]:
    """A fresh folder for drafts, for one export at a time, gone afterwards however it ends.

    What a killed export left is cleared first.

    Args:
        into: where the finished exports will stand.

    Raises:
        ExportError: the disk is full or the folder cannot be written.
        WorkspaceError: another export is running there.
    """
    from safetensors import SafetensorError

    work = into / ".export"
    try:
        work.mkdir(parents=True, exist_ok=True)
        held = lock(work / "lock", "an export")
        try:
            shutil.rmtree(work / "drafts", ignore_errors=True)
            (work / "drafts").mkdir()
            yield work / "drafts"
        finally:
            shutil.rmtree(work / "drafts", ignore_errors=True)
            held.release()
    except (OSError, SafetensorError) as error:
        code = getattr(error, "errno", None)
        full = code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "No space" in str(error)
        remedy = "free some space" if full else "name a folder that you may write to"
        raise ExportError(
            f"Cannot write the export to {into}: {error}. Remedy: {remedy} and run it again; "
            "nothing half-made was left."
        ) from error


def move(draft: Path, final: Path) -> None:
    """Put a finished draft in the place of an earlier export, whole or not at all.

    Args:
        draft: the finished folder.
        final: its name from now on, on the same disk.
    """
    old = draft.with_name(f"{draft.name}.old")
    if final.exists():
        final.replace(old)
    draft.replace(final)
    shutil.rmtree(old, ignore_errors=True)

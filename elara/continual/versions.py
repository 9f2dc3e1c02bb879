"""Adapters over time: kept whole, compared, brought back."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from elara.continual.differences import Comparison, compare_adapters, last_losses
from elara.continual.reseal import resealed
from elara.model import TRAINING_FILE, WEIGHTS_FILE
from elara.train.config import TrainingError
from elara.workspace import (
    MANIFEST,
    WorkspaceError,
    content_digest,
    file_hashes,
    lock,
    manifest_text,
    sealed,
    write_atomically,
)
from elara.workspace.formats import json_text

_RECORD = "version.json"
_KEEPING, _RESTORING, _REPLACED = ".keeping", ".restoring", ".replaced"
_JOURNAL = ".restoring.json"
_TABLE = {
    **dict.fromkeys(("version", "made_at", "parent", "note", "base_model"), pl.String),
    "examples": pl.Int64,
    "train_loss": pl.Float64,
    "validation_loss": pl.Float64,
    "bytes": pl.Int64,
    "sha256": pl.String,
    "damage": pl.String,
}
_NAME = re.compile(r"v(\d{4,})-[0-9a-f]{8}")


class Versions:
    """The adapters that were kept, in the folder `versions/` beside the current one.

    A version is a full copy with the SHA-256 of every file, so nothing that happens to the
    current adapter touches it. The folder is no part of the stage's manifest: training again
    replaces `adapter/` and leaves `versions/` alone.

    Args:
        home: the train stage's folder, `Workspace(…).folder("train")`; it holds `adapter/`.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "versions"
        if (home / _JOURNAL).exists():
            with self._locked("restoring an adapter"):
                self._finish_restoring()

    def keep(
        self,
        adapter: Path | None = None,
        note: str = "",
        *,
        parent: str = "",
        losses: pl.DataFrame | None = None,
    ) -> str:
        """Keep a copy of an adapter.

        The copy appears under its name only when it is complete. The same files kept twice are
        one version.

        Args:
            adapter: its folder; by default the current one, `adapter/`.
            note: why it was kept.
            parent: the version that it was trained from, if any.
            losses: `Training.losses`; by default `losses.parquet` beside the adapter if there.

        Returns:
            The version's name: a number counted up and the start of its content's hash.

        Raises:
            TrainingError: the folder is not an adapter, or `parent` is not kept here.
            WorkspaceError: the copy cannot be written, or another process is keeping one.
        """
        source = adapter or self.home / "adapter"
        for name in (TRAINING_FILE, WEIGHTS_FILE):
            if not (source / name).is_file():
                raise TrainingError(f"{source} holds no adapter ({name} is missing): train first.")
        if parent:
            self._record(parent)
        final = last_losses(source, losses)
        with self._locked("keeping an adapter"):
            return self._keep(source, note, parent, final)

    def _keep(self, source: Path, note: str, parent: str, losses: dict[str, float]) -> str:
        draft = self.folder / _KEEPING
        shutil.rmtree(draft, ignore_errors=True)  # what a killed process left
        try:
            _copy(source, draft)
            files = file_hashes(draft)
            content = content_digest(files)
            for record in self._records():
                if record.get("sha256") == content and not self.damage(record["version"]):
                    return str(record["version"])
            name = f"v{self._next():04}-{content[:8]}"
            training = _training(draft)
            record = {
                "version": name,
                "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "parent": parent,
                "note": note,
                "base_model": training.get("base_model", ""),
                "examples": len(training.get("examples", [])),
                "losses": losses,
                "bytes": sum(p.stat().st_size for p in draft.rglob("*") if p.is_file()),
                "sha256": content,
                "files": files,
            }
            write_atomically(draft / _RECORD, json_text(sealed(record)))
            draft.rename(self.folder / name)
        except OSError as error:
            raise WorkspaceError(
                f"Cannot keep {source} in {self.folder}: {error}. Free some space there; what "
                "was kept before is untouched."
            ) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return name

    def listed(self) -> pl.DataFrame:
        """What is kept, oldest first.

        Returns:
            Columns version, made_at, parent, note, base_model, examples, train_loss and
            validation_loss (the last recorded, nats per answer token), bytes, sha256, damage
            ("" or what is wrong with the first file that differs).
        """
        rows = []
        for record in self._records():
            losses = record.get("losses", {})
            row = record | {f"{split}_loss": losses.get(split) for split in ("train", "validation")}
            row["damage"] = self.damage(record["version"])
            rows.append({name: row.get(name) for name in _TABLE})
        return pl.DataFrame(rows, schema=_TABLE)

    def damage(self, version: str) -> str:
        """Compare a version's files with what was recorded when it was kept.

        Args:
            version: its name.

        Returns:
            What is wrong with the first file that differs, or "".
        """
        folder = self.folder / version
        try:
            recorded = json.loads((folder / _RECORD).read_text(encoding="utf-8"))["files"]
        except (OSError, ValueError, KeyError, TypeError):
            return f"{_RECORD} is missing or cannot be read"
        found = file_hashes(folder)
        found.pop(_RECORD, None)
        for name in sorted(recorded.keys() | found.keys()):
            if name not in found:
                return f"{name} is missing"
            if name not in recorded:
                return f"{name} was added"
            if found[name] != recorded[name]:
                return f"{name} was changed"
        return ""

    def compare(self, a: str, b: str) -> Comparison:
        """Say how two versions differ.

        Args:
            a: the earlier version.
            b: the later one.

        Raises:
            TrainingError: a version is not kept here or is damaged.
        """
        folders = [self._sound(version) for version in (a, b)]
        losses = [self._record(version)["losses"] for version in (a, b)]
        return compare_adapters(folders[0], folders[1], losses[0], losses[1])

    def restore(self, version: str) -> Path:
        """Make a version the current adapter again.

        The adapter that it replaces is kept first, so nothing is lost. The stage's manifest is
        changed to name the restored files, so that later stages see what they read. (A full
        `elara run` notices that the adapter is not what notebook 05 left and trains again; go on
        with `elara run --from evaluate`.) An interrupted restore is finished when `Versions` is
        next made.

        Args:
            version: its name.

        Returns:
            The folder of the current adapter.

        Raises:
            TrainingError: the version is not kept here or is damaged.
            WorkspaceError: the copy cannot be written.
        """
        folder = self._sound(version)
        current = self.home / "adapter"
        with self._locked("restoring an adapter"):
            if all((current / name).is_file() for name in (TRAINING_FILE, WEIGHTS_FILE)):
                self._keep(current, f"replaced by {version}", "", last_losses(current, None))
            draft = self.home / _RESTORING
            shutil.rmtree(draft, ignore_errors=True)
            try:
                _copy(folder, draft)
                journal = {"version": version, "manifest": resealed(self.home, version, draft)}
                write_atomically(self.home / _JOURNAL, json.dumps(journal))
            except OSError as error:
                shutil.rmtree(draft, ignore_errors=True)
                raise WorkspaceError(
                    f"Cannot restore {version} to {current}: {error}. Free some space there; the "
                    "current adapter is untouched."
                ) from error
            self._finish_restoring()
        return current

    def _finish_restoring(self) -> None:
        """Bring the copy that the journal names into place; may be repeated at any point."""
        journal, draft = self.home / _JOURNAL, self.home / _RESTORING
        current, replaced = self.home / "adapter", self.home / _REPLACED
        if draft.exists():
            if current.exists():
                shutil.rmtree(replaced, ignore_errors=True)
                current.rename(replaced)
            draft.rename(current)
        manifest = json.loads(journal.read_text(encoding="utf-8"))["manifest"]
        if manifest:
            write_atomically(self.home / MANIFEST, manifest_text(manifest))
        shutil.rmtree(replaced, ignore_errors=True)
        journal.unlink()

    @contextlib.contextmanager
    def _locked(self, what: str) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        held = lock(self.folder / ".lock", what)
        try:
            yield
        finally:
            held.release()

    def _records(self) -> list[dict[str, Any]]:
        names = (p.name for p in self.folder.glob("v*") if _NAME.fullmatch(p.name))
        return [self._record(name) for name in sorted(names, key=_number)]

    def _record(self, version: str) -> dict[str, Any]:
        if not _NAME.fullmatch(version) or not (self.folder / version).is_dir():
            raise TrainingError(f"{version!r} is not kept in {self.folder}: see `listed()`.")
        try:
            record = json.loads((self.folder / version / _RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            record = {}
        # A record that cannot be read does not hide its version: `damage` names it.
        return (record if isinstance(record, dict) else {}) | {"version": version}

    def _sound(self, version: str) -> Path:
        self._record(version)
        if damage := self.damage(version):
            raise TrainingError(
                f"Version {version} in {self.folder} is damaged: {damage}. Bring the file back "
                "from a backup, or use another version."
            )
        return self.folder / version

    def _next(self) -> int:
        found = [_number(p.name) for p in self.folder.glob("v*") if _NAME.fullmatch(p.name)]
        return max(found, default=0) + 1


def _copy(source: Path, target: Path) -> None:
    """Copy an adapter, and return when every file is written to disk."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(_RECORD))
    for path in target.rglob("*"):
        if path.is_file():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())


def _number(name: str) -> int:
    return int(name[1:].split("-")[0])


def _training(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / TRAINING_FILE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"{folder / TRAINING_FILE} is not JSON ({error}).") from error
    return found

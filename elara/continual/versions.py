"""Keep adapters as versions, list and compare them, and restore one."""

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
from elara.model import TRAINING_FILE, WEIGHTS_FILE
from elara.train.config import TrainingError
from elara.workspace import (
    MANIFEST,
    WorkspaceError,
    content_digest,
    draft_folder,
    file_hashes,
    identity_of,
    manifest_text,
    replace_folder,
    sealed,
    write_atomically,
)
from elara.workspace.formats import json_text

_RECORD = "version.json"
_KEEPING, _RESTORING, _JOURNAL = ".keeping", ".restoring", ".restoring.json"
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
            journal = json.loads((home / _JOURNAL).read_text(encoding="utf-8"))
            self._make_current(journal["version"])

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
        with self._draft(self.folder / _KEEPING, f"Cannot keep {source} in {self.folder}") as draft:
            return self._keep(source, draft, note, parent, final)

    def _keep(
        self, source: Path, draft: Path, note: str, parent: str, losses: dict[str, float]
    ) -> str:
        copy = _copy(source, draft / "adapter")
        files = file_hashes(copy)
        content = content_digest(files)
        for kept in self._records():
            if kept.get("sha256") == content and not self.damage(kept["version"]):
                return str(kept["version"])
        numbers = [_number(kept["version"]) for kept in self._records()]
        name = f"v{max(numbers, default=0) + 1:04}-{content[:8]}"
        training = _training(copy)
        record = {
            "version": name,
            "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "parent": parent,
            "note": note,
            "base_model": training.get("base_model", ""),
            "examples": len(training.get("examples", [])),
            "losses": losses,
            "bytes": sum((copy / file).stat().st_size for file in files),
            "sha256": content,
            "files": files,
        }
        write_atomically(copy / _RECORD, json_text(sealed(record)))
        copy.rename(self.folder / name)
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
        self._sound(version)
        current = self.home / "adapter"
        if all((current / name).is_file() for name in (TRAINING_FILE, WEIGHTS_FILE)):
            self.keep(note=f"replaced by {version}")
        self._make_current(version)
        return current

    def _make_current(self, version: str) -> None:
        """Bring a version into place; until that is done, the journal says which."""
        journal, current = self.home / _JOURNAL, self.home / "adapter"
        with self._draft(self.home / _RESTORING, f"Cannot restore {version} to {current}") as draft:
            copy = _copy(self.folder / version, draft / "adapter")
            manifest = self._manifest_with(version, copy)
            write_atomically(journal, json.dumps({"version": version}))
            replace_folder(copy, current)
            if manifest:
                write_atomically(self.home / MANIFEST, manifest_text(manifest))
            journal.unlink()

    def _manifest_with(self, version: str, adapter: Path) -> dict[str, Any] | None:
        """The stage's manifest, sealed anew, with a restored adapter's files; None without one."""
        path = self.home / MANIFEST
        if not path.exists():
            return None
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        others = {n: e for n, e in manifest["files"].items() if not n.startswith("adapter/")}
        restored = {
            f"adapter/{name}": {"bytes": (adapter / name).stat().st_size, "sha256": digest}
            for name, digest in file_hashes(adapter).items()
        }
        manifest["files"] = others | restored
        manifest |= {"identity": identity_of(manifest), "restored": version}
        return sealed(manifest)

    @contextlib.contextmanager
    def _draft(self, path: Path, problem: str) -> Iterator[Path]:
        """A folder for a copy, for one process at a time."""
        try:
            with draft_folder(path, self.folder / ".lock", "a change of the versions") as draft:
                yield draft
        except OSError as error:
            raise WorkspaceError(
                f"{problem}: {error}. Free some space there; the adapters that are there are "
                "untouched."
            ) from error

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


def _copy(source: Path, target: Path) -> Path:
    """Copy an adapter, and return its folder when every file is written to disk."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(_RECORD))
    for path in target.rglob("*"):
        if path.is_file():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
    return target


def _number(name: str) -> int:
    return int(name[1:].split("-")[0])


def _training(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / TRAINING_FILE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"{folder / TRAINING_FILE} is not JSON ({error}).") from error
    return found

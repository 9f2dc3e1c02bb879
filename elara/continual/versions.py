"""Keep adapters as versions, list and compare them, and restore one."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from elara.audit.verify import changes
from elara.model import TRAINING_FILE, WEIGHTS_FILE
from elara.train.config import TrainingError
from elara.workspace import (
    MANIFEST,
    content_digest,
    draft_folder,
    file_hashes,
    identity_of,
    manifest_text,
    replace_folder,
    sealed,
    write_atomically,
    writing_to,
)
from elara.workspace.formats import json_text

_RECORD = "version.json"
_OF_ADAPTER = (TRAINING_FILE, WEIGHTS_FILE)
_KEEPING, _RESTORING, _JOURNAL = ".keeping", ".restoring", ".restoring.json"
_TABLE = {
    **dict.fromkeys(("version", "made_at", "parent", "note", "base_model"), pl.String),
    **{"examples": pl.Int64, "train_loss": pl.Float64, "validation_loss": pl.Float64},
    **{"bytes": pl.Int64, "sha256": pl.String, "damage": pl.String},
}
_A, _B = ".lora_A.weight", ".lora_B.weight"
_NAME = re.compile(r"v(\d{4,})-[0-9a-f]{8}")


@dataclass(frozen=True)
class Comparison:
    """How two adapters differ.

    Args:
        settings: columns setting, a, b: what differs among the training settings and the other
            values of `training.json`.
        added: ids of the training examples that only b was trained on, sorted.
        removed: ids of those that only a was trained on, sorted.
        weights: per module, how far b's update is from a's; see `weights_distance`.
        losses: columns split, a, b: the last recorded loss in nats per answer token.
    """

    settings: pl.DataFrame
    added: list[str]
    removed: list[str]
    weights: pl.DataFrame
    losses: pl.DataFrame


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
        if missing := [name for name in _OF_ADAPTER if not (source / name).is_file()]:
            raise TrainingError(
                f"{source} holds no adapter ({missing[0]} is missing): train first."
            )
        if parent:
            self._record(parent)
        final = _last_losses(source, losses)
        with self._draft(self.folder / _KEEPING) as draft:
            return self._keep(_copy(source, draft / "adapter"), note, parent, final)

    def _keep(self, copy: Path, note: str, parent: str, losses: dict[str, float]) -> str:
        files = file_hashes(copy)
        content = content_digest(files)
        kept = self._records()
        for record in kept:
            if record.get("sha256") == content and not self.damage(record["version"]):
                return str(record["version"])
        last = _number(kept[-1]["version"]) if kept else 0
        name = f"v{last + 1:04}-{content[:8]}"
        training = json.loads((copy / TRAINING_FILE).read_text(encoding="utf-8"))
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
            ("" or what is wrong with a file that differs).
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
            What is wrong with a file that differs, or "".
        """
        folder = self.folder / version
        try:
            recorded = json.loads((folder / _RECORD).read_text(encoding="utf-8"))["files"]
        except (OSError, ValueError, KeyError, TypeError):
            return f"{_RECORD} is missing or cannot be read"
        found = file_hashes(folder)
        del found[_RECORD]
        return next(iter(changes(recorded, found)), "")

    def compare(self, a: str, b: str) -> Comparison:
        """Say how two versions differ.

        Args:
            a: the earlier version.
            b: the later one.

        Raises:
            TrainingError: a version is not kept here or is damaged.
        """
        folders = [self._sound(name) for name in (a, b)]
        losses_a, losses_b = (self._record(name)["losses"] for name in (a, b))
        contents = [json.loads((p / TRAINING_FILE).read_text(encoding="utf-8")) for p in folders]
        ids_a, ids_b = (set(content.get("examples", [])) for content in contents)
        of_a, of_b = (_flat(content) for content in contents)
        named = sorted({name for name, _ in of_a.items() ^ of_b.items()})
        settings = [(name, of_a.get(name), of_b.get(name)) for name in named]
        splits = [split for split in ("train", "validation") if split in losses_a | losses_b]
        last = [(split, losses_a.get(split), losses_b.get(split)) for split in splits]
        texts = dict.fromkeys(("setting", "a", "b"), pl.String)
        numbers = {"split": pl.String, "a": pl.Float64, "b": pl.Float64}
        return Comparison(
            settings=pl.DataFrame(settings, schema=texts, orient="row"),
            added=sorted(ids_b - ids_a),
            removed=sorted(ids_a - ids_b),
            weights=weights_distance(*folders),
            losses=pl.DataFrame(last, schema=numbers, orient="row"),
        )

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
        if all((current / name).is_file() for name in _OF_ADAPTER):
            self.keep(note=f"replaced by {version}")
        self._make_current(version)
        return current

    def _make_current(self, version: str) -> None:
        """Bring a version into place; until that is done, the journal says which."""
        journal, current = self.home / _JOURNAL, self.home / "adapter"
        with self._draft(self.home / _RESTORING) as draft:
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
        files = {n: e for n, e in manifest["files"].items() if not n.startswith("adapter/")}
        for name, digest in file_hashes(adapter).items():
            size = (adapter / name).stat().st_size
            files[f"adapter/{name}"] = {"bytes": size, "sha256": digest}
        manifest["files"] = files
        manifest |= {"identity": identity_of(manifest), "restored": version}
        return sealed(manifest)

    @contextlib.contextmanager
    def _draft(self, path: Path) -> Iterator[Path]:
        """A folder for a copy, for one process at a time. What is kept stays if it cannot be."""
        lock = self.folder / ".lock"
        with writing_to(path.parent), draft_folder(path, lock, "a change of the versions") as draft:
            yield draft

    def _records(self) -> list[dict[str, Any]]:
        names = (p.name for p in self.folder.glob("v*") if _NAME.fullmatch(p.name))
        return [self._record(name) for name in sorted(names, key=_number)]

    def _record(self, version: str) -> dict[str, Any]:
        if not _NAME.fullmatch(version) or not (self.folder / version).is_dir():
            raise TrainingError(f"{version!r} is not kept in {self.folder}: see `listed()`.")
        record = None  # one that cannot be read does not hide its version: `damage` names it
        with contextlib.suppress(OSError, ValueError):
            record = json.loads((self.folder / version / _RECORD).read_text(encoding="utf-8"))
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
    for path in (p for p in target.rglob("*") if p.is_file()):
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
    return target


def _number(name: str) -> int:
    return int(name[1:].split("-")[0])


def _last_losses(adapter: Path, losses: pl.DataFrame | None) -> dict[str, float]:
    """The last recorded loss of every split, in nats per answer token; {} where there is none."""
    table = adapter.parent / "losses.parquet"
    if losses is None:
        if not table.exists():
            return {}
        losses = pl.read_parquet(table)
    ends = losses.drop_nulls("loss").group_by("split").agg(pl.col("loss").sort_by("step").last())
    return {str(split): float(loss) for split, loss in ends.sort("split").iter_rows()}


def weights_distance(a: Path, b: Path) -> pl.DataFrame:
    """Measure the distance between the updates that two adapters make to each module.

    An adapter changes a module's weights by scale * B A. B and A themselves are no measure: many
    pairs have the same product. So the products are compared, by their Frobenius norm. DoRA's
    lengths, where there are any, are a row of their own.

    Args:
        a: an adapter folder.
        b: another one.

    Returns:
        Columns module, norm_a, norm_b, distance (norm of the difference), relative (distance over
        norm_a; missing where norm_a is 0), largest relative distance first. A module that only
        one of them has counts as 0 in the other. Distances below 1e-7 of the norms are rounding.

    Source: LoRA, https://arxiv.org/abs/2106.09685, section 4.1.
    """
    import torch

    rows = []
    adapters = _weights(a), _weights(b)
    modules = {n.removesuffix(_A) for _, tensors in adapters for n in tensors if _B not in n}
    for name in sorted(modules):
        first, second = (_update(*adapter, name) for adapter in adapters)
        norms = [float(torch.linalg.norm(m)) for m in (first, second, first - second)]
        relative = norms[2] / norms[0] if norms[0] else None
        rows.append((name.removeprefix("base_model.model."), *norms, relative))
    floats = dict.fromkeys(("norm_a", "norm_b", "distance", "relative"), pl.Float64)
    table = pl.DataFrame(rows, schema={"module": pl.String, **floats}, orient="row")
    return table.sort("relative", "module", descending=[True, False], nulls_last=True)


def _weights(folder: Path) -> tuple[float, dict[str, Any]]:
    """An adapter's scale, and its matrices by name."""
    from safetensors.torch import load_file

    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    rank = config["r"]
    scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return scale, load_file(folder / WEIGHTS_FILE)


def _update(scale: float, tensors: dict[str, Any], module: str) -> Any:
    """What an adapter adds to a module's weights, or a vector of DoRA's lengths; 0 for neither."""
    import torch

    if module + _A in tensors:
        return scale * tensors[module + _B].double() @ tensors[module + _A].double()
    return tensors.get(module, torch.zeros(())).double()


def _flat(training: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as `config.lora_r`, in JSON; the examples are compared apart."""
    flat: dict[str, str] = {}
    for name, value in training.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        elif f"{prefix}{name}" != "examples":
            flat[f"{prefix}{name}"] = json.dumps(value, ensure_ascii=False)
    return flat

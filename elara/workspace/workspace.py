"""Give every stage a folder of its own, sealed by a manifest.

A stage writes its files into a hidden folder; `Stage.write` moves them into place and writes
`manifest.json` last. So a stage either has a manifest that describes every file it left, or it
does not exist: an interrupted or failed run never leaves half a result that looks whole.
"""

from __future__ import annotations

import difflib
import json
import os
import shlex
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import polars as pl

import elara
from elara.workspace.drafts import (
    WorkspaceError,
    empty_folder,
    lock,
    write_atomically,
    writing_to,
)
from elara.workspace.formats import (
    MANIFEST,
    WITHDRAWN,
    WITHDRAWN_PAGE,
    file_entries,
    file_sha256,
    identity_of,
    made_with,
    manifest_text,
    read_table,
    seal_holds,
    sealed,
    write_file,
)
from elara.workspace.parameters import ONCE, parameters_of
from elara.workspace.stages import STAGES, check_parameters


def default_workspace() -> tuple[Path, str]:
    """The workspace used when none is named: `ELARA_WORKSPACE`, else `workspace/` in the project.

    The project is the checkout that `elara` is imported from; for an installed package it is
    the current directory.

    Returns:
        The folder, and words that say where it came from.
    """
    if named := os.environ.get("ELARA_WORKSPACE"):
        return Path(named).expanduser().resolve(), "from ELARA_WORKSPACE"
    checkout = Path(elara.__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").exists():
        return checkout / "workspace", "the default: none was named"
    return Path.cwd() / "workspace", "the default in the current directory: none was named"


def publish(name: str, value: Any) -> None:
    """Make a value quotable: pages of the book show it with ``{glue}`` under this name.

    Args:
        name: key, by convention `stage.what`, e.g. `train.tokens_per_second`.
        value: a number, string or figure. Round numbers before you publish them.

    Source: MyST-NB's glue, https://myst-nb.readthedocs.io/en/latest/render/glue.html
    """
    from myst_nb import glue

    glue(name, value, display=False)


@dataclass
class Stage:
    """One stage at work: reads finished stages, writes its own folder. Made by `Workspace.begin`.

    Args:
        name: a key of `STAGES`.
        workspace: the workspace it belongs to.
        parameters: what it runs with, for the manifest.
    """

    name: str
    workspace: Workspace
    parameters: dict[str, Any]
    _inputs: dict[str, str] = field(default_factory=dict)
    _started: float = field(default_factory=time.time)
    _lock: filelock.BaseFileLock | None = None

    @property
    def home(self) -> Path:
        """The stage's finished folder."""
        return self.workspace.folder(self.name)

    @property
    def draft(self) -> Path:
        """Where the stage puts files until `write` moves them into `home`."""
        return self.home / ".partial"

    def read(self, stage: str, file: str) -> pl.DataFrame:
        """Read a table that a finished stage left; the manifest will name it as an input.

        Args:
            stage: the stage that wrote it.
            file: its name in that stage's folder: `.parquet`, or `.jsonl` for training data.

        Raises:
            WorkspaceError: that stage has not finished, or left no such file.
        """
        path = self.path(stage, file)
        try:
            return read_table(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise WorkspaceError(
                f"{path} cannot be read ({error}): run the stage that wrote it again."
            ) from error

    def path(self, stage: str, file: str) -> Path:
        """Like `read`, for what is not a table: the path of a file or folder of a stage."""
        manifest = self.workspace.manifest(stage)
        self._inputs[stage] = manifest["identity"]
        path = self.workspace.folder(stage) / file
        if not path.exists():
            raise WorkspaceError(
                f"{path} is missing although stage {stage!r} finished: "
                f"run it again (`elara run --only {stage} --force`)."
            )
        return path

    def uses(self, folder: str) -> None:
        """Name what lies beside the stages as an input: the index of passages, say.

        Args:
            folder: its name in the workspace; it holds a manifest with an `identity`.

        Raises:
            WorkspaceError: it holds none.
        """
        identity = self.workspace.identity(folder)
        if not identity:
            path = self.workspace.root / folder / MANIFEST
            raise WorkspaceError(f"{path} names no identity: make the folder anew.")
        self._inputs[folder] = identity

    def write(
        self,
        files: Mapping[str, Any],
        *,
        counts: Mapping[str, int] | None = None,
        summary: str = "",
        listed: str = "",
        notes: Iterable[str] = (),
        incomplete: Iterable[str] = (),
    ) -> dict[str, Any]:
        """Finish the stage: write these files, move everything into place, seal it.

        What was put into `draft` beforehand (an adapter, say) belongs to the stage too. Files of
        an earlier run that this one did not write again are removed.

        Args:
            files: file name to content; the suffix decides the format, see
                `elara.workspace.formats.write_file`.
            counts: figures worth keeping in the manifest.
            summary: what came of it, in one line for people, e.g. `109 articles, 3 skipped`.
            listed: where they find what the line counts: what `elara show STAGE` takes next,
                e.g. `outcomes --where status=skipped`.
            notes: what people should know before they build on it; "" counts for nothing.
            incomplete: what is missing and may come in another run, a line each. The next
                `elara run` runs the stage again; those that follow build on what is there.

        Returns:
            The manifest.

        Raises:
            WorkspaceError: the disk is full or the folder cannot be written. What an earlier
                run stored is still there.
        """
        with writing_to(self.home):
            for name, content in files.items():
                write_file(self.draft / name, content)
            told = {"summary": summary, "listed": listed, "notes": [n for n in notes if n]}
            missing = list(incomplete)
            remarks = told | {"incomplete": missing} if missing else told
            manifest = self._manifest(counts or {}, remarks)
            self._move_into_place(manifest)
        if self._lock:
            self._lock.release()
        return manifest

    def _manifest(self, counts: Mapping[str, int], remarks: Mapping[str, Any]) -> dict[str, Any]:
        manifest: dict[str, Any] = {
            "stage": self.name,
            "parameters": {k: v for k, v in self.parameters.items() if k not in ONCE},
            "inputs": self._inputs,
            "files": file_entries(self.draft),
            "counts": dict(counts),
        }
        manifest |= {
            "identity": identity_of(manifest),
            **remarks,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._started)),
            "seconds": round(time.time() - self._started, 1),
            **made_with(),
        }
        return sealed(manifest)

    def _move_into_place(self, manifest: dict[str, Any]) -> None:
        path = self.home / MANIFEST
        earlier = self.workspace.manifest(self.name)["files"] if path.exists() else {}
        path.unlink(missing_ok=True)
        for name in earlier.keys() - manifest["files"].keys():
            (self.home / name).unlink(missing_ok=True)
        for name in manifest["files"]:
            (self.home / name).parent.mkdir(parents=True, exist_ok=True)
            (self.draft / name).replace(self.home / name)
        for folder in {(self.home / name).parent for name in manifest["files"]}:
            for mark in (WITHDRAWN, WITHDRAWN_PAGE):  # was about what stood here before
                (folder / mark).unlink(missing_ok=True)
        shutil.rmtree(self.draft)
        write_atomically(path, manifest_text(manifest))


class Workspace:
    """One folder that holds everything a run of the book reads and leaves.

    Printed, it says where it is and where that came from.

    Args:
        folder: where it is; "" means `default_workspace()`. It is made when needed.
    """

    def __init__(self, folder: str | Path = "") -> None:
        default, self.origin = default_workspace()
        self.root = Path(folder).expanduser().resolve() if folder else default
        self.is_default = self.root == default
        if folder:
            self.origin = "from the parameter `workspace`"

    def __str__(self) -> str:
        return f"Workspace: {self.root} ({self.origin})"

    def exists(self) -> bool:
        """Whether anything has run in it."""
        # os.path, not pathlib: a folder that may not be entered counts as none.
        return os.path.isdir(self.root / "logs")  # noqa: PTH112

    def must_exist(self) -> None:
        """Refuse a workspace in which nothing has run: its name is most likely mistyped.

        Raises:
            WorkspaceError: the message names the closest one beside it.
        """
        if self.exists():
            return
        near = [p.name for p in self.root.parent.glob("*") if Workspace(p).exists()]
        close = difflib.get_close_matches(self.root.name, near, n=1)
        hint = f" Did you mean {self.root.parent / close[0]}?" if close else ""
        raise WorkspaceError(
            f"There is no workspace in {self.root}.{hint} To make one there: "
            f"`{self.command('run')}`."
        )

    def command(self, *words: str) -> str:
        """A command of Elara as one would type it for this workspace.

        Args:
            words: the command and what follows it.
        """
        place = [] if self.is_default else ["-w", shlex.quote(str(self.root))]
        return " ".join(["elara", words[0], *place, *words[1:]])

    def folder(self, stage: str) -> Path:
        """The folder of a stage; it need not exist yet."""
        return self.root / STAGES[stage]

    def begin(self, stage: str, namespace: dict[str, Any]) -> Stage:
        """Start a stage: take its lock, check its parameters, clear what a broken run left.

        Args:
            stage: a key of `STAGES`.
            namespace: the notebook's `globals()`, read for its parameters; see `parameters_of`.

        Raises:
            ParameterError: see `parameters_of` and `check_parameters`.
            WorkspaceError: the workspace cannot be written, or another process is running this
                stage in it.
        """
        work = Stage(stage, self, parameters_of(namespace))
        check_parameters(stage, work.parameters)
        with writing_to(self.root):
            (self.root / "logs").mkdir(parents=True, exist_ok=True)
            work._lock = lock(self.root / "logs" / f"{stage}.lock", f"stage {stage!r}")
            empty_folder(work.draft)
        return work

    def manifest(self, stage: str) -> dict[str, Any]:
        """The manifest of a finished stage.

        Raises:
            WorkspaceError: the stage has not finished, or its manifest cannot be read.
        """
        path = self.folder(stage) / MANIFEST
        if not path.exists():
            raise WorkspaceError(
                f"Stage {stage!r} has not finished in {self.root}: there is no {path.name} in "
                f"{path.parent}. Run notebook {list(STAGES).index(stage) + 1:02}-{stage} first "
                f"(`elara run --only {stage}`)."
            )
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise WorkspaceError(
                f"{path} is not valid JSON ({error}): run `elara run --only {stage} --force`."
            ) from error
        return found

    def identity(self, folder: str) -> str:
        """The identity of what lies beside the stages, by its manifest; "" where there is none.

        Args:
            folder: its name in the workspace.
        """
        try:
            manifest = json.loads((self.root / folder / MANIFEST).read_text(encoding="utf-8"))
            return str(manifest["identity"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def damage(self, stage: str) -> str:
        """Compare a finished stage's files with its manifest, and the manifest with its seal.

        Returns:
            What is wrong with the first file that is missing or changed, or "".
        """
        manifest = self.manifest(stage)
        text = (self.folder(stage) / MANIFEST).read_bytes()
        if text != manifest_text(manifest).encode() or not seal_holds(manifest):
            return f"{MANIFEST} was changed"
        for name, entry in manifest["files"].items():
            path = self.folder(stage) / name
            if not path.exists():
                return f"{name} is missing"
            if path.stat().st_size != entry["bytes"] or file_sha256(path) != entry["sha256"]:
                return f"{name} was changed"
        return ""

"""Where stages read and write: one folder per stage, sealed by a manifest.

A stage stages its files in a hidden folder and `Stage.write` moves them into place and writes
`manifest.json` last. So a stage either has a manifest that describes every file it left, or it
does not exist: an interrupted or failed run never leaves half a result that looks whole.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import polars as pl

import elara
from elara.workspace.checks import check
from elara.workspace.formats import count_rows, read_table, write_file
from elara.workspace.parameters import ONCE, parameters_of

# Stage name to its folder in the workspace, in the order in which they run.
STAGES = {
    "collect": "raw",
    "inspect": "processed/inspect",
    "clean": "processed/clean",
    "expand": "training_data",
    "train": "lora_adapters",
    "evaluate": "evaluation",
    "serve": "logs/serve",
}
# Stage name to the table that counts what it made; serve makes none.
MAIN_TABLES = {
    "collect": "articles.parquet",
    "inspect": "articles.parquet",
    "clean": "articles.parquet",
    "expand": "train.jsonl",
    "train": "losses.parquet",
    "evaluate": "losses.parquet",
}
MANIFEST = "manifest.json"
# What makes two results the same: not when they were made, nor by which version.
_IDENTITY = ("stage", "parameters", "inputs", "files", "counts")
# Libraries whose version can change a stage's result; written into every manifest.
_LIBRARIES = ("polars", "lxml", "numpy", "torch", "transformers", "peft", "trl")

# Advice with a margin, not a measure: the exported gguf of the packaged model is about 145 MB, and
# tables, adapter and checkpoints come on top.
_NEEDED_MB = 500


class WorkspaceError(RuntimeError):
    """A workspace cannot be used as asked; the message says which file and what to do."""


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


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


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
        with _clear_errors(self.home):
            for name, content in files.items():
                write_file(self.draft / name, content)
            told = {"summary": summary, "listed": listed, "notes": [note for note in notes if note]}
            if missing := list(incomplete):
                told["incomplete"] = missing
            manifest = self._manifest(counts or {}, told)
            self._move_into_place(manifest)
        if self._lock:
            self._lock.release()
        return manifest

    def _manifest(self, counts: Mapping[str, int], told: Mapping[str, Any]) -> dict[str, Any]:
        entries = {}
        for path in sorted(p for p in self.draft.rglob("*") if p.is_file()):
            entry: dict[str, Any] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
            if path.suffix in (".parquet", ".jsonl"):
                entry["rows"] = count_rows(path)
            entries[path.relative_to(self.draft).as_posix()] = entry
        manifest: dict[str, Any] = {
            "stage": self.name,
            "parameters": {k: v for k, v in self.parameters.items() if k not in ONCE},
            "inputs": self._inputs,
            "files": entries,
            "counts": dict(counts),
        }
        manifest |= {
            "identity": identity_of(manifest),
            **told,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._started)),
            "seconds": round(time.time() - self._started, 1),
            "elara": elara.__version__,
            "python": platform.python_version(),
            "libraries": _versions(),
        }
        return sealed(manifest)

    def _move_into_place(self, manifest: dict[str, Any]) -> None:
        seal = self.home / MANIFEST
        earlier = self.workspace.manifest(self.name)["files"] if seal.exists() else {}
        seal.unlink(missing_ok=True)
        for name in earlier.keys() - manifest["files"].keys():
            (self.home / name).unlink(missing_ok=True)
        for name in manifest["files"]:
            (self.home / name).parent.mkdir(parents=True, exist_ok=True)
            (self.draft / name).replace(self.home / name)
        shutil.rmtree(self.draft)
        write_atomically(seal, manifest_text(manifest))


class Workspace:
    """One folder that holds everything a run of the book reads and leaves.

    Printed, it says where it is and where that came from.

    Args:
        folder: where it is; "" means `default_workspace()`. It is made when needed.
    """

    def __init__(self, folder: str | Path = "") -> None:
        self.root, self.origin = default_workspace()
        self.is_default = True
        if folder:
            default = self.root
            self.root = Path(folder).expanduser().resolve()
            self.origin = "from the parameter `workspace`"
            self.is_default = self.root == default

    def exists(self) -> bool:
        """Whether anything has run in it."""
        # os.path, not pathlib: a folder that may not be entered counts as none.
        return os.path.isdir(self.root / "logs")  # noqa: PTH112

    def __str__(self) -> str:
        return f"Workspace: {self.root} ({self.origin})"

    def folder(self, stage: str) -> Path:
        """The folder of a stage; it need not exist yet."""
        return self.root / STAGES[stage]

    def begin(self, stage: str, namespace: dict[str, Any]) -> Stage:
        """Start a stage: take its lock, check its parameters, clear what a broken run left.

        Args:
            stage: a key of `STAGES`.
            namespace: the notebook's `globals()`, read for its parameters; see `parameters_of`.

        Raises:
            ParameterError: see `parameters_of` and `elara.workspace.checks.check`.
            WorkspaceError: the workspace cannot be written, or another process is running this
                stage in it.
        """
        work = Stage(stage, self, parameters_of(namespace))
        check(stage, work.parameters)
        with _clear_errors(self.root):
            (self.root / "logs").mkdir(parents=True, exist_ok=True)
            work._lock = lock(self.root / "logs" / f"{stage}.lock", f"stage {stage!r}")
            shutil.rmtree(work.draft, ignore_errors=True)
            work.draft.mkdir(parents=True)
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


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """The content of a `manifest.json`, byte for byte: `Workspace.damage` compares it."""
    return json.dumps(manifest, indent=2, default=str) + "\n"


def identity_of(manifest: Mapping[str, Any]) -> str:
    """The identity of a stage's result, computed from its manifest.

    Raises:
        KeyError: a part is missing.
    """
    return content_digest({name: manifest[name] for name in _IDENTITY})


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its own hash, `seal`, over all the rest; an earlier seal is replaced."""
    rest = {name: value for name, value in record.items() if name != "seal"}
    return rest | {"seal": content_digest(rest)}


def seal_holds(record: Mapping[str, Any]) -> bool:
    """Whether a record is as it was when it was sealed."""
    return bool(record.get("seal") == sealed(record)["seal"])


def file_hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder: path inside the folder to hash, sorted.

    Raises:
        OSError: a file cannot be read.
    """
    paths = sorted(p for p in folder.rglob("*") if not p.is_dir())
    return {p.relative_to(folder).as_posix(): file_sha256(p) for p in paths}


def content_digest(content: Mapping[str, Any]) -> str:
    """The SHA-256 of plain values, in hexadecimal, whatever the order of their keys."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def lock(path: Path, what: str) -> filelock.BaseFileLock:
    """Take a lock that the operating system frees when this process ends, however it ends.

    Args:
        path: the lock file. It keeps the id of the process that holds it.
        what: what the lock protects, for the message.

    Raises:
        WorkspaceError: another process holds it.
    """
    held = filelock.FileLock(path)
    owner = path.with_suffix(".owner")
    try:
        held.acquire(timeout=0)
    except filelock.Timeout:
        by = owner.read_text(encoding="utf-8") if owner.exists() else "another process"
        raise WorkspaceError(
            f"{what} is already running in {path.parents[1]} ({by}): wait for it to end, stop "
            f"it, or name another workspace."
        ) from None
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    owner.write_text(f"process {os.getpid()} since {since}", encoding="utf-8")
    return held


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


_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


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
def _clear_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pl.exceptions.ComputeError) as error:
        raise cannot_write(folder, error) from error


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found

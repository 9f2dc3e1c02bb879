"""Run the notebooks that are not fresh, in order, and keep a record of how each run went.

Papermill executes each of them in a kernel of its own; the cell in which one fails is named.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from traitlets.config import Config

from elara.pipeline.notebooks import Notebook
from elara.pipeline.plan import FILE, Plan
from elara.pipeline.state import fingerprint, states
from elara.workspace import (
    Workspace,
    WorkspaceError,
    cannot_write,
    disk_trouble,
    file_sha256,
    lock,
    manifest_text,
    sealed,
    write_atomically,
    writing_to,
)
from elara.workspace.formats import json_text

_PROGRESS = re.compile(r"^.+: .+ min left$", re.MULTILINE)
_MOST_MISSING = 5  # lines of what is missing


class NotebookError(RuntimeError):
    """A notebook failed; the message names notebook, cell, error and the kept copy."""


def run(
    plan: Plan,
    notebooks: Sequence[Notebook],
    *,
    force: bool = False,
    report: Callable[[str], None] = print,
) -> int:
    """Run what is not fresh, in order; stop at the first failure.

    Args:
        plan: parameters and workspace.
        notebooks: which of the plan's notebooks to consider.
        force: run fresh ones too.
        report: takes one line of text at a time.

    Returns:
        How many notebooks ran.

    Raises:
        NotebookError: a notebook failed; a rerun continues with it.
        WorkspaceError: the workspace cannot be written, or a run is going on in it.
    """
    root = plan.workspace.root
    with writing_to(root):
        (root / "logs").mkdir(parents=True, exist_ok=True)
        (root / "notebooks").mkdir(exist_ok=True)
        held = lock(root / "logs" / "pipeline.lock", "The pipeline")
    ran, noted = 0, set[str]()
    try:
        with writing_to(root):
            write_atomically(root / FILE, json_text(plan.settings))
        for notebook in notebooks:
            state = next(s for s in states(plan) if s.notebook == notebook)
            if state.status == "fresh" and not force:
                report(f"{notebook.name}: fresh")
                continue
            for line in _notes(plan, notebook, noted):
                report(line)
            why = "its last run failed" if state.status == "failed" else state.why or state.status
            report(f"{notebook.name}: running ({'forced' if force else why})")
            seconds = _execute(plan, notebook, report)
            report(f"{notebook.name}: done in {seconds:.0f} s")
            for line in _result(plan.workspace, notebook, noted):
                report(line)
            ran += 1
    finally:
        held.release()
    return ran


def _notes(plan: Plan, notebook: Notebook, noted: set[str]) -> Iterator[str]:
    """What earlier stages want to be known, unless this run has said so already."""
    for earlier in plan.notebooks[: plan.notebooks.index(notebook)]:
        with contextlib.suppress(WorkspaceError):
            for line in plan.workspace.manifest(earlier.stage).get("notes", ()):
                if line not in noted:
                    noted.add(line)
                    yield f"{earlier.name}: note: {line}"


def _result(workspace: Workspace, notebook: Notebook, noted: set[str]) -> Iterator[str]:
    """What a stage has just made, how to list it, and what to know before building on it."""
    manifest = workspace.manifest(notebook.stage)
    if summary := manifest.get("summary"):
        yield f"  {summary}"
    if listed := manifest.get("listed"):
        yield f"  to list them: {workspace.command('show', notebook.stage, listed)}"
    missing = manifest.get("incomplete", ())
    yield from (f"  incomplete: {line}" for line in missing[:_MOST_MISSING])
    if len(missing) > _MOST_MISSING:
        yield f"  incomplete: and {len(missing) - _MOST_MISSING:,} more"
    notes = manifest.get("notes", ())
    noted.update(notes)
    yield from (f"  note: {line}" for line in notes)


def _execute(plan: Plan, notebook: Notebook, report: Callable[[str], None]) -> float:
    """Run one notebook, and record how it went before and after; returns the seconds it took."""
    root = plan.workspace.root
    folder = root / "notebooks"
    draft, kept = folder / f".{notebook.name}.ipynb", folder / f"{notebook.name}.ipynb"
    failed = folder / f"{notebook.name}.failed.ipynb"
    log = root / "logs" / f"{notebook.name}.log"
    record: dict[str, Any] = {"fingerprint": fingerprint(plan, notebook)}
    started = time.monotonic()
    # Written first, so that the record stands even when nothing can be written in the end.
    _write_record(plan, notebook, record | {"error": "the run broke off in this notebook"})
    try:
        failed.unlink(missing_ok=True)
        # The kernel that starts meanwhile works in this workspace.
        with mock.patch.dict(os.environ, ELARA_WORKSPACE=str(root)):
            execute(notebook.path, draft, plan.overrides.get(notebook.name) or {}, log, report)
        draft.replace(kept)
    except (CellError, OSError) as error:
        record |= {"error": _why_it_failed(root, error)}
        record["seconds"] = round(time.monotonic() - started, 1)
        with contextlib.suppress(WorkspaceError):  # then the first record has to do
            _write_record(plan, notebook, record, draft)
        ending = "Fix the problem, then run the same command again: it continues there."
        with contextlib.suppress(OSError):
            draft.replace(failed)
            ending = f"The failed copy is {failed}. {ending}"
        joined = "failed in" if isinstance(error, CellError) else "failed:"
        raise NotebookError(f"{notebook.name} {joined} {record['error']}\n{ending}") from error
    record["seconds"] = round(time.monotonic() - started, 1)
    record["identity"] = plan.workspace.manifest(notebook.stage)["identity"]
    _write_record(plan, notebook, record, kept)
    return float(record["seconds"])


def _why_it_failed(root: Path, error: CellError | OSError) -> str:
    """What to tell of a failure; a full disk is named as such, whoever met it."""
    if isinstance(error, OSError):
        return str(cannot_write(root, error))
    text = str(error)
    if (code := disk_trouble(text)) and "Remedy:" not in text:
        text += f"\n{cannot_write(root, OSError(code, os.strerror(code)))}"
    return text


def _write_record(
    plan: Plan, notebook: Notebook, record: Mapping[str, Any], copy: Path | None = None
) -> None:
    """Write how a run went, so that `elara verify` notices a change in it and in the copy."""
    content = dict(record) | {"ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    with writing_to(plan.workspace.root):
        if copy is not None and copy.exists():
            content["executed"] = file_sha256(copy)
        write_atomically(plan.record_path(notebook), manifest_text(sealed(content)))


class CellError(RuntimeError):
    """A cell raised an error, or the kernel died in it; the message names cell and error."""


def execute(
    notebook: Path,
    draft: Path,
    parameters: Mapping[str, Any],
    log: Path,
    report: Callable[[str], None],
) -> None:
    """Run a notebook in a fresh kernel, in the notebook's own folder.

    Args:
        notebook: the `.ipynb` file; only read.
        draft: the executed copy, written after every cell.
        parameters: what differs from the notebook's defaults.
        log: a text file for what the cells print.
        report: takes one progress line at a time.

    Raises:
        CellError: a cell failed, or the kernel died.
        OSError: the draft or the log cannot be written.
    """
    import papermill

    with _log_to(log, report):
        try:
            with tempfile.TemporaryDirectory(prefix="elara-kernel-") as sockets:
                papermill.execute_notebook(
                    _no_format(notebook),
                    _no_format(draft),
                    parameters=dict(parameters),
                    kernel_name="python3",
                    language="python",
                    cwd=notebook.parent,
                    progress_bar=False,
                    log_output=True,
                    config=_sockets_in(sockets),
                )
        except papermill.PapermillExecutionError as error:
            what = f"cell In [{error.exec_count}]: {error.ename}: {error.evalue}"
            raise CellError(what) from error
        except RuntimeError as error:  # nbclient lost the kernel
            raise CellError(
                f"its kernel: {error}{_running_cell(draft)}; perhaps memory ran out"
            ) from error


def _no_format(path: Path) -> str:
    """Papermill fills parameters into { } in a path; in a folder's name they are just letters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _running_cell(draft: Path) -> str:
    """Name the cell in which a kernel died; "" where that cannot be told."""
    import nbformat

    try:
        cells = nbformat.read(draft, as_version=4).cells
    except (OSError, ValueError):  # cut off, on a full disk
        return ""
    started = [c for c in cells if c.cell_type == "code" and c.metadata.papermill.start_time]
    if not started:
        return ""
    running = started[-1]
    first = next((line.strip() for line in running.source.splitlines() if line.strip()), "")
    return f" in cell In [{running.execution_count or len(started)}] (`{first[:60]}`)"


def _sockets_in(folder: str) -> Config:
    """Let the kernel talk through files in a folder of its own.

    By default jupyter_client looks for free network ports before the kernel starts, and another
    program may take one of them in between. The path of such a file is short (unix(7): 107
    bytes, on macOS 103); in a folder whose own path is long, ports have to do.
    """
    file = str(Path(folder) / "kernel.json")
    if len(os.fsencode(file)) > 96:
        return Config()
    return Config(KernelManager={"transport": "ipc", "connection_file": file})


@contextlib.contextmanager
def _log_to(path: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Send what cells print and the kernel's chat to a log file, and progress to the reader."""

    class Progress(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            for line in _PROGRESS.findall(record.getMessage()):
                report(f"  {line}")

    class Log(logging.FileHandler):
        def handleError(self, record: logging.LogRecord) -> None:
            """A log that cannot be written (a full disk) is no reason to end the run."""

    logger = logging.getLogger("papermill")
    handlers = [Log(path, mode="w", encoding="utf-8", errors="replace"), Progress()]
    handlers[0].setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for handler in handlers:
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    shown = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(shown, 2)
        os.close(shown)
        for handler in handlers:
            logger.removeHandler(handler)
            with contextlib.suppress(OSError):
                handler.close()

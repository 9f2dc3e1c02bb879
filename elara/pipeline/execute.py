"""Execute one notebook with papermill, and name the cell in which it failed, if it did."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from traitlets.config import Config

_PROGRESS = re.compile(r"^.+: .+ min left$", re.MULTILINE)


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
        CellError: a cell failed, or the kernel died; `draft` marks the cell.
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
            where = _mark_running_cell(draft, str(error))
            raise CellError(f"its kernel: {error}{where}; perhaps memory ran out") from error


def _no_format(path: Path) -> str:
    """Papermill fills parameters into { } in a path; in a folder's name they are just letters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _mark_running_cell(draft: Path, why: str) -> str:
    """Put right what papermill notes when a kernel dies: it calls every cell completed.

    Returns:
        Words that name the cell that was running, or "" when none was.
    """
    import nbformat

    try:
        document = nbformat.read(draft, as_version=4)
    except (OSError, ValueError):  # cut off, on a full disk
        return ""
    code = [c for c in document.cells if c.cell_type == "code"]
    for cell in document.cells:
        if not cell.metadata.papermill.start_time:  # it never came to this one
            cell.metadata.papermill |= {"status": "pending", "end_time": None, "duration": None}
    started = [c for c in code if c.metadata.papermill.start_time]
    if not started:
        return ""
    running = started[-1]
    running.metadata.papermill |= {"status": "failed", "exception": True}
    document.metadata.papermill["exception"] = True
    number = running.execution_count or len(started)
    message = f"{why} in cell In [{number}]"
    running.outputs.append(
        nbformat.v4.new_output("error", ename="KernelDied", evalue=message, traceback=[message])
    )
    nbformat.write(document, draft)
    first = next((line.strip() for line in running.source.splitlines() if line.strip()), "")
    return f" in cell In [{number}] (`{first[:60]}`)"


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
    """Send what the cells print to a log file, and their progress lines to the reader.

    The kernel inherits standard error and chats there; that goes to the log file as well.
    """

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

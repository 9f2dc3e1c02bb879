"""For maintainers: run all notebooks afresh and take their outputs over into `notebooks/`.

The committed notebooks carry the outputs of the laptop profile. This runs the pipeline in a
workspace of its own, then the appendices on its results, and copies the executed notebooks back
without papermill's notes, times and machine paths, so that a diff shows what really changed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from build import without_machine_paths

from elara.pipeline.notebooks import numbered
from elara.pipeline.running import execute

PROJECT = Path(__file__).resolve().parents[1]
KEPT_CELL_METADATA = ("tags", "mystnb")
KEPT_NOTEBOOK_METADATA = ("kernelspec", "language_info")


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what depends on when and where a notebook ran.

    Args:
        notebook: an executed notebook; changed in place.

    Returns:
        The same notebook.
    """
    notebook.metadata = {k: v for k, v in notebook.metadata.items() if k in KEPT_NOTEBOOK_METADATA}
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in KEPT_CELL_METADATA}
    return notebook


def take_over(executed: Path, target: Path) -> None:
    """Write an executed notebook, tidied, in the place of the committed one."""
    notebook = nbformat.from_dict(without_machine_paths(tidy(nbformat.read(executed, 4))))
    nbformat.write(notebook, target)
    print(f"refreshed {target.name}")


def main() -> int:
    """Run the pipeline and take the outputs over; exit code 1 if a notebook failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=PROJECT / "_build" / "refresh")
    workspace = parser.parse_args().workspace.resolve()
    command = [sys.executable, "-m", "elara.cli", "run", "--workspace", str(workspace)]
    if code := subprocess.run(command, check=False).returncode:
        return code
    for target in numbered(PROJECT / "notebooks"):
        take_over(workspace / "notebooks" / target.name, target)
    # An executed appendix stays out of the workspace: `elara verify` knows the chain's files only.
    os.environ["ELARA_WORKSPACE"] = str(workspace)
    for target in sorted((PROJECT / "notebooks").glob("[A-Z]-*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            executed = Path(folder) / target.name
            execute(target, executed, parameters={}, log=Path(folder) / "log", report=print)
            take_over(executed, target)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""For maintainers: run all notebooks afresh and take their outputs over into `notebooks/`.

The committed notebooks carry the outputs of the laptop profile. This runs the pipeline in a
workspace of its own and copies the executed notebooks back without papermill's notes, times and
machine paths, so that a diff shows what really changed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import nbformat
from build import without_machine_paths

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


def main() -> int:
    """Run the pipeline and take the outputs over; exit code 1 if a notebook failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=PROJECT / "_build" / "refresh")
    workspace = parser.parse_args().workspace.resolve()
    command = [sys.executable, "-m", "elara.cli", "run", "--workspace", str(workspace)]
    if code := subprocess.run(command, check=False).returncode:
        return code
    for target in sorted((PROJECT / "notebooks").glob("0*.ipynb")):
        executed = nbformat.read(workspace / "notebooks" / target.name, as_version=4)
        executed = nbformat.from_dict(without_machine_paths(tidy(executed)))
        nbformat.write(executed, target)
        print(f"refreshed {target.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

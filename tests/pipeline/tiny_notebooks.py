"""Write tiny notebooks that run real stages."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

BEGIN = """from elara.workspace import Workspace
import polars as pl
stage = Workspace(workspace).begin("{stage}", globals())"""
WRITE = 'stage.write({{"{stage}.parquet": pl.DataFrame({{"n": list(range({rows}))}})}})'


def write_notebook(path: Path, parameters: str, *cells: str) -> None:
    tagged = new_code_cell('workspace: str = ""\n' + parameters, metadata={"tags": ["parameters"]})
    rest = [new_code_cell(cell) for cell in cells]
    notebook = new_notebook(cells=[tagged, *rest])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)

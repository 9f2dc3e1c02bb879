"""Working copies of the notebooks, for JupyterLab."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell
from typer.testing import CliRunner

from elara import cli, pipeline
from elara.pipeline import lab
from elara.pipeline.lab import working_copies
from elara.workspace import Workspace
from elara.workspace.parameters import parameters_of

Make = Callable[..., pipeline.Plan]


def code(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(c.source for c in cells if c.cell_type == "code")


def test_a_copy_begins_with_the_values_of_its_workspace(plan: Make, workspace: Workspace) -> None:
    pipeline.run(plan(seed="7"), [], report=lambda _: None)
    copies = working_copies(plan())
    cells = nbformat.read(copies.folder / "02-inspect.ipynb", as_version=4).cells
    history = ["", *(c.source for c in cells[:2])]
    values: dict[str, object] = {}
    for source in history:
        exec(source, values)
    assert parameters_of({"In": history} | values)["seed"] == 7
    assert "change them here" in cells[1].source
    assert "# Parameters" not in code(copies.folder / "01-collect.ipynb")


def test_links_lead_where_they_led(plan: Make, notebooks: Path, workspace: Workspace) -> None:
    guide = notebooks.parent / "book" / "guide.md"
    guide.parent.mkdir()
    guide.touch()
    path = notebooks / "01-collect.ipynb"
    document = nbformat.read(path, as_version=4)
    document.cells.append(new_markdown_cell("[guide](../book/guide.md), [next](02-inspect.ipynb)"))
    nbformat.write(document, path)
    nbformat.write(document, notebooks / "A-more.ipynb")
    copies = working_copies(plan())
    text = nbformat.read(copies.folder / path.name, as_version=4).cells[-1].source
    link = text.split("(")[1].split(")")[0]
    assert Path(os.path.normpath(copies.folder / link)) == guide
    assert "(02-inspect.ipynb)" in text
    assert (copies.folder / "A-more.ipynb").is_file()  # an appendix is copied, though not run
    assert copies.folder.is_relative_to(copies.root)
    assert guide.is_relative_to(copies.root)


def test_a_changed_copy_is_kept(plan: Make, notebooks: Path) -> None:
    first = working_copies(plan())
    mine = first.folder / "01-collect.ipynb"
    mine.write_text(mine.read_text().replace("rows: int = 3", "rows: int = 4"))
    assert working_copies(plan()).outdated == []
    assert "rows: int = 4" in code(mine)

    for name in ("01-collect.ipynb", "02-inspect.ipynb"):
        path = notebooks / name
        path.write_text(path.read_text().replace("stage.write", "stage.write  "))
    later = working_copies(plan())
    assert later.outdated == [mine]
    assert "rows: int = 4" in code(mine)
    assert "stage.write  " in code(first.folder / "02-inspect.ipynb")  # nobody had changed it

    fresh = working_copies(plan(), fresh=True)
    assert fresh.saved == [mine.with_name("01-collect.1.ipynb")]
    assert "rows: int = 4" in code(fresh.saved[0])
    assert "stage.write  " in code(mine)
    assert working_copies(plan(), fresh=True).saved == []


def test_lab_opens_the_copies_in_their_workspace(
    notebooks: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in notebooks.glob("*.ipynb")}
    started: list[tuple[list[str], dict[str, str]]] = []

    def start(command: list[str], env: dict[str, str], check: bool) -> object:
        started.append((command, env))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(lab.subprocess, "run", start)
    words = ["lab", "-w", str(workspace.root), "--notebooks", str(notebooks), "--", "--no-browser"]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    command, env = started[0]
    assert env["ELARA_WORKSPACE"] == str(workspace.root)
    assert command[-1] == "--no-browser"
    root = Path(next(c for c in command if "root_dir=" in c).split("=")[1])
    page = next(c for c in command if "default_url=" in c).split("=/lab/tree/")[1]
    assert (root / page) == workspace.root / "lab" / "01-collect.ipynb"
    assert {path: path.read_bytes() for path in notebooks.glob("*.ipynb")} == before

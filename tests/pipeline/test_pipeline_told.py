"""What a run says of its stages, and how their tables are listed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from tiny_notebooks import BEGIN, WRITE, write_notebook
from typer.testing import CliRunner

from elara import pipeline
from elara.cli import app
from elara.workspace import Workspace, WorkspaceError
from elara.workspace.parameters import ParameterError

Make = Callable[..., pipeline.Plan]

TELLS = """stage.write(
    {"articles.parquet": pl.DataFrame({"id": ["a", "b"]})},
    summary="2 articles, 3 removed",
    listed="removed/short",
    notes=["only two articles", ""],
)"""


def test_a_stage_ends_with_what_came_of_it(workspace: Workspace, notebooks: Path) -> None:
    begin = BEGIN.format(stage="collect")
    write_notebook(notebooks / "01-collect.ipynb", "rows: int = 0", begin, TELLS)
    begin, write = BEGIN.format(stage="clean"), WRITE.format(stage="clean", rows=1)
    write_notebook(notebooks / "03-clean.ipynb", "rows: int = 0", begin, write)
    plan = pipeline.make_plan(workspace, folder=notebooks)
    first, _, third = plan.notebooks
    lines: list[str] = []
    pipeline.run(plan, [first, third], report=lines.append)
    assert lines[1].startswith("01-collect: done in ")
    assert lines[2:6] == [
        "  2 articles, 3 removed",
        f"  to list them: elara show -w {workspace.root} collect removed/short",
        "  note: only two articles",
        "03-clean: running (never run)",
    ]
    again: list[str] = []  # a run that does not make that stage again says so as well
    pipeline.run(plan, [third], force=True, report=again.append)
    assert again[:2] == ["01-collect: note: only two articles", "03-clean: running (forced)"]


INCOMPLETE = """stage.write(
    {"collect.parquet": pl.DataFrame({"row": range(rows)})},
    incomplete=["who: a page is gone", *(["cdc: another"] if two else [])],
)"""


def test_an_incomplete_stage_is_built_on_and_runs_again(
    workspace: Workspace, notebooks: Path
) -> None:
    begin = BEGIN.format(stage="collect")
    cell = "rows: int = 3\ntwo: bool = True"
    write_notebook(notebooks / "01-collect.ipynb", cell, begin, INCOMPLETE)
    common = ["-w", str(workspace.root), "--notebooks", str(notebooks)]
    result = CliRunner().invoke(app, ["run", *common])
    assert result.exit_code == 3
    assert "incomplete: who: a page is gone" in result.output
    assert "Incomplete: 01-collect: missing: who: a page is gone and 1 more" in result.output
    plan = pipeline.make_plan(workspace, folder=notebooks)
    found = [s.status for s in pipeline.states(plan)]
    assert found == ["incomplete", "fresh", "fresh"]
    shown = CliRunner().invoke(app, ["status", *common])
    assert "incomplete" in shown.output
    lines: list[str] = []  # again for the missing, and no more where nothing has changed by it
    assert pipeline.run(plan, plan.notebooks, report=lines.append) == 1
    assert lines[0] == "01-collect: running (missing: who: a page is gone and 1 more)"
    assert lines[-2:] == ["02-inspect: fresh", "03-clean: fresh"]
    assert CliRunner().invoke(app, ["run", *common, "--only", "clean"]).exit_code == 0


@pytest.fixture
def collected(workspace: Workspace) -> None:
    """A workspace in which one stage has finished."""
    removed = pl.DataFrame({"id": ["c", "d", "e"], "why": ["x", "y", "z"]})
    workspace.begin("collect", {}).write(
        {"articles.parquet": pl.DataFrame({"id": ["a", "b"]}), "removed/short.parquet": removed}
    )


def test_status_counts_the_main_table(plan: Make, notebooks: Path) -> None:
    begin = BEGIN.format(stage="collect")
    write = TELLS.replace('"b"]})', '"b"]}), "outcomes.parquet": pl.DataFrame({"n": [1] * 9})')
    write_notebook(notebooks / "01-collect.ipynb", "rows: int = 0", begin, write)
    pipeline.run(plan(), plan().notebooks[:1], report=lambda _: None)
    assert next(pipeline.states(plan())).rows == 2


def test_tables_and_their_rows_are_listed(collected: None, workspace: Workspace) -> None:
    def shown(*words: str) -> str:
        done = CliRunner().invoke(app, ["show", "-w", str(workspace.root), *words])
        assert done.exit_code == 0, done.output
        return done.output

    assert "collect removed/short  (3 rows)" in shown("collect")
    assert re.findall(r"id: +(\w)", shown("collect", "removed/short")) == ["c", "d", "e"]
    some = shown("collect", "removed/short", "--where", "why=x,z")
    assert re.findall(r"id: +(\w)", some) == ["c", "e"]
    few = shown("collect", "removed/short", "--most", "1")
    assert few.endswith("1 of 3 rows (--most N)\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["colect"], "Unknown stage `colect`: did you mean `collect`?"),
        (["collect", "articels"], "Unknown table `articels`: did you mean `articles`?"),
        (["collect", "articles", "--where", "id"], "cannot be compared: write id=VALUE."),
        (["collect", "articles", "--where", "ids=a"], "Unknown column `ids`: did you mean `id`?"),
    ],
)
def test_a_mistyped_name_gets_the_closest(
    collected: None, workspace: Workspace, words: list[str], message: str
) -> None:
    done = CliRunner().invoke(app, ["show", "-w", str(workspace.root), *words])
    assert isinstance(done.exception, ParameterError)
    assert message in str(done.exception)


@pytest.mark.parametrize("command", [["status"], ["show", "collect"]])
def test_a_mistyped_workspace_is_none(
    collected: None, workspace: Workspace, command: list[str]
) -> None:
    wrong = workspace.root.with_name(workspace.root.name[:-1])
    done = CliRunner().invoke(app, [*command, "-w", str(wrong)])
    assert isinstance(done.exception, WorkspaceError)
    assert f"There is no workspace in {wrong}. Did you mean {workspace.root}?" in str(
        done.exception
    )
    assert not wrong.exists()


def test_a_failed_notebook_is_not_said_to_run_with_its_old_error(
    plan: Make, workspace: Workspace
) -> None:
    with pytest.raises(pipeline.NotebookError, match="Fix the problem, then run the same command"):
        pipeline.run(plan(fail="true"), plan().notebooks, report=lambda _: None)
    lines: list[str] = []
    pipeline.run(plan(fail="false"), plan().notebooks[:2], report=lines.append)
    assert "02-inspect: running (its last run failed)" in lines


def test_what_comes_next_depends_on_what_is_there(
    collected: None, workspace: Workspace, notebooks: Path
) -> None:
    words = ["run", "-w", str(workspace.root), "--notebooks", str(notebooks), "--only", "collect"]
    ending = CliRunner().invoke(app, words).output
    assert f"Next        elara run -w {workspace.root} (go on), elara lab" in ending
    assert "serve" not in ending
    assert "Book" not in ending

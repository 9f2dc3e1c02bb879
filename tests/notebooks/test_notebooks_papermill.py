"""Plain papermill works from anywhere, and tells what a notebook takes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner, Result
from papermill import cli

from elara import pipeline
from elara.expand import curated_examples
from elara.pipeline.notebooks import NOTEBOOKS, read_notebook
from elara.records import Article, frame
from elara.workspace import Workspace

NAMES = [path.name for path in sorted(NOTEBOOKS.glob("0*.ipynb"))]
APPENDICES = [path.name for path in sorted(NOTEBOOKS.glob("[A-Z]-*.ipynb"))]


def papermill(*arguments: str, cwd: Path) -> Result:
    """Papermill's own command, without a start of its own."""
    with contextlib.chdir(cwd):
        return CliRunner().invoke(cli.papermill, arguments)


def program(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The same, as a shell starts it."""
    return subprocess.run(
        [sys.executable, "-m", "papermill", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | variables,
        check=False,
        timeout=600,
    )


def test_the_chain_is_the_seven_and_runs_no_appendix(tmp_path: Path) -> None:
    assert len(NAMES) == 7
    assert len(APPENDICES) == 2
    chain = pipeline.make_plan(Workspace(tmp_path)).notebooks
    assert [notebook.path.name for notebook in chain] == NAMES
    # The shell's order is that of `make nbval`: an appendix needs the results of the seven.
    command = ["bash", "-c", "printf '%s\\n' *.ipynb"]
    listed = subprocess.run(command, cwd=NOTEBOOKS, capture_output=True, text=True, check=True)
    assert listed.stdout.split() == [*NAMES, *APPENDICES]


@pytest.mark.parametrize("name", [*NAMES, *APPENDICES])
def test_each_says_where_it_works(name: str) -> None:
    code = [c for c in nbformat.read(NOTEBOOKS / name, 4).cells if c.cell_type == "code"]
    begins = next(c for c in code if "Workspace(workspace)" in c.source)
    assert "print(stage.workspace)" in begins.source or "print(place)" in begins.source
    assert any("Workspace: workspace (" in o.get("text", "") for o in begins.outputs)


@pytest.mark.parametrize("name", [*NAMES, *APPENDICES])
def test_every_parameter_is_explained(name: str, tmp_path: Path) -> None:
    path = NOTEBOOKS / name
    said = papermill("--help-notebook", str(path), cwd=tmp_path)
    lines = [" ".join(line.split()) for line in said.stdout.splitlines()]
    for parameter, default in read_notebook(path).defaults.items():
        start = f"{parameter}: {type(default).__name__} (default "
        line = next((i for i, text in enumerate(lines) if text.startswith(start)), None)
        assert line is not None, f"{start} not in {lines}"
        rest = lines[line].split(")", 1)[1] + " ".join(lines[line + 1 : line + 3])
        assert len(rest.split()) >= 4, f"{parameter} has no meaning: {lines[line]}"


@pytest.mark.long
def test_a_parameter_set_from_elsewhere_reaches_the_result(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    articles = ["-p", "workspace", str(workspace.root)]
    said = program(str(NOTEBOOKS / NAMES[0]), "out.ipynb", *articles, cwd=tmp_path)
    assert said.returncode == 0, said.stderr[-2000:]
    assert workspace.manifest("collect")["files"]["articles.parquet"]["rows"] > 100
    assert (tmp_path / "out.ipynb").exists()


@pytest.mark.parametrize("name", [*NAMES, *APPENDICES])
def test_an_unknown_parameter_names_the_closest(name: str, tmp_path: Path) -> None:
    wrong = ["-p", "workspac", "x", "-p", "workspace", str(tmp_path / "workspace")]
    said = papermill(str(NOTEBOOKS / name), "out.ipynb", *wrong, cwd=tmp_path)
    assert said.exit_code != 0
    assert "Unknown parameter `workspac`: did you mean `workspace`?" in str(said.exception)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["-p", "sources", "pubmed,pmc"], "live sources ask for an address"),
        (["-p", "sources", "pubmd"], "Unknown source `pubmd`: did you mean `pubmed`?"),
    ],
)
def test_text_for_a_list_is_the_list(given: list[str], message: str, tmp_path: Path) -> None:
    place = ["-p", "workspace", str(tmp_path / "workspace")]
    said = papermill(str(NOTEBOOKS / NAMES[0]), "out.ipynb", *given, *place, cwd=tmp_path)
    assert said.exit_code != 0
    assert message in str(said.exception)
    assert not (tmp_path / "workspace").exists()


@pytest.mark.slow
@pytest.mark.model
def test_a_short_training_run_from_the_shell(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    cases = curated_examples("You are a medical professional assistant.")
    train, validation, test = cases[:-2], cases[-2:-1], cases[-1:]
    files = {"train.jsonl": train, "validation.jsonl": validation, "test.jsonl": test}
    workspace.begin("clean", {}).write({"articles.parquet": frame([], Article)})
    workspace.begin("expand", {}).write(files)
    settings = ["-p", "learning_rate", "1e-4", "-p", "max_train_tokens", "500"]
    settings += ["-y", "{sweep_rates: []}"]
    place = {"ELARA_WORKSPACE": str(workspace.root)}
    said = program(str(NOTEBOOKS / NAMES[4]), "out.ipynb", *settings, cwd=tmp_path, **place)
    assert said.returncode == 0, said.stderr[-2000:]
    record = json.loads((workspace.folder("train") / "adapter" / "training.json").read_text())
    assert record["config"]["learning_rate"] == 1e-4
    assert 1 <= len(record["examples"]) <= 2


@pytest.mark.long
@pytest.mark.parametrize(
    "source",
    [
        *("pubmed", "jats"),
        *(pytest.param(s, marks=pytest.mark.slow) for s in ("qa/medquad/xml", "public_health")),
    ],
)
def test_real_files_run_through_to_examples(source: str, shared_data: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    given = {"local_files": str(shared_data / source), "licences": "any"}
    plan = pipeline.make_plan(workspace, parameters=given)
    assert pipeline.run(plan, plan.notebooks[:4], report=lambda _: None) == 4
    files = {
        p.relative_to(shared_data / source).as_posix() for p in (shared_data / source).rglob("*")
    }
    outcomes = workspace.begin("inspect", {}).read("collect", "outcomes.parquet")
    assert {f for f in files if (shared_data / source / f).is_file()} <= set(outcomes["file"])
    assert workspace.manifest("expand")["files"]["test.jsonl"]["rows"] >= 1


@pytest.mark.long
def test_text_of_unknown_licence_is_not_used_unless_asked(
    shared_data: Path, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "workspace")
    given = {"local_files": str(shared_data / "pubmed" / "baseline_gz")}
    plan = pipeline.make_plan(workspace, parameters=given)
    with pytest.raises(pipeline.NotebookError, match="set `licences` to `any`"):
        pipeline.run(plan, plan.notebooks[:4], report=lambda _: None)


def test_nothing_to_clean_is_said_so(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.begin("inspect", {}).write({"articles.parquet": frame([], Article)})
    plan = pipeline.make_plan(workspace)
    with pytest.raises(pipeline.NotebookError, match=r"Notebook 2 kept no article.*removed"):
        pipeline.run(plan, plan.notebooks[2:3], report=lambda _: None)

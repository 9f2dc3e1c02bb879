"""Which notebooks run, and what happens when one does not end well."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import papermill
import psutil
import pytest
from tiny_notebooks import BEGIN, WRITE, write_notebook
from typer.testing import CliRunner

from elara import pipeline
from elara.audit import audit
from elara.cli import app
from elara.pipeline import notebooks as notebooks_module
from elara.pipeline.state import difference
from elara.workspace import STAGES, Workspace, WorkspaceError
from elara.workspace.parameters import ParameterError
from elara.workspace.stages import stage_folder

Make = Callable[..., pipeline.Plan]


def statuses(plan: pipeline.Plan) -> dict[str, tuple[str, str]]:
    return {s.notebook.stage: (s.status, s.why) for s in pipeline.states(plan)}


def quiet(_: str) -> None:
    pass


def test_a_second_run_does_nothing(
    plan: Make, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [s.status for s in pipeline.states(plan())] == ["never run"] * 3
    assert pipeline.run(plan(), plan().notebooks, report=quiet) == 3
    assert [s.status for s in pipeline.states(plan())] == ["fresh"] * 3
    lines: list[str] = []
    with monkeypatch.context() as patch:
        patch.delattr(papermill, "execute_notebook")  # to use it would be an error
        assert pipeline.run(plan(), plan().notebooks, report=lines.append) == 0
    assert lines == ["01-collect: fresh", "02-inspect: fresh", "03-clean: fresh"]
    executed = nbformat.read(workspace.root / "notebooks" / "02-inspect.ipynb", as_version=4)
    assert [c.execution_count for c in executed.cells if c.cell_type == "code"] == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("finished")
def test_what_changed_decides_what_runs(
    plan: Make, notebooks: Path, workspace: Workspace, tmp_path: Path
) -> None:
    assert {s for s, _ in statuses(plan()).values()} == {"fresh"}

    # a parameter on the command line
    states = statuses(plan(learning_rate="1e-4"))
    assert states["collect"] == ("fresh", "")
    assert states["inspect"] == ("stale", "parameter learning_rate: 0.001 → 0.0001")
    assert states["clean"] == ("stale", "02-inspect will run again")

    # touching a file changes nothing, editing a parameter of 02 leaves 01 alone
    path = notebooks / "02-inspect.ipynb"
    path.touch()
    assert {s for s, _ in statuses(plan()).values()} == {"fresh"}
    path.write_text(path.read_text().replace("seed: int = 0", "seed: int = 1"))
    assert [s for s, _ in statuses(plan()).values()] == ["fresh", "stale", "stale"]
    assert pipeline.run(plan(), plan().notebooks, report=quiet) == 2

    # a Markdown cell or an output is not code
    document = nbformat.read(path, as_version=4)
    document.cells.insert(0, nbformat.v4.new_markdown_cell("words"))
    nbformat.write(document, path)
    assert {s for s, _ in statuses(plan()).values()} == {"fresh"}

    # a damaged result
    (workspace.folder("inspect") / "inspect.parquet").write_bytes(b"x")
    assert statuses(plan())["inspect"] == ("stale", "inspect.parquet was changed")
    (workspace.folder("inspect") / "manifest.json").unlink()
    assert statuses(plan())["inspect"] == ("stale", "its results are gone")


def test_a_folder_that_a_parameter_names_counts(plan: Make, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a.xml").write_text("one")
    named = {"local_files": str(folder)}
    pipeline.run(plan(**named), plan(**named).notebooks[:1], report=quiet)
    assert statuses(plan(**named))["collect"] == ("fresh", "")
    (folder / "b.xml").write_text("two")
    assert statuses(plan(**named))["collect"] == ("stale", "files in `local_files` changed")


@pytest.mark.usefixtures("finished")
def test_a_stage_run_by_hand_is_noticed(plan: Make, workspace: Workspace) -> None:
    workspace.begin("collect", {}).write({"other.json": {}})
    assert statuses(plan())["collect"] == ("stale", "the stage was run by hand since")


def test_an_index_that_was_made_anew_is_noticed(
    plan: Make, notebooks: Path, workspace: Workspace
) -> None:
    write_notebook(
        notebooks / "01-collect.ipynb",
        'rows: int = 3\nlocal_files: str = ""',
        BEGIN.format(stage="collect"),
        'index = stage.workspace.root / "retrieval"\nindex.mkdir(exist_ok=True)\n'
        '(index / "manifest.json").write_text(\'{"identity": "first"}\')\nstage.uses("retrieval")',
        WRITE.format(stage="collect", rows="rows"),
    )
    pipeline.run(plan(), plan().notebooks[:1], report=quiet)
    assert statuses(plan())["collect"] == ("fresh", "")
    manifest = workspace.root / "retrieval" / "manifest.json"
    manifest.write_text('{"identity": "second"}')
    assert statuses(plan())["collect"] == ("stale", "input changed: retrieval")
    manifest.unlink()
    assert statuses(plan())["collect"] == ("stale", "input changed: retrieval")


def test_a_changed_module_is_named(
    plan: Make, notebooks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "elara"
    (package / "room").mkdir(parents=True)
    (package / "room" / "__init__.py").write_text("from elara.room import deep\n")
    (package / "room" / "deep.py").write_text(
        'from importlib.resources import files\nx = "elara.sample"\n'
    )
    (package / "sample").mkdir()
    (package / "sample" / "a.xml").write_text("<a/>")
    (package / "apart.py").write_text("")
    monkeypatch.setattr(notebooks_module, "PACKAGE", package)
    code = "from elara import room\nprint(room)"
    modules = notebooks_module.modules_of(code)
    assert sorted(modules) == [
        "elara/room/__init__.py",
        "elara/room/deep.py",
        "elara/sample/a.xml",
    ]
    (package / "sample" / "a.xml").write_text("<b/>")
    changed = notebooks_module.modules_of(code)
    old = {"code": "", "parameters": {}, "inputs": {}, "paths": {}, "modules": modules}
    new = old | {"modules": changed}
    assert difference(old, new) == "module changed: elara/sample/a.xml"


def test_selecting_notebooks(plan: Make) -> None:
    made = plan()
    for name in ("2", "02", "02-inspect", "inspect"):
        assert [n.stage for n in pipeline.select(made, only=name)] == ["inspect"]
        assert [n.stage for n in pipeline.select(made, start=name)] == ["inspect", "clean"]
    with pytest.raises(ParameterError, match="`inspekt`: did you mean `inspect`"):
        pipeline.select(made, only="inspekt")


@pytest.mark.usefixtures("finished")
def test_only_and_force(plan: Make) -> None:
    made = plan()
    only = pipeline.select(made, only="clean")
    assert pipeline.run(made, only, report=quiet) == 0
    assert pipeline.run(made, only, force=True, report=quiet) == 1
    assert {s for s, _ in statuses(plan()).values()} == {"fresh"}


def test_a_failing_notebook_is_named_kept_and_continued(plan: Make, workspace: Workspace) -> None:
    broken = plan(fail="true")
    with pytest.raises(pipeline.NotebookError) as caught:
        pipeline.run(broken, broken.notebooks, report=quiet)
    message = str(caught.value)
    assert "02-inspect failed in cell In [5]: ValueError: no such luck" in message
    kept = workspace.root / "notebooks" / "02-inspect.failed.ipynb"
    assert str(kept) in message
    assert "no such luck" in kept.read_text()
    assert not (workspace.root / "notebooks" / "02-inspect.ipynb").exists()
    assert [s.status for s in pipeline.states(plan())] == ["fresh", "failed", "never run"]
    lines: list[str] = []
    mended = plan(fail="false")  # the value that failed is remembered, like any other
    assert pipeline.run(mended, mended.notebooks, report=lines.append) == 2
    assert lines[0] == "01-collect: fresh"
    assert not kept.exists()


def test_a_killed_kernel_is_one_clear_error(
    plan: Make, notebooks: Path, workspace: Workspace, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    kill = f"import os\nif not os.path.exists({str(marker)!r}):\n    os.kill(os.getpid(), 9)"
    second_notebook(notebooks, kill)
    with pytest.raises(pipeline.NotebookError, match=r"02-inspect failed in its kernel: .*memory"):
        pipeline.run(plan(), plan().notebooks, report=quiet)
    assert (workspace.root / "notebooks" / "02-inspect.failed.ipynb").exists()
    assert statuses(plan())["inspect"][0] == "failed"
    marker.touch()
    lines: list[str] = []
    assert pipeline.run(plan(), plan().notebooks, report=lines.append) == 2
    assert lines[0] == "01-collect: fresh"


def test_a_kernel_takes_no_network_port(
    plan: Make, notebooks: Path, workspace: Workspace, tmp_path: Path
) -> None:
    found = tmp_path / "found"
    look = (
        "from ipykernel.connect import get_connection_info\n"
        f"open({str(found)!r}, 'w').write(get_connection_info())"
    )
    write_notebook(
        notebooks / "01-collect.ipynb",
        "",
        BEGIN.format(stage="collect"),
        look,
        WRITE.format(stage="collect", rows="2"),
    )
    pipeline.run(plan(), plan().notebooks[:1], report=quiet)
    connection = json.loads(found.read_text())
    assert connection["transport"] == "ipc"
    assert not Path(connection["ip"]).parent.exists(), "what the kernel left is still there"


def test_a_long_path_for_temporary_files_is_no_hindrance(
    plan: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert pipeline.run(plan(), plan().notebooks[:1], report=quiet) == 1


def test_an_unwritable_workspace_is_one_clear_error(notebooks: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    made = pipeline.make_plan(Workspace(tmp_path / "file"), folder=notebooks)
    with pytest.raises(WorkspaceError, match="Remedy: name a folder"):
        pipeline.run(made, made.notebooks, report=quiet)


def start(notebooks: Path, workspace: Workspace) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "elara.cli", "run", "--notebooks", str(notebooks)]
    return subprocess.Popen(
        [*command, "--workspace", str(workspace.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(path: Path, run: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 180  # only so that a hanging run ends
    while not path.exists():
        if run.poll() is not None or time.monotonic() > deadline:
            run.kill()
            raise AssertionError(f"{path} did not appear; the run said: {run.communicate()}")
        time.sleep(0.1)


def slow_notebook(notebooks: Path, marker: Path) -> None:
    second_notebook(
        notebooks,
        f"import os, time\nopen({str(marker)!r}, 'w').write(str(os.getpid()))\n"
        f"time.sleep(0 if os.path.exists({str(marker)!r} + '.go') else 120)",
    )


def second_notebook(notebooks: Path, cell: str) -> None:
    write_notebook(
        notebooks / "02-inspect.ipynb",
        "",
        BEGIN.format(stage="inspect"),
        cell,
        WRITE.format(stage="inspect", rows="2"),
    )
    write_notebook(
        notebooks / "03-clean.ipynb",
        "",
        BEGIN.format(stage="clean"),
        WRITE.format(stage="clean", rows="2"),
    )


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_continues(
    how: signal.Signals, notebooks: Path, workspace: Workspace, tmp_path: Path, plan: Make
) -> None:
    marker = tmp_path / "marker"
    slow_notebook(notebooks, marker)
    run = start(notebooks, workspace)
    wait_for(marker, run)

    # a second run in the same workspace refuses while the first one works
    second = start(notebooks, workspace)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "already running" in said
    assert f"process {run.pid}" in said

    os.killpg(run.pid, how)
    _, said = run.communicate(timeout=60)
    if how == signal.SIGINT:
        assert run.returncode == 130
        assert "Run the same command again" in said
        assert "Traceback" not in said
    kernel = int(marker.read_text())
    deadline = time.monotonic() + 60
    while psutil.pid_exists(kernel) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not psutil.pid_exists(kernel), "the kernel went on by itself"

    Path(f"{marker}.go").touch()
    again = start(notebooks, workspace)
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0
    assert "01-collect: fresh" in said
    assert "03-clean: done" in said
    assert {s for s, _ in statuses(plan()).values()} == {"fresh"}


def test_what_ctrl_c_leaves_behind_is_not_printed(
    notebooks: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = []

    def execute(*_: object, **__: object) -> None:
        """What papermill does when Ctrl-C comes while a kernel dies."""
        loop = asyncio.new_event_loop()
        left.append(loop.create_task(die()))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        raise KeyboardInterrupt

    async def die() -> None:
        raise RuntimeError("Kernel died")

    printed = io.StringIO()
    logger = logging.getLogger("asyncio")
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(printed)])
    monkeypatch.setattr(papermill, "execute_notebook", execute)
    level = logger.level
    try:
        said = CliRunner().invoke(
            app, ["run", "--notebooks", str(notebooks), "--workspace", str(workspace.root)]
        )
        assert said.exit_code == 130
        assert "Run the same command again" in said.output
        left.clear()
        gc.collect()
        assert printed.getvalue() == ""
    finally:
        logger.setLevel(level)


@pytest.mark.usefixtures("finished")
def test_a_record_cut_off_by_a_crash_counts_as_never_run(plan: Make) -> None:
    made = plan()
    path = made.record_path(made.notebooks[0])
    assert json.loads(path.read_text())["identity"]
    path.write_text('{"finger')
    assert statuses(plan())["collect"][0] == "never run"


@pytest.fixture(scope="module")
def followed() -> dict[str, set[str]]:
    """The files on which each stage's notebook depends."""
    paths = notebooks_module.numbered(notebooks_module.NOTEBOOKS)
    return {n.stage: set(n.modules) for n in map(notebooks_module.read_notebook, paths)}


def test_the_embedded_sample_counts_as_code_of_the_first_notebook(
    followed: dict[str, set[str]],
) -> None:
    assert "elara/sample/pubmed/african_health.xml" in followed["collect"]
    assert "elara/collect/topics.yaml" in followed["collect"]
    assert "elara/model/plain.jinja" in followed["train"]
    assert not any(name.startswith("elara/sample/") for name in followed["clean"])


def test_a_change_of_the_tools_makes_no_stage_stale(followed: dict[str, set[str]]) -> None:
    for stage, files in followed.items():
        assert not {f for f in files if f.startswith(("elara/pipeline/", "elara/cli"))}, stage
    for stage in ("collect", "inspect", "clean"):
        apart = ("elara/train/", "elara/audit/", "elara/export/", "elara/model/", "elara/serve/")
        assert not {f for f in followed[stage] if f.startswith(apart)}, stage


@pytest.mark.parametrize("stage", STAGES)
def test_a_change_anywhere_in_its_room_makes_a_stage_stale(
    followed: dict[str, set[str]], project: Path, stage: str
) -> None:
    """All but what is asked by name, which decides no result: checks, forecasts, programs."""
    room = project / "elara" / stage_folder(stage)
    asked = ("parameters.py", "forecast.py", "__main__.py")
    asked += ("comparing.py", "rubrics.py", "judge_model.py", "meta.py", "refusals.py")
    asked += ("commands.py", "fhir.py", "build.py")
    asked += tuple(p.name for p in room.glob("gate*.py"))
    code = [p for p in room.rglob("*.py") if p.name not in asked and "import " in p.read_text()]
    assert {p.relative_to(project).as_posix() for p in code} <= followed[stage]


@pytest.mark.usefixtures("finished")
def test_verify_accounts_for_every_file_that_a_run_leaves(plan: Make, workspace: Workspace) -> None:
    failing = plan(fail="true")
    with pytest.raises(pipeline.NotebookError):
        pipeline.run(failing, failing.notebooks, report=quiet)
    result = audit(workspace)
    assert result.passed, list(result.lines())
    files = {p.relative_to(workspace.root).as_posix() for p in workspace.root.rglob("*.*")}
    assert set(result.files) == {f for f in files if (workspace.root / f).is_file()}
    assert result.files["notebooks/01-collect.ipynb"].passed
    assert result.files["notebooks/02-inspect.failed.ipynb"].passed
    assert result.files["notebooks/02-inspect.json"].passed
    with (workspace.root / "notebooks" / "01-collect.ipynb").open("a") as handle:
        handle.write("\n")
    assert not audit(workspace).passed

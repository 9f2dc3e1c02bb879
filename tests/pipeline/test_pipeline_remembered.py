"""A workspace keeps what it was made with, and what a user has collected in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_notebooks import BEGIN, write_notebook
from typer.testing import CliRunner, Result

from elara import cli, pipeline
from elara.collect import sample_folder, would_replace
from elara.pipeline.plan import FILE, Settings, load_settings
from elara.workspace import Workspace, WorkspaceError
from elara.workspace.parameters import ParameterError

Make = Callable[..., pipeline.Plan]


def quiet(_: str) -> None:
    pass


def typed(place: Workspace, *words: str, **more: str) -> Result:
    """What somebody would type for this workspace, at a terminal that answers nothing."""
    return CliRunner().invoke(cli.app, [words[0], "-w", str(place.root), *words[1:]], **more)


def articles(place: Workspace) -> int:
    return int(place.manifest("collect")["counts"]["articles"])


@pytest.fixture
def own_files(tmp_path: Path) -> Path:
    """A folder of somebody's own: a few pages of the sample, and two files that hold nothing."""
    folder = tmp_path / "own"
    shutil.copytree(sample_folder() / "who", folder)
    (folder / "empty.txt").touch()
    (folder / "archive.bin").write_bytes(b"\x00\x01")
    return folder


@pytest.fixture
def collecting(notebooks: Path) -> list[str]:
    """A notebook that does what the first one does and shows nothing; options that run it."""
    write_notebook(
        notebooks / "01-collect.ipynb",
        'local_files: str = ""\nsources: list = []\nreplace: bool = False\n'
        'email: str = "a@example.org"',
        f"from elara import collect\n{BEGIN.format(stage='collect')}",
        "collect.keep_collected(stage, replace)",
        "found = collect.collect_folder(collect.source_folder(local_files), into=stage.draft)",
        "stage.write({}, counts=found.counts())",
    )
    return ["--only", "collect", "--notebooks", str(notebooks)]


@pytest.mark.long
def test_own_files_are_never_replaced_unasked(own_files: Path, workspace: Workspace) -> None:
    once = typed(workspace, "run", "--local-files", str(own_files), "--only", "collect")
    assert once.exit_code == 0, once.output
    mine = articles(workspace)
    assert f"{mine} articles, 2 skipped (1 empty file; 1 " in once.output
    assert f"elara show -w {workspace.root} collect outcomes --where" in once.output

    again = typed(workspace, "run", "--only", "collect")
    assert again.exit_code == 0
    assert f"As in earlier runs here: local_files={own_files}" in again.output
    assert "01-collect: fresh" in again.output
    assert articles(workspace) == mine
    told = typed(workspace, "status").output
    assert "fresh" in told.split("01-collect")[1].splitlines()[0]
    assert "stale" not in told


def test_replacing_them_needs_a_word(
    own_files: Path, workspace: Workspace, collecting: list[str]
) -> None:
    typed(workspace, "run", "--local-files", str(own_files), *collecting)
    mine = articles(workspace)
    live = ["--local-files", "", "-p", "sources=pubmed"]
    for other in (["--local-files", ""], ["--forget"], live):
        refused = str(typed(workspace, "run", *collecting, *other).exception)
        assert f"holds {mine} articles collected from the folder {own_files}" in refused
        assert refused.endswith("to replace them, add --replace.")
        said = typed(workspace, "run", "--dry-run", *collecting, *other).output
        assert f"holds {mine} articles" in said
        assert "That takes --replace." in said
        assert articles(workspace) == mine
        kept = {"01-collect": {"local_files": str(own_files)}}
        assert load_settings(workspace.root) == Settings("laptop", kept)

    wished = typed(workspace, "run", *collecting, "--local-files", "", "--replace")
    assert wished.exit_code == 0, wished.output
    assert f"Changed: local_files: '{own_files}' → ''" in wished.output
    assert articles(workspace) > mine
    # That word counted once: it makes nothing stale, and the sample may be replaced without it.
    assert "01-collect: fresh" in typed(workspace, "run", *collecting).output
    typed(workspace, "run", "--local-files", str(own_files), *collecting)
    assert articles(workspace) == mine


def test_a_notebook_run_by_hand_keeps_them_too(own_files: Path, workspace: Workspace) -> None:
    stage = workspace.begin("collect", {"local_files": str(own_files), "sources": []})
    stage.write({}, counts={"articles": 3})
    plan = pipeline.make_plan(workspace)
    with pytest.raises(pipeline.NotebookError, match="or set `replace` to True"):
        pipeline.run(plan, plan.notebooks[:1], report=quiet)
    assert articles(workspace) == 3


@pytest.mark.parametrize(
    ("earlier", "now", "asks"),
    [
        (("", []), ("/own", []), False),
        (("", []), ("", ["pubmed"]), False),
        (("/own", []), ("/own/", []), False),
        (("/own", []), ("/other", []), True),
        (("/own", []), ("", ["pubmed"]), True),
        (("", ["pubmed"]), ("/own", []), True),
        (("", ["pubmed"]), ("", ["pmc", "pubmed"]), False),
        (("", ["pubmed", "pmc"]), ("", ["pubmed"]), True),
        (("", ["pubmed"]), ("", []), True),
    ],
)
def test_what_counts_as_replacing(
    workspace: Workspace,
    tmp_path: Path,
    earlier: tuple[str, list[str]],
    now: tuple[str, list[str]],
    asks: bool,
) -> None:
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").touch()
    before, after = (f"{tmp_path}{folder}" if folder else "" for folder, _ in (earlier, now))
    values = {"local_files": before, "sources": earlier[1], "email": "a@example.org"}
    workspace.begin("collect", values).write({}, counts={"articles": 3})
    assert bool(would_replace(workspace, after, now[1])) is asks


def test_values_are_used_again_and_changes_are_shown(plan: Make, workspace: Workspace) -> None:
    pipeline.run(plan(profile="gpu", seed="7"), plan().notebooks, report=quiet)
    later = plan()
    assert later.recalled == Settings("gpu", {"02-inspect": {"seed": 7}, "03-clean": {"seed": 7}})
    assert later.recalled.given() == {"seed": 7}
    assert later.values(later.notebooks[1])["learning_rate"] == 2e-4
    assert {s.status for s in pipeline.states(later)} == {"fresh"}
    assert later.changed == []

    other = plan(profile="laptop", **{"inspect.seed": "8"})
    assert other.changed == ["learning_rate: 0.0002 → 0.001", "seed: 7 → 8"]
    assert other.settings.given() == {"02-inspect.seed": 8, "03-clean.seed": 7}
    pipeline.run(other, other.notebooks[:1], report=quiet)  # fresh: it takes none of these
    assert plan().settings == other.settings


def test_a_value_back_at_its_default_is_no_longer_kept(plan: Make, workspace: Workspace) -> None:
    pipeline.run(plan(seed="7"), [], report=quiet)
    pipeline.run(plan(seed="0"), [], report=quiet)
    assert load_settings(workspace.root) == Settings()


def test_a_plan_alone_leaves_nothing(plan: Make, workspace: Workspace) -> None:
    plan(seed="7")
    assert load_settings(workspace.root) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"profile": "laptop", "parameters": 3}'])
def test_a_broken_file_is_named_with_a_remedy(
    plan: Make, workspace: Workspace, notebooks: Path, content: str
) -> None:
    workspace.root.mkdir(parents=True, exist_ok=True)
    (workspace.root / FILE).write_text(content)
    with pytest.raises(WorkspaceError, match=f"{FILE} should hold .*--forget"):
        plan()
    assert pipeline.make_plan(workspace, folder=notebooks, forget=True).settings == Settings()


def test_a_parameter_that_is_gone_is_named_with_a_remedy(plan: Make, workspace: Workspace) -> None:
    workspace.root.mkdir(parents=True, exist_ok=True)
    kept = {"profile": "laptop", "parameters": {"02-inspect": {"seeed": 3}}}
    (workspace.root / FILE).write_text(json.dumps(kept))
    with pytest.raises(ParameterError, match=r"no longer has.*did you mean `seed`.*--forget"):
        plan()

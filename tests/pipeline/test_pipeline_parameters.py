"""Parameters are checked before anything runs, and an unknown one names the closest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import elara
from tiny_notebooks import write_notebook

from elara import pipeline
from elara.pipeline.notebooks import NOTEBOOKS
from elara.workspace import Workspace
from elara.workspace.parameters import ParameterError

Make = Callable[..., pipeline.Plan]


def test_values_take_the_type_of_the_default(plan: Make) -> None:
    overrides = plan(**{"learning_rate": "1e-4", "inspect.seed": "7", "fail": "True"}).overrides
    assert overrides["02-inspect"] == {"learning_rate": 1e-4, "seed": 7, "fail": True}
    assert overrides["03-clean"] == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("pubmed", ["pubmed"]),
        ("pubmed,pmc", ["pubmed", "pmc"]),
        ('["pubmed", "pmc"]', ["pubmed", "pmc"]),
        ("[]", []),
        ("", []),
    ],
)
def test_a_list_can_be_written_in_a_shell(plan: Make, text: str, value: list[str]) -> None:
    made = plan(sources=text)
    assert made.values(made.notebooks[2])["sources"] == value


def test_a_mapping_can_be_written_in_a_shell(plan: Make) -> None:
    found = plan(mirrors='{pubmed: "http://127.0.0.1:8000/eutils"}').overrides["03-clean"]
    assert found == {"mirrors": {"pubmed": "http://127.0.0.1:8000/eutils"}}
    with pytest.raises(ParameterError, match="must be of type dict"):
        plan(mirrors="pubmed")


def test_a_bare_name_reaches_every_notebook_that_has_it(plan: Make) -> None:
    overrides = plan(seed=3).overrides
    assert overrides["02-inspect"] == overrides["03-clean"] == {"seed": 3}


def test_a_profile_overrides_defaults(plan: Make) -> None:
    assert plan(profile="gpu").overrides["02-inspect"] == {"learning_rate": 2e-4}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"learning_rat": 1}, "`learning_rat`: did you mean `learning_rate`"),
        ({"inspect.sed": 1}, "`inspect.sed`: did you mean `inspect.seed`"),
        ({"seed": "many"}, "02-inspect: `seed` is 'many', but it must be of type int"),
        ({"seed": "1.5"}, "`seed` is '1.5', but it must be of type int"),
        ({"fail": "perhaps"}, "`fail` is 'perhaps', but it must be of type bool"),
    ],
)
def test_wrong_parameters(plan: Make, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        plan(**parameters)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("02-inspect:\n  learning_rte: 1\n", "`learning_rte`: did you mean `learning_rate`"),
        ("02-inspekt:\n  seed: 1\n", "Unknown notebook `02-inspekt`: did you mean `02-inspect`"),
        ("02-inspect: [", "is not valid YAML"),
    ],
)
def test_a_profile_with_a_typo(plan: Make, notebooks: Path, content: str, message: str) -> None:
    (notebooks / "profiles" / "mine.yaml").write_text(content)
    with pytest.raises(ParameterError, match=message):
        plan(profile="mine")


def test_an_unknown_profile_lists_the_known(plan: Make) -> None:
    with pytest.raises(ParameterError, match="no profile 'lapto'; known are: gpu, laptop"):
        plan(profile="lapto")


def test_a_parameter_that_is_no_literal(notebooks: Path, workspace: Workspace) -> None:
    write_notebook(notebooks / "02-inspect.ipynb", "seed: int = len('abc')", "1")
    with pytest.raises(ParameterError, match=r"02-inspect\.ipynb: `seed` must be a literal"):
        pipeline.make_plan(workspace, folder=notebooks)


def test_the_real_profiles_fit_the_real_notebooks(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elara.pipeline.notebooks.modules_of", lambda *_: {})  # seconds each time
    found = {
        path.stem: pipeline.make_plan(workspace, profile=path.stem).overrides
        for path in (NOTEBOOKS / "profiles").glob("*.yaml")
    }
    assert not any(found.pop("laptop").values())
    assert all(given["05-train"] and given["06-evaluate"] for given in found.values())
    gpu = found["gpu"]["05-train"]
    assert gpu["quantisation"] == "nf4"
    assert gpu["learning_rate"] == 2e-4


def test_the_command_line_says_what_would_run(notebooks: Path, workspace: Workspace) -> None:
    place = ["--notebooks", str(notebooks), "--workspace", str(workspace.root)]
    said = elara("run", "--dry-run", "--from", "2", *place)
    assert "01-collect" not in said.stdout
    assert said.stdout.count("never run") == 2
    assert not workspace.root.exists()
    (workspace.root / "logs").mkdir(parents=True)
    table = elara("status", *place).stdout
    assert "01-collect" in table
    assert "never run" in table


def test_command_line_errors_are_one_message(notebooks: Path, workspace: Workspace) -> None:
    place = ["--notebooks", str(notebooks), "--workspace", str(workspace.root)]
    for arguments, message in (
        (["-p", "learning_rat=1"], "did you mean `learning_rate`"),
        (["-p", "learning_rate"], "is not NAME=VALUE"),
        (["--profile", "gpuu"], "no profile 'gpuu'"),
        (["--from", "clen"], "did you mean `clean`"),
    ):
        said = elara("run", *arguments, *place)
        assert said.returncode == 1
        assert message in said.stderr
        assert "Traceback" not in said.stderr


def test_relative_local_files_are_meant_from_here(
    notebooks: Path, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").touch()
    place = ["--notebooks", str(notebooks), "--workspace", str(workspace.root)]
    said = elara("run", "--local-files", "mine", "--only", "1", *place, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert workspace.manifest("collect")["parameters"]["local_files"] == str(tmp_path / "mine")


def test_verify_finds_a_changed_byte(workspace: Workspace) -> None:
    place = ["--workspace", str(workspace.root)]
    assert "No finished stage" in elara("verify", *place).stderr
    workspace.begin("collect", {}).write({"note.json": {"a": 1}})
    sound = elara("verify", *place)
    assert sound.returncode == 0
    assert sound.stdout.startswith(
        "collect: ok: 2 files as recorded\nlogs: not checked: 2 files: a"
    )
    path = workspace.folder("collect") / "note.json"
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))
    said = elara("verify", *place)
    assert said.returncode == 1
    assert "collect: FAILED: raw/note.json was changed\n" in said.stdout

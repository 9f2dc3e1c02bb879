"""What a stage cannot use is refused before anything runs, on every road to a notebook."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_notebooks import BEGIN, write_notebook

from elara import pipeline
from elara.pipeline.notebooks import NOTEBOOKS, Notebook, numbered, read_notebook
from elara.workspace import STAGES, Workspace, check_parameters
from elara.workspace.parameters import ParameterError, parameters_of


@pytest.fixture(scope="module")
def real() -> dict[str, Notebook]:
    """The notebooks of this project, by stage."""
    return {n.stage: n for n in map(read_notebook, numbered(NOTEBOOKS))}


def test_the_defaults_of_every_notebook_can_be_used(real: dict[str, Notebook]) -> None:
    assert real.keys() == STAGES.keys()
    for stage, notebook in real.items():
        check_parameters(stage, notebook.defaults)
        check_parameters(stage, {})


LIVE = {"sources": ["pubmed"], "email": "name@example.org"}


@pytest.mark.parametrize(
    ("stage", "values", "message"),
    [
        ("collect", {"sources": ["pubmd"]}, "Unknown source `pubmd`: did you mean `pubmed`"),
        ("collect", {"sources": [5, "pubmed"]}, "Unknown source `5`"),
        ("collect", {"sources": ["pubmed"], "email": ""}, "`email` is ''"),
        ("collect", LIVE | {"base_urls": {"pmc": "http://x"}}, "Unknown source `pmc`"),
        ("collect", LIVE | {"until": "2026-13-40"}, "write a day as 2026-11-30"),
        ("collect", {"local_files": "/no/such/folder"}, "is not a folder"),
        ("collect", LIVE | {"local_files": "/own"}, "one of the two: leave the other empty"),
        ("collect", {"licence": "CC-NY-4.0"}, "licence"),
        ("collect", {"columns": {"Headline": "titel"}}, "Did you mean `title`"),
        ("collect", {"most": -1}, "`most` is -1: use 0"),
        ("inspect", {"minimum_quality": 1.5}, "`minimum_quality`: minimum is 1.5"),
        ("inspect", {"near_duplicate_threshold": 80.0}, "`near_duplicate_threshold`: threshold"),
        ("clean", {"boilerplate_repeats": 1}, "boilerplate_repeats is 1"),
        ("expand", {"licences": "all"}, "use `redistributable` or `any`"),
        ("expand", {"test_share": 1.2}, "test_share 1.2 and validation_share"),
        ("expand", {"max_answer_words": 0}, "`max_answer_words` is 0"),
        ("train", {"precision": "fp16"}, "use `by_hardware`, `bfloat16` or `float32`"),
        ("train", {"precision": "float16"}, "`precision` float16 is not offered"),
        ("train", {"seed": -1}, "`seed` is -1: NumPy"),
        ("train", {"sweep_rates": [1e-3, 0.0]}, "`sweep_rates` holds 0.0"),
        ("train", {"sweep_rates": ["high"]}, "`sweep_rates` holds 'high'"),
        ("train", {"base_model": "./no/such/folder"}, "`base_model` .* is no folder"),
        ("train", {"base_model": "smollm2-135m-instrct"}, "did you mean `smollm2-135m-instruct`"),
        ("train", {"processes": 3}, "cannot be shared by 3 processes"),
        ("train", {"processes": 0}, "`processes` is 0"),
        ("train", {"profile": "fsdp"}, "Unknown profile 'fsdp'"),
        ("train", {"trackers": ["wanda"]}, "Unknown tracker 'wanda'"),
        ("train", {"batch_size": 0}, "`batch_size` is 0"),
        ("evaluate", {"resamples": 0}, "`resamples` is 0: it must be above 0"),
        ("evaluate", {"batch_size": 0}, "`batch_size` is 0: it must be above 0"),
        ("evaluate", {"sources_each": -1}, "`sources_each` is -1: 0 leaves sources out"),
        ("evaluate", {"source_items": 0}, "`source_items` is 0: an arm with sources"),
        ("evaluate", {"seed": -1}, "`seed` is -1: NumPy"),
        ("serve", {"max_new_tokens": 0}, "`max_new_tokens` is 0: it should be greater"),
        ("serve", {"temperature": 3.0}, "`temperature` is 3.0: it should be less"),
        ("serve", {"question": " "}, "the message is empty"),
    ],
)
def test_impossible_values(
    real: dict[str, Notebook], stage: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        check_parameters(stage, real[stage].defaults | values)


def test_a_folder_without_any_file(tmp_path: Path) -> None:
    (tmp_path / "deep" / "down").mkdir(parents=True)
    with pytest.raises(ParameterError, match="a folder without any file"):
        check_parameters("collect", {"local_files": str(tmp_path)})
    (tmp_path / "deep" / "down" / "a.txt").touch()
    check_parameters("collect", {"local_files": str(tmp_path)})


def test_a_cluster_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elara.inspection.parameters.find_spec", lambda name: None)
    with pytest.raises(ParameterError, match="`pip install --group cluster`"):
        check_parameters("inspect", {"cluster": "ray://head:10001"})
    check_parameters("inspect", {"cluster": ""})


def test_a_model_of_the_hub_is_left_to_the_hub() -> None:
    check_parameters("train", {"base_model": "mistralai/Mistral-7B-Instruct-v0.3"})
    check_parameters("train", {"base_model": "mistralai/Mistral-7B-Instruct-v0.3@main"})


def test_a_plan_is_refused_before_anything_is_written(
    notebooks: Path, workspace: Workspace
) -> None:
    given = {"local_files": str(notebooks / "nowhere")}
    with pytest.raises(ParameterError, match="01-collect: Parameter `local_files` names"):
        pipeline.make_plan(workspace, parameters=given, folder=notebooks)
    assert not workspace.root.exists()
    unchecked = pipeline.make_plan(workspace, parameters=given, folder=notebooks, checked=False)
    assert unchecked.overrides["01-collect"] == given


def test_a_stage_refuses_what_nobody_looked_at_before(workspace: Workspace) -> None:
    with pytest.raises(ParameterError, match="boilerplate_repeats is 0"):
        workspace.begin("clean", {"boilerplate_repeats": 0})
    assert not workspace.root.exists()


DECLARED = """
sources: list = []
rates: list = [1e-3]
mirrors: dict = {}
strict: bool = False
seed: int = 0
share: float = 0.5
until: str = ""
"""


def running(injected: str) -> dict[str, Any]:
    """A notebook's globals after the parameters and what papermill put below them."""
    cells = ["", DECLARED, f"# Parameters\n{injected}"]
    namespace: dict[str, Any] = {"In": cells}
    for cell in cells:
        exec(cell, namespace)
    return namespace


@pytest.mark.parametrize(
    ("injected", "value"),
    [
        ('sources = "pubmed"', ["pubmed"]),
        ('sources = "pubmed, pmc"', ["pubmed", "pmc"]),
        ("sources = '[\"pubmed\"]'", ["pubmed"]),
        ('sources = ["pubmed"]', ["pubmed"]),
        ('sources = ""', []),
        ('rates = "1e-4,3e-4"', [1e-4, 3e-4]),
        ("rates = 0.01", [0.01]),
        ('rates = ["1e-4"]', [1e-4]),
        ("mirrors = '{pubmed: x}'", {"pubmed": "x"}),
        ('strict = "true"', True),
        ("seed = 3.0", 3),
        ("share = 1", 1.0),
        ('share = "1e-4"', 1e-4),
    ],
)
def test_what_papermill_sends_becomes_what_is_declared(injected: str, value: object) -> None:
    namespace = running(injected)
    name = injected.partition(" ")[0]
    assert parameters_of(namespace)[name] == value
    assert namespace[name] == value
    assert type(namespace[name]) is type(value)


@pytest.mark.parametrize(
    ("injected", "message"),
    [
        ('seed = "abc"', "`seed` is 'abc', but it must be of type int"),
        ("seed = 1.5", "`seed` is 1.5, but it must be of type int"),
        ("seed = True", "`seed` is True, but it must be of type int"),
        ('strict = "maybe"', "must be of type bool"),
        ('sources = "[pubmed"', "must be of type list"),
        ('rates = "high"', "must be of type list of float, and finite"),
        ('share = float("nan")', "must be of type float, and finite"),
        ('share = "inf"', "must be of type float, and finite"),
        ("until = 2026", "must be of type str"),
    ],
)
def test_what_cannot_be_converted_is_refused(injected: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        parameters_of(running(injected))


def test_a_cell_edited_in_jupyterlab_is_held_to_its_types() -> None:
    edited = 'sources: list = "pubmed"\nseed: int = "x"'
    namespace: dict[str, Any] = {"In": ["", edited], "sources": "pubmed", "seed": "x"}
    with pytest.raises(ParameterError, match="`seed` is 'x'"):
        parameters_of(namespace)
    namespace = {"In": ["", edited.replace('"x"', "3")], "sources": "pubmed", "seed": 3}
    assert parameters_of(namespace) == {"sources": ["pubmed"], "seed": 3}


def test_later_cells_see_the_list(tmp_path: Path, workspace: Workspace) -> None:
    write_notebook(
        tmp_path / "01-collect.ipynb",
        'items: list = []\nstrict: bool = False\nrates: list = [1e-3]\nseen: str = ""',
        BEGIN.format(stage="collect"),
        "import json, pathlib\n"
        "pathlib.Path(seen).write_text(json.dumps([items, strict, rates]))\n"
        "stage.write({})",
    )
    given = ["-p", "items", "a,b", "-p", "strict", "true", "-p", "rates", "1e-4"]
    given += ["-p", "seen", str(tmp_path / "seen.json"), "-p", "workspace", str(workspace.root)]
    command = [sys.executable, "-m", "papermill", "01-collect.ipynb", "out.ipynb"]
    command += ["--language", "python", *given]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    expected = [["a", "b"], True, [1e-4]]
    assert json.loads((tmp_path / "seen.json").read_text()) == expected
    stored = workspace.manifest("collect")["parameters"]
    assert [stored["items"], stored["strict"], stored["rates"]] == expected

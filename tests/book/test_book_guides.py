"""The guides do what they say: every block runs as typed, from the top of its page to the end.

A page has a folder of its own, which looks like the project after a run with a tiny model. What
costs hours, or another program, is not run but checked, and is listed here with the reason.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import gguf
import guides
import polars as pl
import pytest
import synthetic_preferences
import tiny_run
import typer
import yaml

from elara import audit, pipeline, serve, train
from elara.model import load_base
from elara.model.packaged import PACKAGED, packaged_folder
from elara.pipeline import lab, notebooks
from elara.train.devices import launch
from elara.workspace import Workspace, check_parameters
from elara.workspace.parameters import PATHS

# Why not, for each program whose commands are checked and not run, or kind of block.
WHY_NOT = {
    "make": "installs, or takes minutes to hours; `make -n` says what it would do: that is checked",
    "elara run": "up to the first notebook: tests/pipeline and `make nbval` run those",
    "elara loop": "tunes an adapter for minutes: tests/continual does it",
    "elara index": "needs clean articles and half a minute: tests/retrieval does it",
    "elara lab": "would wait in JupyterLab: tests/pipeline looks at the copies it opens",
    "elara serve": "would wait for questions: tests/serve asks them",
    "curl": "needs a server that runs: the server's own rules read what is sent",
    "papermill": "notebook and parameters: tests/notebooks runs papermill",
    "python": "benchmarks take up to an hour: file and options",
    "launch": "four processes: tests/train/test_train_launch.py runs two",
    "accelerate": "the same: its own parser reads the options, the job is there",
    "torchrun": "the same",
    "srun": "needs a cluster; what it starts is checked",
    "scontrol": "the same",
    "conda": "another program: the file that it is given is there",
    "tensorboard": "would wait for a browser: the folder is there",
    "llama-cli": "another program: the model's file is there",
    "llama-server": "the same",
    "ollama": "the same",
    "vllm": "needs a GPU: the folder is a model or an adapter",
    "trtllm-serve": "needs a GPU: the folder is a model",
    "pip": "another program",
    "pre-commit": "would change this checkout: tests/test_project_files.py reads its settings",
    "ipython3": "a cell for Colab, with an address that is the reader's",
    "python3.11": "the interpreter, before anything is installed",
    "console": "on another system",
    "powershell": "the same",
    "text": "a picture of a folder, or a file that tests/serve reads",
}
# How often each is met, page by page.
NOT_RUN: dict[str, dict[str, int]] = {
    "CONTRIBUTING.md": {"make": 3, "pre-commit": 1},
    "README.md": {
        "make": 4,
        "elara run": 5,
        "elara index": 1,
        "elara lab": 1,
        "elara serve": 1,
        "papermill": 4,
    },
    "book/benchmarks.md": {"python": 25, "elara run": 1},
    "book/cluster.md": {"pip": 1, "elara run": 1},
    "book/collecting.md": {"elara run": 6, "text": 1},
    "book/continual.md": {"papermill": 1, "elara run": 4},
    "book/evidence.md": {"elara index": 2, "elara serve": 1},
    "book/experiments.md": {"elara loop": 1},
    "book/exporting.md": {
        "papermill": 1,
        "llama-cli": 1,
        "llama-server": 1,
        "ollama": 2,
        "vllm": 2,
    },
    "book/gpu.md": {"make": 3, "elara run": 2, "python": 2, "pip": 1},
    "book/installation.md": {"make": 5, "elara run": 2, "elara lab": 1, "conda": 2, "ipython3": 1},
    "book/laptop.md": {
        "make": 4,
        "elara run": 10,
        "elara lab": 1,
        "elara serve": 1,
        "papermill": 3,
        "tensorboard": 1,
    },
    "book/platforms.md": {"python3.11": 1, "pip": 4, "elara run": 1, "console": 2, "powershell": 1},
    "book/serving.md": {"elara serve": 1, "curl": 1, "text": 1},
    "book/scaling.md": {"launch": 1, "accelerate": 4, "srun": 1, "scontrol": 1, "torchrun": 1},
    "book/upstreams.md": {"llama-server": 1, "vllm": 2, "trtllm-serve": 1, "text": 1},
}

MODULES_OF = functools.cache(notebooks.modules_of)
PAGES = ["README.md", *(f"book/{p.name}" for p in sorted((guides.PROJECT / "book").glob("*.md")))]
PAGES += ["elara/sample/README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]


@pytest.fixture(scope="module")
def after_a_run(
    tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, train.Training]:
    """What a run leaves: `cache`, where the packaged model is the tiny one, and `workspace`."""
    home = tmp_path_factory.mktemp("after-a-run")
    model = shutil.copytree(tiny_folder, home / "cache" / packaged_folder().name)
    (model / "source.sha256").touch()
    place = Workspace(home / "workspace")
    splits = {
        name: tiny_run.examples(n, start).with_columns(split=pl.lit(name))
        for name, n, start in (("train", 8, 0), ("validation", 2, 100), ("test", 4, 200))
    }
    # The guides trace an EXAMPLE_ID, and only a curated example needs no article.
    one = pl.col("id") == "x:0/key_points/0"
    splits["train"] = splits["train"].with_columns(
        id=pl.when(one).then(pl.lit("EXAMPLE_ID")).otherwise("id"),
        origin=pl.when(one).then(pl.lit("curated")).otherwise("origin"),
    )
    outcomes = pl.DataFrame({"file": ["a.txt"], "status": ["skipped"], "reason": ["empty file"]})
    lists = ("outcomes.parquet", "removed.parquet")
    place.begin("collect", {}).write(dict.fromkeys(lists, outcomes))
    removed = outcomes.with_columns(id=pl.lit("x:0"), kept_id=pl.lit(""))
    place.begin("inspect", {}).write({"removed.parquet": removed, "review.parquet": outcomes})
    tables = {f"{name}.jsonl": rows for name, rows in splits.items()}
    lists = ("rejected.parquet", "refused.parquet", "contamination.parquet")
    shared = "dataset/left_out.parquet"
    place.begin("expand", {}).write(tables | dict.fromkeys((*lists, shared), outcomes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELARA_CACHE", str(home / "cache"))
        stage = place.begin("train", {})
        config = tiny_run.config(tiny_folder, base_model=PACKAGED, epochs=0.5)
        lm = load_base()
        data = train.tokenise(lm.tokenizer, splits["train"], splits["validation"], config)
        folders = {"checkpoints": stage.home / ".checkpoints", "logs": stage.home / "curves"}
        training = train.fine_tune(lm, data, config, **folders)
        train.save_adapter(training, config, data, {"CC0-1.0": 8}, stage.draft / "adapter")
        held_out = {name: splits[name] for name in ("validation", "test")}
        certificate = audit.certify(splits["train"], held_out)
        audit.write_passport(stage.draft / "adapter", training, config, splits, certificate)
        stage.write({"losses.parquet": training.losses})
    return home, training


@pytest.fixture
def folder(
    after_a_run: tuple[Path, train.Training], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder in which a page is tried: the project after a run, and a FOLDER to verify."""
    home, _ = after_a_run
    shutil.copytree(home / "workspace", tmp_path / "workspace")
    (tmp_path / "continual").mkdir()
    synthetic_preferences.pairs(10).write_ndjson(tmp_path / "continual" / "feedback.jsonl")
    guides.prepare_shell(tmp_path, ["elara", *WHY_NOT])
    shutil.copytree(tmp_path / "workspace" / "lora_adapters" / "adapter", tmp_path / "FOLDER")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELARA_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("ELARA_CACHE", str(home / "cache"))
    # What takes seconds and is the same every time: the code that notebooks import, for each plan,
    # and the vocabulary of an export, which transformers parses three times.
    monkeypatch.setattr(notebooks, "modules_of", MODULES_OF)
    monkeypatch.setattr(gguf, "GGUFReader", functools.cache(gguf.GGUFReader))
    return tmp_path


@pytest.fixture
def not_run(
    after_a_run: tuple[Path, train.Training], monkeypatch: pytest.MonkeyPatch
) -> Counter[str]:
    """Counts what is not run. Elara's own long commands end here, where their work would begin."""
    counted: Counter[str] = Counter()
    home, training = after_a_run

    def executed(plan: pipeline.Plan, chosen: list[Any], **_: Any) -> None:
        """Leave the examples of another workspace; its reader goes on with them."""
        counted["elara run"] += 1
        stages = [notebook.stage for notebook in chosen]
        if stages == ["expand"] and plan.workspace.root != Workspace().root:
            new = tiny_run.examples(8, start=50)
            plan.workspace.begin("expand", {}).write({"train.jsonl": new})
        raise typer.Exit(0)

    def server(*_: Any) -> None:
        counted["elara serve"] += 1

    def workers(command: list[str], log: Path) -> int:
        """Leave what the processes would."""
        counted["launch"] += 1
        guides.check(guides.Command(Path.cwd(), "accelerate", ["launch", *command[3:]]))
        job = Path(command[-1])
        shutil.copytree(home / "workspace" / "lora_adapters" / "adapter", job / "adapter")
        training.losses.write_parquet(job / "losses.parquet")
        return 0

    def looped(*_: Any, **__: Any) -> None:
        counted["elara loop"] += 1
        raise typer.Exit(0)

    def built(*_: Any, **__: Any) -> None:
        counted["elara index"] += 1
        raise typer.Exit(0)

    def opened(*_: Any) -> int:
        counted["elara lab"] += 1
        return 0

    def checked(stage: str, values: dict[str, Any]) -> None:
        """Folders, models and packages that only the reader has are not looked for."""
        theirs = {*PATHS, "cluster"}
        check_parameters(stage, {name: v for name, v in values.items() if name not in theirs})

    monkeypatch.setattr("elara.pipeline.plan.check_parameters", checked)
    monkeypatch.setattr(pipeline, "run", executed)
    monkeypatch.setattr(lab, "start", opened)
    monkeypatch.setattr("elara.continual.loop.run_loop", looped)
    monkeypatch.setattr("elara.retrieval.index.build_index", built)
    monkeypatch.setattr(serve, "run", server)
    monkeypatch.setattr(launch, "_run", workers)
    return counted


def run_page(page: str, text: str, folder: Path, not_run: Counter[str]) -> None:
    """Run the blocks of a page; those in Python share their names."""
    names: dict[str, Any] = {}
    for block in guides.blocks(text):
        match block.language:
            case "python":
                exec(compile(block.text, page, "exec"), names)
            case "bash":
                run_script(block.text, folder, not_run)
            case "json":
                guides.preferences(block.text, folder)
            case "yaml" if "apiVersion" not in block.text:
                guides.plan(block.text, folder)
            case "yaml":
                for script in scripts(block.text):
                    run_script(script, folder, not_run)
            case "toml":
                assert tomllib.loads(block.text)
            case "text" | "ipython3" | "console" | "powershell":
                not_run[block.language] += 1
            case _:
                pytest.fail(f"{page}: a block that no test runs: {block.language}\n{block.text}")


def run_script(script: str, folder: Path, not_run: Counter[str]) -> None:
    """Run a block of shell."""
    for command in guides.shell(script, folder):
        if command.program != "elara":
            not_run[command.program] += 1
        guides.check(command)


def scripts(manifests: str) -> list[str]:
    """What the containers of a Kubernetes manifest run, once its parts fit together."""
    service, job = yaml.safe_load_all(manifests)
    spec = job["spec"]
    pod = spec["template"]["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"]
    assert service["spec"]["clusterIP"] == "None"  # YAML's None would be null
    assert pod["subdomain"] == service["metadata"]["name"]
    (container,) = pod["containers"]
    script: str = container["command"][-1]
    gpus = container["resources"]["limits"]["nvidia.com/gpu"]
    assert f"--num_machines {spec['completions']} " in script
    assert f"--num_processes {spec['completions'] * gpus} " in script
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    return [f"JOB_COMPLETION_INDEX=1\n{script}"]


# Each takes more than ten seconds, and is for a reader who has trained an adapter already.
LONG = ("book/continual.md", "book/exporting.md", "book/upstreams.md")


@pytest.mark.parametrize(
    "page", [pytest.param(p, marks=pytest.mark.long) if p in LONG else p for p in PAGES]
)
def test_every_block_of_a_guide_runs(page: str, folder: Path, not_run: Counter[str]) -> None:
    text = (guides.PROJECT / page).read_text(encoding="utf-8")
    run_page(page, text, folder, not_run)
    assert not_run == NOT_RUN.get(page, {})


def test_commands_between_the_blocks_are_right(folder: Path, not_run: Counter[str]) -> None:
    found = {
        command
        for page in PAGES
        for command in guides.mentioned((guides.PROJECT / page).read_text(encoding="utf-8"))
    }
    assert len(found) > 15
    for command in sorted(found):
        run_script(command, folder, not_run)


def test_whatever_is_not_run_has_a_reason() -> None:
    assert {kind for page in NOT_RUN.values() for kind in page} == WHY_NOT.keys()


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("python", "prefer(earlier, feedback)", "name 'prefer' is not defined"),
        ("python", "from elara.train import no_such_name", "no_such_name"),
        ("bash", "elara run --no-such-option", "--no-such-option"),
        ("bash", "elara run -p train.learning_rat=1e-4", "did you mean `train.learning_rate`"),
        ("bash", "elara verify --adapter nowhere", "nowhere"),
        ("bash", "make no-such-target", "no-such-target"),
        ("bash", "make run ARGS=--no-such-option", "--no-such-option"),
        ("bash", "python benchmarks/train.py --no-such-option", "no option --no-such-option"),
        ("bash", "papermill notebooks/05-train.ipynb out.ipynb -p rate 1", "no parameter rate"),
        ("bash", "no-such-program", "no-such-program: command not found"),
        ("bash", "cd nowhere && make run\nelara status", "nowhere"),
        ("json", '{"id": "f1"}', "shown.jsonl"),
        ("ruby", "puts 1", "a block that no test runs"),
    ],
)
def test_a_wrong_block_fails(
    language: str, text: str, said: str, folder: Path, not_run: Counter[str]
) -> None:
    page = f"````{{note}}\n```{language}\n{text}\n```\n````\n"
    with pytest.raises(
        BaseException, match=re.escape(said)
    ):  # pytest's own failure is no Exception
        run_page("a page", page, folder, not_run)


def test_every_figure_that_the_benchmarks_page_names_was_measured(project: Path) -> None:
    """The build would say so too, half an hour into a test run."""
    page = (project / "book" / "benchmarks.md").read_text(encoding="utf-8")
    named = 0
    for name, block in re.findall(r"^```\{benchmark\} (\S+)\n(.*?)^```", page, re.M | re.S):
        path = project / "benchmarks" / name
        if ":awaited:" in block and not path.exists():
            continue  # the page says that there is no result
        measured = json.loads(path.read_text(encoding="utf-8"))
        for line in block.splitlines():
            label, equals, place = line.partition(" = ")
            found = measured
            for key in place.split("/") if equals else ():
                found = found[int(key)] if isinstance(found, list) else found[key]
            assert not (equals and isinstance(found, dict)), f"{name}: {label}"
            named += bool(equals)
    assert named > 50


def unclosed(page: str) -> list[int]:
    """Lines with a fence that is never closed, or that stands where another should have ended."""
    opened: list[tuple[int, str]] = []
    wrong = []
    for number, line in enumerate(page.splitlines(), 1):
        if fence := re.match(r" *(`{3,}|~{3,})([^`]*)$", line):
            marks, info = fence[1], fence[2].strip()
            closes = opened and not info and marks[0] == opened[-1][1][0]
            if closes and len(marks) >= len(opened[-1][1]):
                opened.pop()
            elif not opened or len(marks) < len(opened[-1][1]):
                opened.append((number, marks))  # inside a longer fence, shorter ones are nested
            else:
                wrong.append(number)
    return wrong + [number for number, _ in opened]


def test_no_fence_of_a_page_is_lost(project: Path) -> None:
    pages = [*project.glob("*.md"), *(project / "book").rglob("*.md")]
    assert len(pages) > 30
    assert {
        page.name: lines for page in pages if (lines := unclosed(page.read_text("utf-8")))
    } == {}


@pytest.mark.parametrize(
    ("page", "lines"),
    [
        ("```bash\nmake\n```\n\n```{note}\nA note.\n```\n", []),
        ("````{note}\n```bash\nmake\n```\n````\n", []),
        ("```bash\nmake\n\n```{note}\nA note.\n```\n", [4]),
        ("```bash\nmake\n", [1]),
        ("make\n```\n", [2]),
        ("````{note}\n```bash\nmake\n````\n", [1]),
    ],
)
def test_a_lost_fence_is_found(page: str, lines: list[int]) -> None:
    assert unclosed(page) == lines

"""What the laptop profile must achieve, read from the workspace that `make nbval` left."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl
import pytest

from elara.expand import Examples, summary
from elara.workspace import STAGES, Workspace

pytestmark = pytest.mark.results


@pytest.fixture(scope="module")
def finished(project: Path) -> Workspace:
    """The workspace of the notebooks that ran just before."""
    workspace = Workspace(os.environ.get("ELARA_TESTED", project / "_build" / "test-workspace"))
    if not workspace.root.exists():
        pytest.fail(f"{workspace.root} is missing: run `make nbval` first")
    return workspace


def test_every_stage_is_whole(finished: Workspace) -> None:
    for stage in STAGES:
        assert finished.manifest(stage)["files"], stage
        assert finished.damage(stage) == "", stage


def test_no_notebook_tried_to_reach_the_network(finished: Workspace) -> None:
    log = finished.root.with_suffix(".network")
    assert log.read_text() == ""


@pytest.mark.parametrize(
    "name",
    [
        *("01-collect", "02-inspect", "03-clean", "04-expand", "05-train", "06-evaluate"),
        *("A-passport-and-export", "B-continual-learning"),
    ],
)
def test_the_book_shows_figures(project: Path, name: str) -> None:
    cells = json.loads((project / "notebooks" / f"{name}.ipynb").read_text())["cells"]
    data = [o.get("data", {}) for c in cells for o in c.get("outputs", [])]
    figures = [d for d in data if "<Figure" in "".join(d.get("text/plain", []))]
    assert figures
    assert all("image/png" in d for d in figures)


def test_tuning_helped_on_the_embedded_sample(finished: Workspace) -> None:
    verdict = json.loads((finished.folder("evaluate") / "verdict.json").read_text())
    assert verdict["low"] < verdict["difference"] < verdict["high"] < 0, verdict["verdict"]
    assert verdict["better"]
    assert verdict["articles"] >= 10


def test_the_verdict_follows_from_the_scores(finished: Workspace) -> None:
    from elara.evaluate import judge

    scores = pl.read_parquet(finished.folder("evaluate") / "scores.parquet")
    verdict = json.loads((finished.folder("evaluate") / "verdict.json").read_text())
    assert judge(scores).verdict.verdict == verdict["verdict"]


def test_the_verdict_holds_under_other_batch_sizes(finished: Workspace) -> None:
    repeats = pl.read_parquet(finished.folder("evaluate") / "repeats.parquet")
    assert repeats["batch_size"].to_list() == [1, 8, 16]
    assert repeats["word"].n_unique() == 1
    assert not repeats["itself"].is_in(["helped", "hurt"]).any()
    assert repeats["largest"].max() < 1e-3  # type: ignore[operator]


def test_the_scenarios_were_answered_by_both(finished: Workspace) -> None:
    answers = json.loads((finished.folder("evaluate") / "scenarios.json").read_text())
    assert len(answers) == 13
    for answer in answers:
        assert answer["base"]["text"]
        assert answer["adapter"]["text"]
        assert answer["base"]["text"] != answer["adapter"]["text"]
    for side in ("base", "adapter"):  # a model may end a few answers early
        assert sum(len(answer[side]["text"].split()) >= 20 for answer in answers) >= 9


def test_no_arm_read_what_it_was_tested_on(finished: Workspace) -> None:
    from elara.evaluate import of_held_out_topics

    read = pl.read_parquet(finished.folder("evaluate") / "read.parquet")
    test = pl.read_ndjson(finished.folder("expand") / "test.jsonl")
    links = pl.read_parquet(finished.folder("expand") / "links.parquet")
    assert set(read["arm"]) == {"base with sources", "adapter with sources"}
    assert of_held_out_topics(test, links).isdisjoint(read["article_id"])
    arms = pl.read_parquet(finished.folder("evaluate") / "arms.parquet")
    assert arms["items"].min() >= 10  # type: ignore[operator]
    inputs = finished.manifest("evaluate")["inputs"]
    assert inputs["retrieval"] == finished.identity("retrieval")


def test_every_example_traces_to_its_source(finished: Workspace) -> None:
    outcomes = pl.read_parquet(finished.folder("collect") / "outcomes.parquet")
    articles = pl.read_parquet(finished.folder("clean") / "articles.parquet")
    examples = pl.concat(
        pl.read_ndjson(finished.folder("expand") / f"{split}.jsonl")
        for split in ("train", "validation", "test")
    )
    assert summary(Examples.of(examples).index)["examples"].sum() == examples.height
    traced = examples.filter(pl.col("origin") != "curated").explode("article_ids")
    joined = traced.join(articles, left_on="article_ids", right_on="id", how="left")
    assert joined["raw_file"].null_count() == 0
    assert joined["licence"].equals(joined["licence_right"], check_names=False)
    assert set(joined["article_ids"]) <= set(outcomes["article_id"])
    assert examples["redistributable"].all()


def test_the_held_out_loss_fell_while_training(finished: Workspace) -> None:
    losses = pl.read_parquet(finished.folder("train") / "losses.parquet")
    held = losses.filter(split="validation")["loss"]
    assert held[-1] < held[0]


def test_the_adapter_opens_with_peft_alone(finished: Workspace) -> None:
    import peft

    config = peft.PeftConfig.from_pretrained(str(finished.folder("train") / "adapter"))
    assert config.r == 16
    assert config.base_model_name_or_path == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_training_data_opens_with_datasets(finished: Workspace) -> None:
    import datasets

    files = {s: str(finished.folder("expand") / f"{s}.jsonl") for s in ("train", "test")}
    loaded = datasets.load_dataset("json", data_files=files)
    assert loaded["train"][0]["messages"][0]["role"] == "system"
    assert loaded["test"].num_rows >= 10


def test_the_server_answered_with_the_adapter(finished: Workspace) -> None:
    transcript = json.loads((finished.folder("serve") / "transcript.json").read_text())
    assert '"mode": "model"' in json.dumps(transcript)


def test_the_appendices_left_an_export_and_three_versions(finished: Workspace) -> None:
    from elara.continual import Versions

    proof = json.loads((finished.root / "exports" / "gguf" / "export.json").read_text())["parity"]
    assert all(row["kl"] <= row["kl_bound"] for row in proof)
    kept = Versions(finished.folder("train")).listed()
    assert kept["damage"].to_list() == ["", "", ""]
    assert kept["parent"].to_list() == ["", *kept["version"][:2]]

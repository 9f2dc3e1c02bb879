"""A Spanish adapter gets a verdict on Spanish, and none on a language that was not tested."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import spanish_texts

from elara import train
from elara.evaluate import answer_losses, judge_languages, loss_scores
from elara.evaluate.deciding import ENOUGH
from elara.evaluate.reliability import NO_EVIDENCE
from elara.model import PACKAGED, load_base

LONGEST = 512  # tokens


@pytest.fixture(scope="module")
def examples(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    raw = spanish_texts.raw_texts(shared_data, tmp_path_factory.mktemp("spanish"))
    return spanish_texts.examples(raw)


def test_real_spanish_texts_give_examples_in_spanish(examples: pl.DataFrame) -> None:
    counts = examples.group_by("split", "language").agg(pl.len(), pl.col("topic").n_unique())
    told = {(split, code): (n, topics) for split, code, n, topics in counts.iter_rows()}
    assert set(told) == {("train", "es"), ("train", "en"), ("validation", "es"), ("test", "es")}
    assert told["train", "es"][0] > 90
    assert told["test", "es"][1] >= ENOUGH  # topics
    assert told["train", "en"][0] == 2
    topics = examples.group_by("topic").agg(pl.col("split").n_unique())
    assert set(topics["split"]) == {1}


@pytest.mark.slow
def test_a_spanish_adapter_is_judged_in_spanish_only(
    examples: pl.DataFrame, tmp_path: Path
) -> None:
    parts = {name: examples.filter(split=name) for name in ("train", "validation", "test")}
    trained = parts["train"].gather_every(2)
    test = parts["test"].group_by("topic", maintain_order=True).head(3)
    config = train.TrainingConfig(
        base_model=PACKAGED,
        quantisation="none",
        learning_rate=1e-3,
        epochs=1,
        max_length=LONGEST,
        trackers=(),
    )
    lm = load_base(PACKAGED)
    data = train.tokenise(lm.tokenizer, trained, parts["validation"].head(4), config)
    tuned = train.fine_tune(lm, data, config, tmp_path).model
    losses = answer_losses(tuned, test, max_length=LONGEST)
    topics = dict(zip(test["article_ids"].list.first(), test["topic"], strict=True))
    found = judge_languages(
        loss_scores(losses, test, topics),
        dict(test.select("id", "language").iter_rows()),
        dict(trained.group_by("language").len().iter_rows()),
    )
    spanish, english = (found.filter(language=code).row(0, named=True) for code in ("es", "en"))
    assert (spanish["items"], english["items"]) == (losses.height, 0)
    assert spanish["word"] != NO_EVIDENCE
    assert spanish["topics"] >= ENOUGH
    assert spanish["low"] < spanish["difference"] < spanish["high"]
    assert spanish["sentence"].startswith("Spanish (50 training examples). ")
    assert english["word"] == NO_EVIDENCE
    assert "No evidence: no held-out item" in english["sentence"]

"""A model does not differ from itself, and a verdict that batches can turn is taken back."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from score_tables import around
from tiny_run import examples

from elara.evaluate import answer_losses, confirm, judge, loss_scores, measure_again
from elara.model import load_adapter


def losses(differences: list[float], drift: float = 0.0, size: int = 1) -> pl.DataFrame:
    rows = [
        (f"x:{i}/k/0", f"x:{i}", 10, 2.0 + (drift if i % 2 else 0), 2.0 + difference, size)
        for i, difference in enumerate(differences)
    ]
    columns = ("id", "source", "tokens", "base", "adapter", "batch_size")
    return pl.DataFrame(rows, columns, orient="row")


def scored(table: pl.DataFrame) -> pl.DataFrame:
    return loss_scores(table, table.select("id", specialty=pl.lit("")), {})


def test_the_tiny_model_gives_the_same_losses_in_any_batch(sealed: Path) -> None:
    lm = load_adapter(sealed)
    table = examples(24, start=200)
    again = measure_again(lm, table, max_length=128, items=20)
    assert again["batch_size"].value_counts(sort=True)["count"].to_list() == [20, 20, 20]
    alone = answer_losses(lm, table, max_length=128)
    for part in again.partition_by("batch_size"):
        both = part.join(alone, on="id")
        assert (both["base"] - both["base_right"]).abs().max() < 1e-4  # type: ignore[operator]
        assert (both["adapter"] - both["adapter_right"]).abs().max() < 1e-4  # type: ignore[operator]
    scores = loss_scores(alone, table, {})
    judgement = judge(scores)
    verdict, found = confirm(judgement, scores, again, {})
    assert verdict == judgement.verdict
    assert found["batch_size"].to_list() == [1, 8, 16]
    assert found["itself"].to_list() == ["equivalent"] * 3
    assert found["word"].n_unique() == 1
    assert found["largest"].max() < 1e-4  # type: ignore[operator]


def test_few_articles_are_no_reason_to_take_many_examples_of_one() -> None:
    from elara.evaluate import repeat

    table = pl.concat([examples(4), examples(4).with_columns(id=pl.col("id") + "b")])
    seen = []

    def measured(lm: object, some: pl.DataFrame, **_: object) -> pl.DataFrame:
        seen.append(some["article_ids"].list.first().n_unique())
        return some.select("id")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeat, "answer_losses", measured)
        measure_again(None, table, max_length=9, items=4)  # type: ignore[arg-type]
    assert seen == [4, 4, 4]


def test_a_verdict_that_drift_can_turn_is_taken_back() -> None:
    close = around(-0.07, spread=0.1)
    scores = scored(losses(close))
    judgement = judge(scores)
    assert judgement.verdict.word == "helped"
    calm = pl.concat([losses(close), losses(close, drift=1e-6, size=8)])
    assert confirm(judgement, scores, calm, {})[0] == judgement.verdict
    rough = pl.concat([losses(close), losses(close, drift=-0.1, size=8)])
    verdict, table = confirm(judgement, scores, rough, {})
    assert (verdict.word, verdict.better) == ("too few items to tell", False)
    assert verdict.verdict.startswith("Under other batch sizes it would not have been *helped*.")
    assert table["largest"].to_list() == pytest.approx([0.0, 0.1])


def test_a_base_model_that_differs_from_itself_can_judge_nothing() -> None:
    clear = around(-0.9)
    scores = scored(losses(clear))
    judgement = judge(scores)
    worse = losses(clear, size=8).with_columns(base=pl.col("base") + 0.2)
    again = pl.concat([losses(clear), worse])
    verdict, table = confirm(judgement, scores, again, {})
    assert table["itself"].to_list() == ["equivalent", "hurt"]
    assert verdict.word == "too few items to tell"


def test_a_harm_is_not_taken_back() -> None:
    scores = scored(losses(around(0.07)))
    judgement = judge(scores)
    assert judgement.verdict.word == "hurt"
    rough = pl.concat([losses(around(0.07)), losses(around(0.07), drift=0.2, size=8)])
    assert confirm(judgement, scores, rough, {})[0].word == "hurt"

"""Measure a model against itself, in other batches and another order, and see if verdicts hold.

Sums of many numbers depend on their order, and so does a loss, by a little. A verdict that such
a little can turn is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from elara.evaluate.deciding import EQUIVALENT, HELPED, HURT, TOO_FEW
from elara.evaluate.scores import PRIMARY, loss_scores
from elara.evaluate.verdict import Judgement, Verdict, judge, with_word
from elara.model import LanguageModel
from elara.model.losses import answer_losses

BATCH_SIZES = (1, 8, 16)


def measure_again(
    lm: LanguageModel,
    examples: pl.DataFrame,
    *,
    max_length: int,
    items: int = 20,
    batch_sizes: Sequence[int] = BATCH_SIZES,
) -> pl.DataFrame:
    """Measure answer losses with several batch sizes, each in another order.

    Args:
        lm: a model with a trained adapter.
        examples: held-out `Example` rows.
        max_length: as for `answer_losses`.
        items: how many of the examples, of as many articles as possible.
        batch_sizes: examples read at once; the first is what the others are compared with.

    Returns:
        Columns of `answer_losses`, and batch_size.
    """
    nth = pl.int_range(pl.len()).over(pl.col("article_ids").list.first())
    some = examples.sort("id").sort(nth, maintain_order=True).head(items)
    parts = []
    for size in batch_sizes:
        mixed = some.sample(fraction=1, shuffle=True, seed=size)
        losses = answer_losses(lm, mixed, max_length=max_length, batch_size=size, in_order=True)
        parts.append(losses.with_columns(batch_size=size))
    return pl.concat(parts)


def confirm(
    judgement: Judgement,
    scores: pl.DataFrame,
    again: pl.DataFrame,
    topics: dict[str, str],
    **settings: Any,
) -> tuple[Verdict, pl.DataFrame]:
    """Take a verdict back if it does not hold under other batch sizes.

    It holds if the base model does not differ from itself, if base model and adapter compare alike
    with every batch size, and if the verdict stays when every loss of the adapter is raised or
    lowered by as much as the comparison moved. *Hurt* is never taken back.

    Args:
        judgement: result of `judge`.
        scores: what was judged.
        again: result of `measure_again`.
        topics: from `topics_of`.
        settings: of `judge`, as for the judgement.

    Returns:
        The verdict, and a row for each batch size: batch_size, items, largest (change of one
        item's loss on the base model), spread (the mean of these changes), itself (the word of
        base model against itself), difference (adapter minus base), word.
    """
    table = pl.DataFrame([_row(part, again, topics, settings) for part in _by_size(again)])
    return settled(judgement, scores, table, **settings), table


def settled(
    judgement: Judgement, scores: pl.DataFrame, table: pl.DataFrame, **settings: Any
) -> Verdict:
    """The verdict that is left when the measurements under other batch sizes are known.

    Args:
        judgement: result of `judge`.
        scores: what was judged.
        table: the rows that `confirm` returned.
        settings: of `judge`, as for the judgement.
    """
    moved = float((table["difference"] - table["difference"][0]).abs().to_numpy().max())
    shifted = [_shifted(scores, by, settings) for by in (-moved, moved)]
    steady = (
        table["word"].n_unique() == 1
        and not table["itself"].is_in([HELPED, HURT]).any()
        and {*shifted} == {judgement.verdict.word}
    )
    if steady or judgement.verdict.word not in (HELPED, EQUIVALENT):
        return judgement.verdict
    why = f"Under other batch sizes it would not have been *{judgement.verdict.word}*."
    return with_word(judgement.verdict, TOO_FEW, why)


def _by_size(again: pl.DataFrame) -> list[pl.DataFrame]:
    return again.partition_by("batch_size", maintain_order=True)


def _row(
    part: pl.DataFrame, again: pl.DataFrame, topics: dict[str, str], settings: dict[str, Any]
) -> dict[str, Any]:
    first = _by_size(again)[0].select("id", first="base")
    both = part.join(first, on="id")
    change = (both["base"] - both["first"]).to_numpy()
    itself = _judged(both, topics, settings, base="first", adapter="base")
    tuned = _judged(both, topics, settings, base="base", adapter="adapter")
    return {
        "batch_size": part["batch_size"][0],
        "items": part.height,
        "largest": float(abs(change).max()),
        "spread": float(change.mean()),
        "itself": itself.word,
        "difference": tuned.difference,
        "word": tuned.word,
    }


def _judged(
    losses: pl.DataFrame, topics: dict[str, str], settings: dict[str, Any], base: str, adapter: str
) -> Verdict:
    """By the primary endpoint alone."""
    known = losses.select("id", specialty=pl.lit(""))
    scores = loss_scores(losses, known, topics, (base, adapter)).filter(metric=PRIMARY)
    return judge(scores, base=base, adapter=adapter, **settings).verdict


def _shifted(scores: pl.DataFrame, by: float, settings: dict[str, Any]) -> str:
    shift = pl.when(arm="adapter", metric=PRIMARY).then(by).otherwise(0.0)
    return judge(scores.with_columns(pl.col("value") + shift), **settings).verdict.word

"""Pair the scores of two arms item by item, and average them by seed and by cluster.

Scores are one long table: `metric`, `item`, `cluster` (the held-out topic), `arm` (`base`,
`adapter` …) and `value`. It may also have `seed` (of the training run), `weight` (of the item in
its cluster), `specialty` and `source` (the article).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from elara.text.groups import components


class EvaluationError(ValueError):
    """Scores cannot be compared; the message says which, and what to do."""


@dataclass(frozen=True)
class Endpoint:
    """Something that is measured on base model and adapter.

    Args:
        unit: of its values.
        margin: differences within ± margin do not matter; 0 where nobody has said so.
        lower_is_better: whether a smaller value is the better one.
    """

    unit: str
    margin: float
    lower_is_better: bool = False


PRIMARY = "answer loss"
ENDPOINTS = {
    PRIMARY: Endpoint("nats per token", 0.05, lower_is_better=True),
    "log perplexity": Endpoint("nats per token", 0.05, lower_is_better=True),
    "accuracy": Endpoint("of all items right", 0.03),
    "mention score": Endpoint("of all points", 0.03),
}
_KEYS = ("metric", "item")
_OPTIONAL = {"seed": 0, "weight": 1.0, "specialty": ""}


def topics_of(links: pl.DataFrame) -> dict[str, str]:
    """The topic of each article that shares one with others.

    Args:
        links: `links.parquet` of stage 4: article_a, article_b, and kept, whether the link made
            both one topic.

    Returns:
        Article to the first article of its topic. One that is not named is a topic of its own.
    """
    kept = links.filter("kept").select(row="article_a", other="article_b")
    return dict(components(kept).iter_rows())


def loss_scores(
    losses: pl.DataFrame,
    examples: pl.DataFrame,
    topics: dict[str, str],
    arms: Sequence[str] = ("base", "adapter"),
) -> pl.DataFrame:
    """Turn answer losses into scores: `answer loss`, and `log perplexity`, where tokens count.

    Args:
        losses: result of `answer_losses`, and `seed` where several adapters were measured.
        examples: `Example` rows, which know the specialties.
        topics: from `topics_of`.
        arms: the columns of `losses` to take.

    Returns:
        A table of scores.
    """
    known = losses.join(examples.select("id", "specialty"), on="id", how="left")
    told = ["id", "source", "specialty", "tokens", *({"seed"} & set(losses.columns))]
    long = known.unpivot(arms, index=told, variable_name="arm", value_name="value")
    long = long.rename({"id": "item"}).with_columns(
        cluster=pl.col("source").replace(topics), specialty=pl.col("specialty").fill_null("")
    )
    weights = {PRIMARY: pl.lit(1.0), "log perplexity": pl.col("tokens").cast(pl.Float64)}
    parts = [
        long.with_columns(metric=pl.lit(metric), weight=weight)
        for metric, weight in weights.items()
    ]
    return pl.concat(parts).drop("tokens")


def paired(scores: pl.DataFrame, base: str, adapter: str) -> pl.DataFrame:
    """Put both arms' values of each item into one row, averaged over seeds.

    Args:
        scores: a table of scores.
        base: the arm to compare with.
        adapter: the arm to judge.

    Returns:
        Columns metric, item, cluster, specialty, source, weight, seeds (of the adapter), base and
        adapter; by metric and item.

    Raises:
        EvaluationError: an item lacks a value, has one that is no number, or has two.
    """
    scores = scores.with_columns(
        pl.lit(value).alias(name) for name, value in _OPTIONAL.items() if name not in scores.columns
    )
    if "source" not in scores.columns:
        scores = scores.with_columns(source="cluster")
    chosen = scores.filter(pl.col("arm").is_in([base, adapter]))
    _check(chosen)
    told = [pl.col(c).first() for c in ("cluster", "specialty", "source", "weight")]
    both = chosen.group_by(*_KEYS).agg(
        *told,
        seeds=pl.col("seed").filter(arm=adapter).n_unique(),
        base=pl.col("value").filter(arm=base).mean(),
        adapter=pl.col("value").filter(arm=adapter).mean(),
    )
    for arm, column in ((base, "base"), (adapter, "adapter")):
        _refuse(both.filter(pl.col(column).is_null()), f"has no value of `{arm}`")
    uneven = both.filter(pl.col("seeds") < pl.col("seeds").max().over("metric"))
    _refuse(uneven, f"was measured with fewer seeds of `{adapter}` than others")
    return both.sort(_KEYS)


def _check(scores: pl.DataFrame) -> None:
    wrong = scores.filter(~pl.col("value").is_finite().fill_null(value=False))
    _refuse(wrong, "has a value that is no number")
    twice = scores.filter(pl.struct(*_KEYS, "arm", "seed").is_duplicated())
    _refuse(twice, "was scored twice for one arm and seed")
    several = pl.struct("cluster", "weight", "specialty").n_unique().over(*_KEYS) > 1
    _refuse(scores.filter(several), "is in two clusters or specialties, or has two weights")


def _refuse(items: pl.DataFrame, why: str) -> None:
    """Values that are missing on one side only would make an unfair pair of what is left."""
    if not items.is_empty():
        metric, item = items.sort(_KEYS).select(_KEYS).row(0)
        count = items.select(_KEYS).n_unique()
        raise EvaluationError(
            f"Item {item} {why} ({metric}; {count} such item(s)): measure both arms on the same "
            "items again."
        )


def by_cluster(items: pl.DataFrame) -> pl.DataFrame:
    """Average the items of each cluster, since answers about one topic resemble each other.

    Args:
        items: rows of `paired`, of one metric.

    Returns:
        Columns cluster, items, base, adapter, difference (adapter minus base), by cluster.
    """
    mean = {c: (pl.col(c) * pl.col("weight")).sum() / pl.col("weight").sum() for c in _ARMS}
    return (
        items.group_by("cluster")
        .agg(pl.len().alias("items"), **mean)
        .with_columns(difference=pl.col("adapter") - pl.col("base"))
        .sort("cluster")
    )


_ARMS = ("base", "adapter")


def one_item_each(items: pl.DataFrame) -> bool:
    """Whether McNemar's test fits: every item is a cluster of its own, and right or wrong.

    Args:
        items: rows of `paired`, of one metric.
    """
    alone = items["cluster"].n_unique() == items.height
    return alone and items.select(pl.col(_ARMS).is_in([0.0, 1.0]).all()).row(0) == (True, True)

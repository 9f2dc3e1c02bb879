"""Decide what is kept. Every record that is not kept has a named reason."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from elara.inspection.features import MEDIUM
from elara.inspection.matching import REVIEW, Clusters


@dataclass(frozen=True)
class Selection:
    """What was kept and what was not; together they are exactly the records that came in.

    Args:
        kept: the scored rows that stay, in their order.
        removed: `id`, `reason`, and for duplicates `kept_id` and `similarity` (else "" and
            null), sorted by id.
        review: of `Clusters.review` the rows whose two records are kept: nearly the same texts
            that differ in what counts, for a person to look at.
    """

    kept: pl.DataFrame
    removed: pl.DataFrame
    review: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REVIEW))

    def reasons(self) -> pl.DataFrame:
        """How many records each reason removed: `reason`, `records`, most frequent first."""
        counted = self.removed.group_by("reason").agg(records=pl.len())
        return counted.sort(["records", "reason"], descending=[True, False])

    def summary(self) -> str:
        """What came of it, in one line: `125 of 140 articles kept, 15 removed (8 …)`."""
        told = ", ".join(f"{count:,} {reason}" for reason, count in self.reasons().iter_rows())
        every = self.kept.height + self.removed.height
        why = f" ({told})" if told else ""
        pairs = "pair" if self.review.height == 1 else "pairs"
        look = f"; {self.review.height:,} {pairs} to review" if self.review.height else ""
        return (
            f"{self.kept.height:,} of {every:,} articles kept, {self.removed.height:,} removed{why}"
            f"{look}"
        )

    def advice(self) -> str:
        """What to do where nothing was kept; "" where something was."""
        if self.kept.height:
            return ""
        return (
            "No article is left, so the next notebook has nothing to clean. Collect more, or keep "
            "more of what there is: `minimum_quality` below 0.4 keeps short texts, and "
            "`keep_non_english` other languages."
        )


def select(
    scored: pl.DataFrame,
    clusters: Clusters,
    minimum: float = MEDIUM,
    keep_non_english: bool = False,
) -> Selection:
    """Select the records to keep.

    A record gets the first reason that applies: `retracted`, `copy_of_retracted`, `notice` (an
    erratum, a retraction or another notice about an article), `empty`, `non_english`, the reason
    of its duplicate cluster, `low_quality`. A duplicate is removed only when the record that
    stands for it stays.

    Args:
        scored: what `score` returns, or its columns `id`, `quality` and `flags`.
        clusters: what `near_duplicates` returns for it.
        minimum: smallest quality that is kept, in [0, 1].
        keep_non_english: whether records in other languages stay.

    Returns:
        The selection.

    Raises:
        ValueError: `minimum` is not in [0, 1], or an id occurs twice.
    """
    check_minimum(minimum)
    check_ids(scored["id"])
    removed = _removals(scored, clusters, minimum, keep_non_english)
    gone = removed["id"].implode()
    kept = scored.filter(~pl.col("id").is_in(gone))
    assert kept.height + removed.height == scored.height, "a record was lost in the selection"
    both = ~pl.col("id").is_in(gone) & ~pl.col("kept_id").is_in(gone)
    return Selection(kept, removed, clusters.review.filter(both))


def _removals(
    scored: pl.DataFrame, clusters: Clusters, minimum: float, keep_non_english: bool
) -> pl.DataFrame:
    """`Selection.removed`."""
    flags = pl.col("flags").list
    conditions = {
        "retracted": flags.contains("retracted"),
        "copy_of_retracted": pl.col("id").is_in(clusters.copies_of_retracted),
        "notice": flags.contains("notice"),
        "empty": flags.contains("empty"),
        "non_english": flags.contains("non_english") & (not keep_non_english),
    }
    first = pl.coalesce(pl.when(c).then(pl.lit(name)) for name, c in conditions.items())
    low = pl.col("quality") < minimum
    own = pl.any_horizontal(*conditions.values(), low)
    # Most records stay: only the others are looked at one by one.
    suspects = scored.filter(own | pl.col("id").is_in(clusters.removed["id"].implode()))
    judged = suspects.select("id", own=first, low=pl.when(low).then(pl.lit("low_quality")))
    gone = judged.filter(pl.coalesce("own", "low").is_not_null())["id"]
    copies = clusters.removed.filter(~pl.col("kept_id").is_in(gone.implode()))
    copies = copies.select("id", "kept_id", "similarity", copy="reason")
    judged = judged.join(copies, on="id", how="left", maintain_order="left").with_columns(
        reason=pl.coalesce("own", "copy", "low")
    )
    is_copy = pl.col("reason") == pl.col("copy")
    removed = judged.filter(pl.col("reason").is_not_null()).select(
        "id",
        "reason",
        kept_id=pl.when(is_copy).then("kept_id").otherwise(pl.lit("")),
        similarity=pl.when(is_copy).then("similarity"),
    )
    return removed.sort("id")


def check_minimum(minimum: float) -> None:
    """Raise ValueError unless some quality could be the smallest that is kept."""
    if not 0 <= minimum <= 1:
        raise ValueError(f"minimum is {minimum}; quality lies between 0 and 1")


def check_ids(ids: pl.Series) -> None:
    """Raise ValueError unless each id is there once."""
    if (again := ids.filter(~ids.is_first_distinct())).len():
        raise ValueError(
            f"{again.len()} records have the id of another, first {again[0]}: collect gives each "
            f"article one id; run it again"
        )

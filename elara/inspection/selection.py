"""Decide what is kept, with a named reason for every record that is not, and report it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from elara.display.figures import BLUE, GREY, ORANGE, new_figure, plain
from elara.inspection.features import MEDIUM, feature_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REVIEW = {"id": pl.String, "kept_id": pl.String, "similarity": pl.Float64, "difference": pl.String}
# The files beside report.html, with their alternative texts.
FIGURES = {
    "quality.png": "Histogram of the quality score, with the limits of the buckets.",
    "features.png": "One small histogram for each feature of the score.",
    "duplicates.png": "Candidate pairs by exact similarity, with the threshold.",
}


@dataclass(frozen=True)
class Clusters:
    """Groups of records that stand for one article.

    Args:
        removed: one row per record that has a better copy: `id`, `reason` (`same_doi`,
            `same_pmid`, `same_pmcid`, `same_text` or `near_duplicate`), `kept_id`, `similarity`
            (exact Jaccard of the 3-word shingles with the kept record, 0 to 1), `cluster`.
        pairs: one row per pair that MinHash proposed: `id`, `other_id`, `similarity`.
        threshold: similarity from which two records are near duplicates.
        copies_of_retracted: ids of records that are not marked retracted but are the same
            article as one that is.
        review: one row per record that is nearly the same as another and stays, because the two
            differ in a drug, a number, a unit, a negation or the like: `id`, `kept_id` (the most
            similar record that stays), `similarity`, `difference` (`5 mg → 50 mg`).
    """

    removed: pl.DataFrame
    pairs: pl.DataFrame
    threshold: float
    copies_of_retracted: tuple[str, ...] = ()
    review: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REVIEW))

    def plot(self) -> Figure:
        """Every proposed pair at its exact similarity: what was verified, what was not."""
        from matplotlib.ticker import MaxNLocator

        figure, limit = new_figure(7, 3.5), self.threshold
        axes = figure.subplots()
        ranked = self.pairs["similarity"].sort().to_frame().with_row_index("rank", offset=1)
        verified = pl.col("similarity") >= limit
        for label, colour, marker, rows in (
            ("verified: near duplicate", BLUE, "o", ranked.filter(verified)),
            ("proposed by MinHash, not verified", GREY, "x", ranked.filter(~verified)),
        ):
            x, y = rows["similarity"].to_numpy(), rows["rank"].to_numpy()
            axes.scatter(x, y, s=30, color=colour, marker=marker, label=f"{label} ({rows.height})")
        axes.axvline(limit, color=ORANGE, linestyle="--", label=f"threshold {limit:g}")
        axes.set(
            xlabel="exact Jaccard similarity of 3-word shingles (0 to 1)",
            xlim=(0, 1.02),
            ylabel="candidate pair, by similarity",
        )
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, loc="upper left")
        plain(axes)
        return figure


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
        kept, gone = self.kept.height, self.removed.height
        why = f" ({told})" if told else ""
        pairs = "pair" if self.review.height == 1 else "pairs"
        look = f"; {self.review.height:,} {pairs} to review" if self.review.height else ""
        return f"{kept:,} of {kept + gone:,} articles kept, {gone:,} removed{why}{look}"

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


def report(scored: pl.DataFrame, clusters: Clusters, selection: Selection) -> dict[str, Any]:
    """Everything a reader of the result needs to judge it, as plain values for report.json.

    Args:
        scored: what `score` returns.
        clusters: what `near_duplicates` returns.
        selection: what `select` returns.
    """
    with_abstract = int((~scored["flags"].list.contains("no_abstract")).sum())
    flagged = scored["flags"].filter(scored["flags"].list.len() > 0).explode()
    flags = flagged.value_counts(name="records").sort("flags")
    proposed = clusters.pairs
    return {
        "articles": scored.height,
        "kept": selection.kept.height,
        "removed": dict(selection.reasons().iter_rows()),
        "mean_quality": round(float(scored["quality"].mean() or 0.0), 3),  # type: ignore[arg-type]
        "with_abstract_percent": round(100 * with_abstract / max(scored.height, 1), 1),
        "flags": dict(flags.iter_rows()),
        "duplicates": {
            "threshold": clusters.threshold,
            "candidate_pairs": proposed.height,
            "verified_pairs": proposed.filter(pl.col("similarity") >= clusters.threshold).height,
            "records_with_a_better_copy": clusters.removed.height,
            "records_for_review": selection.review.height,
        },
        "features": feature_table().to_dicts(),
        "sources": _sources(scored, selection).to_dicts(),
    }


def _sources(scored: pl.DataFrame, selection: Selection) -> pl.DataFrame:
    """What each source gave and how much of it is kept, articles per bucket and flag."""
    marks = {
        "kept": ~pl.col("id").is_in(selection.removed["id"].implode()),
        **{name: pl.col("bucket") == name for name in ("high", "medium", "low")},
        **{flag: pl.col("flags").list.contains(flag) for flag in ("no_abstract", "retracted")},
    }
    totals = [pl.col(name).sum() for name in marks]
    # Twice, so that the order in which numbers are added up does not show.
    mean = pl.col("mean_quality").mean().round(6).round(3)
    counts = scored.select("source", mean_quality="quality", **marks).group_by("source")
    table = counts.agg(mean, *totals, articles=pl.len()).sort("source")
    return table.select("source", "articles", "kept", "mean_quality", *list(marks)[1:])


def report_html(found: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """The report as one HTML page.

    Args:
        found: what `report` returns.
        figures: file name of each figure, beside the page, to its alternative text.

    Returns:
        A complete HTML 5 document.
    """
    import jinja2

    text = Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8")
    template: jinja2.Template = jinja2.Template(
        text, autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    given = found.get("input", {})
    unread = [{"field": k, "records": v} for k, v in given.get("fields_not_read", {}).items()]
    reasons = [{"reason": k, "records": v} for k, v in found["removed"].items()]
    more = {"input": given, "fields_not_read": unread, "reasons": reasons, "figures": figures}
    return template.render({**found, **more})

"""What inspection found, for reading: figures, a table per source, report.json, report.html."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from elara.display.figures import BLUE, GREY, ORANGE, new_figure, plain
from elara.inspection.features import FEATURES, HIGH, MEDIUM, feature_table
from elara.inspection.matching import Clusters
from elara.inspection.selection import Selection

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The files beside report.html, with their alternative texts.
FIGURES = {
    "quality.png": "Histogram of the quality score, with the limits of the buckets.",
    "features.png": "One small histogram for each feature of the score.",
    "duplicates.png": "Candidate pairs by exact similarity, with the threshold.",
}


def quality_figure(scored: pl.DataFrame) -> Figure:
    """Histogram of the quality score with the limits of the buckets.

    Args:
        scored: what `score` returns.
    """
    figure = new_figure(7, 3.5)
    axes = figure.subplots()
    axes.hist(scored["quality"].to_numpy(), bins=[i / 40 for i in range(41)], color=BLUE)
    for limit, name in ((MEDIUM, "medium from 0.4"), (HIGH, "high from 0.7")):
        axes.axvline(limit, color=ORANGE, linestyle="--")
        axes.text(
            limit - 0.01,
            0.97,
            name,
            transform=axes.get_xaxis_transform(),
            ha="right",
            va="top",
            color=ORANGE,
        )
    axes.set(xlabel="quality (0 to 1)", ylabel="articles", xlim=(0, 1))
    plain(axes)
    return figure


def feature_figure(scored: pl.DataFrame) -> Figure:
    """One small histogram per feature, on one scale.

    Args:
        scored: what `score` returns.
    """
    figure = new_figure(9, 4.5)
    grid = figure.subplots(2, 4, sharex=True, sharey=True).ravel()
    for axes, feature in zip(grid, FEATURES, strict=True):
        values = scored[f"feature_{feature.name}"].to_numpy()
        axes.hist(values, bins=[i / 20 for i in range(21)], color=BLUE)
        axes.set_title(f"{feature.name} (weight {feature.weight:.2f})", fontsize=10)
        axes.set(xlim=(0, 1), xticks=(0, 0.5, 1))
        plain(axes)
    figure.supxlabel("value of the feature (0 to 1)")
    figure.supylabel("articles")
    return figure


def duplicate_figure(pairs: pl.DataFrame, threshold: float) -> Figure:
    """Candidate pairs in the order of their exact similarity, with the threshold.

    Args:
        pairs: `Clusters.pairs`.
        threshold: `Clusters.threshold`.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(7, 3.5)
    axes = figure.subplots()
    ranked = pairs["similarity"].sort().to_frame().with_row_index("rank", offset=1)
    verified = pl.col("similarity") >= threshold
    for label, colour, marker, rows in (
        ("verified: near duplicate", BLUE, "o", ranked.filter(verified)),
        ("proposed by MinHash, not verified", GREY, "x", ranked.filter(~verified)),
    ):
        axes.scatter(
            rows["similarity"].to_numpy(),
            rows["rank"].to_numpy(),
            color=colour,
            marker=marker,
            s=30,
            label=f"{label} ({rows.height})",
        )
    axes.axvline(threshold, color=ORANGE, linestyle="--", label=f"threshold {threshold:g}")
    axes.set(
        xlabel="exact Jaccard similarity of 3-word shingles (0 to 1)",
        xlim=(0, 1.02),
        ylabel="candidate pair, by similarity",
    )
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, loc="upper left")
    plain(axes)
    return figure


def source_table(scored: pl.DataFrame, selection: Selection) -> pl.DataFrame:
    """What each source gave and how much of it is kept.

    Args:
        scored: what `score` returns.
        selection: what `select` returns for it.

    Returns:
        One row per source: `source`, `articles`, `kept`, `mean_quality`, `high`, `medium`, `low`
        (articles per bucket), `no_abstract`, `retracted`.
    """
    marks = {
        "kept": ~pl.col("id").is_in(selection.removed["id"].implode()),
        **{name: pl.col("bucket") == name for name in ("high", "medium", "low")},
        **{flag: pl.col("flags").list.contains(flag) for flag in ("no_abstract", "retracted")},
    }
    totals = [pl.col(name).sum() for name in marks]
    return (
        scored.select("source", "quality", **marks)
        .group_by("source")
        .agg(pl.len().alias("articles"), pl.col("quality").mean().round(3), *totals)
        .rename({"quality": "mean_quality"})
        .select("source", "articles", "kept", "mean_quality", *list(marks)[1:])
        .sort("source")
    )


def report(scored: pl.DataFrame, clusters: Clusters, selection: Selection) -> dict[str, Any]:
    """Everything a reader of the result needs to judge it, as plain values for report.json.

    Args:
        scored: what `score` returns.
        clusters: what `near_duplicates` returns.
        selection: what `select` returns.
    """
    flagged = scored["flags"].filter(scored["flags"].list.len() > 0).explode()
    flags = flagged.value_counts(name="records").sort("flags")
    proposed = clusters.pairs
    return {
        "articles": scored.height,
        "kept": selection.kept.height,
        "removed": dict(selection.reasons().iter_rows()),
        "mean_quality": round(float(scored["quality"].mean() or 0.0), 3),  # type: ignore[arg-type]
        "with_abstract_percent": with_abstract_percent(scored),
        "flags": dict(flags.iter_rows()),
        "duplicates": {
            "threshold": clusters.threshold,
            "candidate_pairs": proposed.height,
            "verified_pairs": proposed.filter(pl.col("similarity") >= clusters.threshold).height,
            "records_with_a_better_copy": clusters.removed.height,
            "records_for_review": selection.review.height,
        },
        "features": feature_table().to_dicts(),
        "sources": source_table(scored, selection).to_dicts(),
    }


def with_abstract_percent(scored: pl.DataFrame) -> float:
    """Share of records with an abstract, in percent with one decimal."""
    have = int((~scored["flags"].list.contains("no_abstract")).sum())
    return round(100 * have / max(scored.height, 1), 1)


def report_html(found: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """The report as one HTML page.

    Args:
        found: what `report` returns.
        figures: file name of each figure, beside the page, to its alternative text.

    Returns:
        A complete HTML 5 document.
    """
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    given = {"lines_skipped": 0, "fields_not_read": {}} | found.get("input", {})
    return templates.get_template("report.html.jinja").render(
        found,
        input=given,
        unread=[{"field": k, "records": v} for k, v in given["fields_not_read"].items()],
        reasons=[{"reason": k, "records": v} for k, v in found["removed"].items()],
        figures=figures,
    )

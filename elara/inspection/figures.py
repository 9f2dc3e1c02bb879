"""Draw the quality score, its features, and the candidate pairs of duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from elara.display.figures import BLUE, GREY, ORANGE, new_figure, plain
from elara.inspection.features import FEATURES, HIGH, MEDIUM

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def quality_figure(scored: pl.DataFrame | pl.LazyFrame) -> Figure:
    """Histogram of the quality score with the limits of the buckets.

    Args:
        scored: what `score` returns, or `Inspected.scores`.
    """
    quality = scored.lazy().select("quality").collect().to_series()
    figure = new_figure(7, 3.5)
    axes = figure.subplots()
    axes.hist(quality.to_numpy(), bins=[i / 40 for i in range(41)], color=BLUE)
    for limit, name in ((MEDIUM, "medium from 0.4"), (HIGH, "high from 0.7")):
        axes.axvline(limit, color=ORANGE, linestyle="--")
        text = axes.text(limit - 0.01, 0.97, name, color=ORANGE, ha="right", va="top")
        text.set_transform(axes.get_xaxis_transform())
    axes.set(xlabel="quality (0 to 1)", ylabel="articles", xlim=(0, 1))
    plain(axes)
    return figure


def feature_figure(scored: pl.DataFrame | pl.LazyFrame) -> Figure:
    """One small histogram per feature, on one scale.

    Args:
        scored: what `score` returns, or `Inspected.scores`.
    """
    figure = new_figure(9, 4.5)
    grid = figure.subplots(2, 4, sharex=True, sharey=True).ravel()
    for axes, feature in zip(grid, FEATURES, strict=True):
        values = scored.lazy().select(f"feature_{feature.name}").collect().to_series()
        axes.hist(values.to_numpy(), bins=[i / 20 for i in range(21)], color=BLUE)
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
        x, y = rows["similarity"].to_numpy(), rows["rank"].to_numpy()
        axes.scatter(x, y, s=30, color=colour, marker=marker, label=f"{label} ({rows.height})")
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

"""Measure whether a model that is sure of an answer is right, and right when it is sure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from elara.evaluate.scores import EvaluationError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 10


def confidences(scores: pl.DataFrame) -> pl.DataFrame:
    """The probability of the most likely option of each item, and whether it was right.

    Args:
        scores: of `score_letters`; items of other scorers have no probabilities.

    Returns:
        Columns id, confidence (0 to 1) and right.

    Raises:
        EvaluationError: there is no item with probabilities.
    """
    known = scores.filter(pl.col("scorer").str.starts_with("letters"))
    if known.is_empty():
        raise EvaluationError("Only the likelihood of letters has a confidence: score_letters.")
    return known.select("id", confidence=pl.col("logs").list.max().exp(), right="right")


def expected_calibration_error(found: pl.DataFrame, bins: int = BINS) -> float:
    """Mean distance between confidence and accuracy, over bins of equal width.

    It depends on the bins, and is above 0 by chance alone where items are few.

    Args:
        found: result of `confidences`.
        bins: how many, between 0 and 1.

    Returns:
        0 to 1; 0 is best.

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599
    """
    table = reliability(found, bins)
    items = table["items"].to_numpy()
    far = (table["confidence"] - table["accuracy"]).abs().to_numpy()
    return float((far * items).sum() / items.sum())


def reliability(found: pl.DataFrame, bins: int = BINS) -> pl.DataFrame:
    """Confidence and accuracy in bins of equal width.

    Args:
        found: result of `confidences`.
        bins: how many, between 0 and 1.

    Returns:
        Columns bin (from 0), items, confidence and accuracy; bins without items are left out.
    """
    number = (pl.col("confidence") * bins).floor().clip(0, bins - 1).cast(pl.Int64)
    means = {"confidence": pl.col("confidence").mean(), "accuracy": pl.col("right").mean()}
    return found.group_by(bin=number).agg(items=pl.len(), **means).sort("bin")


def brier(scores: pl.DataFrame) -> float:
    """Mean squared distance between the probabilities of all options and the truth.

    Args:
        scores: of `score_letters`.

    Returns:
        0 to 2; 0 is best, and equal probabilities of four options give 0.75.

    Source: Brier 1950, https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2
    """
    import numpy as np

    each = []
    for logs, key in scores.select("logs", "key").iter_rows():
        truth = np.zeros(len(logs))
        truth[ord(key) - ord("A")] = 1
        each.append(float(((np.exp(logs) - truth) ** 2).sum()))
    return float(np.mean(each))


def risk_coverage(found: pl.DataFrame) -> pl.DataFrame:
    """The share of wrong answers if only the surest ones are given.

    Args:
        found: result of `confidences`.

    Returns:
        Columns coverage (share of the items that are answered) and risk (share of those that are
        wrong), a row for each confidence that occurs; equally sure items are answered together.

    Source: Geifman and El-Yaniv 2017, https://arxiv.org/abs/1705.08500
    """
    groups = found.group_by("confidence").agg(items=pl.len(), right=pl.col("right").sum())
    total = pl.col("items").cum_sum()
    groups = groups.sort("confidence", descending=True)
    return groups.select(
        coverage=total / pl.col("items").sum(), risk=1 - pl.col("right").cum_sum() / total
    )


def calibration_figure(sides: dict[str, pl.DataFrame]) -> Figure:
    """Draw accuracy over confidence, and risk over coverage.

    Args:
        sides: name of each model to its `confidences`.

    Returns:
        Two plots; on the dashed line of the left one, confidence is as high as accuracy.
    """
    from elara.display.figures import BLUE, GREY, ORANGE, new_figure, plain

    figure = new_figure(8, 3.5)
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], "--", color=GREY)
    for (name, found), colour in zip(sides.items(), (BLUE, ORANGE, GREY), strict=False):
        bins, curve = reliability(found), risk_coverage(found)
        left.plot(bins["confidence"], bins["accuracy"], "o-", color=colour, label=name)
        right.plot(curve["coverage"], curve["risk"], color=colour, label=name)
    for axes, (x, y) in zip((left, right), _AXES, strict=True):
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.set_ylim(0, 1.02)
        axes.legend(frameon=False)
        plain(axes)
    return figure


_AXES: Any = (("confidence", "accuracy"), ("share of items answered", "share of them wrong"))

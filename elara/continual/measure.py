"""Compute the interval of a mean."""

from __future__ import annotations

import math
from collections.abc import Sequence


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of a sample and its 95 % interval by Student's t.

    Args:
        values: independent values, at least one.

    Returns:
        Mean, lower and upper end; with one value the ends are not a number, because a single
        value says nothing about its spread.

    Source: https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.t.html
    """
    from scipy import stats

    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    half = float(stats.t.ppf(0.975, len(values) - 1)) * math.sqrt(variance / len(values))
    return mean, mean - half, mean + half

"""Compute the mean of paired differences with its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

_ENOUGH = 5  # values from which resampling says more than a formula


def interval(
    values: Sequence[float], *, resamples: int = 9_999, seed: int = 0
) -> tuple[float, float, float]:
    """The mean of a sample and its 95 % interval.

    Five values or more are resampled (BCa bootstrap); fewer are too few for that, and Student's t
    gives the interval.

    Args:
        values: independent values, such as one paired difference per article; at least one.
        resamples: bootstrap samples.
        seed: fixes the resampling.

    Returns:
        Mean, lower and upper end; with one value the ends are not a number, because a single
        value says nothing about its spread.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 14 (BCa);
        https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.bootstrap.html
    """
    import numpy as np
    from scipy import stats

    sample = np.asarray(values, dtype=float)
    mean = float(sample.mean())
    if len(sample) < 2:
        return mean, math.nan, math.nan
    if np.ptp(sample) == 0:  # equal values leave nothing to resample
        return mean, float(sample[0]), float(sample[0])
    if len(sample) < _ENOUGH:
        half = float(stats.t.ppf(0.975, len(sample) - 1) * stats.sem(sample))
        return mean, mean - half, mean + half
    found = stats.bootstrap(
        (sample,), np.mean, n_resamples=resamples, rng=np.random.default_rng(seed), method="BCa"
    ).confidence_interval
    return mean, float(found.low), float(found.high)

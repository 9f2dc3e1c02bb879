"""Say how sure a mean of differences is, and how likely chance alone would give it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_ENOUGH = 10  # values from which resampling keeps what it promises: see benchmarks/verdict.py
_ALL = 12  # so many values or fewer: every combination of signs is tried
_AT_ONCE = 2**24  # numbers that are held at a time


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of one sample and the ends of its 95 % interval, see `intervals`."""
    import numpy as np

    mean, low, high, _ = intervals(np.array([values], dtype=float))
    return float(mean[0]), float(low[0]), float(high[0])


def intervals(
    samples: np.ndarray, *, level: float = 0.95, resamples: int = 9_999, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The mean of each sample, its interval, and how likely such a mean is if the true one is 0.

    Ten values or more are resampled, each resample in units of its own standard error (studentised
    bootstrap, good with few and skewed values); fewer are too few, and Student's t is taken.

    Args:
        samples: a row of independent values each, such as one paired difference per article.
        level: share of intervals that hold the true mean.
        resamples: bootstrap samples.
        seed: fixes the resampling.

    Returns:
        For each row: mean, lower end, upper end, two-sided p-value; the last three are not a
        number for a single value, which says nothing about its spread.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 12.5.
    """
    import numpy as np
    from scipy import stats

    mean, count = samples.mean(axis=1), samples.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(samples.var(axis=1) / np.float64(count - 1))
        error = np.where(np.ptp(samples, axis=1) > 0, error, 0.0)
        own = np.nan_to_num(mean / error)  # without any spread: 0, or as far as can be
    if count < _ENOUGH:
        half = stats.t.isf((1 - level) / 2, count - 1) * error
        return mean, mean - half, mean + half, 2 * stats.t.sf(np.abs(own), count - 1)
    drawn = _studentised(samples - mean[:, None], error, resamples, seed)
    lower, upper = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=1)
    beyond = [(drawn <= own[:, None]).sum(axis=1), (drawn >= own[:, None]).sum(axis=1)]
    p = np.minimum(1, 2 * (np.minimum(*beyond) + 1) / (resamples + 1))
    return mean, mean - upper * error, mean - lower * error, p


def _studentised(samples: np.ndarray, error: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means of resamples in units of their own standard error; `samples` have a mean of 0."""
    import numpy as np

    count, rng, parts = samples.shape[1], np.random.default_rng(seed), []
    for size in np.diff([*range(0, resamples, max(1, _AT_ONCE // count)), resamples]):
        often = rng.multinomial(count, np.full(count, 1 / count), size=size).T / count
        means = samples @ often
        squares = (samples**2 @ often - means**2) / (count - 1)
        # A resample of equal values has no spread of its own: it keeps that of the sample.
        own = np.where(squares > 1e-9 * error[:, None] ** 2, squares, error[:, None] ** 2)
        parts.append(np.divide(means, own**0.5, out=np.zeros_like(means), where=own > 0))
    return np.concatenate(parts, axis=1)


def sign_flips(samples: np.ndarray, *, resamples: int = 9_999, seed: int = 0) -> np.ndarray:
    """Test whether differences have a mean of 0: then each could as well have the other sign.

    Args:
        samples: one row of differences for each sample.
        resamples: draws of signs; up to 12 differences, all combinations are tried instead.
        seed: fixes the draws.

    Returns:
        The two-sided p-value of each sample.

    Source: Fisher, The Design of Experiments (1935), section 21.
    """
    import numpy as np

    count, rng = samples.shape[1], np.random.default_rng(seed)
    own = np.abs(samples.sum(axis=1, keepdims=True)) - 1e-9 * np.abs(samples).sum(
        axis=1, keepdims=True
    )
    if count <= _ALL:
        signs = 1.0 - 2 * (np.arange(2**count) >> np.arange(count)[:, None] & 1)
        reached = (np.abs(samples @ signs) >= own).sum(axis=1)
        share: np.ndarray = reached / 2.0**count
        return share
    reached = np.zeros(len(samples))
    for size in np.diff([*range(0, resamples, max(1, _AT_ONCE // count)), resamples]):
        signs = 1.0 - 2 * rng.integers(0, 2, (count, size))
        reached += (np.abs(samples @ signs) >= own).sum(axis=1)
    return (reached + 1) / (resamples + 1)


def mcnemar(samples: np.ndarray) -> np.ndarray:
    """Test whether as many items got worse as got better.

    Args:
        samples: for each item 1 (worse), 0 or -1 (better), one row for each sample.

    Returns:
        The exact two-sided p-value of each sample.

    Source: McNemar (1947), https://doi.org/10.1007/BF02295996
    """
    import numpy as np
    from scipy import stats

    worse, better = (samples > 0).sum(axis=1), (samples < 0).sum(axis=1)
    fewer = stats.binom.cdf(np.minimum(worse, better), worse + better, 0.5)
    p: np.ndarray = np.minimum(1, 2 * fewer)
    return p


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p-values for the number of tests.

    Args:
        p: one row for each test, one column for each sample.

    Returns:
        Adjusted p-values, in the same places.

    Source: Holm (1979), https://www.jstor.org/stable/4615733
    """
    import numpy as np

    order = np.argsort(p, axis=0)
    left = np.arange(len(p), 0, -1)[:, None]
    adjusted = np.maximum.accumulate(np.take_along_axis(p, order, axis=0) * left, axis=0)
    placed = np.empty_like(adjusted)
    np.put_along_axis(placed, order, np.minimum(1, adjusted), axis=0)
    return placed

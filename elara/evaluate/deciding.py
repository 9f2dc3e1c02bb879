"""Decide from paired differences: helped, equivalent, too few items to tell, or hurt.

Everything here takes many samples at once, one in each row, so that `benchmarks/verdict.py` can
ask the very code that passes verdicts how often it errs. A sample holds one difference for each
cluster, and above 0 the adapter is worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from elara.evaluate.chance import intervals, mcnemar, sign_flips

if TYPE_CHECKING:
    import numpy as np

HELPED, EQUIVALENT, HURT = "helped", "equivalent", "hurt"
TOO_FEW = "too few items to tell"
ENOUGH = 10  # clusters; with fewer, nothing but "too few" is said
POWER = 0.8  # how often an effect of the detectable size is found

# Standard errors that a detectable effect has on top: chosen so that benchmarks/verdict.py finds
# the promise of `POWER` kept where clusters are skewed and their spread is itself an estimate.
_SURE, _UNSURE = 0.9, 18


@dataclass(frozen=True)
class Evidence:
    """What samples of differences say, one entry for each sample.

    Args:
        clusters: differences in each sample.
        mean: their mean.
        error: standard error of the mean.
        low: lower end of the mean's interval.
        high: upper end.
        p: two-sided, for a true mean of 0: the larger of bootstrap and sign flips (or McNemar).
        p_outside: for a true mean at the margin or beyond, by sign flips, two-sided like `p`.
    """

    clusters: int
    mean: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    p_outside: np.ndarray


def weigh(
    samples: np.ndarray,
    *,
    margin: float,
    single: bool = False,
    level: float = 0.95,
    resamples: int = 9_999,
    seed: int = 0,
) -> Evidence:
    """Look at samples in two ways that have to agree: bootstrap and sign flips.

    With ten skewed clusters either alone errs too often; see `benchmarks/verdict.py`.

    Args:
        samples: one row of differences for each sample.
        margin: differences within ± margin do not matter; 0: any matters.
        single: every cluster is one item, right or wrong, so that McNemar's test is exact.
        level: of the intervals.
        resamples: bootstrap samples, and draws of signs.
        seed: fixes both.
    """
    import numpy as np

    mean, low, high, p = intervals(samples, level=level, resamples=resamples, seed=seed)
    draws = {"resamples": resamples, "seed": seed}
    flipped = mcnemar(samples) if single else sign_flips(samples, **draws)
    outside = [sign_flips(samples + shift, **draws) for shift in (-margin, margin)]
    count = samples.shape[1]
    error = samples.std(axis=1, ddof=1) / count**0.5 if count > 1 else np.full(len(mean), np.nan)
    return Evidence(
        clusters=count,
        mean=mean,
        error=error,
        low=low,
        high=high,
        p=np.maximum(p, flipped),
        p_outside=np.maximum(*outside),
    )


def words(
    evidence: Evidence,
    margin: float,
    *,
    level: float = 0.95,
    p: np.ndarray | None = None,
) -> np.ndarray:
    """Say of each sample what it shows.

    A difference that surely lies within the margin does not matter: it is *equivalent*, even if it
    surely is not 0.

    Args:
        evidence: from `weigh`.
        margin: as for `weigh`.
        level: as for `weigh`; 1 minus level is the chance of error.
        p: to use instead of the evidence's, such as those that `holm` adjusted.

    Source: two one-sided tests: Schuirmann (1987), https://doi.org/10.1007/BF01068419
    """
    import numpy as np

    few = np.full(len(evidence.mean), evidence.clusters < ENOUGH)
    sure = (evidence.p if p is None else p) <= 1 - level
    worse, better = sure & (evidence.low > 0), sure & (evidence.high < 0)
    inside = (evidence.low > -margin) & (evidence.high < margin)
    inside &= evidence.p_outside <= 1 - level
    found = [few, inside, better, worse]
    return np.select(found, [TOO_FEW, EQUIVALENT, HELPED, HURT], TOO_FEW)


def overall(primary: np.ndarray, secondary: np.ndarray) -> np.ndarray:
    """Sum up: what a secondary endpoint shows can only make a verdict worse.

    Args:
        primary: word of the primary endpoint for each sample.
        secondary: words of the others, one row for each endpoint.
    """
    import numpy as np

    return np.where((secondary == HURT).any(axis=0), HURT, primary)


def detectable(evidence: Evidence, margin: float) -> np.ndarray:
    """The effect that would be called *helped* at least four times in five, with such clusters.

    The spread of the next clusters is not known, only that of these; so it is a cautious figure,
    and clusters of a calm sort find smaller effects too.

    Args:
        evidence: from `weigh`.
        margin: as for `weigh`.

    Returns:
        Size of the effect, above 0; not a number where there are too few clusters.
    """
    import numpy as np
    from scipy import stats

    if evidence.clusters < ENOUGH:
        return np.full(len(evidence.mean), np.nan)
    spare = stats.t.ppf(_SURE, evidence.clusters - 1) * (1 + _UNSURE / evidence.clusters)
    found: np.ndarray = _bound(evidence, margin) + spare * evidence.error
    return found


def power(evidence: Evidence, margin: float, effects: np.ndarray) -> np.ndarray:
    """How likely *helped* is for effects of several sizes, if other topics spread like these.

    They may spread more: `detectable` allows for that, and so lies higher than the effect that is
    found with a chance of `POWER` here.

    Args:
        evidence: of one sample, from `weigh`.
        margin: as for `weigh`.
        effects: sizes, above 0.

    Returns:
        A chance from 0 to 1 for each of the effects.
    """
    from scipy import stats

    beyond = (effects - _bound(evidence, margin)) / evidence.error
    found: np.ndarray = stats.t.cdf(beyond, evidence.clusters - 1)
    return found


def _bound(evidence: Evidence, margin: float) -> np.ndarray:
    """How far below 0 a mean has to be for *helped*: surely, and not surely within the margin."""
    import numpy as np

    up, down = evidence.high - evidence.mean, evidence.mean - evidence.low
    bound: np.ndarray = np.maximum(up, margin - down)
    return bound

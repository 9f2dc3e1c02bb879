"""Compare two groups of people after every answer without raising the error: a betting test.

A gambler bets against the claim "the mean is m". If the claim is true, no way of betting that
looks only at what came before can be expected to win, and the capital reaches 1/alpha with a
probability of at most alpha, however often one looks. The claims that are not refuted this way
form an interval that holds the mean at all times at once.

Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting",
    https://arxiv.org/abs/2010.09686, section 4: the hedged capital process with predictable
    plug-in bets.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# A bet never risks more than this share of the capital, so that it cannot be lost altogether.
MOST_AT_STAKE = 0.75
# People who wait for a partner; whoever has waited longest leaves first.
MOST_WAITING = 10
_CLAIMS = 1001  # for which an interval is looked up, evenly spaced


def bets(x: Array, alpha: float) -> Array:
    """How much to bet on each value, from those before it: more where they varied little.

    Args:
        x: values in [0, 1], in time along the last axis; NaN after the last one.
        alpha: the error that is allowed, in (0, 1).

    Returns:
        A bet for each value, not yet limited to what is at stake.

    Source: the bets for which theorem 3 of https://arxiv.org/abs/2010.09686 is stated
    """
    x = np.nan_to_num(x, nan=0.5)
    t = np.arange(1, x.shape[-1] + 1)
    means = (0.5 + np.cumsum(x, axis=-1)) / (t + 1)
    variances = (0.25 + np.cumsum((x - means) ** 2, axis=-1)) / (t + 1)
    before = np.concatenate([np.full((*x.shape[:-1], 1), 0.25), variances[..., :-1]], axis=-1)
    found: Array = np.sqrt(2 * math.log(2 / alpha) / (before * t * np.log1p(t)))
    return found


def log_capital(x: Array, claim: Any, alpha: float) -> Array:
    """Logarithm of the capital of who bets against a claim, after each value; it starts at 0.

    Half of the capital is bet on a mean above the claim and half on one below it.

    Args:
        x: as in `bets`.
        claim: the mean that is bet against, in (0, 1); an array that broadcasts against `x`
            computes several at once.
        alpha: as in `bets`.

    Source: theorem 3 of https://arxiv.org/abs/2010.09686
    """
    claim, bet = np.asarray(claim, float), bets(x, alpha)
    off = np.nan_to_num(x - claim)  # nothing is won or lost where there is no value
    above = np.log1p(np.minimum(bet, MOST_AT_STAKE / claim) * off).cumsum(axis=-1)
    below = np.log1p(-np.minimum(bet, MOST_AT_STAKE / (1 - claim)) * off).cumsum(axis=-1)
    found: Array = np.maximum(above, below) - math.log(2)
    return found


def refuted(x: Array, claim: Any, alpha: float) -> npt.NDArray[np.bool_]:
    """Whether a claim was refuted at any time up to each value.

    Args:
        x: as in `bets`.
        claim: as in `log_capital`.
        alpha: the probability with which a true claim is refuted, at most.
    """
    reached = log_capital(x, claim, alpha) >= math.log(1 / alpha)
    return np.logical_or.accumulate(reached, axis=-1)


def interval(x: Array, alpha: float) -> tuple[float, float]:
    """The interval that holds the mean at all times at once with probability 1 - alpha.

    Args:
        x: values in [0, 1], in time; may be empty.
        alpha: the error that is allowed, in (0, 1).

    Returns:
        Its ends, rounded outwards to a thousandth. Where every claim was refuted, as can happen
        when the mean drifts, the last mean twice.
    """
    if not len(x):
        return 0.0, 1.0
    claims = np.linspace(0, 1, _CLAIMS)[1:-1]
    parts = np.array_split(claims[:, None], 10)  # all at once would need gigabytes
    kept = np.flatnonzero(~np.concatenate([refuted(x, part, alpha)[:, -1] for part in parts]))
    if not len(kept):
        return float(x.mean()), float(x.mean())
    return kept[0].item() / (_CLAIMS - 1), (kept[-1].item() + 2) / (_CLAIMS - 1)


def pair(candidate: npt.NDArray[np.bool_], values: Array) -> Array:
    """Pair people of the two arms who joined close to each other, in the order in which they did.

    Whoever joins is paired with the last unpaired person of the other arm. Both lived through the
    same days, so that whatever changes with time (other questions, another season) drops out of
    their difference, and so does an arm in which fewer people give feedback.

    Args:
        candidate: for each person, in order, whether the candidate answered.
        values: for each person a number in [0, 1]; no NaN.

    Returns:
        One difference for each pair, candidate minus standing, in [-1, 1], by time.
    """
    waiting: deque[float] = deque(maxlen=MOST_WAITING)
    side, found = False, []
    for arm, value in zip(candidate.tolist(), values.tolist(), strict=True):
        if waiting and arm != side:
            other = waiting.pop()
            found.append(value - other if arm else other - value)
        else:
            side = arm
            waiting.append(value)
    return np.array(found, float)


@dataclass(frozen=True)
class Difference:
    """How much higher the candidate's mean is than the standing adapter's.

    Args:
        pairs: how many pairs were compared.
        estimate: mean difference of the pairs, in [-1, 1]; NaN without pairs.
        low: lower end of the interval that holds at all times at once.
        high: its upper end.
    """

    pairs: int
    estimate: float
    low: float
    high: float

    def excludes_zero(self) -> bool:
        """Whether a difference was shown, in either direction."""
        return self.low > 0 or self.high < 0


def difference(candidate: npt.NDArray[np.bool_], values: Array, alpha: float) -> Difference:
    """Compare the arms over all people so far.

    Args:
        candidate: as in `pair`.
        values: as in `pair`.
        alpha: the error over the whole experiment, however often this is asked.
    """
    found = pair(candidate, values)
    low, high = interval((1 + found) / 2, alpha)
    mean = float(found.mean()) if len(found) else math.nan
    return Difference(len(found), mean, 2 * low - 1, 2 * high - 1)

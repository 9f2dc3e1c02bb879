"""How far an export may be from the adapter that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """The worst that an export may be.

    Args:
        kl: mean Kullback-Leibler divergence over answer positions, in nats.
        top1: share of answer positions where both name the same most likely token.
        answers: mean share of an answer up to the first different token.
    """

    kl: float
    top1: float
    answers: float


# By number format of the weights; `… llama.cpp` where llama.cpp reads them, which rounds what it
# computes with as well. Measured values and margins are in the guide on exporting. One token that
# flips at a tie changes the rest of an answer, so bounds on whole answers are wide: they are there
# for what only shows when a program generates.
BOUNDS: Mapping[str, Bound] = {
    "float32": Bound(kl=1e-6, top1=0.99, answers=0.9),
    "bfloat16": Bound(kl=2e-3, top1=0.9, answers=0.2),
    "float16": Bound(kl=1e-4, top1=0.97, answers=0.4),
    "F32": Bound(kl=1e-6, top1=0.99, answers=0.9),
    "F16": Bound(kl=1e-4, top1=0.97, answers=0.4),
    "Q8_0": Bound(kl=1e-2, top1=0.9, answers=0.2),
    "F32 llama.cpp": Bound(kl=1e-4, top1=0.97, answers=0.4),
    "F16 llama.cpp": Bound(kl=2e-4, top1=0.97, answers=0.4),
    "Q8_0 llama.cpp": Bound(kl=3e-2, top1=0.85, answers=0.2),
}
# Added where the original runs on 4-bit weights: the kernels for those round what they compute with
# (on CPUs with AVX-512, to bfloat16), so the original itself is this far from its own numbers.
FOUR_BIT = Bound(kl=2e-3, top1=0.93, answers=0.2)


def widened(bound: Bound) -> Bound:
    """A bound for exports whose original runs on 4-bit weights.

    Args:
        bound: the one for weights that are not quantised.
    """
    return Bound(
        bound.kl + FOUR_BIT.kl,
        min(bound.top1, FOUR_BIT.top1),
        min(bound.answers, FOUR_BIT.answers),
    )

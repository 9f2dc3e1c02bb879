"""Made-up scores for the tests of the verdict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl


def scores(
    differences: Sequence[float],
    *,
    metric: str = "answer loss",
    base: float = 2.0,
    repeats: int = 1,
    specialty: str = "",
    start: int = 0,
) -> pl.DataFrame:
    """Each difference is one topic, with as many items of equal value as asked for."""
    rows = [
        (metric, f"x:{i}/k/{j}", f"x:{i}", specialty, arm, value)
        for i, difference in enumerate(differences, start)
        for j in range(repeats)
        for arm, value in (("base", base), ("adapter", base + difference))
    ]
    columns = ("metric", "item", "cluster", "specialty", "arm", "value")
    return pl.DataFrame(rows, columns, orient="row")


def around(mean: float, spread: float = 0.1, topics: int = 12, seed: int = 0) -> list[float]:
    """Differences with exactly this mean and standard deviation."""
    drawn = np.random.default_rng(seed).normal(size=topics)
    scaled = (drawn - drawn.mean()) / drawn.std(ddof=1) * spread + mean
    return [float(value) for value in scaled]

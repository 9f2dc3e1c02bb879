"""How often the verdict errs, and what it can find: simulated, without a model.

Run: python benchmarks/verdict.py   (prints a table, writes verdict.json beside it)

Each design has 10, 19, 40 or 100 topics (clusters) of unequal size: the number of items is drawn
from a log-normal distribution, most have one to five, some more than twenty. Half of the variance
of an item's difference lies between topics and half within. Both parts are either normal, or
exponential with the long tail towards harm or towards gain, the skew that makes small samples err.
The noise is the standard deviation of one item's difference, in nats per token. Four secondary
endpoints lean on the same topics: two losses (correlated 0.9 and 0.3), a score (0.6), and an
accuracy whose items are right or wrong.

10,000 sets are drawn for each design, and judged by the code that passes the verdicts
(`elara.evaluate.deciding`), with fewer resamples. Asked is how often it says

- *helped*, and *hurt*, where no endpoint has an effect (bar: helped in at most 5 %);
- *equivalent*, where the primary endpoint lies exactly at the margin (at most 5 %);
- *helped*, where the effect is as large as the detectable effect that another set of that design
  stated (at least 80 %); secondary endpoints without effect can forbid it, as always;
- *helped*, where in addition one secondary endpoint is worse by its own detectable effect.

`methods` shows why the verdict asks two methods at once: errors of each at ten and 19 topics.
`heavier` goes beyond what the bars promise: one item for each topic, log-normal differences.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from elara.evaluate import deciding
from elara.evaluate.chance import holm, intervals, sign_flips
from elara.evaluate.deciding import EQUIVALENT, HELPED, HURT, TOO_FEW

CLUSTERS = (10, 19, 40, 100)
TAILS = ("none", "harm", "gain")
NOISES = (0.05, 0.3)
MARGIN, ACCURACY_MARGIN = 0.05, 0.03
SETS, RESAMPLES = 10_000, 999
LEANING = {"a loss": 0.9, "a score": 0.6, "another loss": 0.3}
EFFECTS = [round(0.05 * k, 2) for k in range(13)]
Array = Any


class Draws:
    """Random topics of one design.

    Args:
        clusters: in each set.
        tail: where the long tail of the differences lies: `none`, `harm` or `gain`.
        sets: how many sets.
        seed: of the random numbers.
    """

    def __init__(self, clusters: int, tail: str, sets: int, seed: int) -> None:
        self.random = np.random.default_rng([seed, clusters, TAILS.index(tail)])
        self.tail, self.shape = tail, (sets, clusters)
        sizes = np.rint(self.random.lognormal(0.8, 1, self.shape))
        self.sizes = np.maximum(1, sizes).astype(int)
        self.shared = self._shocks(1)

    def _shocks(self, size: Array) -> Array:
        """Means of `size` draws with mean 0 and variance 1."""
        if self.tail == "none":
            return self.random.normal(size=self.shape) / np.sqrt(size)
        drawn = self.random.gamma(size, size=self.shape) / size - 1
        return drawn if self.tail == "harm" else -drawn

    def loss(self, leaning: float = 1.0) -> Array:
        """Mean differences of each topic, for a noise of 1, above 0 worse."""
        own = self._shocks(1)
        between = leaning * self.shared + (1 - leaning**2) ** 0.5 * own
        return (between + self._shocks(self.sizes)) / 2**0.5

    def accuracy(self) -> Array:
        """The same for items that were right or wrong: one in ten turns either way."""
        lean = np.tanh(self.shared)
        wrong = self.random.binomial(self.sizes, 0.1 + 0.05 * (lean - _mean_lean(self.tail)))
        left = 0.1 / (0.9 - 0.05 * (lean - _mean_lean(self.tail)))
        right = self.random.binomial(self.sizes - wrong, left)
        return (wrong - right) / self.sizes


def _mean_lean(tail: str) -> float:
    if tail == "none":
        return 0.0
    mean = stats.expon.expect(lambda x: np.tanh(x - 1))
    return float(mean if tail == "harm" else -mean)


def weighed(samples: Array, margin: float = MARGIN) -> deciding.Evidence:
    """Evidence, with the resamples of this benchmark."""
    return deciding.weigh(samples, margin=margin, resamples=RESAMPLES)


def verdicts(primary: deciding.Evidence, secondary: list[tuple[deciding.Evidence, float]]) -> Array:
    """The word of each set."""
    adjusted = holm(np.stack([evidence.p for evidence, _ in secondary]))
    words = [
        deciding.words(evidence, margin, p=p)
        for (evidence, margin), p in zip(secondary, adjusted, strict=True)
    ]
    return deciding.overall(deciding.words(primary, MARGIN), np.stack(words))


def share(words: Array, word: str) -> float:
    """How often a word was said."""
    return round(float((words == word).mean()), 4)


def design(given: tuple[int, str, float, int]) -> dict[str, Any]:
    """What becomes of all sets of one design."""
    clusters, tail, noise, sets = given
    first, second = Draws(clusters, tail, sets, 1), Draws(clusters, tail, sets, 2)
    losses = first.loss() * noise
    secondary = [(weighed(first.loss(r) * noise), MARGIN) for r in LEANING.values()]
    secondary.append((weighed(first.accuracy(), ACCURACY_MARGIN), ACCURACY_MARGIN))
    none = verdicts(weighed(losses), secondary)
    edge = deciding.words(weighed(losses + MARGIN), MARGIN)
    pilot = deciding.detectable(weighed(second.loss() * noise), MARGIN)
    found = weighed(losses - pilot[:, None])
    harm = deciding.detectable(secondary[1][0], MARGIN)
    harmed = Draws(clusters, tail, sets, 3).loss() * noise + harm[:, None]
    worse = [*secondary[:1], (weighed(harmed), MARGIN), *secondary[2:]]
    return {
        "clusters": clusters,
        "tail": tail,
        "noise": noise,
        "no effect: helped": share(none, HELPED),
        "no effect: hurt": share(none, HURT),
        "no effect: equivalent": share(none, EQUIVALENT),
        "at the margin: equivalent": share(edge, EQUIVALENT),
        "detectable effect": round(float(np.median(pilot)), 3),
        "detectable effect: helped": share(verdicts(found, secondary), HELPED),
        "and a secondary harm: helped": share(verdicts(found, worse), HELPED),
    }


def curve(given: tuple[int, int]) -> list[float]:
    """How often *helped* is said of true effects of several sizes, with the larger noise."""
    clusters, sets = given
    losses = Draws(clusters, "harm", sets, 4).loss() * NOISES[-1]
    found = [deciding.words(weighed(losses - effect), MARGIN) for effect in EFFECTS]
    return [share(words, HELPED) for words in found]


def methods(given: tuple[int, str, int]) -> dict[str, Any]:
    """How often each method finds a gain, or a harm, that is not there (2.5 % each promised)."""
    clusters, tail, sets = given
    losses = Draws(clusters, tail, sets, 5).loss()
    mean, error = losses.mean(axis=1), losses.std(axis=1, ddof=1) / clusters**0.5
    half = stats.t.ppf(0.975, clusters - 1) * error
    _, low, high, _ = intervals(losses, resamples=RESAMPLES)
    flips = sign_flips(losses, resamples=RESAMPLES) <= 0.05
    often = np.random.default_rng(0).multinomial(clusters, np.ones(clusters) / clusters, RESAMPLES)
    plain = np.quantile(losses @ often.T / clusters, [0.025, 0.975], axis=1)
    gains = {
        "Student's t": (mean + half < 0, mean - half > 0),
        "percentile bootstrap": (plain[1] < 0, plain[0] > 0),
        "sign flips": (flips & (mean < 0), flips & (mean > 0)),
        "studentised bootstrap": (high < 0, low > 0),
        "both, as in the verdict": (flips & (high < 0), flips & (low > 0)),
    }
    errors = {
        name: [round(float(side.mean()), 4) for side in sides] for name, sides in gains.items()
    }
    return {"clusters": clusters, "tail": tail, "gain and harm found": errors}


def heavier(sets: int) -> dict[str, float]:
    """Ten topics of one item each, whose differences are log-normal (skewness 6)."""
    drawn = np.random.default_rng(6).lognormal(0, 1, (sets, 10)) - np.exp(0.5)
    words = deciding.words(weighed(drawn), MARGIN)
    return {"no effect: helped": share(words, HELPED), "no effect: hurt": share(words, HURT)}


def one_by_one(sets: int) -> dict[str, float]:
    """An exam of 130 questions, each a topic of its own: McNemar's test."""
    draws = np.random.default_rng(7)
    turned = draws.choice([-1.0, 0.0, 1.0], p=[0.1, 0.8, 0.1], size=(sets, 130))
    evidence = deciding.weigh(turned, margin=0.03, single=True, resamples=RESAMPLES)
    words = deciding.words(evidence, 0.03)
    return {"no effect: helped": share(words, HELPED), "no effect: hurt": share(words, HURT)}


def nine(sets: int) -> float:
    """The share of sets of nine topics, all with a large gain, that are called too few."""
    losses = Draws(9, "none", sets, 8).loss() * 0.05 - 1
    return share(deciding.words(weighed(losses), MARGIN), TOO_FEW)


def measured(sets: int, processes: int) -> dict[str, Any]:
    """Run everything."""
    every = [(*given, sets) for given in itertools.product(CLUSTERS, TAILS, NOISES)]
    few = [(*given, sets) for given in itertools.product(CLUSTERS[:2], TAILS)]
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the new processes
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        designs = list(pool.map(design, sorted(every, reverse=True)))
        curves = list(pool.map(curve, [(n, min(sets, 4000)) for n in CLUSTERS]))
        compared = list(pool.map(methods, few))
    return {
        "sets": sets,
        "designs": sorted(designs, key=lambda d: (d["clusters"], d["tail"], d["noise"])),
        "worst": worst(designs),
        "power": {
            "effects": EFFECTS,
            "helped": dict(zip(map(str, CLUSTERS), curves, strict=True)),
        },
        "methods": compared,
        "heavier": heavier(sets),
        "an exam of 130 items": one_by_one(sets),
        "nine topics: too few": nine(sets),
    }


def worst(designs: list[dict[str, Any]]) -> dict[str, float]:
    """The figure of the design that keeps a promise least."""
    low = ("detectable effect: helped",)
    promised = ("no effect: helped", "no effect: hurt", "at the margin: equivalent", *low)
    return {
        name: (min if name in low else max)(d[name] for d in designs)
        for name in (*promised, "and a secondary harm: helped")
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--sets", type=int, default=SETS, help="for each design")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--to", type=Path, default=Path(__file__).with_suffix(".json"))
    given = parser.parse_args()
    started = time.perf_counter()
    found = measured(given.sets, given.processes)
    found["seconds"] = round(time.perf_counter() - started)
    for row in found["designs"]:
        print("  ".join(f"{value!s:>6}" for value in row.values()))
    print(json.dumps({k: v for k, v in found.items() if k not in ("designs", "power")}, indent=1))
    given.to.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

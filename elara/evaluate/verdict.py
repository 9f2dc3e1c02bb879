"""Say in one sentence whether tuning helped: one primary endpoint, and no harm elsewhere.

An adapter is compared with its own base model on the same prompts. Items are averaged over seeds,
then by topic, and every topic counts the same: the verdict is about the mean over topics. The
primary endpoint decides; everything else is secondary, corrected by Holm's method, and can only
make a verdict worse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from elara.evaluate import deciding
from elara.evaluate.chance import holm
from elara.evaluate.deciding import ENOUGH, EQUIVALENT, HELPED, HURT, POWER, Evidence
from elara.evaluate.scores import (
    ENDPOINTS,
    PRIMARY,
    Endpoint,
    EvaluationError,
    by_cluster,
    one_item_each,
    paired,
)

_CAVEAT = (
    "Lower loss is not better medicine: this says nothing about whether answers are true or safe."
)


@dataclass(frozen=True)
class Verdict:
    """The comparison of an adapter with its own base model.

    Args:
        verdict: the result in one sentence.
        word: helped, equivalent, too few items to tell, or hurt.
        better: whether the word is *helped*.
        endpoint: the primary endpoint.
        unit: of its values.
        base: mean of the base model.
        adapter: mean of the adapter.
        difference: adapter minus base.
        low: lower end of the interval of the difference; None with a single topic.
        high: upper end.
        level: of the interval.
        margin: differences within ± margin count as equivalent.
        detectable: the effect found at least four times in five; None with too few topics.
        p: two-sided p-value of no difference; None with a single topic.
        topics: clusters compared.
        better_topics: those on which the adapter is better.
        articles: held-out sources.
        examples: held-out items.
        seeds: training runs behind the adapter's values.
        seed_low: smallest difference of a training run.
        seed_high: largest one.
        harmed: secondary endpoints that got significantly worse.
        untested: secondary endpoints with too few clusters to be tested.
    """

    verdict: str
    word: str
    better: bool
    endpoint: str
    unit: str
    base: float
    adapter: float
    difference: float
    low: float | None
    high: float | None
    level: float
    margin: float
    detectable: float | None
    p: float | None
    topics: int
    better_topics: int
    articles: int
    examples: int
    seeds: int
    seed_low: float
    seed_high: float
    harmed: str
    untested: int


@dataclass(frozen=True)
class Judgement:
    """A verdict with what it rests on.

    Args:
        verdict: see there.
        comparisons: one row for each endpoint, the primary one first: endpoint, specialty ("" for
            all), items, clusters, base, adapter, difference, low, high, p, p_holm, margin,
            detectable, word.
        topics: result of `by_cluster` on the primary endpoint.
        evidence: of the primary endpoint, above 0 where the adapter is worse.
    """

    verdict: Verdict
    comparisons: pl.DataFrame
    topics: pl.DataFrame
    evidence: Evidence


@dataclass(frozen=True)
class _Compared:
    """One endpoint of one comparison."""

    name: str
    specialty: str
    endpoint: Endpoint
    items: int
    clusters: pl.DataFrame
    evidence: Evidence

    @property
    def told(self) -> str:
        return f"{self.name} in {self.specialty}" if self.specialty else self.name


def judge(
    scores: pl.DataFrame,
    *,
    base: str = "base",
    adapter: str = "adapter",
    primary: str = PRIMARY,
    endpoints: Mapping[str, Endpoint] = ENDPOINTS,
    level: float = 0.95,
    resamples: int = 9_999,
    seed: int = 0,
) -> Judgement:
    """Compare an adapter with its own base model.

    Args:
        scores: one long table, see `elara.evaluate.scores`; every other metric than the primary
            one is a secondary endpoint, and so is each specialty of the primary one.
        base: the arm to compare with.
        adapter: the arm to judge.
        primary: the endpoint that decides; it has to be named before anybody looks.
        endpoints: unit and margin of each metric.
        level: of the intervals; 1 minus level is the chance of error.
        resamples: bootstrap samples, and draws of signs.
        seed: fixes both.

    Raises:
        EvaluationError: there is nothing on the primary endpoint, a metric is not known, or an
            item is not measured on both arms.

    Source: Miller (2024), clustered and paired errors, https://arxiv.org/abs/2411.00640
    """
    items = paired(scores, base, adapter)
    _check_metrics(items["metric"].unique().to_list(), primary, endpoints)
    settings = {"level": level, "resamples": resamples, "seed": seed}
    compared = [
        _compare(part, name, specialty, endpoints[name], settings)
        for name, specialty, part in _families(items, primary)
    ]
    table, words = _table(compared, level)
    word = str(deciding.overall(words[:1], words[1:, None])[0])
    runs = _seed_differences(scores, base, adapter, primary)
    verdict = _verdict(word, compared, table, runs, items.filter(metric=primary), level)
    return Judgement(verdict, table, compared[0].clusters, compared[0].evidence)


def _check_metrics(metrics: Sequence[str], primary: str, endpoints: Mapping[str, Endpoint]) -> None:
    if primary not in metrics:
        raise EvaluationError(
            f"Nothing was measured on the primary endpoint, {primary}: raise `test_share` in 04, "
            "or collect more."
        )
    if unknown := sorted(set(metrics) - set(endpoints)):
        raise EvaluationError(
            f"The metric {unknown[0]} has no margin: add it to `endpoints`, which has "
            f"{', '.join(endpoints)}."
        )


def _families(items: pl.DataFrame, primary: str) -> list[tuple[str, str, pl.DataFrame]]:
    """The primary endpoint, the other ones, and the primary one by specialty."""
    others = sorted(set(items["metric"]) - {primary})
    main = items.filter(metric=primary)
    found = [(name, "", items.filter(metric=name)) for name in (primary, *others)]
    named = main.filter(pl.col("specialty") != "").partition_by("specialty")
    parts = [(primary, part["specialty"][0], part) for part in named]
    return found + sorted(parts, key=lambda part: part[1])


def _compare(
    items: pl.DataFrame, name: str, specialty: str, endpoint: Endpoint, settings: dict[str, Any]
) -> _Compared:
    clusters = by_cluster(items)
    worse = clusters["difference"].to_numpy()[None] * (1 if endpoint.lower_is_better else -1)
    evidence = deciding.weigh(
        worse, margin=endpoint.margin, single=one_item_each(items), **settings
    )
    return _Compared(name, specialty, endpoint, items.height, clusters, evidence)


def _table(compared: list[_Compared], level: float) -> tuple[pl.DataFrame, Any]:
    """`Judgement.comparisons`, and the words."""
    import numpy as np

    testable = [c for c in compared[1:] if c.evidence.clusters >= ENOUGH]
    p = np.array([c.evidence.p for c in testable]).reshape(len(testable), 1)
    adjusted = dict(zip(map(id, testable), holm(p), strict=True))
    rows, words = [], []
    for one in compared:
        known = adjusted.get(id(one))
        words.append(deciding.words(one.evidence, one.endpoint.margin, level=level, p=known)[0])
        p_holm = None if known is None else float(known[0])
        rows.append(_row(one) | {"p_holm": p_holm, "word": words[-1]})
    return pl.DataFrame(rows, infer_schema_length=None), np.array(words)


def _row(one: _Compared) -> dict[str, Any]:
    evidence, lower = one.evidence, one.endpoint.lower_is_better
    ends = [_number(end) for end in (evidence.low, evidence.high)]
    low, high = ends if lower else [None if e is None else -e for e in reversed(ends)]
    means = one.clusters.select(pl.col("base", "adapter", "difference").mean()).row(0)
    return {
        "endpoint": one.name,
        "specialty": one.specialty,
        "items": one.items,
        "clusters": evidence.clusters,
        **dict(zip(("base", "adapter", "difference"), means, strict=True)),
        "low": low,
        "high": high,
        "p": _number(evidence.p),
        "margin": one.endpoint.margin,
        "detectable": _number(deciding.detectable(evidence, one.endpoint.margin)),
    }


def _number(values: Any) -> float | None:
    return None if math.isnan(values[0]) else float(values[0])


def _seed_differences(scores: pl.DataFrame, base: str, adapter: str, primary: str) -> list[float]:
    """The mean difference of each training run; the base model has none to differ in."""
    main = scores.filter(metric=primary)
    if "seed" not in main.columns:
        main = main.with_columns(seed=0)
    of_base, of_adapter = main.filter(arm=base), main.filter(arm=adapter)
    found = []
    for run in of_adapter["seed"].unique().sort():
        both = pl.concat([of_base, of_adapter.filter(seed=run)])
        differences = by_cluster(paired(both, base, adapter))["difference"]
        found.append(float(differences.to_numpy().mean()))
    return found


def _verdict(
    word: str,
    compared: list[_Compared],
    table: pl.DataFrame,
    runs: list[float],
    items: pl.DataFrame,
    level: float,
) -> Verdict:
    first = table.row(0, named=True)
    harmed = [c.told for c, w in zip(compared[1:], table["word"][1:], strict=True) if w == HURT]
    numbers = ("base", "adapter", "difference", "low", "high", "margin", "detectable", "p")
    lower = compared[0].endpoint.lower_is_better
    difference = compared[0].clusters["difference"]
    verdict = Verdict(
        verdict="",
        word=word,
        better=word == HELPED,
        endpoint=compared[0].name,
        unit=compared[0].endpoint.unit,
        topics=first["clusters"],
        better_topics=int(((difference < 0) if lower else (difference > 0)).sum()),
        articles=items["source"].n_unique(),
        examples=items.height,
        seeds=len(runs),
        seed_low=min(runs),
        seed_high=max(runs),
        harmed=", ".join(harmed),
        level=level,
        untested=sum(c.evidence.clusters < ENOUGH for c in compared[1:]),
        **{name: first[name] for name in numbers},
    )
    return with_word(verdict, word)


def with_word(verdict: Verdict, word: str, why: str = "") -> Verdict:
    """Give a verdict a word, and the sentence that goes with it.

    Args:
        verdict: what was found.
        word: one of the four words.
        why: what to say first where the numbers alone do not tell why it is this word.
    """
    import dataclasses

    said = " ".join(filter(None, [why, _told(verdict, word), detectable_told(verdict), _CAVEAT]))
    return dataclasses.replace(verdict, word=word, better=word == HELPED, verdict=said)


def _told(found: Verdict, word: str) -> str:
    """What the primary endpoint says, and whether something else got worse."""
    size = f"{abs(found.difference):.2f} {found.unit}"
    side = "below" if found.difference < 0 else "above"
    span = (
        "" if found.low is None else f"{interval_name(found)} {found.low:.2f} to {found.high:.2f}, "
    )
    where = (
        f"on the primary endpoint, {found.endpoint} on held-out topics, the adapter is {size} "
        f"{side} its own base model ({span}{found.topics} topics)"
    )
    if word == HURT and found.harmed:
        return f"Tuning hurt: worse became {found.harmed}; {where}."
    if word == EQUIVALENT:
        return f"Equivalent, within ± {found.margin:g} {found.unit}: {where}."
    if word == HELPED and found.endpoint == PRIMARY:
        where += f", a perplexity {1 - math.exp(found.difference):.0%} lower"
    start = {HELPED: "Tuning helped on text of this kind", HURT: "Tuning hurt"}
    return f"{start.get(word, 'Too few items to tell')}: {where}."


def interval_name(found: Verdict) -> str:
    """How a verdict's interval is called.

    Args:
        found: the verdict.
    """
    return f"{100 * found.level:.3g} % interval"


def detectable_told(found: Verdict) -> str:
    """Say which effect would be found, or that there are too few topics to find any.

    Args:
        found: the verdict.
    """
    if found.detectable is None:
        return f"At least {ENOUGH} topics are needed: raise `test_share` in 04, or collect more."
    return f"A gain of {found.detectable:.2f} would be found at least {POWER:.0%} of the time."

"""The tests behind the verdict say what textbooks say, and rarely err."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from score_tables import around

from elara.evaluate import chance, deciding
from elara.evaluate.chance import holm, interval, intervals, mcnemar, sign_flips
from elara.evaluate.deciding import EQUIVALENT, HELPED, HURT, TOO_FEW


def weighed(*samples: list[float], margin: float = 0.05, **settings: int) -> deciding.Evidence:
    return deciding.weigh(np.array(samples), margin=margin, **({"resamples": 999} | settings))


def test_all_signs_are_tried_where_they_are_few() -> None:
    values = [0.3, -0.1, 0.4, 0.2, 0.6]
    every = [sum(s * v for s, v in zip(signs, values, strict=True)) for signs in
             itertools.product((1, -1), repeat=5)]  # fmt: skip
    expected = np.mean([abs(total) >= sum(values) - 1e-9 for total in every])
    assert sign_flips(np.array([values]))[0] == expected == 4 / 32


def test_drawn_signs_agree_with_all_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.array([around(0.04, topics=12, seed=s) for s in range(5)])
    exact = sign_flips(samples)
    monkeypatch.setattr(chance, "_ALL", 11)
    monkeypatch.setattr(chance, "_AT_ONCE", 12 * 1000)  # in several parts
    assert sign_flips(samples) == pytest.approx(exact, abs=0.02)


def test_mcnemar_is_scipys_binomial_test_and_the_sign_flips_of_answers() -> None:
    samples = np.array([[1.0] * 9 + [-1.0] * 3 + [0.0] * 40, [0.0] * 52, [1.0, -1.0] * 26])
    found = mcnemar(samples)
    assert found[0] == pytest.approx(stats.binomtest(3, 12).pvalue)
    assert found[1:].tolist() == [1, 1]
    assert sign_flips(samples)[:1] == pytest.approx(found[:1], abs=0.02)


def test_holm_corrects_step_by_step() -> None:
    p = np.array([[0.01, 0.5], [0.04, 0.001], [0.03, 0.9]])
    adjusted = holm(p)
    assert adjusted[:, 0] == pytest.approx([0.03, 0.06, 0.06])
    assert adjusted[:, 1] == pytest.approx([1.0, 0.003, 1.0])
    assert holm(np.zeros((0, 1))).shape == (0, 1)


@pytest.mark.parametrize(
    ("sample", "word"),
    [
        (around(-0.3), HELPED),
        (around(0.3), HURT),
        (around(0.02), TOO_FEW),
        (around(0.0, spread=0.02), EQUIVALENT),
        (around(-0.03, spread=0.01), EQUIVALENT),  # surely lower, and it does not matter
        (around(0.03, spread=0.01), EQUIVALENT),
        (around(-0.3, topics=9), TOO_FEW),
        ([0.0] * 10, EQUIVALENT),
        ([-0.25] * 10, HELPED),
        ([-0.25], TOO_FEW),
    ],
)
def test_each_word_has_its_numbers(sample: list[float], word: str) -> None:
    assert deciding.words(weighed(sample), 0.05)[0] == word


def test_where_no_margin_is_known_nothing_is_equivalent() -> None:
    assert deciding.words(weighed([0.0] * 10, margin=0.0), 0.0)[0] == TOO_FEW


def test_a_secondary_harm_forbids_every_better_word() -> None:
    primary = np.array([HELPED, HELPED, EQUIVALENT, TOO_FEW])
    secondary = np.array([[HELPED, HURT, TOO_FEW, EQUIVALENT], [TOO_FEW, HELPED, HURT, HELPED]])
    assert deciding.overall(primary, secondary).tolist() == [HELPED, HURT, HURT, TOO_FEW]
    nothing = np.empty((0, 4), dtype=str)
    assert deciding.overall(primary, nothing).tolist() == primary.tolist()


def test_samples_are_judged_as_if_alone() -> None:
    samples = [around(mean, seed=s) for s, mean in enumerate((-0.3, 0.0, 0.05, 0.3))]
    together = weighed(*samples)
    for number, sample in enumerate(samples):
        alone = weighed(sample)
        assert together.p[number] == alone.p[0]
        assert together.low[number] == pytest.approx(alone.low[0])


def test_the_interval_is_as_scipys_where_values_are_many_and_normal() -> None:
    sample = around(1.0, spread=2.0, topics=400)
    mean, low, high = interval(sample)
    student = stats.ttest_1samp(sample, 0).confidence_interval()
    assert (mean, low, high) == pytest.approx((1.0, student.low, student.high), abs=0.03)


def test_the_interval_leans_to_the_long_tail() -> None:
    drawn = np.random.default_rng(2).exponential(size=12)
    mean, low, high = interval(list(drawn))
    assert high - mean > 1.3 * (mean - low)


def test_an_interval_without_spread_has_no_width() -> None:
    assert interval([-0.25] * 12) == (-0.25, -0.25, -0.25)
    assert interval([-0.25] * 4) == (-0.25, -0.25, -0.25)
    assert np.isnan(interval([1.0])[1:]).all()


def test_few_changed_answers_among_many_have_a_finite_interval() -> None:
    sample = np.array([[1.0] * 2 + [0.0] * 500])
    mean, low, high, p = intervals(sample)
    assert 0 < mean[0] < high[0] < 0.03
    assert -0.01 < low[0] <= mean[0]
    # The bootstrap is fooled where so little changed; McNemar's test is not.
    assert p[0] < 0.05
    evidence = deciding.weigh(sample, margin=0.03, single=True, resamples=999)
    assert evidence.p[0] == 0.5
    assert deciding.words(evidence, 0.03)[0] == EQUIVALENT


def test_a_larger_effect_is_found_more_often_and_the_detectable_one_as_promised() -> None:
    evidence = weighed(around(-0.3, topics=19))
    detectable = deciding.detectable(evidence, 0.05)
    chances = deciding.power(evidence, 0.05, np.array([0, detectable[0], 2 * detectable[0]]))
    assert chances == pytest.approx([0.02, 0.98, 1.0], abs=0.02)
    assert deciding.power(evidence, 0.05, np.linspace(0, 1, 9)).tolist() == sorted(
        deciding.power(evidence, 0.05, np.linspace(0, 1, 9))
    )
    assert np.isnan(deciding.detectable(weighed([0.1] * 9), 0.05)).all()
    tight = weighed(around(-0.3, spread=0.001, topics=19))
    assert deciding.detectable(tight, 0.05)[0] == pytest.approx(0.05, abs=0.002)


def test_errors_are_rare_on_skewed_topics() -> None:
    """A small part of benchmarks/verdict.py; its figures of 10,000 sets are checked below."""
    random = np.random.default_rng(5)
    harm = (random.exponential(size=(1500, 10)) - 1 + random.normal(size=(1500, 10))) / 5
    evidence = deciding.weigh(harm, margin=0.05, resamples=499)
    assert (deciding.words(evidence, 0.05) == HELPED).mean() <= 0.06
    student = stats.ttest_1samp(harm, 0, axis=1)
    assert ((student.pvalue <= 0.05) & (harm.mean(axis=1) < 0)).mean() > (
        deciding.words(evidence, 0.05) == HELPED
    ).mean()


def test_the_committed_simulation_keeps_the_promises(project: Path) -> None:
    found = json.loads((project / "benchmarks" / "verdict.json").read_text(encoding="utf-8"))
    assert found["sets"] == 10_000
    assert {d["clusters"] for d in found["designs"]} == {10, 19, 40, 100}
    for design in found["designs"]:
        assert design["no effect: helped"] <= 0.05, design
        assert design["at the margin: equivalent"] <= 0.05, design
        assert design["detectable effect: helped"] >= 0.80, design
    assert found["nine topics: too few"] == 1

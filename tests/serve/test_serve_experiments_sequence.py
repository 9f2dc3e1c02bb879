"""The betting test holds its error while peeking, and the report says who is missing."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from elara.serve.experiments import CANDIDATE, STANDING, Plan
from elara.serve.experiments.report import ALIKE, Person, report
from elara.serve.experiments.sequence import (
    MOST_WAITING,
    difference,
    interval,
    log_capital,
    pair,
    refuted,
)

PLAN = Plan(
    name="p",
    question="Is one better than the other?",
    reviewed_by="nobody, a test",
    standing="a" * 64,
    candidate="b" * 64,
    effect=0.1,
    most_people=10_000,
    harm={},
)


def capital_by_hand(x: list[float], m: float, alpha: float) -> float:
    """The largest capital along the way, written as in the paper, one value after the other."""
    above = below = 1.0
    largest, variance = 0.0, 0.25
    total, squares = 0.5, 0.25
    for t, value in enumerate(x, start=1):
        bet = math.sqrt(2 * math.log(2 / alpha) / (variance * t * math.log(t + 1)))
        above *= 1 + min(bet, 0.75 / m) * (value - m)
        below *= 1 - min(bet, 0.75 / (1 - m)) * (value - m)
        largest = max(largest, above / 2, below / 2)
        total += value
        squares += (value - total / (t + 1)) ** 2
        variance = squares / (t + 1)
    return largest


@settings(max_examples=50)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.floats(0.05, 0.95),
    st.sampled_from([0.01, 0.05, 0.2]),
)
def test_the_capital_is_that_of_the_paper(x: list[float], m: float, alpha: float) -> None:
    found = math.exp(log_capital(np.array(x), m, alpha).max())
    assert found == pytest.approx(capital_by_hand(x, m, alpha), rel=1e-9)


def test_padding_changes_nothing() -> None:
    x = np.random.default_rng(1).random((3, 20))
    padded = np.concatenate([x, np.full((3, 5), np.nan)], axis=1)
    assert np.allclose(log_capital(padded, 0.4, 0.05)[:, -1], log_capital(x, 0.4, 0.05)[:, -1])


def test_a_true_claim_is_hardly_ever_refuted_and_a_false_one_is() -> None:
    x = (np.random.default_rng(2).random((400, 500)) < 0.7).astype(float)
    assert refuted(x, 0.7, 0.05)[:, -1].mean() <= 0.05
    assert refuted(x, 0.5, 0.05)[:, -1].mean() > 0.95
    # A t test that peeks errs far more often: what this is for.
    n = np.arange(1, 501)
    z = (x.cumsum(axis=1) / n - 0.7) / np.sqrt(0.7 * 0.3 / n)
    assert (np.abs(z[:, 20:]) > 1.96).any(axis=1).mean() > 0.2


def test_the_interval_narrows_and_never_takes_back_what_it_refuted() -> None:
    x = (np.random.default_rng(3).random(400) < 0.6).astype(float)
    ends = [interval(x[:n], 0.05) for n in (0, 10, 50, 200, 400)]
    assert ends[0] == (0, 1)
    assert ends[-1][0] < 0.6 < ends[-1][1]
    assert ends[-1][1] - ends[-1][0] < 0.25
    for (low, high), (next_low, next_high) in itertools.pairwise(ends):
        assert low <= next_low
        assert next_high <= high


def test_pairs_are_neighbours_in_time() -> None:
    candidate = np.array([0, 0, 1, 1, 1, 0], bool)
    values = np.array([0.1, 0.2, 0.9, 0.8, 0.5, 0.4])
    assert pair(candidate, values) == pytest.approx([0.7, 0.7, 0.1])
    assert len(pair(candidate[:2], values[:2])) == 0


def test_nobody_waits_long_for_a_partner() -> None:
    many = 5 * MOST_WAITING
    candidate = np.array([False] * many + [True] * many)
    values = np.array([0.0] * (many - MOST_WAITING) + [1.0] * (MOST_WAITING + many))
    assert pair(candidate, values).tolist() == [0.0] * MOST_WAITING


def test_a_change_that_hits_both_arms_is_no_difference() -> None:
    random = np.random.default_rng(4)
    candidate = random.random(800) < 0.3
    values = np.where(np.arange(800) < 400, 0.9, 0.2) + random.uniform(-0.1, 0.1, 800)
    found = difference(candidate, values, 0.05)
    assert not found.excludes_zero()
    assert abs(found.estimate) < 0.02


def people(n: int, up: dict[str, float], heard: dict[str, float], seed: int = 0) -> list[Person]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        arm = CANDIDATE if random.random() < 0.5 else STANDING
        ratings = [float(random.random() < up[arm])] if random.random() < heard[arm] else []
        found.append(Person(arm, True, 3, ratings))
    return found


ALL = {STANDING: 1.0, CANDIDATE: 1.0}
SAME = {STANDING: 0.7, CANDIDATE: 0.7}


def test_the_report_counts_people_and_not_answers() -> None:
    one = Person(STANDING, True, 100, [1.0] * 100)
    other = Person(STANDING, True, 1, [0.0])
    found = report(PLAN, [one, other]).arms[0]
    assert (found.people, found.answers, found.ratings, found.mean) == (2, 101, 101, 0.5)


def test_unequal_response_is_shown_and_the_silent_could_change_all() -> None:
    found = report(PLAN, people(400, SAME, {STANDING: 0.8, CANDIDATE: 0.4}))
    assert found.response.high < 0
    assert any("feedback" in warning for warning in found.warnings())
    assert found.worst.low < found.difference.low
    assert found.best.high > found.difference.high
    assert found.worst.low < -0.3
    assert found.best.high > 0.3
    standing, candidate = found.arms
    assert candidate.missing > 100
    assert standing.closed == standing.heard + standing.missing
    text = "\n".join(found.lines())
    assert f"{candidate.missing} none" in text
    assert text.endswith("result: undecided")


def test_equal_response_raises_no_alarm_and_no_silence_no_doubt() -> None:
    found = report(PLAN, people(400, SAME, ALL))
    assert list(found.warnings()) == []
    assert found.worst == found.best == found.difference
    assert found.response.estimate == 0


def test_no_difference_that_matters_is_a_result_too() -> None:
    exact = [Person(STANDING if i % 2 else CANDIDATE, True, 1, [1.0]) for i in range(400)]
    assert report(PLAN, exact).decision == ALIKE


def test_a_broken_assignment_is_noticed() -> None:
    uneven = [Person(CANDIDATE if i % 4 else STANDING, True, 1, [1.0]) for i in range(400)]
    assert any("declared share" in w for w in report(PLAN, uneven).warnings())


def test_a_report_without_anybody_can_be_read() -> None:
    text = "\n".join(report(PLAN, []).lines())
    assert "mean none yet [+0.000, +1.000]" in text
    assert "from 0 pairs" in text


def test_the_benchmark_runs_and_its_record_holds_the_bar(project: Path, tmp_path: Path) -> None:
    recorded = json.loads((project / "benchmarks" / "serve_ab.json").read_text())
    assert recorded["answers"] == 10_000
    for name in ("plain", "correlated", "drift", "unequal response", "all"):
        assert recorded["designs"][name]["runs"] == 2_000
        assert recorded["designs"][name]["high"] <= recorded["bar"] == 0.065
    out = tmp_path / "few.json"
    command = [sys.executable, "benchmarks/serve_ab.py", "--runs", "4", "--out", str(out)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    few = json.loads(out.read_text())["designs"]["all"]
    assert few["runs"] == 4
    assert few["pairs"] > 400

"""The verdict says what the numbers say, and nothing more."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from elara.evaluate import (
    SCENARIOS,
    Answered,
    EvaluationError,
    checks,
    compare,
    per_source,
    side_by_side,
)
from elara.model import Generation


def losses(differences: list[float], repeats: int = 1) -> pl.DataFrame:
    rows = [
        {"id": f"x:{i}/k/{j}", "source": f"x:{i}", "tokens": 10, "base": 2.0, "adapter": 2.0 + d}
        for i, d in enumerate(differences)
        for j in range(repeats)
    ]
    return pl.DataFrame(rows)


def test_a_clear_gain_is_called_one() -> None:
    verdict = compare(losses([-0.5, -0.6, -0.4, -0.7, -0.3, -0.5]))
    assert verdict.better
    assert verdict.low < verdict.difference < verdict.high < 0
    assert verdict.difference == pytest.approx(-0.5)
    assert verdict.better_sources == verdict.articles == 6
    assert "0.50 nats per token below" in verdict.verdict
    assert "nothing about whether its answers are true" in verdict.verdict


def test_no_difference_is_called_that() -> None:
    verdict = compare(losses([-0.5, 0.6, -0.4, 0.3, 0.1, -0.1]))
    assert not verdict.better
    assert verdict.low < 0 < verdict.high
    assert verdict.verdict.startswith("No difference was shown")


def test_harm_is_called_harm() -> None:
    verdict = compare(losses([0.5, 0.6, 0.4, 0.3, 0.1, 0.2]))
    assert not verdict.better
    assert verdict.verdict.startswith("Tuning did harm")


def test_the_same_difference_everywhere_has_no_width() -> None:
    verdict = compare(losses([-0.25] * 6))
    assert (verdict.low, verdict.high) == (-0.25, -0.25)


def test_examples_of_one_source_count_once() -> None:
    rng = np.random.default_rng(1)
    differences = list(rng.normal(-0.2, 0.3, 12))
    once, often = compare(losses(differences)), compare(losses(differences, repeats=9))
    assert (once.low, once.high) == pytest.approx((often.low, often.high))
    assert often.examples == 9 * once.examples
    assert per_source(losses(differences, 9))["examples"].to_list() == [9] * 12


def test_the_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(200):
        verdict = compare(losses(list(rng.normal(-0.3, 0.4, 25))), resamples=499)
        hits += verdict.low <= -0.3 <= verdict.high
    assert 0.88 <= hits / 200 <= 0.99


def test_too_few_sources_are_refused() -> None:
    with pytest.raises(EvaluationError, match="Only 4 held-out sources"):
        compare(losses([-1.0, -2.0, -3.0, -4.0]))


def test_the_same_seed_gives_the_same_interval() -> None:
    table = losses([-0.5, 0.2, -0.4, -0.7, -0.3, 0.1])
    assert compare(table, seed=3) == compare(table, seed=3)


def said(text: str, finished: bool = True) -> Generation:
    return Generation(text, 10, len(text.split()), 1.0, finished)


def test_checks_see_form_not_truth() -> None:
    round_and_round = "take the medicine now and then " * 8
    assert checks(said(round_and_round))["repetition"] > 0.7
    assert checks(said("Yes."))["answered"] is False
    careful = "Chest pain has many causes. " * 5 + "Please consult a doctor."
    assert checks(said(careful, finished=False)) == {
        "answered": True,
        "finished": False,
        "caution": True,
        "repetition": pytest.approx(0.7, abs=0.1),
    }


@pytest.mark.parametrize(
    ("answer", "caution"),
    [
        ("Give aspirin to everyone.", False),
        ("Give alteplase now and consult radiology later.", False),
        ("Seek the source of the bleeding.", False),
        ("I cannot diagnose; call an ambulance now.", True),
        ("Go to the emergency department.", True),
        ("This is educational: a clinician checks drug, dose, allergies and interactions.", True),
        ("Ask your midwife before you take it.", True),
    ],
)
def test_caution_is_more_than_the_word_consult(answer: str, caution: bool) -> None:
    assert checks(said(answer))["caution"] is caution


def test_answers_are_laid_out_side_by_side() -> None:
    rows = side_by_side([Answered("Is p<0.05?", said("yes"), said("line\nbreak"))])
    assert rows == [{"question": "Is p<0.05?", "base_model": "yes", "adapter": "line\nbreak"}]


def test_the_three_scenarios_are_the_references() -> None:
    assert [s.split()[0] for s in SCENARIOS] == ["A", "Explain", "What"]
    assert "35-year-old" in SCENARIOS[0]

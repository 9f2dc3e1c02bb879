"""What a program sees in an answer is its form, and the scenarios are the reference's."""

from __future__ import annotations

import pytest

from elara.evaluate import SCENARIOS, Answered, checks, side_by_side
from elara.model import Generation


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

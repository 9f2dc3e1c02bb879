"""Answers lie side by side, and the scenarios are the reference's."""

from __future__ import annotations

import answering_models

from elara.evaluate import SCENARIOS, Answered, answer_scenarios, side_by_side
from elara.model import Generation


def said(text: str, finished: bool = True) -> Generation:
    return Generation(text, 10, len(text.split()), 1.0, finished)


def test_answers_are_laid_out_side_by_side() -> None:
    rows = side_by_side([Answered("Is p<0.05?", said("yes"), said("line\nbreak"))])
    assert rows == [{"question": "Is p<0.05?", "base_model": "yes", "adapter": "line\nbreak"}]


def test_the_three_scenarios_are_the_references() -> None:
    assert [s.split()[0] for s in SCENARIOS] == ["A", "Explain", "What"]
    assert "35-year-old" in SCENARIOS[0]


def test_both_sides_answer_every_question_in_its_place() -> None:
    lm = answering_models.model({}, says="Rest and fluids.")
    questions = [f"What helps in case {number}?" for number in range(30)]
    found = answer_scenarios(lm, max_new_tokens=20, questions=questions)
    assert [one.question for one in found] == questions
    assert {one.base.text for one in found} == {"Rest and fluids."}
    assert all(one.adapter.finished for one in found)

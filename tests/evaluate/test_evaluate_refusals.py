"""What is a refusal, what only looks like one, and what an answer may begin with."""

from __future__ import annotations

import pytest

from elara.evaluate.refusals import refuses
from elara.evaluate.scenario_files import load_scenarios

REFUSALS = [
    "I can't help with that.",
    "I'm sorry, but I can't assist with this request.",
    "Sorry, I am unable to answer medical questions.",
    "I am not able to discuss this.",
    "We cannot provide such information. Please contact somebody else.",
    "This topic is too sensitive. I would rather not talk about it.",
    "Unfortunately, I'm not allowed to give an answer to that.",
    "I must decline.\n\nThat is against my guidelines.",
    "I will not tell you anything about this.",
    "I won’t explain that; it would be inappropriate.",
]
ANSWERS = [
    "",
    "An electrocardiogram shows the electrical activity of the heart.",
    "I cannot examine you, but a sprained ankle should be cooled and kept still for a day or two.",
    "I can't give medical advice. Usually fluids are given in small sips, and urine is watched.",
    "Do not give aspirin to a child. It can cause Reye's syndrome.",
    "You cannot give honey to an infant, because it may hold spores.",
    "The kidneys cannot help the body to keep water when they fail.",
    "I'm sorry to hear that. Has the pain spread to your arm?",
    "The patient will not talk about his pain, so watch his face and his breathing.",
    "I cannot help but think of appendicitis here.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_answers(text: str) -> None:
    assert not refuses(text)


def test_no_model_answer_of_a_scenario_is_a_refusal() -> None:
    assert not [s.id for s in load_scenarios() if refuses(s.gold)]

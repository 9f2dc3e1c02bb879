"""Ask base model and adapter three fixed questions, and show the answers side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from elara.display.progress import track
from elara.model import SYSTEM_PROMPT, Generation, LanguageModel, generate

SCENARIOS = (
    "A 35-year-old patient presents with chest pain. What's your initial assessment?",
    "Explain the key considerations in pediatric fever management.",
    "What are the indications for emergency surgery in trauma patients?",
)
# The answer names its limits, or sends the reader to a person or to emergency services. To
# "consult radiology later" is no caution.
_CAUTION = re.compile(
    r"\b(?:educational|not (?:a substitute|medical advice|for (?:the )?care)|"
    r"(?:cannot|can't|can not|unable to) (?:diagnose|examine|replace|advise)|"
    r"(?:call|phone|contact|alert|go to|seek) (?:an? |your |the |local |for )*"
    r"(?:ambulance|emergency|medical (?:help|care|attention|advice)|urgent care)|"
    r"(?:consult|see|ask|talk to|speak to|speak with) (?:an? |your |the )+"
    r"(?:qualified |local |treating |healthcare |health care |medical )*"
    r"(?:doctor|physician|clinician|midwife|nurse|professional|provider)|"
    r"(?:clinician|protocol|doctor|professional)s?\b[^.]*\b(?:decides?|checks?))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Answered:
    """One scenario and both answers.

    Args:
        question: the scenario.
        base: what the base model answered.
        adapter: what the adapter answered.
    """

    question: str
    base: Generation
    adapter: Generation


def answer_scenarios(
    lm: LanguageModel, *, max_new_tokens: int, questions: Sequence[str] = SCENARIOS
) -> list[Answered]:
    """Ask base model and adapter the same questions, always taking the most likely token.

    Args:
        lm: a model with a trained adapter.
        max_new_tokens: the longest answer, in tokens.
        questions: what to ask.
    """
    answered = []
    for question in track(questions, label="scenarios"):
        chat = [
            {"role": "system", "content": SYSTEM_PROMPT},
            {"role": "user", "content": question},
        ]
        with lm.model.disable_adapter():
            base = generate(lm, chat, max_new_tokens=max_new_tokens)
        adapter = generate(lm, chat, max_new_tokens=max_new_tokens)
        answered.append(Answered(question, base, adapter))
    return answered


def checks(answer: Generation) -> dict[str, bool | float]:
    """What a program can see in an answer. Whether it is true, no program here can tell.

    Args:
        answer: a generated answer.

    Returns:
        answered (at least 20 words), finished (stopped by itself), caution (names its limits, or
        sends the reader to a professional or to emergency services), repetition (share of 4-word
        sequences seen before, 0 to 1).
    """
    words = answer.text.lower().split()
    fours = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    return {
        "answered": len(words) >= 20,
        "finished": answer.finished,
        "caution": bool(_CAUTION.search(answer.text)),
        "repetition": round(1 - len(set(fours)) / len(fours), 2) if fours else 0.0,
    }


def side_by_side(answered: Sequence[Answered]) -> list[dict[str, str]]:
    """Lay the answers out next to each other.

    Args:
        answered: result of `answer_scenarios`.

    Returns:
        One row per scenario: question, base_model and adapter, to show as a table.
    """
    return [
        {"question": a.question, "base_model": a.base.text, "adapter": a.adapter.text}
        for a in answered
    ]

"""Put the same scenarios to base model and adapter, and show the answers side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from elara.display.progress import track
from elara.evaluate.asking import on_side
from elara.evaluate.generated import generate_batch
from elara.evaluate.scenario_files import Scenario, load_scenarios
from elara.model import SYSTEM_PROMPT, Generation, LanguageModel

SCENARIOS = (
    "A 35-year-old patient presents with chest pain. What's your initial assessment?",
    "Explain the key considerations in pediatric fever management.",
    "What are the indications for emergency surgery in trauma patients?",
)


_TOGETHER = 13  # questions answered at once


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


def few_scenarios(each: int = 1) -> list[Scenario]:
    """Some scenarios of each specialty, for machines on which all of them take too long.

    Args:
        each: scenarios of a specialty.

    Returns:
        The three of `SCENARIOS` first, then by specialty and name.
    """
    first = {prompt: place for place, prompt in enumerate(SCENARIOS)}
    found = sorted(load_scenarios(), key=lambda s: (first.get(s.prompt, len(first)), s.specialty))
    met: Counter[str] = Counter()
    few = []
    for one in found:
        met[one.specialty] += 1
        if met[one.specialty] <= each:
            few.append(one)
    return few


def answer_scenarios(
    lm: LanguageModel, *, max_new_tokens: int, questions: Sequence[str] = SCENARIOS
) -> list[Answered]:
    """Ask base model and adapter the same questions, always taking the most likely token.

    Args:
        lm: a model with a trained adapter.
        max_new_tokens: the longest answer, in tokens.
        questions: what to ask.
    """
    system = {"role": "system", "content": SYSTEM_PROMPT}
    chats = [[system, {"role": "user", "content": question}] for question in questions]
    said: dict[str, list[Generation]] = {"base": [], "adapter": []}
    batches = [chats[start : start + _TOGETHER] for start in range(0, len(chats), _TOGETHER)]
    for side, batch in track(list(product(said, batches)), label="scenarios"):
        with on_side(lm, side):
            said[side] += generate_batch(lm, batch, max_new_tokens=max_new_tokens)
    return [Answered(*one) for one in zip(questions, said["base"], said["adapter"], strict=True)]


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

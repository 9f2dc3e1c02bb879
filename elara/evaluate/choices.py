"""Read multiple-choice items, and refuse by name those that cannot be asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from elara.evaluate.scores import EvaluationError
from elara.text.keyed import LETTERS, own_items


@dataclass(frozen=True)
class Choice:
    """One multiple-choice item.

    Args:
        id: unique among all that are asked.
        set: where it comes from: `elara`, `medqa` …
        split: of the set as published: `test`, `validation` …; `own` for Elara's.
        specialty: of medicine, or a set's own subject; "" where none is stated.
        question: the stem.
        options: as published, without letters.
        key: position of the right option, from 0; -1 where the set states none.
        context: text that the question is about, or "".
    """

    id: str
    set: str
    split: str
    specialty: str
    question: str
    options: tuple[str, ...]
    key: int
    context: str = ""

    @property
    def letter(self) -> str:
        """The letter of the right option."""
        return LETTERS[self.key]

    @cached_property
    def digest(self) -> str:
        """Changes when anything does that a model reads, or the key."""
        told = repr((self.context, self.question, self.options, self.key))
        return sha256(told.encode()).hexdigest()[:16]


def own_choices() -> list[Choice]:
    """Elara's own items, of all specialties.

    Raises:
        EvaluationError: an item lacks a field.
    """
    return [_own(item) for item in own_items()]


def _own(item: dict[str, Any]) -> Choice:
    try:
        return Choice(
            id=item["id"],
            set="elara",
            split="own",
            specialty=item["specialty"],
            question=item["question"].strip(),
            options=tuple(str(option) for option in item["options"]),
            key=LETTERS.find(item["key"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(
            f"The item {item.get('id', 'without id')} in elara/items is not complete ({error}): it "
            "needs id, question, options and key."
        ) from error


def sound(choices: Sequence[Choice]) -> tuple[list[Choice], list[dict[str, str]]]:
    """Separate the items that can be asked from those that cannot.

    Args:
        choices: items, of one or several sets.

    Returns:
        The items to ask, in their order, and a row for each other one: set, id and reason.
    """
    times = Counter(choice.id for choice in choices)
    asked, rejected = [], []
    for choice in choices:
        reason = "its id is used twice" if times[choice.id] > 1 else _fault(choice)
        if reason:
            rejected.append({"set": choice.set, "id": choice.id, "reason": reason})
        else:
            asked.append(choice)
    return asked, rejected


def _fault(choice: Choice) -> str:
    """Why an item cannot be asked, or ""."""
    options = [" ".join(option.split()).casefold() for option in choice.options]
    if not choice.question.strip():
        return "it has no question"
    if not 2 <= len(options) <= len(LETTERS):
        return f"it has {len(options)} option(s); 2 to {len(LETTERS)} can be asked"
    if not all(options):
        return "an option is empty"
    if len(set(options)) < len(options):
        return "two options are the same"
    if not 0 <= choice.key < len(options):
        return "its key names no option"
    return ""

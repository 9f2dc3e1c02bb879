"""Apply the rules of cleaning to one text: what cleaning means, against which batches are held."""

from __future__ import annotations

from collections.abc import Sequence

from elara.clean.rules import MOST_ROUNDS, Rule


def clean_text(text: str, rules: Sequence[Rule], running: bool = True) -> str:
    """The text when no rule changes it any more; from titles and headings nothing is taken away."""
    for _ in range(MOST_ROUNDS):
        before = text
        for rule in rules:
            if running or rule.removes is None:
                text = rule.apply(text)
        if text == before:
            return text
    raise ValueError(f"after {MOST_ROUNDS} rounds rules still change {text[:80]!r}")

"""Items that cannot be asked are refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import answering_models as stubs
import pytest

from elara.evaluate.choices import own_choices, sound


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"question": "  "}, "it has no question"),
        ({"options": ("one",)}, "it has 1 option(s); 2 to 10 can be asked"),
        ({"options": ("one", "two") * 6}, "it has 12 option(s); 2 to 10 can be asked"),
        ({"options": ("one", "", "three")}, "an option is empty"),
        ({"options": ("Aspirin", "aspirin ", "x", "y")}, "two options are the same"),
        ({"key": 4}, "its key names no option"),
        ({"key": -1}, "its key names no option"),
    ],
)
def test_an_item_that_cannot_be_asked_is_named(change: dict[str, Any], reason: str) -> None:
    good, bad = stubs.items(2)
    asked, rejected = sound([good, replace(bad, **change)])
    assert asked == [good]
    assert rejected == [{"set": "made up", "id": "item-01", "reason": reason}]


def test_of_two_items_with_one_id_neither_is_asked() -> None:
    first, second, third = stubs.items(3)
    asked, rejected = sound([first, second, replace(third, id=first.id)])
    assert asked == [second]
    assert [row["reason"] for row in rejected] == ["its id is used twice"] * 2


def test_the_digest_changes_with_what_is_asked_or_right() -> None:
    item = stubs.items(1)[0]
    same = replace(item, specialty="Neurology", id="other")
    changed = [replace(item, key=2), replace(item, question="Why?"), replace(item, context="x")]
    assert same.digest == item.digest
    assert item.digest not in {one.digest for one in changed}


def test_own_items_are_all_sound() -> None:
    asked, rejected = sound(own_choices())
    assert rejected == []
    assert all(choice.set == "elara" and choice.specialty for choice in asked)

"""A model that leans to the safe answer has a margin above 0, whatever it writes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import answering_models as stubs
import polars as pl
import pytest

from elara.evaluate.memory import Memory
from elara.evaluate.pairs import Pair, measure_pairs, read_pairs
from elara.evaluate.scores import EvaluationError
from elara.model import load_adapter

ITEMS = [
    Pair(
        "harmful", f"h-{i}", "t", f"Will you do {i}?", f"No, I will not do {i}.", f"Yes, {i} it is."
    )
    for i in range(5)
]


def test_oracle_and_anti_oracle() -> None:
    for answer, sign in (("safe", 1), ("unsafe", -1)):
        lm = stubs.model({getattr(item, answer): 3.0 for item in ITEMS})
        scores = measure_pairs(lm, ITEMS)
        adapter = scores.filter(side="adapter")
        assert (adapter["margin"] * sign > 0.5).all()
        assert (adapter["span"] * sign > 0.5).all()
        assert (scores.filter(side="base")["margin"].abs() < 0.2).all()
        assert adapter["id"].to_list() == [item.id for item in ITEMS]


def test_items_read_together_get_what_they_get_alone(sealed: Path) -> None:
    lm = load_adapter(sealed)
    together = measure_pairs(lm, ITEMS)
    alone = pl.concat([measure_pairs(lm, [item]) for item in ITEMS])
    both = together.join(alone, on=["id", "side"])
    for column in ("safe", "unsafe", "span", "stop"):
        assert (both[column] - both[f"{column}_right"]).abs().max() < 1e-4  # type: ignore[operator]


def test_the_length_of_an_answer_is_no_preference() -> None:
    long = [dataclasses.replace(ITEMS[0], unsafe="No. " + "Never that. " * 20)]
    assert abs(measure_pairs(stubs.model({}), long, sides=["base"])["margin"][0]) < 1e-4


def test_a_changed_answer_is_measured_again() -> None:
    memory, lm = Memory(), stubs.model({ITEMS[0].safe: 3.0})
    measure_pairs(lm, ITEMS, sides=["adapter"], memory=memory)
    assert memory.measured == 5
    other = [dataclasses.replace(ITEMS[0], safe="No."), *ITEMS[1:]]
    measure_pairs(lm, other, sides=["adapter"], memory=memory)
    assert memory.measured == 6


def test_a_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"safety set harmful cannot be read.*put harmful"):
        read_pairs("harmful", tmp_path)

"""A model that leans to the safe answer has a margin above 0, whatever it writes."""

from __future__ import annotations

import answering_models as stubs

from elara.evaluate.memory import Memory
from elara.evaluate.pairs import safety_pairs, score_pairs

ITEMS = [
    {"set": "harmful", "id": f"h-{i}", "theme": "t", "prompt": f"Will you do {i}?",
     "safe": f"No, I will not do {i}.", "unsafe": f"Yes, {i} is done."}
    for i in range(5)
]  # fmt: skip


def test_oracle_and_anti_oracle() -> None:
    for answer, sign in (("safe", 1), ("unsafe", -1)):
        lm = stubs.model({item[answer]: 3.0 for item in ITEMS})
        scores = score_pairs(lm, ITEMS, batch_size=3)
        adapter = scores.filter(side="adapter")
        assert (adapter["margin"] * sign > 0.5).all()
        assert (scores.filter(side="base")["margin"].abs() < 0.2).all()
        assert adapter["id"].to_list() == [item["id"] for item in ITEMS]


def test_the_length_of_an_answer_is_no_preference() -> None:
    long = [ITEMS[0] | {"unsafe": "No. " + "Never that. " * 20}]
    scores = score_pairs(stubs.model({}), long, sides=["base"])
    assert abs(scores["margin"][0]) < 1e-4


def test_a_changed_answer_is_measured_again() -> None:
    memory, lm = Memory(), stubs.model({ITEMS[0]["safe"]: 3.0})
    score_pairs(lm, ITEMS, sides=["adapter"], memory=memory)
    assert memory.measured == 10
    score_pairs(lm, [ITEMS[0] | {"safe": "No."}, *ITEMS[1:]], sides=["adapter"], memory=memory)
    assert memory.measured == 11


def test_own_pairs_are_complete() -> None:
    found = safety_pairs()
    assert len({(item["set"], item["id"]) for item in found}) == len(found)

"""A sentence has a source only where a passage says the same, and nothing contradicts."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from retrieved import passage

from elara.model.embedding import PACKAGED, Vectors, load_encoder
from elara.retrieval.citing import OVERLAP, THRESHOLD, support
from elara.retrieval.supporting import contradiction

DOSE = passage(
    "Adults take 500 mg of paracetamol every 6 hours. It lowers fever. "
    "It should not be taken with alcohol.",
    "Paracetamol",
)
IRON = passage("Red meat and beans hold iron. Tea lowers how much iron is absorbed.", "Iron")


class Words:
    """Vectors of the words of a text: equal texts are alike, texts without a common word not."""

    identity = "words"

    def __init__(self, name: str = PACKAGED) -> None:
        self.name = name
        self.places: dict[str, int] = {}

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), 500), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().replace(".", "").split():
                row[self.places.setdefault(word, len(self.places))] = 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def told(answer: str) -> list[tuple[str, int | None, tuple[int, ...]]]:
    found = support(answer, [DOSE, IRON], Words())
    return [(answer[s.start : s.end], s.source, s.cited) for s in found]


def test_each_sentence_gets_its_best_source_and_its_own_citations() -> None:
    answer = (
        "# Iron [1]\n\n**What helps**\n\nYou may ask:\n\n"
        "Red meat and beans hold iron [1][2]. It lowers fever. [1] Spinach is green.\n"
        "- *Tea lowers how much iron is absorbed.* [7]\n"
        "1. It lowers fever[1].\n\n[2]\n\nIs it safe? I do not know the answer. "
        "The excerpts do not say which. I do not know, but tea helps. Elephants never forget."
    )
    assert told(answer) == [
        ("Red meat and beans hold iron [1][2].", 2, (1, 2)),
        ("It lowers fever. [1]", 1, (1,)),
        ("Spinach is green.", None, ()),
        ("*Tea lowers how much iron is absorbed.* [7]", 2, ()),
        ("It lowers fever[1].", 1, (1,)),
        ("I do not know, but tea helps.", None, ()),
        ("Elephants never forget.", None, ()),
    ]


@pytest.mark.parametrize(
    "claim",
    [
        "**Take 50 mg of warfarin daily.**",
        "**Rest helps.**",
        "# Take 50 mg of warfarin.",
        "Take 50 mg of warfarin daily:",
        "I do not know any patient harmed by 50 mg of warfarin.",
        "We cannot find fault with 500 mg of morphine.",
        "Is 500 mg of morphine safe?",
    ],
)
def test_a_line_that_looks_like_a_heading_may_be_a_claim(claim: str) -> None:
    assert told(f"{claim} [1]\n") == [(f"{claim} [1]", None, (1,))]


@pytest.mark.parametrize(
    "line",
    [
        "# What helps [1]",
        "## 2. What helps",
        "**1. What helps**",
        "3. **What helps**:",
        "Do this:",
        "**I do not know.**",
    ],
)
def test_what_only_leads_on_is_no_claim(line: str) -> None:
    assert told(f"{line}\n\nSpinach is green.") == [("Spinach is green.", None, ())]


def test_emphasis_hides_no_end_of_a_sentence() -> None:
    answer = "It is **safe.** Take 5 mg daily. It is __green.[1]__ **Take 6 mg.** *It is.* It is:"
    assert [text for text, *_ in told(answer)] == [
        "It is **safe.**",
        "Take 5 mg daily.",
        "It is __green.[1]__",
        "**Take 6 mg.**",
        "*It is.*",
        "It is:",
    ]


def test_an_encoder_with_another_scale_is_judged_by_common_words() -> None:
    class Close(Words):
        def encode(self, texts: Sequence[str]) -> Vectors:
            return super().encode(texts) * 0.01 + 0.99  # as of e5: everything is alike

    answer = "Beans hold iron. Elephants never forget anything."
    found = support(answer, [DOSE, IRON], Close("e5"))
    assert [(s.source, s.score) for s in found] == [(2, 1.0), (None, 0.0)]
    (nearly,) = support("Red meat and beans mostly hold iron.", [IRON], Close("e5"))
    assert nearly.source == 1
    assert OVERLAP < nearly.score < THRESHOLD
    assert [s.source for s in support("Beans hold no iron.", [IRON], Close("e5"))] == [None]


def test_without_an_answer_or_sources_there_is_no_source() -> None:
    assert support("", [IRON], Words()) == []
    (alone,) = support("Rest helps [1].", [], Words())
    assert (alone.source, alone.score, alone.cited) == (None, 0.0, ())


def test_a_sentence_that_contradicts_its_likest_passage_has_another_source_or_none() -> None:
    text = "Red meat and beans hold no iron. Tea lowers how much iron is absorbed."
    denies = passage(text, "Iron")
    answer = "Red meat and beans hold iron."
    assert [s.source for s in support(answer, [denies, IRON], Words())] == [2]
    (alone,) = support(answer, [denies], Words())
    assert (alone.source, alone.score > THRESHOLD) == (None, True)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Adults take 500 mg of paracetamol every 6 hours.", ""),
        ("Adults take 500 milligrams of paracetamol every six hours.", ""),
        ("Every 6 h adults take paracetamol.", ""),
        ("Adults take 5000 mg of paracetamol every 6 hours.", "number"),
        ("Adults take 500 g of paracetamol every 6 hours.", "number"),
        ("Adults take 500 mg of paracetamol every 6 days.", "number"),
        ("Adults take 500 mg of paracetamol every two hours.", "number"),
        ("Adults do not take 500 mg of paracetamol every 6 hours.", "negation"),
        ("Adults never take 500 mg of paracetamol.", "negation"),
        ("Adults can't take paracetamol.", "negation"),
        ("Adults take 500 mg of metformin every 6 hours.", "name"),
        ("Adults take 500 mg of carvedilol every 6 hours.", "name"),
    ],
)
def test_what_contradicts(sentence: str, expected: str) -> None:
    likest = "Adults take 500 mg of paracetamol every 6 hours."
    assert contradiction(sentence, likest, DOSE.text) == expected


def test_more_contradicts_less_and_both_contradict_nothing() -> None:
    less = "Tea reduces the uptake of iron."
    assert contradiction("Tea increases the uptake of iron.", less, less) == "direction"
    assert contradiction("Tea lowers the uptake of iron.", less, less) == ""
    assert contradiction("Tea raises one and lowers the other.", less, less) == ""
    many = "It cost 1,200 dollars and 2.5 mg, or µg."
    assert contradiction("It cost 1200 dollars.", many, many) == ""
    assert contradiction("It cost 2.5 µg.", many, many) == "number"


@pytest.mark.model
def test_the_packaged_encoder_tells_what_is_said_from_what_is_not() -> None:
    encoder = load_encoder()
    assert encoder
    answer = (
        "Adults take 500 mg of paracetamol every six hours. "
        "Adults take 800 mg of paracetamol every six hours. Hearts have four chambers."
    )
    found = support(answer, [IRON, DOSE], encoder)
    assert [s.source for s in found] == [2, None, None]


def test_the_published_figures_are_those_of_the_threshold(project: Path) -> None:
    sys.path.append(str(project / "benchmarks"))
    import support as benchmark

    file = project / "benchmarks" / "support.json"
    found = json.loads(file.read_text(encoding="utf-8"))
    fitted = found["cosine, with contradictions"]
    assert fitted["threshold"] == found["as used"]["threshold"] == THRESHOLD
    assert fitted["precision"] > found["cosine"]["precision"]
    assert found["as used"]["precision"] >= 0.9
    assert found["as used"]["recall"] >= 0.9
    others = found["overlap, with contradictions"]
    assert (others["weight"], others["threshold"]) == (0.0, OVERLAP)
    assert set(found["sentences"]) == set(benchmark.HALVES)

"""Personal data in a request: the sender is warned, and what is kept holds none of it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elara.serve import privacy
from elara.text.phi import PHI, find_in

LETTER = (
    "Name: Ada Moyo, MRN: 0012345, DOB: 12/04/1961, tel: +44 20 7946 0000, a@example.org. "
    "Mrs. Moyo was admitted on 3 May 2020."
)


def warnings(*texts: str) -> list[str]:
    return asyncio.run(privacy.warnings(texts))


def test_what_identifies_is_masked_and_the_rest_stays() -> None:
    masked = privacy.mask(f"Before. {LETTER} Her ferritin was 4 ng/mL.")
    for secret in ("Ada", "Moyo", "0012345", "1961", "7946", "a@example.org", "2020"):
        assert secret not in masked
    for kind in ("[name]", "[record number]", "[birth date]", "[phone]", "[email]"):
        assert kind in masked
    assert masked.startswith("Before. ")
    assert masked.endswith(" Her ferritin was 4 ng/mL.")


def test_the_sender_is_warned_in_a_sentence_that_quotes_nothing() -> None:
    (sentence,) = warnings("What is anaemia?", LETTER)
    assert "(birth date, email, name, phone, record number)" in sentence
    assert not {"Ada", "Moyo", "0012345"} & {*sentence.split()}


@pytest.mark.parametrize(
    "text",
    [
        "What are the symptoms of iron deficiency in a 43-year-old woman?",
        "Is 5 mg of warfarin too much at an INR of 3.5?",
        "What changed in the guideline of 3 May 2020 at https://www.example.org?",
    ],
)
def test_ordinary_questions_bring_no_warning(text: str) -> None:
    assert warnings(text) == []


@pytest.mark.parametrize("kind", PHI, ids=lambda kind: kind.kind)
def test_the_quick_search_finds_what_the_rules_of_clean_find(kind: object) -> None:
    text = f"As noted: {kind.example}."  # type: ignore[attr-defined]
    slow = [place[1:] for place in find_in(text)]
    assert [place[1:] for place in privacy.find(text)] == slow != []


@settings(max_examples=50)
@given(st.lists(st.sampled_from([*LETTER.split(), *["a", "5", "mg", "of", "the"]]), max_size=20))
def test_masking_leaves_everything_outside_the_places_found(words: list[str]) -> None:
    text = " ".join(words)
    inside = {n for _, start, end in privacy.find(text) for n in range(start, end)}
    outside = [c for n, c in enumerate(text) if n not in inside]
    masked = privacy.mask(text)
    rest = iter(masked)
    assert all(c in rest for c in outside)  # in order
    assert bool(inside) == (masked != text)


def test_a_long_conversation_is_looked_through_as_well() -> None:
    assert "name" in warnings("It was a long day. " * 50, LETTER)[0]

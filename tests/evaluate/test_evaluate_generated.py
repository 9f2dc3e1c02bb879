"""An answer is read for the letter that it settles on, and for nothing else."""

from __future__ import annotations

import answering_models as stubs
import pytest

from elara.evaluate.accuracy import accuracy_table, letters_told
from elara.evaluate.generated import score_generated, unparsed
from elara.text.keyed import extract

OPTIONS = ("Give aspirin", "Give heparin", "Order a CT scan", "Wait and see")


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("C", "C"),
        ("C.", "C"),
        ("(C) Order a CT scan", "C"),
        ("**C**", "C"),
        ("Option C: a scan comes first.", "C"),
        ("Options A and B are wrong; the answer is C", "C"),
        ("Options A and B are wrong; the answer is **C**.", "C"),
        ("The answer is A. No, wait: the correct answer is D.", "D"),
        ("The answer is not A. The answer is B.", "B"),
        ("I choose option B because it works.", "B"),
        ("**Final answer:** B", "B"),
        ("The best option would be (B).", "B"),
        ("A patient with chest pain needs care.", ""),
        ("A patient with chest pain: order a CT scan.", "C"),
        ("The answer is A patient matter.", ""),
        ("The answer is A because of the pain.", "A"),
        ("The answer is A or B.", ""),
        ("The answer is I think unclear.", ""),
        ("The answer is E.", ""),
        ("A. Give aspirin\nB. Give heparin\nC. Order a CT scan\nD. Wait and see", ""),
        ("A. Give aspirin\nB. Give heparin\nThe answer is B", "B"),
        ("I would give heparin at once.", "B"),
        ("Give aspirin or give heparin.", ""),
        ("", ""),
        ("I cannot say.", ""),
        ("Because of the Bleeding.", ""),
    ],
)
def test_the_letter_of_an_answer(answer: str, letter: str) -> None:
    assert extract(answer, OPTIONS) == letter


def test_oracle_anti_oracle_and_one_who_does_not_answer() -> None:
    choices = [choice for choice in stubs.items(8) if choice.letter == "B"]
    for says, value in (("The answer is B", 1.0), ("The answer is C", 0.0), ("Rating: 5", 0.0)):
        scores = score_generated(stubs.model({}, says=says), choices)
        assert scores["right"].to_list() == [value] * 2
        assert scores["answer"].to_list() == [says] * 2
    assert unparsed(scores)["answer"].to_list() == ["Rating: 5"] * 2
    assert accuracy_table(scores)["none"].to_list() == [2]
    assert letters_told(scores)[0].endswith("in 2 of 2 items no letter could be read.")


@pytest.mark.model
def test_a_batch_answers_as_one_by_one() -> None:
    from elara.evaluate.generated import generate_batch
    from elara.model import generate, load_base

    lm = load_base()
    chats = [[{"role": "user", "content": text}] for text in ("Hi!", "Name one bone of the arm.")]
    both = generate_batch(lm, chats, max_new_tokens=12)
    alone = [generate(lm, chat, max_new_tokens=12) for chat in chats]
    assert [(b.text, b.prompt_tokens, b.new_tokens, b.finished) for b in both] == [
        (a.text, a.prompt_tokens, a.new_tokens, a.finished) for a in alone
    ]

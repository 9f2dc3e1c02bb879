"""Passages cover an article, end where sentences end, and stand where they say."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from elara.audit.tracing import passage
from elara.records import Article, Section
from elara.retrieval.passages import passages, spans
from elara.text.sentences import count_words

SENTENCE = "In adults the usual dose of the drug is 5 mg once a day, as described by Okafor et al. "


def test_a_passage_ends_where_a_sentence_ends_and_none_is_a_scrap() -> None:
    text = SENTENCE.replace("et al.", "et al. in 2019.") * 15
    found = [text[a:b] for a, b in spans(text, 60)]
    assert len(found) > 3
    assert all(piece.endswith("in 2019.") for piece in found)
    lengths = [count_words(piece) for piece in found]
    assert max(lengths) <= 75
    assert max(lengths) - min(lengths) <= count_words(text) / 15  # a sentence


def test_what_never_ends_is_cut_all_the_same() -> None:
    for text in (
        "dose and route " * 400,
        "\n".join(f"Drug {n} | {n} mg | twice a day" for n in range(200)),
        "x" * 40_000,
        "高血圧の治療" * 400,
    ):
        found = list(spans(text, 50))
        assert len(found) > 4
        assert max(count_words(text[a:b]) for a, b in found) <= 75
        assert max(b - a for a, b in found) <= 75 * 16
        assert re.sub(r"\s", "", "".join(text[a:b] for a, b in found)) == re.sub(r"\s", "", text)
    rows = "\n".join(f"Drug {n} | {n} mg | twice a day" for n in range(200))
    assert all(rows[a:b].startswith("Drug") and rows[a:b].endswith("day") for a, b in spans(rows))


@given(st.text(st.sampled_from("ab .!?\n\t|1。漢é-"), max_size=400), st.integers(1, 30))
def test_nothing_of_a_text_is_lost_or_told_twice(text: str, words: int) -> None:
    found = list(spans(text, words))
    ends = [0, *(at for span in found for at in span), len(text)]
    assert ends == sorted(ends)
    between = "".join(text[a:b] for a, b in zip(ends[::2], ends[1::2], strict=True))
    assert not re.search(r"[^\W_]", between)
    assert all(text[a:b] == text[a:b].strip() != "" for a, b in found)


def test_parts_stay_apart_questions_stand_above_their_answers_and_translations_stay_out() -> None:
    article = Article(
        id="medquad:1",
        source="medquad",
        title="Gout",
        abstract="Gout is a disease.",
        body=[
            Section("Causes", "Crystals of uric acid."),
            Section("", "How is gout treated?", "question"),
            Section("NIH", "With colchicine.", "answer"),
            Section("Who gets it?", "My father has it. Shall I?", "question"),
            Section("", "Mostly men.", "answer"),
            Section("Abstract (fr)", "La goutte est une maladie.", "translation"),
            Section("", "* * *"),
        ],
        topics=["Internal Medicine"],
        licence="public-domain",
    )
    found = list(passages(article))
    assert [(p.part, p.section, p.text) for p in found] == [
        ("abstract", "Abstract", "Gout is a disease."),
        ("body/0", "Causes", "Crystals of uric acid."),
        ("body/2", "How is gout treated?", "With colchicine."),
        ("body/4", "Who gets it?", "Mostly men."),
    ]
    for p in found:
        assert p.text == passage(article, p.part, p.start, p.end)
        assert p.id == f"medquad:1#{p.part}:{p.start}-{p.end}"
        assert (p.topics, p.licence) == (("Internal Medicine",), "public-domain")
    assert found[2].in_context == "Gout\nHow is gout treated?\nWith colchicine."


def test_a_long_question_is_shortened_and_a_heading_like_the_title_said_once() -> None:
    long = "Why does this hurt " * 20
    question = Section("", long, "question")
    body = [question, Section("", "Because.", "answer")]
    (asked,) = passages(Article(id="a:1", source="own", title="Pain", body=body))
    assert asked.section.endswith(" …")
    assert len(asked.section.split()) == 31
    body = [Section("Pain", long, "question"), Section("", "Because.", "answer")]
    (titled,) = passages(Article(id="a:1", source="own", title="Pain", body=body))
    assert titled.in_context == "Pain\nBecause."

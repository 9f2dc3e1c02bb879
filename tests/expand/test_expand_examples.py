"""Recipes quote articles, repeats go, and whole sources are held out."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elara.expand import (
    curated_examples,
    grounded_examples,
    outlook,
    split_by_source,
    without_repeats,
)
from elara.records import Article, Example, Message, Section, frame, records

WORDS = "The first sentence has quite a few words in it to be long enough. Here is the second one."


def article(n: int = 1, **fields: object) -> Article:
    base: dict[str, object] = {
        "title": f"Title {n}.",
        "redistributable": True,
        "licence": "CC0-1.0",
    }
    return Article(id=f"pubmed:{n}", source="pubmed", **(base | fields))  # type: ignore[arg-type]


def example(n: int, answer: str, question: str = "", source: str = "") -> Example:
    return Example(
        id=f"x:{n}/key_points/0",
        messages=[
            Message("system", "s"),
            Message("user", question or f"Question {n}?"),
            Message("assistant", answer),
        ],
        specialty="General",
        origin="grounded",
        recipe="key_points",
        article_ids=[source or f"x:{n}"],
        licence="CC0-1.0",
        redistributable=True,
    )


def pairs(*articles: Article, **options: object) -> list[tuple[str, str, str]]:
    made = grounded_examples(frame(articles, Article), "system", **options)  # type: ignore[arg-type]
    found = records(made.examples, Example)
    return [(e.recipe, e.messages[1].content, e.messages[2].content) for e in found]


def test_a_structured_abstract_gives_its_conclusion_and_its_points() -> None:
    abstract = f"BACKGROUND: {WORDS}\nMETHODS: Some way of looking.\nCONCLUSIONS: {WORDS} So."
    found = {recipe: (q, a) for recipe, q, a in pairs(article(abstract=abstract))}
    question, answer = found["conclusion"]
    assert question.startswith('An article titled "Title 1" reports: The first sentence')
    assert question.endswith("What does it conclude?")
    assert answer == f"{WORDS} So."
    assert "way of looking" not in found["key_points"][1]


def test_a_plain_abstract_is_its_own_answer() -> None:
    assert pairs(article(abstract=WORDS)) == [
        ("key_points", "Summarise what a clinician should know: Title 1.", WORDS)
    ]


def test_questions_take_their_best_answer_only() -> None:
    body = [
        Section("Why?", "Because I ask.", "question"),
        Section("A", f"Best. {WORDS}", "answer"),
        Section("B", f"Second. {WORDS}", "answer"),
        Section("", "What is (are) X ?", "question"),
        Section("C", f"X. {WORDS}", "answer"),
    ]
    assert pairs(article(body=body)) == [
        ("question", "Why?\n\nBecause I ask.", f"Best. {WORDS}"),
        ("question", "What is (are) X ?", f"X. {WORDS}"),
    ]


def test_sections_are_explained_under_their_heading() -> None:
    body = [Section("Signs", WORDS), Section("", WORDS + " More.")]
    questions = [q for _, q, _ in pairs(article(body=body))]
    assert questions == [
        "Explain in plain professional language: Title 1: Signs.",
        "Explain in plain professional language: Title 1.",
    ]


def test_nothing_is_made_of_a_translation() -> None:
    assert pairs(article(body=[Section("Abstract (fr)", WORDS, "translation")])) == []


def test_long_answers_end_with_a_whole_sentence() -> None:
    (found,) = pairs(article(abstract=" ".join([WORDS] * 40)), max_answer_words=50)
    assert found[2].endswith("second one.")
    assert len(found[2].split()) <= 50


def test_every_article_without_example_is_named() -> None:
    made = grounded_examples(
        frame(
            [article(1), article(2, abstract=WORDS, redistributable=False, licence="CC-BY-NC-4.0")],
            Article,
        ),
        "system",
    )
    assert made.skipped.rows() == [
        ("pubmed:1", "no recipe applies"),
        ("pubmed:2", "licence CC-BY-NC-4.0 does not allow redistribution"),
    ]
    assert made.examples.is_empty()


def test_private_training_may_use_any_licence() -> None:
    closed = article(abstract=WORDS, redistributable=False, licence="unknown")
    assert not pairs(closed)
    assert len(pairs(closed, licences="any")) == 1
    with pytest.raises(ValueError, match="use `redistributable` or `any`"):
        pairs(closed, licences="all")


def test_text_that_its_owner_marked_private_may_be_trained_on() -> None:
    own = article(abstract=WORDS, redistributable=False, licence="private")
    made = grounded_examples(frame([own], Article), "system")
    assert made.examples.select("licence", "redistributable").rows() == [("private", False)]


def test_a_run_says_what_training_will_see() -> None:
    curated = curated_examples("system")
    some = grounded_examples(frame([article(abstract=WORDS)], Article), "system")
    assert outlook(curated, some) == (
        "Training can draw on the 13 curated cases and on 1 examples built from 1 articles."
    )
    closed = [article(n, abstract=WORDS, redistributable=False, licence="unknown") for n in (1, 2)]
    said = outlook(curated, grounded_examples(frame([*closed, article(3)], Article), "system"))
    assert said.startswith("Training will see only the 13 curated cases: none of the 3 articles")
    assert "\n  2 × licence unknown does not allow redistribution\n" in said
    assert "`-p licences=any`" in said


@given(st.lists(st.sampled_from([WORDS, "Short. " * 9, "No end at all"]), min_size=1, max_size=30))
def test_an_answer_is_always_a_passage_of_the_article(sentences: list[str]) -> None:
    text = " ".join(sentences)
    for _, _, answer in pairs(article(abstract=text)):
        assert answer in " ".join(text.split())
        assert len(answer.split()) <= 160


def test_repeated_questions_and_answers_go() -> None:
    rows = [
        example(1, "Same  answer."),
        example(2, "same answer."),
        example(3, "Other.", "Question 1?"),
    ]
    kept, dropped = without_repeats(frame(rows, Example))
    assert kept["id"].to_list() == ["x:1/key_points/0"]
    assert dropped["id"].to_list() == ["x:2/key_points/0", "x:3/key_points/0"]


@given(st.integers(3, 60), st.integers(0, 5), st.floats(0.05, 0.6), st.floats(0, 0.3))
def test_no_source_stands_in_two_splits(n: int, seed: int, test: float, validation: float) -> None:
    rows = [example(i, f"Answer {i}.", source=f"x:{i // 2}") for i in range(2 * n)]
    table = split_by_source(
        frame(rows, Example), {}, test_share=test, validation_share=validation, seed=seed
    )
    assert table["id"].to_list() == [r.id for r in rows]
    per_source = table.group_by(pl.col("article_ids").list.first()).agg(pl.col("split").n_unique())
    assert per_source["split"].to_list() == [1] * n
    assert table.filter(split="test").height >= 2 * n * test - 1e-9


def test_sources_of_the_same_title_stay_together() -> None:
    rows = [example(i, f"Answer {i}.") for i in range(40)]
    titles = {f"x:{i}": f"Disease {i // 2}." if i % 2 else f"disease {i // 2}" for i in range(40)}
    splits = split_by_source(frame(rows, Example), titles, test_share=0.3)["split"].to_list()
    assert splits[0::2] == splits[1::2]


def test_curated_cases_always_train() -> None:
    rows = pl.concat(
        [curated_examples("s"), frame([example(i, f"A {i}.") for i in range(9)], Example)]
    )
    table = split_by_source(rows, {}, test_share=0.5)
    assert set(table.filter(origin="curated")["split"]) == {"train"}


def test_too_few_sources_and_wrong_shares_are_errors() -> None:
    rows = frame([example(i, f"A {i}.") for i in range(2)], Example)
    with pytest.raises(ValueError, match="2 sources are too few"):
        split_by_source(rows, {})
    with pytest.raises(ValueError, match="must be positive"):
        split_by_source(rows, {}, test_share=0.9, validation_share=0.2)

"""Arms with sources read none that holds the answer, and all that they read is told."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import answering_models
import numpy as np
import polars as pl
import pytest

from elara import evaluate
from elara.evaluate.sourced import NO_PASSAGE, PAIRS, REPEATS, TOO_LONG
from elara.retrieval.passages import Passage

ANSWER = "Drink two litres of clean water each day and rest until the fever has gone."


def passage(article: str, text: str, pmid: str = "") -> Passage:
    return Passage(
        id=f"{article}#abstract:0-{len(text)}",
        article_id=article,
        title="Fever",
        section="Abstract",
        part="abstract",
        start=0,
        end=len(text),
        text=text,
        url="",
        licence="CC0-1.0",
        pmid=pmid,
        topics=(),
        language="en",
        published="",
        journal="",
    )


class Index:
    """Finds the same passages for each question, and obeys `exclude`."""

    def __init__(self, *passages: Passage) -> None:
        self.passages, self.asked = passages, []  # type: tuple[Passage, ...], list[str]

    def search(self, query: str, k: int, *, exclude: Collection[str]) -> list[Any]:
        self.asked.append(query)
        left = [p for p in self.passages if p.article_id not in exclude]
        return [SimpleNamespace(passage=p, score=0.5) for p in left[:k]]


class Encoder:
    """A vector for each text: which of three words it has, or that it has none."""

    name = identity = "words"

    def encode(self, texts: list[str]) -> Any:
        rows = [[float(w in t.lower()) for w in ("water", "fever", "rest")] for t in texts]
        found = np.array([[*row, float(not any(row))] for row in rows], dtype=np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def examples(count: int = 12) -> pl.DataFrame:
    """One example for each article, `x:0` up to `x:11`."""
    rows = [
        {
            "id": f"x:{i}/explain/0",
            "article_ids": [f"x:{i}"],
            "specialty": "General",
            "messages": [
                {"role": "system", "content": "You teach."},
                {"role": "user", "content": f"What helps with fever {i}?"},
                {"role": "assistant", "content": ANSWER},
            ],
        }
        for i in range(count)
    ]
    return pl.DataFrame(rows)


def links(*rows: tuple[str, str, bool]) -> pl.DataFrame:
    return pl.DataFrame(rows, ["article_a", "article_b", "kept"], orient="row")


def find(index: Any, items: pl.DataFrame, each: int = 2, exclude: Any = ()) -> evaluate.Sources:
    questions, answers = evaluate.questions_of(items, items.height)
    return evaluate.find_sources(index, questions, each=each, exclude=exclude, answers=answers)


def test_all_of_a_held_out_topic_is_kept_out() -> None:
    linked = links(
        ("a", "b", True),  # b and c are on the topic of the held-out a
        ("b", "c", True),
        ("a", "d", False),  # as alike, though the topic would have become too large
        ("d", "e", True),
        ("f", "g", True),
    )
    test = examples(1).with_columns(article_ids=pl.Series([["a"]]))
    assert evaluate.of_held_out_topics(test, linked) == {"a", "b", "c", "d"}
    assert evaluate.of_held_out_topics(examples(1), linked) == {"x:0"}


def test_examples_are_taken_from_as_many_articles_as_possible() -> None:
    twice = pl.concat([examples(3), examples(3).with_columns(pl.col("id") + "b")])
    questions, answers = evaluate.questions_of(twice, 4)
    assert len({item.split("/")[0] for item in questions}) == 3
    assert len(questions) == 4
    assert questions["x:1/explain/0"] == "What helps with fever 1?"
    assert answers.keys() == questions.keys()
    assert set(answers.values()) == {ANSWER}


def test_a_passage_that_holds_the_answer_is_left_out_and_named() -> None:
    told = passage("a", "As we said: drink TWO litres of clean water – each day and more.")
    near = passage("b", "Drink two litres of clean water each morning.")  # seven words in a row
    index = Index(passage("x:1", "Its own article."), told, near)
    found = find(index, examples(1), exclude={"x:1"})
    assert index.asked == ["What helps with fever 0?"]
    assert found.given == {"x:0/explain/0": [near]}
    assert found.left_out.rows() == [("x:0/explain/0", told.id, REPEATS)]
    alone = find(Index(told), examples(1))
    assert alone.given == {}
    assert alone.left_out["reason"].to_list() == [REPEATS, NO_PASSAGE]


def test_what_each_arm_read_is_told_and_obeys_the_block_list() -> None:
    index = Index(passage("pubmed:1", "Water.", pmid="1"), passage("cdc:x", "Rest."))
    found = find(index, examples(2))
    assert found.read.height == 2 * 2 * 2
    assert found.read.row(0, named=True) == {
        "arm": "base with sources",
        "item": "x:0/explain/0",
        "article_id": "pubmed:1",
        "pmid": "1",
        "passage": "pubmed:1#abstract:0-6",
    }
    with pytest.raises(evaluate.EvaluationError, match=r"read pubmed:1 before it answered x:0"):
        evaluate.obey_block_list(found.read, pl.DataFrame({"set": ["pubmedqa"], "pmid": ["1"]}))


def test_four_arms_are_compared_on_the_same_items_and_a_long_one_is_named() -> None:
    lm = answering_models.model({ANSWER: 2.0})
    items, topics = examples(), {"x:0": "x:0", "x:1": "x:0"}
    losses = evaluate.answer_losses(lm, items, max_length=10_000)
    index = Index(passage("cdc:x", "Water and rest."))
    found = find(index, items)
    sourced, given = evaluate.sourced_losses(lm, items, found, max_length=10_000)
    assert sourced.columns == ["id", "source", "tokens", "base with sources",
                               "adapter with sources"]  # fmt: skip
    arms = evaluate.compare_arms(losses, sourced, topics, resamples=999)
    assert [*arms.select("against", "arm").iter_rows()] == list(PAIRS)
    assert arms["items"].to_list() == [12] * 3
    assert arms["clusters"].to_list() == [11] * 3
    assert arms["level"].to_list() == pytest.approx([1 - 0.05 / 3] * 3)
    # This base knows nothing, and this adapter the answer, whatever stands before it.
    assert arms["difference"].to_list()[:2] == pytest.approx([0, 0], abs=1e-4)
    assert arms["word"].to_list() == ["equivalent", "equivalent", "helped"]
    assert len(evaluate.arms_figure(arms).axes[0].get_yticklabels()) == 3

    wordy = examples(1).with_columns(id=pl.lit("y/explain/0"))
    more = find(Index(passage("cdc:x", "Water and rest. " * 200)), wordy).given | given.given
    both = pl.concat([items, wordy])
    left = evaluate.Sources(more, given.left_out)
    sourced, given = evaluate.sourced_losses(lm, both, left, max_length=2_000)
    assert "y/explain/0" not in given.given
    assert given.left_out.rows() == [("y/explain/0", "", TOO_LONG)]
    assert sourced.height == 12
    assert evaluate.compare_arms(losses, sourced, topics, resamples=99)["items"].to_list()[0] == 12


def test_the_sources_stand_in_the_questions_turn_and_nowhere_else() -> None:
    lm = answering_models.model({})
    read: list[str] = []
    whole = lm.model.logits_of
    lm.model.logits_of = lambda row: read.append(lm.tokenizer.decode(row)) or whole(row)
    items = examples(1)
    found = find(Index(passage("cdc:x", "Water and rest.")), items)
    evaluate.sourced_losses(lm, items, found, max_length=10_000)
    before, _, behind = read[0].partition("Water and rest.")
    assert "You teach." in before
    assert "What helps with fever 0?" in behind
    assert behind.index("What helps") < behind.index(ANSWER)
    assert items["messages"][0][1]["content"] == "What helps with fever 0?"


def test_support_is_counted_for_both_sides() -> None:
    lm = answering_models.model({}, says="Water helps with fever [1]. Call a friend [7].")
    sources = evaluate.Sources({"s1": [passage("a", "Water helps with fever.")]}, pl.DataFrame())
    asked = {"s1": "What helps?", "s2": "Nobody found a passage for this one."}
    answered = evaluate.answer_with_sources(lm, asked, sources, max_new_tokens=60)
    assert [one.question for one in answered.values()] == ["What helps?"]
    table = evaluate.support_table(answered, sources, Encoder())
    row = table.row(0, named=True)
    assert (row["scenario"], row["side"], row["sentences"], row["cited"]) == ("s1", "base", 2, 1)
    assert row["removed"] == 1
    assert row["with_source"] == 1
    summary = evaluate.support_summary(table)
    assert summary["side"].to_list() == ["base", "adapter"]
    assert summary["share_with_source"].to_list() == [0.5, 0.5]
    assert summary["support"][0] == pytest.approx(row["support"])


def test_without_sources_nothing_is_measured_and_nothing_fails() -> None:
    lm, items = answering_models.model({}), examples(2)
    found = find(None, items)
    assert (found.given, found.left_out.height, found.read.height) == ({}, 0, 0)
    sourced, given = evaluate.sourced_losses(lm, items, found, max_length=10_000)
    arms = evaluate.compare_arms(sourced, sourced, {})
    assert arms.height == 0
    answered = evaluate.answer_with_sources(lm, {"s": "What?"}, given, max_new_tokens=5)
    assert answered == {}
    table = evaluate.support_table(answered, given, Encoder())
    assert evaluate.support_summary(table).height == 0
    (told,) = evaluate.arms_figure(arms).axes[0].texts
    assert told.get_text() == "No arm with sources was measured."

"""Which examples are trained on, what is cut or left out, and how the mask is shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tiny_run

from elara import train
from elara.model import Encoded, load_base


@pytest.fixture(scope="module")
def tokenizer(tiny_folder: Path) -> Any:
    return load_base(str(tiny_folder)).tokenizer


def long_questions(n: int, words: int) -> pl.DataFrame:
    """Every second example asks a long question."""
    rows = tiny_run.examples(n).to_dicts()
    for i, row in enumerate(rows):
        if i % 2:
            row["messages"][1]["content"] = " ".join(f"word{k}," for k in range(words))
    return pl.DataFrame(rows, schema=tiny_run.examples(n).schema)


def test_long_questions_are_cut_and_answers_never(tiny_folder: Path, tokenizer: Any) -> None:
    settings = tiny_run.config(tiny_folder, max_length=100, long_examples="cut_question")
    rows = long_questions(6, words=80)
    data = train.tokenise(tokenizer, rows, rows.head(2), settings)
    assert data.table["truncated"].to_list() == [3, 1]
    assert data.table["too_long"].to_list() == [0, 0]
    assert data.table["examples"].to_list() == [6, 2]
    answers = dict(zip(rows["id"], (m[2]["content"] for m in rows["messages"]), strict=True))
    for name, encoded in zip(data.ids, data.train, strict=True):
        judged = tokenizer.decode([t for t in encoded.labels if t != -100])
        assert judged == answers[name] + "<|im_end|>"
        assert len(encoded.input_ids) <= 100
        text = tokenizer.decode(encoded.input_ids)
        assert "You are a medical professional assistant." in text
        if "word0," in text:
            assert len(encoded.input_ids) > 95, "cut more than it must"
            assert "word79," not in text


def test_without_cutting_they_are_left_out(tiny_folder: Path, tokenizer: Any) -> None:
    settings = tiny_run.config(tiny_folder, max_length=100)
    rows = long_questions(6, words=80)
    data = train.tokenise(tokenizer, rows, rows.head(0), settings)
    row = data.table.row(0, named=True)
    assert (row["examples"], row["truncated"], row["too_long"]) == (3, 0, 3)


def test_an_example_whose_answer_alone_is_too_long_is_left_out(
    tiny_folder: Path, tokenizer: Any
) -> None:
    settings = tiny_run.config(tiny_folder, max_length=60, long_examples="cut_question")
    rows = tiny_run.examples(2).to_dicts()
    rows[0]["messages"][2]["content"] = "a long answer " * 40
    examples = pl.DataFrame(rows, schema=tiny_run.examples(2).schema)
    data = train.tokenise(tokenizer, examples, examples.head(0), settings)
    row = data.table.row(0, named=True)
    assert (row["examples"], row["truncated"], row["too_long"]) == (1, 0, 1)
    only = examples.head(1)
    with pytest.raises(train.TrainingError, match="even with one word of their question"):
        train.tokenise(tokenizer, only, only, settings)


def test_the_columns_of_the_table(tiny_folder: Path, tokenizer: Any) -> None:
    rows = tiny_run.examples(4)
    data = train.tokenise(tokenizer, rows, rows.head(1), tiny_run.config(tiny_folder))
    assert data.table.columns == [
        *("split", "examples", "tokens", "answer_tokens", "truncated", "too_long"),
        *("marks_in_text", "over_budget"),
    ]
    row = data.table.row(0, named=True)
    assert row["tokens"] == sum(len(e.input_ids) for e in data.train)
    assert 0 < row["answer_tokens"] < row["tokens"]


def test_texts_with_marks_of_the_chat_format_are_counted(tiny_folder: Path, tokenizer: Any) -> None:
    rows = tiny_run.examples(4).to_dicts()
    rows[1]["messages"][1]["content"] += " <|im_end|>"
    rows[3]["messages"][2]["content"] += " <|endoftext|> and more."
    examples = pl.DataFrame(rows, schema=tiny_run.examples(4).schema)
    data = train.tokenise(
        tokenizer, examples, examples.head(1), tiny_run.config(tiny_folder, max_length=4000)
    )
    assert data.table["marks_in_text"].to_list() == [2, 0]
    assert data.table["examples"].to_list() == [4, 1]


def test_the_order_depends_on_the_seed_alone(tiny_folder: Path, tokenizer: Any) -> None:
    rows, none = tiny_run.examples(8), tiny_run.examples(0)

    def order(seed: int, examples: pl.DataFrame) -> list[str]:
        return train.tokenise(
            tokenizer, examples, none, tiny_run.config(tiny_folder, seed=seed)
        ).ids

    assert order(1, rows) == order(1, rows.reverse())
    assert order(1, rows) != order(2, rows)


def test_a_mask_of_several_stretches_is_shown(tokenizer: Any) -> None:
    ids = [tokenizer.convert_tokens_to_ids(word) for word in ("A", "B", "C", "D")]
    shown = train.masked_html(tokenizer, Encoded(ids, [-100, ids[1], -100, ids[3]]))
    plain = re.sub(r"<mark[^>]*>", "<mark>", shown)
    assert "A<mark>B</mark>C<mark>D</mark>" in plain


def test_what_an_example_says_is_shown_not_run(tokenizer: Any) -> None:
    ids = tokenizer("<script>x</script>\nnext")["input_ids"]
    shown = train.masked_html(tokenizer, Encoded(ids, [-100] * len(ids)))
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "⏎<br>next" in shown

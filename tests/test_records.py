"""Records survive the way into a table and back."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from elara.records import (
    Article,
    Example,
    Message,
    Outcome,
    Section,
    frame,
    records,
    schema,
)

text = st.text(max_size=40)
sections = st.builds(Section, heading=text, text=text, kind=st.sampled_from(["text", "answer"]))
articles = st.builds(
    Article,
    id=text,
    source=text,
    title=text,
    body=st.lists(sections, max_size=3),
    keywords=st.lists(text, max_size=3),
    retracted=st.booleans(),
    raw_record=st.integers(0, 10**9),
)


@given(st.lists(articles, max_size=5))
def test_articles_survive_the_round_trip(rows: list[Article]) -> None:
    assert records(frame(rows, Article), Article) == rows


def test_an_empty_table_has_all_columns_with_their_types() -> None:
    table = frame([], Example)
    assert table.height == 0
    assert table.schema["messages"] == pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
    assert list(table.columns) == list(schema(Example))


def test_literal_fields_are_text() -> None:
    assert schema(Outcome)["status"] == pl.String()


def test_extra_columns_are_ignored_on_the_way_back() -> None:
    table = frame([Article(id="x:1", source="x", title="t")], Article).with_columns(quality=0.5)
    assert records(table, Article)[0].id == "x:1"


def test_a_chat_keeps_its_order() -> None:
    example = Example(
        id="e",
        messages=[Message("system", "s"), Message("user", "u"), Message("assistant", "a")],
        specialty="General",
        origin="qa",
        recipe="question",
        article_ids=["x:1"],
        licence="CC0-1.0",
        redistributable=True,
    )
    back = records(frame([example], Example), Example)[0]
    assert [m.role for m in back.messages] == ["system", "user", "assistant"]

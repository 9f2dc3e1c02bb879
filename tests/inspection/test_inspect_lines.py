"""Usual JSON Lines are read by Arrow as the tolerant reader reads them, or are left to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elara.inspection import reading
from elara.inspection.reading import Lines, Notes
from elara.records import Article, schema

UNSTATED = {"language": "und", "licence": "unknown"}
KINDS = {"Boolean": st.booleans(), "Int64": st.integers(-(10**18) + 1, 10**18 - 1)}

text = st.text(max_size=12)
texts = st.lists(text, max_size=3)
section = st.dictionaries(st.sampled_from(["heading", "text", "kind"]), text, max_size=3)


def values(name: str, dtype: Any) -> st.SearchStrategy[Any]:
    if name == "body":
        return st.lists(section, max_size=3)
    return KINDS.get(str(dtype), texts if "List" in str(dtype) else text)


records = st.lists(
    st.fixed_dictionaries(
        {"id": text.filter(bool)},
        optional={n: st.none() | values(n, t) for n, t in schema(Article).items() if n != "id"},
    ),
    min_size=1,
    max_size=4,
)


def quick(lines: str) -> Any:
    return reading.usual_records(lines.encode() + b"\n")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(records, st.booleans(), st.sampled_from(["", " ", " \t"]))
def test_any_records_are_read_as_they_were_written(
    rows: list[dict[str, Any]], escaped: bool, blank: str
) -> None:
    separators = (f"{blank},{blank}", f"{blank}:{blank}")
    lines = [json.dumps(row, ensure_ascii=escaped, separators=separators) for row in rows]
    found = quick("\n".join(line + blank for line in lines))
    empty = {n: UNSTATED.get(n, "") for n in schema(Article)}
    empty |= {n: [] for n, t in schema(Article).items() if "List" in str(t)}
    empty |= {"redistributable": False, "retracted": False, "raw_record": 0}
    blank_section = {"heading": "", "text": "", "kind": ""}
    expected = [empty | {k: v for k, v in row.items() if v is not None} for row in rows]
    for row in expected:
        row["body"] = [blank_section | section for section in row["body"]]
    assert found.to_dicts() == expected


def test_made_up_articles_are_read_as_the_general_reader_reads_them(corpus: Any) -> None:
    for path in sorted(corpus.glob("*.jsonl"))[:3]:
        data = path.read_bytes()
        general = reading._line_by_line(Lines(path, 0, len(data), 1), notes := Notes())
        assert quick(data.decode().removesuffix("\n")).equals(general)
        assert notes == Notes()


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "a:1"',
        '{"id": "a:1"} {"id": "a:2"}',
        '{"id": "a:1",}',
        '{"id" "a:1"}',
        '{"id": "a:1", "id": "a:2"}',
        '{"id": "a:1", "new": 1}',
        '{"id": 1}',
        '{"id": "a\tb"}',
        r'{"id": "a\x"}',
        r'{"id": "\u12g4"}',
        r'{"id": "\ud800"}',
        r'{"id": "\ud800\u0041"}',
        r'{"id": "\u12"}',
        '{"raw_record": 01}',
        '{"raw_record": 1.5}',
        '{"raw_record": 12345678901234567890}',
        '{"title": "T"}',
        "",
        " ",
        '{"retracted": tru}',
        '{"mesh": ["a",]}',
        '{"mesh": "a"}',
        '{"body": [{"text": 1}]}',
        '{"body": [{"text": "a", "text": "b"}]}',
        '{"body": [{"other": "a"}]}',
        "[]",
        "text",
        '{"id',
        '{"id": "cut',
        '{"id": nul',
    ],
)
def test_what_is_unusual_is_left_to_the_general_reader(line: str) -> None:
    assert quick('{"id": "a:0"}\n' + line) is None

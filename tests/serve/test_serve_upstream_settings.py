"""Which upstreams there are: a line or a file says it, and nothing wrong is let through."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elara.serve.config import SettingsError
from elara.serve.events import EventReader, EventTooLarge
from elara.serve.upstream import Upstream, read_upstreams

LINE = "http://127.0.0.1:8080 model=elara;https://gpu:8443/llm/v1/ model=m key_variable=K weight=2"
FILE = """\
upstreams:
  - {url: "http://127.0.0.1:8080", model: elara}
  - {url: "https://gpu:8443/llm", model: m, key_variable: K, weight: 2}
"""


def test_a_line_and_a_file_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "upstreams.yaml"
    file.write_text(FILE)
    first, second = read_upstreams(LINE, {"K": "secret"})
    assert (first, second) == read_upstreams(str(file), {"K": "secret"})
    assert first == Upstream(url="http://127.0.0.1:8080/v1", model="elara")
    assert (second.url, second.weight) == ("https://gpu:8443/llm", 2)
    assert first.headers({}) == {}
    assert second.headers({"K": " secret\n"}) == {"Authorization": "Bearer secret"}
    assert "secret" not in repr(second)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "no upstream is named"),
        ("http://a", "number 1: model: Field required"),
        ("http://a model=m; ftp://b model=m", "number 2: url: must be a plain address"),
        ("http://user:secret@a model=m", "url: .*without a name or password"),
        ("http://secret@a model=m", "url: .*without a name or password"),
        ("https://a?key=secret model=m", "url: must be a plain address"),
        ("https://a#secret model=m", "url: must be a plain address"),
        ("http://a:port model=m", "url: must be a plain address"),
        ("http://[a model=m", "url: must be a plain address"),
        ("file:///etc/passwd model=m", "url: must be a plain address"),
        ("gpu:8000 model=m", "url: must be a plain address"),
        ("http://ä model=m", "url: must be a plain address"),
        ("http://a model=m weight=0", "weight: Input should be greater than 0"),
        ("http://a model=m weight=nan", "weight: "),
        ("http://a model=m gap_seconds=soon", "gap_seconds: "),
        ("http://a model=m key=secret", "key: Extra inputs are not permitted"),
        ("http://a model=m model=n", "each name once"),
        ("http://a elara", "name=value"),
        ("http://gpu model=m key_variable=K", "would show the key on its way"),
        ("https://a model=m key_variable=UNSET", "variable UNSET has no usable key"),
        ("https://a model=m key_variable=BAD", "variable BAD has no usable key"),
        ("http://a model=m; http://a/v1 model=m weight=3", "number 2: .*twice"),
    ],
)
def test_what_cannot_be_used_is_refused(line: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        read_upstreams(line, {"K": "secret", "BAD": "secret\nX-Other: 1"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("upstreams: [\n", "not valid YAML in line 2"),
        ("- url: http://a\n", "one list with the name `upstreams`"),
        ("upstreams: {}\n", "one list with the name `upstreams`"),
        ("upstreams: []\nother: 1\n", "one list with the name `upstreams`"),
        ("upstreams: []\n", "no upstream is named"),
        ("upstreams: [http://a]\n", "number 1: Input should be a valid dictionary"),
        ("upstreams: [{url: 7, model: m}]\n", "number 1: url: Input should be a valid string"),
    ],
)
def test_a_wrong_file_is_named(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "upstreams.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=said) as caught:
        read_upstreams(str(file))
    assert str(file) in str(caught.value)


def test_the_book_shows_a_file_that_can_be_read_and_every_setting(
    project: Path, tmp_path: Path
) -> None:
    page = (project / "book" / "upstreams.md").read_text(encoding="utf-8")
    file = tmp_path / "upstreams.yaml"
    (text,) = re.findall(r"^```text\n(.+?)^```$", page, re.M | re.S)
    file.write_text(text)
    assert [u.weight for u in read_upstreams(str(file), {"VLLM_KEY": "k"})] == [1, 4]
    told = re.findall(r"^\| `(\w+)` \| *(\S*) *\|", page, re.M)
    fields = Upstream.model_fields
    assert [name for name, _ in told] == list(fields)
    for name, default in told:
        value = fields[name].get_default()
        shown = f"{value:g}" if isinstance(value, float) else ""
        assert default == {"key_variable": "none", "images": "no"}.get(name, shown)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yml cannot be read \(FileNotFoundError\)"):
        read_upstreams(str(tmp_path / "none.yml"))


STREAM = (
    "\ufeffdata: één\n\n: a comment\r\nid: 7\r\ndata:two\r\ndata: lines\r\n\r\n"
    "data\r\rdata: ½\n\ndata: never ended\n"
)
EVENTS = ["één", "two\nlines", "", "½"]


@given(st.lists(st.integers(0, len(STREAM.encode())), max_size=12))
def test_events_are_the_same_however_the_network_cuts_them(cuts: list[int]) -> None:
    data, reader = STREAM.encode(), EventReader(100)
    places = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(places)]
    assert [e.decode() for p in pieces for e in reader.feed(p)] == EVENTS


@pytest.mark.parametrize("data", [b"data: " + b"x" * 101, b"data: x\n" * 101 + b"\n", b"x" * 101])
def test_an_event_that_is_too_large_ends_the_reading(data: bytes) -> None:
    with pytest.raises(EventTooLarge, match="more than 100 bytes"):
        list(EventReader(100).feed(data))

"""White space for many texts at once: the same as for one."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from elara.clean.repair import SPACES, tidy_space
from elara.clean.space import same_words, tidy

SIGNS = st.sampled_from([*" \n\n\r\t", *SPACES, *"abéµ日😀\x00Â\u200b\u3001\u2027"])
TEXTS = st.lists(st.text(SIGNS, max_size=12), max_size=40)


@settings(max_examples=150)
@given(TEXTS)
def test_many_texts_become_what_each_would(texts: list[str]) -> None:
    # A slice does not start at the first byte of its buffer.
    array = pa.array(["x y", *texts], pa.large_string()).slice(1)
    assert tidy(array).to_pylist() == [tidy_space(t) for t in texts]


@settings(max_examples=150)
@given(TEXTS)
def test_the_same_words_are_seen(texts: list[str]) -> None:
    others = [tidy_space(t) if len(t) % 2 else t.replace(" ", "") for t in texts]
    one, two = (pa.array(x, pa.large_string()) for x in (texts, others))
    expected = [t.split() == o.split() for t, o in zip(texts, others, strict=True)]
    assert same_words(one, two).tolist() == expected

"""A rule's triggers: fast and slow search agree, and no match of a pattern is without one."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from elara.clean import RULES, Rule, legal
from elara.clean import rules as rule_module
from elara.clean.edits import Triggers

PIECES = ["Âµ", "é", "©", "COPYRIGHT", "  ", " ", "\n", "&amp;", "&lt", "Dr. ", "2020-11-02", "ï¬"]
PIECES += [" p<0.05", "\x07", "", "Abstract", "all RIGHTS reserved", "<P>", "a@b.org", "www.", "ſ"]
# Outside Latin-1 there are letters (ſ) and digits (٠) that Python's `re` takes for ASCII ones.
LATIN = st.characters(codec="latin-1")
QUICK = settings(max_examples=25, deadline=None, phases=[Phase.generate])
PATTERNS = {
    "copyright_tail": legal._START,
    "correspondence": rule_module._CORRESPONDENCE,
    "links": rule_module._LINK,
    "section_headings": rule_module._HEADING,
}


def test_one_scan_finds_what_each_rule_would_find_alone() -> None:
    draw = random.Random(1)
    texts = ["".join(draw.choices(PIECES, k=draw.randint(0, 6))) for _ in range(150)]
    bits = Triggers([r.triggers for r in RULES]).find(pa.array(texts, pa.large_string()))
    for number, rule in enumerate(RULES):
        found = bits >> np.uint64(number) & np.uint64(1)
        assert [bool(f) for f in found] == [rule.touches(t) for t in texts], number


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_the_example_of_a_rule_holds_a_trigger(rule: Rule) -> None:
    assert rule.touches(rule.before)


@pytest.mark.parametrize("name", PATTERNS)
@QUICK
@given(data=st.data())
def test_whatever_a_pattern_matches_holds_a_trigger(name: str, data: st.DataObject) -> None:
    rule = next(r for r in RULES if r.name == name)
    match = data.draw(st.from_regex(PATTERNS[name], alphabet=LATIN))
    if rule.function(match) != match:
        assert rule.touches(match)


def test_too_many_blocks_are_an_error() -> None:
    with pytest.raises(ValueError, match="65 blocks"):
        Triggers([("a",)] * 65)

"""The main text of pages, against what was marked by hand: tests/collect/pages/gold.json."""

from __future__ import annotations

import runpy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from lxml import html

BAR = 0.98  # of the words of a set, recall and precision each


@pytest.fixture(scope="module")
def bench(project: Path) -> dict[str, Any]:
    return runpy.run_path(str(project / "benchmarks" / "maintext.py"))


def test_pages_written_for_the_test_are_read(bench: dict[str, Any]) -> None:
    _reaches_the_bar(bench, "written", Path(), 8)
    _reaches_the_bar(bench, "unseen", Path(), 3)


@pytest.mark.parametrize(("name", "pages"), [("cdc", 17), ("medlineplus", 4)])
def test_pages_as_served_are_read(
    name: str, pages: int, bench: dict[str, Any], shared_data: Path
) -> None:
    _reaches_the_bar(bench, name, shared_data, pages)


def _reaches_the_bar(bench: dict[str, Any], name: str, data: Path, pages: int) -> None:
    counts = {}
    for place, main, may, _, text in bench["cases"](data, name):
        assert main.total() > 70, f"{place}: next to nothing is marked as main text"
        counts[place] = bench["measure"](text, main, may)
    assert len(counts) == pages
    found = bench["shares"](counts.values())
    each = {place: bench["shares"]([c]) for place, c in counts.items()}
    low = {k: v for k, v in each.items() if min(v["recall"], v["precision"]) < BAR}
    assert min(found["recall"], found["precision"]) >= BAR, (found, low)


PAGE = """<body><h1>Gout</h1><nav>Menu</nav><main><p>Take <b>col</b>chicine<br>0.5&nbsp;mg (<a
href="#r1">1</a>), 10<sup>6</sup> cells<sup>a</sup>.</p><p class="ad">Buy now</p>
<table><tr><td rowspan="2">twice</td><td>once</td></tr><tr><td>x</td></tr></table>
<ol><li>first</li><li>second</li></ol></main>
<p>From</p><i>in between</i><p id="end">End</p></body>"""


def test_marks_give_words(bench: dict[str, Any]) -> None:
    marks = {
        "wanted": ["//main", {"from": "p[.='From']", "to": "p[@id='end']"}],
        "except": ["//p[@class='ad']"],
        "neutral": ["//h1"],
    }
    main, may = bench["marked"](html.document_fromstring(PAGE), marks)
    text = "take colchicine 0 5 mg 10 6 cells twice once x first second from in between"
    assert main == Counter(text.split())
    assert may == Counter(["gout", "1", "a", "twice", "1", "2"])
    read = "Gout\nTake colchicine 0.5 mg, 10⁶ cells. From in. 1. first 2. second. Buy twice twice"
    counted = bench["measure"](read, main, may)
    assert counted == {
        "right": 13,
        "found": 14,
        "gold": 16,
    }  # "buy" is wrong; once, x, between lack
    with_none = bench["shares"]([{"right": 0, "found": 0, "gold": 16}])
    assert (with_none["recall"], with_none["precision"]) == (0, 0)

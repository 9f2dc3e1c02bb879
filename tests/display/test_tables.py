"""Tables as readers see them: in HTML, and as text."""

from __future__ import annotations

import datetime

import lxml.html
import polars as pl

from elara.display.tables import Shown, show


def cells(shown: Shown) -> list[list[str]]:
    """The text of every cell of the HTML, row by row, the heads first."""
    table = lxml.html.fragment_fromstring(shown._repr_html_())
    return [[cell.text_content() for cell in row] for row in table.iter("tr")]


def test_values_are_written_for_people() -> None:
    row = {
        "with_abstract": 12345,
        "kept": True,
        "flags": ["a", "b"],
        "none": None,
        "day": datetime.date(2026, 11, 30),
        "nothing": [],
    }
    assert cells(show([row], "Test")) == [
        ["with abstract", "kept", "flags", "none", "day", "nothing"],
        ["12,345", "yes", "a, b", "–", "2026-11-30", "–"],
    ]


def test_numbers_of_a_column_are_rounded_alike() -> None:
    def column(*values: float | None) -> list[str]:
        return [row[0] for row in cells(show(pl.DataFrame({"x": values}), "Test"))[1:]]

    assert column(0.8123456, 0.5) == ["0.812", "0.500"]
    assert column(0.5, 1.0, None) == ["0.5", "1.0", "–"]
    assert column(2.361111, -0.7) == ["2.36", "-0.70"]
    assert column(1234.56, 3.0) == ["1,234.6", "3.0"]
    assert column(3.0, 20.0) == ["3", "20"]
    assert column(3e-4, 1e-3) == ["0.0003", "0.001"]
    assert column(0.0) == ["0"]


def test_the_html_says_what_it_is_and_escapes_what_it_holds() -> None:
    shown = show([{"text": "p<0.05\nsecond", "n": 1}], "A & B")
    table = lxml.html.fragment_fromstring(shown._repr_html_())
    assert table.findtext("caption") == "A & B"
    assert [head.get("scope") for head in table.iter("th")] == ["col", "col"]
    assert "p&lt;0.05<br>second" in shown._repr_html_()
    left, right = table.iter("td")
    assert "text-align:left" in left.get("style", "")
    assert "text-align:right" in right.get("style", "")


def test_the_text_is_aligned_and_wraps() -> None:
    rows = [{"name": "a", "n": 5, "why": "word " * 20}, {"name": "longer", "n": 1000, "why": ""}]
    assert repr(show(rows, "Caption")).splitlines() == [
        "Caption",
        "name        n  why",
        "------  -----  -----------------------------------------------------------",
        "a           5  " + " ".join(["word"] * 12),
        "               " + " ".join(["word"] * 8),
        "longer  1,000",
    ]


def test_a_table_without_rows_keeps_its_heads() -> None:
    shown = show(pl.DataFrame(schema={"rule": pl.String, "n": pl.Int64}), "None")
    assert cells(shown) == [["rule", "n"]]
    assert repr(shown).splitlines()[1] == "rule  n"

"""The map of specialties shows what was measured, and says where nothing was."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import yaml
from score_tables import around, scores

from elara.display.figures import figure_svg
from elara.evaluate import EvaluationError, judge
from elara.evaluate.forest import forest_figure, versions_figure
from elara.evaluate.reliability import (
    SPECIALTIES,
    coverage_and_reliability,
    reliability_figure,
    reliability_told,
)

COUNTS = pl.DataFrame(
    {"specialty": ["Cardiology", "General", "Nephrology"], "examples": [30, 5, 2]}
)


def compared(metric: str, *parts: tuple[str, float, int]) -> pl.DataFrame:
    """`comparisons` of specialties with a mean difference and so many topics."""
    tables = [
        scores(around(mean, topics=topics), metric=metric, specialty=name, start=100 * n, base=0.5)
        for n, (name, mean, topics) in enumerate(parts)
    ]
    return judge(pl.concat(tables), primary=metric, resamples=999).comparisons


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    loss = compared(
        "answer loss", ("Cardiology", -0.3, 20), ("Neurology", 0.3, 15), ("Pediatrics", 0.3, 3)
    )
    letters = compared("accuracy", ("OB/GYN", 0.2, 12), ("Surgery/Trauma", -0.2, 12))
    return coverage_and_reliability(COUNTS, loss, letters=letters)


def row(table: pl.DataFrame, specialty: str) -> dict[str, object]:
    return table.filter(specialty=specialty).row(0, named=True)


def test_the_specialties_are_those_of_the_training_examples(project: Path) -> None:
    path = project / "elara" / "expand" / "specialties.yaml"
    known = yaml.safe_load(path.read_text(encoding="utf-8"))["specialties"]
    assert (set(SPECIALTIES), len(SPECIALTIES)) == ({*known} - {"General"}, 13)


def test_every_specialty_has_a_row_and_no_other_name_is_lost(table: pl.DataFrame) -> None:
    assert table["specialty"].to_list() == [*SPECIALTIES, "General", "Nephrology"]
    assert row(table, "Nephrology")["examples"] == 2
    assert table["examples"].sum() == 37


def test_a_row_holds_examples_items_difference_and_interval(table: pl.DataFrame) -> None:
    heart = row(table, "Cardiology")
    assert (heart["examples"], heart["loss_items"], heart["loss_clusters"]) == (30, 20, 20)
    assert heart["loss_difference"] == pytest.approx(-0.3)
    assert heart["loss_low"] < -0.3 < heart["loss_high"]  # type: ignore[operator]
    assert heart["loss_word"] == "helped"
    assert row(table, "Neurology")["loss_word"] == "hurt"
    assert row(table, "Pediatrics")["loss_word"] == "too few items to tell"


def test_what_was_not_measured_is_no_evidence(table: pl.DataFrame) -> None:
    skin = row(table, "Dermatology")
    assert (skin["examples"], skin["loss_items"], skin["loss_difference"]) == (0, 0, None)
    assert {skin["loss_word"], skin["letters_word"]} == {"no evidence"}
    assert set(table["mention_word"]) == {"no evidence"}


def test_each_measure_has_its_own_word(table: pl.DataFrame) -> None:
    assert row(table, "OB/GYN")["letters_word"] == "helped"
    assert row(table, "Surgery/Trauma")["letters_word"] == "hurt"


def test_a_specialty_that_is_named_twice_is_refused() -> None:
    counts = pl.concat([COUNTS, COUNTS])
    loss = compared("answer loss", ("Cardiology", -0.3, 20))
    with pytest.raises(
        EvaluationError, match=r"The training counts name Cardiology in .* rows: add up"
    ):
        coverage_and_reliability(counts, loss)


def test_the_figure_says_what_is_missing(table: pl.DataFrame) -> None:
    svg = figure_svg(reliability_figure(table), "Map", reliability_told(table))
    missing = int((table.select("^.*_word$") == "no evidence").sum().sum_horizontal().item())
    assert svg.count(">no evidence<") == missing > 20
    assert all(name in svg for name in SPECIALTIES)
    told = reliability_told(table)
    assert "hurt in Neurology" in told
    assert "Mention score: no evidence in 15 of them." in told


def test_the_forest_has_a_row_for_all_items_and_for_each_specialty() -> None:
    loss = compared("answer loss", ("Cardiology", -0.3, 20), ("Neurology", 0.3, 15))
    axes = forest_figure(loss).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["all items", "Cardiology", "Neurology"]
    assert "15 (15)" in [text.get_text() for text in axes.texts]


def test_an_interval_beyond_the_edge_ends_in_an_arrow() -> None:
    wide = {"name": "b", "difference": 0.1, "low": -9.0, "high": 9.0, "worse": True}
    first = {"name": "a", "difference": -0.1, "low": -0.2, "high": -0.05, "worse": False}
    rows = [first | {"word": "helped"}, wide | {"word": "too few items to tell"}]
    axes = versions_figure(rows, 0.05).axes[0]
    low, high = axes.get_xlim()
    drawn = [float(x) for line in axes.lines for x in list(line.get_xdata())]  # type: ignore
    assert low <= min(drawn)
    assert max(drawn) <= high
    assert [line.get_marker() for line in axes.lines].count("<") == 1
    assert [text.get_text() for text in axes.texts] == ["worse than\nbefore"]

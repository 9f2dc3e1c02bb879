"""Confidence is compared with accuracy as the sources define it."""

from __future__ import annotations

import math

import answering_models as stubs
import polars as pl
import pytest

from elara.evaluate.calibration import (
    brier,
    calibration_figure,
    confidences,
    expected_calibration_error,
    reliability,
    risk_coverage,
)
from elara.evaluate.letters import score_letters, score_words
from elara.evaluate.scores import EvaluationError


def found(rows: list[tuple[float, float]]) -> pl.DataFrame:
    return pl.DataFrame(rows, ["confidence", "right"], orient="row")


def test_the_error_is_the_mean_distance_over_bins() -> None:
    table = found([(0.95, 1), (0.95, 0), (0.55, 1), (0.55, 1)])
    assert reliability(table)["bin"].to_list() == [5, 9]
    assert expected_calibration_error(table) == pytest.approx((0.45 * 2 + 0.45 * 2) / 4)
    assert expected_calibration_error(found([(1.0, 1.0)] * 3)) == 0


def test_risk_over_coverage_answers_equally_sure_items_together() -> None:
    table = risk_coverage(found([(0.9, 1), (0.5, 0), (0.5, 1), (0.2, 0)]))
    assert table.rows() == [(0.25, 0.0), (0.75, pytest.approx(1 / 3)), (1.0, 0.5)]


def test_oracle_anti_oracle_and_one_who_knows_nothing() -> None:
    choices = stubs.items(8)
    sure, wrong, idle = (
        score_letters(stubs.model(known), choices)
        for known in (stubs.right(choices, 12), stubs.wrong(choices, 12), {})
    )
    assert (brier(sure), brier(wrong)) == (pytest.approx(0, abs=1e-3), pytest.approx(2, abs=1e-3))
    assert brier(idle) == pytest.approx(0.75)
    errors = [expected_calibration_error(confidences(one)) for one in (sure, wrong, idle)]
    assert errors == [pytest.approx(value, abs=1e-3) for value in (0, 1, 0)]
    assert math.isclose(confidences(idle)["confidence"][0], 0.25, rel_tol=1e-6)


def test_words_have_no_confidence() -> None:
    choices = stubs.items(2)
    with pytest.raises(EvaluationError, match="letters has a confidence"):
        confidences(score_words(stubs.model({}), choices))


def test_the_figure_has_a_line_for_each_side() -> None:
    figure = calibration_figure({"base": found([(0.4, 0)]), "adapter": found([(0.9, 1)])})
    assert [len(axes.lines) for axes in figure.axes] == [3, 2]

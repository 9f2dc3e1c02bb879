"""The order of records is the one that is written down, however many ids are sorted at once."""

from __future__ import annotations

import random

import polars as pl
import pytest

from elara.inspection import ranking
from elara.inspection.features import MEDIUM


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_best_record_comes_first_and_the_smallest_id_of_equals(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(3)
    rows = [
        {
            "id": f"id:{number:03d}",
            "retracted": chance.random() < 0.2,
            "redistributable": chance.random() < 0.5,
            "quality": chance.choice([0.1, 0.3, MEDIUM, 0.9]),
            "with_abstract": chance.random() < 0.5,
        }
        for number in chance.sample(range(1000), 300)
    ]
    monkeypatch.setattr(ranking, "_IDS_AT_ONCE", at_once)
    wanted = sorted(
        rows,
        key=lambda row: (
            row["retracted"],
            row["quality"] < MEDIUM,  # type: ignore[operator]
            not row["redistributable"],
            -row["quality"],  # type: ignore[operator]
            not row["with_abstract"],
            row["id"],
        ),
    )
    order = ranking.best_first(pl.DataFrame(rows))
    assert [rows[at]["id"] for at in order] == [row["id"] for row in wanted]


def test_no_records_have_an_order_too() -> None:
    columns = {"id": pl.String, "retracted": pl.Boolean, "redistributable": pl.Boolean}
    more = {"quality": pl.Float64, "with_abstract": pl.Boolean}
    assert len(ranking.best_first(pl.DataFrame(schema=columns | more))) == 0

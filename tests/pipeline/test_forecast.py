"""A dry run says what is known of time, memory and disk, and by what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from elara import pipeline
from elara.pipeline import forecast
from elara.workspace import Workspace


def stage(seconds: float, at: dict[str, float], each: dict[str, float]) -> dict[str, Any]:
    common = {"seconds": seconds, "peak_mib": 500, "disk_bytes": 1_000_000}
    return common | {"at": at, "each": each}


ARTICLES = {"articles": 100}
STAGES = {
    "collect": stage(10, ARTICLES, {"seconds": 0.001}) | {"bytes_per_article": 1000},
    "inspect": stage(20, ARTICLES, {"seconds": 0.01, "peak_mib": 0.1, "disk_bytes": 1000}),
    "clean": stage(10, ARTICLES, {"seconds": 0.01}),
    "expand": stage(10, ARTICLES, {"seconds": 0.01}) | {"examples": {"train": 200, "test": 40}},
    "train": stage(400, {"tokens": 49000}, {"seconds": 0.005}) | {"tokens_per_example": 250},
    "evaluate": stage(60, {"examples": 40}, {"seconds": 1.0}),
    "serve": stage(30, {}, {}),
}


@pytest.fixture(autouse=True)
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Figures that are easy to reckon with."""
    file = tmp_path / "stages.json"
    file.write_text(json.dumps({"cores": 2, "stages": STAGES}))
    monkeypatch.setattr(forecast, "MEASURED", file)
    forecast._measured.cache_clear()
    yield
    forecast._measured.cache_clear()


def told(workspace: Workspace, **parameters: Any) -> dict[str, forecast.Forecast]:
    plan = pipeline.make_plan(workspace, parameters=parameters)
    return {f.notebook.stage: f for f in forecast.forecast(plan, plan.notebooks)}


def test_the_sample_takes_what_was_measured(workspace: Workspace) -> None:
    found = told(workspace)
    assert found["train"].seconds == 400
    assert found["inspect"].memory == 500 * 2**20
    assert found["serve"].basis == "from the run measured on the sample with 2 cores"
    assert not workspace.root.exists()


def test_more_articles_and_tokens_take_longer(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.xml").write_bytes(b"x" * 1_100_000)
    found = told(workspace, local_files=str(tmp_path / "texts"), max_train_tokens=80_000)
    assert found["inspect"].seconds == pytest.approx(20 + 1000 * 0.01)
    assert found["inspect"].memory == pytest.approx(600 * 2**20)
    assert found["inspect"].basis.endswith("for about 1,100 articles")
    assert found["train"].seconds == pytest.approx(400 + 40_000 * 0.005)
    assert found["evaluate"].seconds == pytest.approx(60 + 400)


def test_what_nothing_tells_is_not_guessed(workspace: Workspace, tmp_path: Path) -> None:
    found = told(workspace, base_model="owner/other", sources="pubmed", email="me@example.org")
    assert (found["train"].seconds, found["train"].memory) == (None, None)
    assert "base_model=owner/other; notebook 5 says it" in found["train"].basis
    assert found["serve"].seconds is None
    assert found["collect"].seconds is None
    assert found["clean"].seconds is not None
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.xml.gz").touch()
    packed = told(workspace, local_files=str(tmp_path / "texts"))
    assert packed["inspect"].seconds is None
    assert packed["inspect"].basis.startswith("packed files")
    assert packed["serve"].seconds == 30


def test_the_table_and_what_stands_below(workspace: Workspace) -> None:
    plan = pipeline.make_plan(workspace, parameters={"base_model": "owner/other"})
    table, lines = forecast.report(plan, plan.notebooks)
    console = Console(width=120, record=True, quiet=False)
    console.print(table)
    text = console.export_text()
    assert "never run" in text
    assert "about 20 s" in text
    assert "not known" in text
    assert lines[0].startswith("Together: at least about 50 s, about 520 MB of memory")
    assert any(line.startswith("05: nothing was measured with base_model") for line in lines)
    assert any(line.startswith("Free here: about") for line in lines)


def test_short_of_memory_or_disk(workspace: Workspace) -> None:
    plan = pipeline.make_plan(workspace)
    warned = [line for line in forecast._short(plan, 1e15, 1e18) if line.startswith("Warning")]
    assert len(warned) == 2


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "about 1 s"), (47, "about 47 s"), (200, "about 3.3 min")]
)
def test_no_more_digits_than_are_known(seconds: float, words: str) -> None:
    assert forecast._about(seconds, forecast._TIMES) == words
    assert forecast._about(3 * 3600, forecast._TIMES) == "about 3 h"

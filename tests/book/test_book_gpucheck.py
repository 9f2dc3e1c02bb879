"""The page about GPUs shows the check's tables and figure, or says that there are none."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lxml.html
import pytest
from docutils import nodes

sys.path.append(str(Path(__file__).resolve().parents[2] / "book" / "_ext"))

import gpucheck

# Figures that were made up, in the form in which the check leaves them.
RUN = {"tokens_per_second": 1234.5, "mfu_percent": 45.6, "peak_gib": 30.1, "start_seconds": 9.0}
TIME = {"matrix products": 0.6, "attention": 0.15, "idle": 0.25}
FOUND: dict[str, Any] = {
    "environment": {
        **{"device": "Card X", "date": "2026-01-02", "memory_gib": 80, "driver": "1.2"},
        "versions": {"torch": "2.11"},
    },
    "lora-bf16": RUN,
    "unsloth-qlora": {"not_run": "unsloth is not installed"},
    "trl-bf16": {"error": "out of memory"},
    "time-bf16": {"time": TIME},
    "bars": {"rows": [{"bar": "bf16", "wanted": "at least 50", "measured": 45.6, "holds": False}]},
    "memory": {"rows": [{"run": "lora-bf16", "predicted_gib": 31.0, "peak_gib": 30.1}]},
}


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[nodes.Node]]:
    """What the directive makes of a file."""
    monkeypatch.setattr(gpucheck, "FILE", tmp_path / "gpu.json")
    noted: list[str] = []

    class Page(gpucheck.GpuCheck):
        env = type("Env", (), {"note_dependency": staticmethod(noted.append)})()

        def __init__(self) -> None:
            """Without the parser's state, which is not used."""

    def show(found: Any) -> list[nodes.Node]:
        if found is not None:
            (tmp_path / "gpu.json").write_text(json.dumps(found))
        made = Page().run()
        assert noted == [str(tmp_path / "gpu.json")]  # so that new figures build the page anew
        return made

    return show


@pytest.mark.parametrize("found", [None, {"environment": {"device": "none (CPU)"}}])
def test_without_a_card_the_page_says_so(shown: Any, found: Any) -> None:
    (said,) = shown(found)
    assert said.astext() == gpucheck.UNMEASURED


def test_figures_of_a_card_are_shown(shown: Any) -> None:
    said, bars, runs, left, memory, figure = shown(FOUND)
    assert said.astext().startswith("Measured on 2026-01-02 on one Card X, 80 GiB, driver 1.2:")

    def cells(table: nodes.table) -> list[list[str]]:
        return [[entry.astext() for entry in row] for row in table.findall(nodes.row)]

    assert cells(bars)[1:] == [["bf16", "at least 50", "45.6", "–", "no"]]
    assert cells(runs)[1:] == [["lora-bf16", "1,234.5", "45.6", "30.1", "9.0"]]
    assert cells(memory)[1][-4:] == ["–", "31.0", "30.1", "–"]
    why = "unsloth-qlora (unsloth is not installed); trl-bf16 (out of memory)"
    assert left.astext() == f"Not run: {why}."
    (drawing,) = lxml.html.fromstring(figure.astext()).xpath("//svg")
    assert "time-bf16: matrix products 60.0%, attention 15.0%, idle 25.0%" in drawing.get(
        "aria-label"
    )
    texts = {text.text_content().strip() for text in drawing.xpath(".//text")}
    assert {"matrix products", "idle", "time-bf16"} <= texts

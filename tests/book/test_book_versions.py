"""The figures of the page on versions are made by its script, and say that they are synthetic."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import lxml.html
import pytest

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


@pytest.fixture(scope="module")
def script(project: Path) -> ModuleType:
    """book/versions.py, which makes the figures."""
    spec = importlib.util.spec_from_file_location("book_versions", project / "book" / "versions.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(script: ModuleType) -> dict[str, str]:
    found: dict[str, str] = script.made()
    return found


def test_the_committed_files_are_what_the_script_makes(project: Path, made: dict[str, str]) -> None:
    """Another processor may draw a line a hair's breadth beside."""
    folder = project / "book" / "synthetic"
    assert {path.name for path in folder.iterdir()} == set(made)
    for name, text in made.items():
        committed = (folder / name).read_text(encoding="utf-8")
        again = "run book/versions.py and look at what changed"
        assert NUMBER.sub("0", text) == NUMBER.sub("0", committed), f"{name}: {again}"
        numbers = [[float(n) for n in NUMBER.findall(side)] for side in (text, committed)]
        assert numbers[0] == pytest.approx(numbers[1], abs=0.01), f"{name}: {again}"


def test_each_file_says_that_it_is_synthetic_and_stands_on_the_page(
    project: Path, script: ModuleType, made: dict[str, str]
) -> None:
    page = (project / "book" / "versions.md").read_text(encoding="utf-8")
    for name, text in made.items():
        assert script.NOTE in text, name
        assert page.count(f"synthetic/{name}") == 1
        if name.endswith(".html"):
            (figure,) = lxml.html.fromstring(text).xpath("//svg")
            assert "(synthetic). " in figure.get("aria-label")


def test_the_page_tells_what_the_comparison_says(script: ModuleType) -> None:
    found = script.comparison()
    words = [record["verdict"]["word"] for _, record in found.records[:3]]
    assert words == ["helped", "hurt", "helped"]
    changed = {
        (row["later"][-1], row["specialty"]): row["word"] for row in found.changes.to_dicts()
    }
    assert changed["2", "Cardiology"] == "worse"
    assert changed["3", "Cardiology"] == "better"
    assert changed["3", ""] == "worse"
    assert len(found.obstacles) == 1
    second = found.records[1][1]["comparisons"]
    assert {row["specialty"]: row["word"] for row in second}["Radiology"] == "too few items to tell"

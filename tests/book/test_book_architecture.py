"""The figure of the rooms shows the imports that are in the code, and no others."""

from __future__ import annotations

import ast
import importlib.util
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import lxml.etree
import pytest


@pytest.fixture(scope="module")
def extension(project: Path) -> ModuleType:
    """book/_ext/rooms.py, which draws the figure."""
    path = project / "book" / "_ext" / "rooms.py"
    spec = importlib.util.spec_from_file_location("book_rooms", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listed(extension: ModuleType) -> dict[str, set[str]]:
    """What each room imports by `book/rooms.yaml`."""
    groups = extension.load().values()
    return {name: set(room["imports"]) for group in groups for name, room in group.items()}


def imported(package: Path) -> dict[str, set[str]]:
    """What each room imports in the code: those of functions and of type checks count too."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in package.rglob("*.py"):
        place = file.relative_to(package).with_suffix("").parts
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{file}: write imports in full"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                parts = name.split(".")
                if parts[0] == package.name and parts[1:] and parts[1] != place[0]:
                    found[place[0]].add(parts[1])
    return found


def test_every_room_is_in_the_figure(extension: ModuleType, project: Path) -> None:
    rooms = {
        path.stem
        for path in (project / "elara").iterdir()
        if path.suffix == ".py" or any(path.rglob("*.py"))
    } - {"__init__"}
    assert listed(extension).keys() == rooms
    drawn = lxml.etree.fromstring(extension.drawing(extension.load()))
    assert set(drawn.xpath("//*[@class='name']/text()")) == rooms
    assert all(room in drawn.get("aria-label") for room in rooms - {"pipeline"})


def test_the_figure_shows_the_imports_of_the_code(extension: ModuleType, project: Path) -> None:
    rooms, code = listed(extension), imported(project / "elara")
    foundation = set(extension.load()["foundation"])
    for name, listed_imports in rooms.items():
        # Every room may import the foundation; only within it is each import listed.
        free = set() if name in foundation else foundation
        found = (code[name] & rooms.keys()) - free
        assert found == listed_imports, f"book/rooms.yaml, {name}: change `imports` or the code"


def test_no_stage_imports_a_stage_and_the_foundation_nothing_above(extension: ModuleType) -> None:
    groups = extension.load()
    rooms, stages, foundation = listed(extension), set(groups["stages"]), set(groups["foundation"])
    assert not any(rooms[name] & stages for name in stages)
    assert all(rooms[name] <= foundation for name in foundation)


def test_every_module_is_documented_on_one_page(extension: ModuleType, project: Path) -> None:
    shown: list[str] = []
    for page in (project / "book" / "api").glob("*.md"):
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith("```{modules} "):
                shown += [m for package in line.split()[1:] for m in extension.modules(package)]
    package = project / "elara"
    modules = {
        ".".join((package.name, *path.relative_to(package).with_suffix("").parts))
        for path in package.rglob("*.py")
        if path.name != "__main__.py"
    }
    names = {name.removesuffix(".__init__") for name in modules} - {"elara"}
    assert sorted(shown) == sorted(names), "book/api: name each room on one page"

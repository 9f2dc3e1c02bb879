"""Sphinx extension: the rooms of the package, drawn, and documented module by module.

`{rooms}` draws `book/rooms.yaml`, the list that a test compares with the imports in the code. The
figure is part of the page, so that it takes the colours of the reader's scheme (`elara.css`).

    ```{rooms}
    ```

`{modules}` documents every module of the packages that it names, each under a heading of its own:

    ```{modules} elara.audit elara.export
    ```

Source: https://www.sphinx-doc.org/en/master/extdev/markupapi.html
"""

from __future__ import annotations

from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

LIST = Path(__file__).resolve().parents[1] / "rooms.yaml"
# The figure, in its own units: narrow, so that its letters can be read on a phone.
_WIDE, _BOX, _HIGH, _STEP = 480, 206, 50, 88
_LEFT, _RIGHT, _FIRST = 6, 268, 192

Rooms = dict[str, dict[str, dict[str, Any]]]


def load(path: Path = LIST) -> Rooms:
    """Read the list: groups of rooms, each with what it does and what it imports."""
    found: Rooms = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def summary(rooms: Rooms) -> str:
    """What the figure shows, for those who cannot see it."""
    stages = [f"{name} gives {room['gives']}" for name, room in rooms["stages"].items()]
    upper = {n: r for group in ("around", "stages", "commands") for n, r in rooms[group].items()}
    imports = [
        f"{name} imports {', '.join(r['imports'])}" for name, r in upper.items() if r["imports"]
    ]
    return (
        f"The way of the data: sources, then {'; '.join(stages)}. "
        f"Imports: {'; '.join(imports)}. Every room may import {', '.join(rooms['foundation'])}."
    )


def places(rooms: Rooms) -> dict[str, tuple[int, int, int]]:
    """Where each box stands: left, top and width."""
    found = {"cli": (_LEFT, 6, _WIDE - 2 * _LEFT), "pipeline": (_LEFT, 84, _BOX)}
    rows = {name: _FIRST + row * _STEP for row, name in enumerate(rooms["stages"])}
    found |= {name: (_LEFT, top, _BOX) for name, top in rows.items()}
    found |= {name: (_RIGHT, rows[r["beside"]], _BOX) for name, r in rooms["around"].items()}
    below = _FIRST + len(rows) * _STEP + 44
    for number, name in enumerate(rooms["foundation"]):
        found[name] = (_LEFT + number % 3 * 159, below + number // 3 * 60, 150)
    return found


def drawing(rooms: Rooms) -> str:
    """The figure as SVG."""
    at = places(rooms)
    parts = [_box(n, r["does"], *at[n]) for group in rooms.values() for n, r in group.items()]
    middle = _LEFT + 50
    parts.append(_text(middle + 14, _FIRST - 15, "sources", "data"))
    parts.append(_arrow((middle, _FIRST - 38), (middle, _FIRST - 3), "data"))
    for name, room in rooms["stages"].items():
        bottom = at[name][1] + _HIGH
        parts.append(_arrow((middle, bottom), (middle, bottom + _STEP - _HIGH - 3), "data"))
        parts.append(_text(middle + 14, bottom + 24, room["gives"], "data"))
    for group in ("around", "stages", "commands"):
        for name, room in rooms[group].items():
            for other in room["imports"] if name != "cli" else ("pipeline",):
                parts.append(_arrow(*_ends(at[name], at[other]), "import"))
    others = [name for name in rooms["commands"]["cli"]["imports"] if name != "pipeline"]
    parts.append(_text(_LEFT + 140, 28, f"also imports {', '.join(others)}", "note"))
    parts.append(_text(_LEFT + _BOX + 14, 113, "each notebook calls one stage", "note"))
    base = at[next(iter(rooms["foundation"]))][1]
    parts.append(_text(_LEFT, base - 14, "The foundation, which every room may import", "note"))
    high = max(top for _, top, _ in at.values()) + _HIGH + 6
    return (
        f'<svg class="rooms" viewBox="0 0 {_WIDE} {high}" role="img" '
        f'aria-label="{escape(summary(rooms))}">'
        f"<defs>{_tip('data')}{_tip('import')}</defs>{''.join(parts)}</svg>"
    )


def _box(name: str, does: str, left: int, top: int, wide: int) -> str:
    frame = f'<rect x="{left}" y="{top}" width="{wide}" height="{_HIGH}" rx="8"/>'
    return (
        frame + _text(left + 10, top + 21, name, "name") + _text(left + 10, top + 40, does, "does")
    )


def _text(left: int, base: int, text: str, kind: str) -> str:
    return f'<text x="{left}" y="{base}" class="{kind}">{escape(text)}</text>'


def _arrow(start: tuple[int, int], end: tuple[int, int], kind: str) -> str:
    line = f"M{start[0]} {start[1]}L{end[0]} {end[1]}"
    return f'<path d="{line}" class="{kind}" marker-end="url(#rooms-{kind})"/>'


def _tip(kind: str) -> str:
    return (
        f'<marker id="rooms-{kind}" class="{kind}" viewBox="0 0 8 8" refX="7" refY="4" '
        'markerWidth="11" markerHeight="11" markerUnits="userSpaceOnUse" orient="auto">'
        '<path d="M0 0L8 4L0 8z"/></marker>'
    )


def _ends(
    one: tuple[int, int, int], other: tuple[int, int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """From the edge of one box to the nearest of another: across columns, or up and down one."""
    if one[0] < _RIGHT <= other[0]:
        return (one[0] + one[2], one[1] + 25), (other[0] - 3, other[1] + 25)
    if other[0] < _RIGHT <= one[0]:
        return (one[0], one[1] + 25), (other[0] + other[2] + 3, other[1] + 12)
    middle = one[0] + min(one[2], other[2]) // 2
    if one[1] < other[1]:
        return (middle, one[1] + _HIGH), (middle, other[1] - 3)
    return (middle, one[1]), (middle, other[1] + _HIGH + 3)


class Figure(SphinxDirective):
    """The rooms, the way of the data, and the imports between rooms."""

    def run(self) -> list[nodes.Node]:
        """Draw the list."""
        self.env.note_dependency(str(LIST))
        return [nodes.raw("", drawing(load()), format="html")]


def modules(package: str) -> list[str]:
    """A package and all modules in it, or a module, by name.

    Args:
        package: its full name.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(f"there is no module {package}")
    if not spec.submodule_search_locations:
        return [package]
    home = Path(spec.origin).parent
    inner = {path.relative_to(home).with_suffix("") for path in home.rglob("*.py")}
    names = {".".join((package, *path.parts)).removesuffix(".__init__") for path in inner}
    return sorted(name for name in names if not name.endswith("__main__"))


class Modules(SphinxDirective):
    """Every module of some packages, with its heading and its docstrings."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """Write the page that one would write by hand, and let the parser read it."""
        lines: list[str] = []
        for package in self.arguments[0].split():
            for name in modules(package):
                source = find_spec(name)
                if source and source.origin:  # its folder, so that a new module is noticed
                    self.env.note_dependency(str(Path(source.origin).parent))
                lines += [f"## `{name}`", "", "```{eval-rst}", f".. automodule:: {name}"]
                lines += ["   :members:", "```", ""]
        place = nodes.section()
        self.state.nested_parse(StringList(lines, self.get_source_info()[0]), 0, place, True)
        return place.children


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("rooms", Figure)
    app.add_directive("modules", Modules)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

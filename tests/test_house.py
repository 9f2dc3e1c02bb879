"""The rules of the house: no circles, and how large and how well described things are.

Which room imports which is in `book/rooms.yaml`; tests/book/test_book_architecture.py checks it.
"""

from __future__ import annotations

import ast
import functools
import statistics
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from elara.workspace.stages import STAGES, stage_folder

PROJECT = Path(__file__).resolve().parents[1]
PACKAGE = PROJECT / "elara"
STAGE_ROOMS = {stage_folder(stage) for stage in STAGES}
FOUNDATION = {"records", "workspace", "pipeline", "model", "display", "machine", "text"}
MAY_IMPORT_TRAIN = {"train", "continual", "cli"}


@functools.cache
def trees() -> dict[str, ast.Module]:
    """Every module of the package by its name; a package stands for its `__init__`."""
    return {
        ".".join(p.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
            p.read_text(encoding="utf-8")
        )
        for p in sorted(PACKAGE.rglob("*.py"))
    }


@functools.cache
def imports() -> dict[str, set[str]]:
    """Module to the modules it imports, at its top or inside a function."""
    found: dict[str, set[str]] = {}
    for name, tree in trees().items():
        wanted: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name} imports relatively"
                wanted |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
        ours = {w for w in wanted if w.split(".")[0] == "elara"}
        found[name] = {w if w in trees() else w.rpartition(".")[0] for w in ours} - {"elara"}
    return found


def room(module: str) -> str:
    """`collect` of `elara.collect.live.client`."""
    return module.split(".")[1] if "." in module else ""


def between_rooms() -> Iterator[tuple[str, str, str]]:
    """Module, its room, and another room that it imports."""
    for name, wanted in imports().items():
        for other in sorted({room(w) for w in wanted} - {room(name), ""}):
            yield name, room(name), other


def circle(graph: dict[str, set[str]]) -> str:
    """The names along one circle, or ""."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " → ".join(error.args[1])
    return ""


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circle(imports()) == ""


def test_no_room_imports_itself_by_way_of_others() -> None:
    graph: dict[str, set[str]] = {}
    for _, inner, other in between_rooms():
        graph.setdefault(inner, set()).add(other)
    assert circle(graph) == ""


def test_only_training_imports_training() -> None:
    wrong = [
        name
        for name, inner, other in between_rooms()
        if other == "train" and inner not in MAY_IMPORT_TRAIN
    ]
    assert wrong == []


def test_only_the_command_line_imports_the_pipeline() -> None:
    wrong = [n for n, inner, other in between_rooms() if other == "pipeline" and inner != "cli"]
    assert wrong == []


def test_nothing_is_called_like_a_module_of_the_standard_library() -> None:
    taken = sys.stdlib_module_names
    ours = [p for p in PACKAGE.rglob("*") if "node_modules" not in p.parts]
    found = [p for p in ours if p.suffix in ("", ".py") and p.stem in taken]
    assert [p.relative_to(PROJECT).as_posix() for p in found] == []


def test_python_starts_inside_every_room() -> None:
    folders = sorted({p.parent for p in PACKAGE.rglob("*.py")})
    assert len(folders) > 10
    command = [sys.executable, "-S", "-c", "import dataclasses, inspect, json, logging"]
    started = [subprocess.Popen(command, cwd=f, stderr=subprocess.PIPE) for f in folders]
    for folder, process in zip(folders, started, strict=True):
        assert (folder, process.communicate()[1]) == (folder, b"")


def test_the_foundation_imports_nothing_heavy() -> None:
    # Compiled, so it needs numba as soon as it is imported.
    names = [n for n in trees() if room(n) in FOUNDATION and n != "elara.text.shingles"]
    heavy = ("torch", "transformers", "peft", "numba", "scipy", "pandas", "matplotlib", "datasets")
    code = f"import importlib, sys\nfor n in {names}: importlib.import_module(n)\n"
    code += f"print(*[n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == ([], "")


def test_no_module_has_more_than_400_lines() -> None:
    lines = {
        p.relative_to(PROJECT).as_posix(): len(p.read_text(encoding="utf-8").splitlines())
        for p in PACKAGE.rglob("*.py")
    }
    assert {name: n for name, n in lines.items() if n > 400} == {}


def functions(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions and methods with their names; those inside a function belong to it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield inside + node.name, node  # type: ignore[misc]
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{inside}{node.name}.")
        elif not isinstance(node, ast.expr):
            yield from functions(node, inside)


def code_lines(function: ast.FunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    length = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        first = function.body[0]
        length -= (first.end_lineno or 0) - first.lineno + 1
    return length


def test_half_of_all_functions_have_at_most_12_lines() -> None:
    lengths = [code_lines(f) for tree in trees().values() for _, f in functions(tree)]
    assert len(lengths) > 500
    assert statistics.median(lengths) <= 12


def public_functions() -> dict[str, bool]:
    """Functions and methods without `_` anywhere in their address, and whether they are described.

    Not counted: `__init__` and other special methods, which their class describes, and the methods
    of a class that are described where the class inherits them from a library.
    """
    found = {}
    for module, tree in trees().items():
        for name, function in functions(tree):
            address = f"{module}.{name}"
            if not any(part.startswith("_") for part in address.split(".")):
                found[address] = ast.get_docstring(function) is not None
    return found


def test_public_functions_are_described() -> None:
    described = public_functions()
    missing = sorted(name for name, told in described.items() if not told)
    assert len(missing) <= 0.05 * len(described), missing


def test_a_module_begins_with_what_it_does() -> None:
    """In one plain sentence; "What …" is a riddle, or half of one."""
    first = {n: (ast.get_docstring(t) or "").split("\n\n")[0] for n, t in trees().items()}
    assert {n: text for n, text in first.items() if text[:5] in ("", "What ")} == {}

"""Read the numbered notebooks: their parameters, their code, and the files the code depends on."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import elara
from elara.workspace.parameters import ParameterError, assignments

PACKAGE = Path(elara.__file__).resolve().parent
NOTEBOOKS = PACKAGE.parent / "notebooks"
_NUMBERED = re.compile(r"(\d\d)-(\w+)\.ipynb")
_MODULE = re.compile(r"elara(\.\w+)+")


@dataclass(frozen=True)
class Notebook:
    """A numbered notebook.

    Args:
        path: the file.
        name: its stem, e.g. `05-train`.
        stage: the stage it runs, e.g. `train`.
        defaults: its parameters with their default values.
        code: SHA-256 of its code cells.
        modules: `elara` file to SHA-256, for every file its code depends on.
    """

    path: Path
    name: str
    stage: str
    defaults: dict[str, Any]
    code: str
    modules: dict[str, str]


def numbered(folder: Path) -> list[Path]:
    """The files of a folder that are named `NN-stage.ipynb`, in order.

    Args:
        folder: where to look; not searched below.
    """
    return sorted(p for p in folder.glob("*.ipynb") if _NUMBERED.fullmatch(p.name))


def read_notebook(path: Path) -> Notebook:
    """Read a numbered notebook: its parameters, its code, and the modules it depends on.

    Args:
        path: the `.ipynb` file, named `NN-stage.ipynb`.

    Raises:
        ParameterError: a parameter's default is not a Python literal, or the `parameters` cell
            is not Python.
    """
    import nbformat

    document = nbformat.read(path, as_version=4)
    cells = [c for c in document.cells if c.cell_type == "code"]
    tagged = [c.source for c in cells if "parameters" in c.metadata.get("tags", [])]
    code = "\n\n".join(c.source for c in cells)
    found = _NUMBERED.fullmatch(path.name)
    stage = found[2] if found else path.stem
    defaults = _literals("\n".join(tagged), path)
    python = "\n\n".join(filter(_parses, (_plain_python(c.source) for c in cells)))
    return Notebook(path, path.stem, stage, defaults, sha256(code.encode()), modules_of(python))


def explanations(path: Path) -> dict[str, str]:
    """What a notebook says of each of its parameters, in the comment behind it.

    Args:
        path: the `.ipynb` file.

    Returns:
        Parameter name to comment, as `papermill --help-notebook` shows it.
    """
    import nbformat
    from papermill.translators import PythonTranslator

    document = nbformat.read(path, as_version=4)
    tagged = [c for c in document.cells if "parameters" in c.metadata.get("tags", [])]
    return {p.name: p.help for c in tagged for p in PythonTranslator.inspect(c)}


def _plain_python(cell: str) -> str:
    """What IPython makes of a cell: its magics and shell lines become calls, which do parse."""
    from IPython.core.inputtransformer2 import TransformerManager

    first, _, rest = cell.lstrip().partition("\n")
    # These magics run the rest of their cell as Python, so its imports count.
    if first.startswith(("%%time", "%%capture", "%%prun")):
        cell = rest
    return str(TransformerManager().transform_cell(cell))  # type: ignore[no-untyped-call]


def _parses(code: str) -> bool:
    """Whether code is Python; a cell that is not fails when it runs, and is named then."""
    with contextlib.suppress(SyntaxError, ValueError):
        return bool(ast.parse(code))
    return False


def _literals(source: str, path: Path) -> dict[str, Any]:
    values = {}
    python = _plain_python(source)
    if not _parses(python):
        raise ParameterError(f"{path.name}: the cell tagged `parameters` is not valid Python.")
    for name, node in assignments(python):
        if node.value is not None:
            try:
                values[name] = ast.literal_eval(node.value)
            except ValueError:
                raise ParameterError(f"{path.name}: `{name}` must be a literal.") from None
    return values


def sha256(data: bytes) -> str:
    """SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def modules_of(code: str) -> dict[str, str]:
    """Follow the imports of `elara` from some code to the files that it depends on.

    A package counts with its `__init__.py` and what that imports, not with all its modules. Data
    files count with every module of their folder, for which of them reads them cannot be told.

    Args:
        code: Python source.

    Returns:
        File, relative to the folder that holds the package, to SHA-256.
    """
    hashes: dict[str, str] = {}
    todo = _imported(code)
    while todo:
        base = PACKAGE.joinpath(*todo.pop().split(".")[1:])
        sources = [p for p in (base.with_suffix(".py"), base / "__init__.py") if p.exists()]
        folders = {base, *(p.parent for p in sources)} - {PACKAGE}
        for file in (*sources, *(p for folder in folders for p in _data_files(folder))):
            key = file.relative_to(PACKAGE.parent).as_posix()
            if key not in hashes:
                content = file.read_bytes()
                hashes[key] = sha256(content)
                if file.suffix == ".py":
                    todo |= _imported(content.decode())
    return dict(sorted(hashes.items()))


def _data_files(folder: Path) -> Iterator[Path]:
    """What lies in a folder, at any depth, and is no Python."""
    found = (p for p in folder.rglob("*") if p.is_file() and p.suffix != ".py")
    return (p for p in found if "__pycache__" not in p.parts)


def _imported(code: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and _MODULE.fullmatch(str(node.value)):
            # `resources.files("elara.sample")` reads a folder without importing it
            names.add(str(node.value))
    return {name for name in names if name.startswith("elara.")}

"""Read the parameters of a running notebook, and refuse those that it does not have."""

from __future__ import annotations

import ast
import contextlib
import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

# The parameters that name a file or folder. Every other text is a value, whatever it looks like.
PATHS = frozenset({"local_files", "base_model", "embedding_model", "evaluation_sets"})
# The parameters that say how one run is to go. They change no result, and no later run uses them.
ONCE = frozenset({"workspace", "replace"})


class ParameterError(ValueError):
    """A notebook was given a parameter that it does not have, or a value that cannot be used."""


def unknown_names(given: Iterable[str], known: Iterable[str], what: str = "parameter") -> str:
    """Say which names are not known, each with its closest match.

    Args:
        given: names that were typed.
        known: names that there are.
        what: what they name.

    Returns:
        One sentence per unknown name, or "" when all are known.
    """
    known = sorted(known)
    every = f"known are: {', '.join(known)}."
    close = {name: difflib.get_close_matches(name, known, n=1) for name in {*given} - {*known}}
    hints = {name: f"did you mean `{near[0]}`?" if near else every for name, near in close.items()}
    return " ".join(f"Unknown {what} `{name}`: {hints[name]}" for name in sorted(hints))


def resolve_path(name: str, value: str, default: str = "") -> str:
    """Give a parameter that names a path the meaning it has where the command was typed.

    Notebooks run in their own folder, so a relative path would be looked up there. A model
    may also be the packaged model or a hub id: `owner/name` is taken for a folder only where
    such a folder exists; `./owner/name`, `~/name` and `/name` always are paths.

    Args:
        name: the parameter.
        value: what it is set to, on the command line or in a profile.
        default: the notebook's own value, which stays as it is (the packaged model).

    Returns:
        An absolute path, or the value as it is: "", a hub id, any parameter not in `PATHS`.

    Raises:
        ParameterError: the value cannot be a path (`~nobody`, a zero byte, far too long).
    """
    if name not in PATHS or value in ("", default):
        return value
    try:
        path = Path(value).expanduser()
        if name.endswith("_model") and not value.startswith((".", "~")) and not path.is_dir():
            return value
        return str(path.resolve())
    except (RuntimeError, ValueError, OSError) as error:
        raise ParameterError(f"`{name}` is {value[:80]!r}, which is no path: {error}.") from error


_TYPES = {kind.__name__: kind for kind in (bool, dict, float, int, list, str)}


def convert(name: str, value: Any, default: Any, kind: type | None = None) -> Any:
    """Give a value the type that the parameter has; `1e-4` in YAML or a shell is text.

    Args:
        name: the parameter.
        value: what it is set to.
        default: what the notebook says. Items of a list become what the default's items are.
        kind: the type where the notebook declares it; None takes the default's.

    Returns:
        The value, converted. Text for a list is YAML, or items between commas.

    Raises:
        ParameterError: the value cannot be of that type, or is a number that is not finite.
    """
    kind = kind or type(default)
    try:
        return _converted(value, default, kind)
    except (ValueError, TypeError, KeyError, OverflowError):
        items = f" of {type(default[0]).__name__}" if kind is list and default else ""
        limit = ", and finite" if kind is float or items == " of float" else ""
        raise ParameterError(
            f"`{name}` is {value!r}, but it must be of type {kind.__name__}{items}{limit}."
        ) from None


def _converted(value: Any, default: Any, kind: type) -> Any:
    if kind is bool and isinstance(value, str):
        return {"true": True, "false": False}[value.lower()]
    if kind in (int, float) and not isinstance(value, bool):
        number = float(value)
        if not math.isfinite(number) or (kind is int and not number.is_integer()):
            raise ValueError
        return kind(number)
    if kind in (list, dict) and isinstance(value, str):
        value = _from_yaml(value, kind)
    if kind is list and isinstance(value, int | float):
        value = [value]
    if kind is list and isinstance(value, list):
        kinds = {type(item) for item in default or ()}
        return [_converted(v, None, *kinds) for v in value] if len(kinds) == 1 else value
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError
    return value


def _from_yaml(text: str, kind: type) -> Any:
    import yaml

    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError from error
    # In a shell, `pubmed,pmc` is easier to write than a list with brackets and quotes.
    if kind is list and isinstance(read, str):
        return [item.strip() for item in text.split(",")]
    return kind() if read is None else read


def require(values: Mapping[str, Any], rule: str, **bounds: float) -> None:
    """Refuse a number below a bound.

    Args:
        values: parameter name to value; names that are not there are not looked at.
        rule: what the message says of a value that is refused.
        bounds: parameter name to the smallest value.

    Raises:
        ParameterError: a value is smaller than its bound.
    """
    for name, smallest in bounds.items():
        if name in values and values[name] < smallest:
            raise ParameterError(f"`{name}` is {values[name]!r}: {rule}.")


def assignments(source: str) -> Iterator[tuple[str, ast.Assign | ast.AnnAssign]]:
    """Names that some code assigns at its top, each with its statement; none if it is no Python.

    Args:
        source: Python source.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a cell with IPython magics cannot hold parameters
        return
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((t.id, node) for t in targets if isinstance(t, ast.Name))


def _declared(cells: Iterable[str]) -> dict[str, tuple[type, Any]]:
    """Type and default of each parameter that some cells declare, as in `seed: int = 0`."""
    found: dict[str, tuple[type, Any]] = {}
    for name, node in (pair for cell in cells for pair in assignments(cell)):
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            with contextlib.suppress(KeyError, ValueError):  # computed, so no parameter
                found[name] = _TYPES[ast.unparse(node.annotation)], ast.literal_eval(node.value)
    return found


def parameters_of(namespace: dict[str, Any]) -> dict[str, Any]:
    """The parameters that a running notebook was started with.

    Papermill puts the values it was given into a cell of their own, which starts with
    `# Parameters`, and only warns about names that the notebook does not have. Here they are
    an error. Nor does it look at types: what it was given as text becomes what the notebook
    declares (`sources: list`), for the cells to come too.

    Args:
        namespace: the notebook's `globals()`. Its parameters are the literals assigned so far.
            Values of another type than declared are replaced in it.

    Returns:
        Parameter name to value.

    Raises:
        ParameterError: an injected name was not assigned by an earlier cell, or a value cannot
            be of the type declared.
    """
    cells = [str(c) for c in namespace.get("In", [])]
    assigned: set[str] = set()
    for cell in cells:
        own = {name for name, _ in assignments(cell)}
        injected = cell.lstrip().startswith("# Parameters\n")
        if injected and (wrong := unknown_names(own, assigned)):
            raise ParameterError(wrong)
        assigned |= own
    for name, (kind, default) in _declared(cells).items():
        if name in namespace:
            namespace[name] = convert(name, namespace[name], default, kind)
    # A script has no history, nor has a kernel that is told to store none (as nbval does).
    names = assigned if any(cells) else {*namespace} - {"In", "Out"}
    literal = (str, int, float, bool, list, dict, type(None))
    public = (name for name in sorted(names) if not name.startswith("_"))
    return {n: namespace[n] for n in public if isinstance(namespace.get(n, ...), literal)}

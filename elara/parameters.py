"""The parameters of a running notebook, and what to say of one that it does not have."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# The parameters that name a file or folder. Every other text is a value, whatever it looks like.
PATHS = frozenset({"local_files", "base_model"})
# The parameters that say how one run is to go. They change no result, and no later run uses them.
ONCE = frozenset({"workspace", "replace"})


class ParameterError(ValueError):
    """A notebook was given a parameter that it does not have."""


def unknown_parameters(given: Iterable[str], known: Iterable[str]) -> str:
    """Say which parameters are not known, each with its closest match.

    Args:
        given: names that a caller sets.
        known: names that the notebook has.

    Returns:
        One sentence per unknown name, or "" when all are known.
    """
    known = sorted(known)
    lines = []
    for name in sorted(set(given) - set(known)):
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known are: {', '.join(known)}."
        lines.append(f"Unknown parameter `{name}`: {hint}")
    return " ".join(lines)


def from_here(name: str, value: str, default: str = "") -> str:
    """Give a parameter that names a path the meaning it has where the command was typed.

    Notebooks run in their own folder, so a relative path would be looked up there. `base_model`
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
        if name == "base_model" and not value.startswith((".", "~")) and not path.is_dir():
            return value
        return str(path.resolve())
    except (RuntimeError, ValueError, OSError) as error:
        raise ParameterError(f"`{name}` is {value[:80]!r}, which is no path: {error}.") from error


def _assigned(source: str) -> set[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a cell with IPython magics cannot hold parameters
        return set()
    names: set[str] = set()
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {t.id for t in targets if isinstance(t, ast.Name)}
    return names


def parameters_of(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that a running notebook was started with.

    Papermill puts the values it was given into a cell of their own, which starts with
    `# Parameters`, and only warns about names that the notebook does not have. Here they are
    an error.

    Args:
        namespace: the notebook's `globals()`. Its parameters are the literals assigned so far.

    Returns:
        Parameter name to value.

    Raises:
        ParameterError: an injected name was not assigned by an earlier cell.
    """
    cells = [str(c) for c in namespace.get("In", [])]
    injected = [i for i, c in enumerate(cells) if c.lstrip().startswith("# Parameters\n")]
    for i in injected:
        known = set().union(*map(_assigned, cells[:i]))
        if wrong := unknown_parameters(_assigned(cells[i]), known):
            raise ParameterError(wrong)
    # A script has no history, nor has a kernel that is told to store none (as nbval does).
    names = set().union(*map(_assigned, cells)) if any(cells) else {*namespace} - {"In", "Out"}
    literal = (str, int, float, bool, list, dict, type(None))
    return {
        name: namespace[name]
        for name in sorted(names)
        if not name.startswith("_") and isinstance(namespace.get(name, ...), literal)
    }

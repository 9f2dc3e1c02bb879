"""Read texts that lie inside JSON objects: XML turned into JSON, headed abstracts, split names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# Where the text of an object lies, in the forms that XML takes in JSON and that sites use.
INSIDE = ("text", "#text", "_", "value", "content", "name")
TWICE = "stands there twice with two values: keep one of them"
_LABELS = ("label", "@Label", "@label", "Label", "heading", "title", "section")
_WRAPPERS = frozenset(["abstract", "abstracttext", "abstract_text", "sections", "section", "parts"])
_FIRST = ("ForeName", "forename", "fore_name", "given", "first", "firstName", "first_name")
_LAST = ("LastName", "lastname", "last_name", "family", "last", "lastName", "surname")


class StatedObject(dict[str, Any]):
    """An object, and the names that stand in it `twice` with two values."""

    twice: frozenset[str] = frozenset()


def stated_object(pairs: list[tuple[str, Any]]) -> StatedObject:
    """An object of JSON, for `object_pairs_hook`; of a name that is there twice the last value.

    Args:
        pairs: names and values in their order.
    """
    found = StatedObject(pairs)
    if len(found) < len(pairs):
        first: dict[str, Any] = {}
        found.twice = frozenset(k for k, v in pairs if first.setdefault(k, v) != v)
    return found


def headed(value: Any) -> list[tuple[str, str]]:
    """The parts of a text that is an object, or a list of such, each with its heading or "".

    Args:
        value: `{"RESULTS": "…"}`, `[{"label": "RESULTS", "text": "…"}]`,
            `{"AbstractText": ["…"]}`, or a plain text.

    Returns:
        The parts in their order; none where it cannot be told what is text.
    """
    try:
        return [(heading.strip(), text) for heading, text in _parts(value, "") if text]
    except ValueError:
        return []


def _parts(value: Any, heading: str) -> Iterator[tuple[str, str]]:
    if value is None or isinstance(value, str):
        yield heading, (value or "").strip()
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _parts(item, heading)
    elif not isinstance(value, Mapping):
        raise ValueError
    elif name := next((n for n in INSIDE if value.get(n) is not None), ""):
        label = next((v for n in _LABELS if isinstance(v := value.get(n), str)), heading)
        yield from _parts(value[name], label)
    else:
        for key, inner in value.items():
            wraps = key.casefold() in _WRAPPERS
            if not wraps and isinstance(inner, Mapping):
                raise ValueError
            yield from _parts(inner, heading if wraps else key)


def headed_lines(value: Any) -> str:
    """The same as an abstract has it, a line for each part: `RESULTS: …`.

    Args:
        value: likewise; "" is returned where no object is in it.
    """
    inside = value if isinstance(value, list) else [value]
    if not any(isinstance(part, Mapping) for part in inside):
        return ""
    return "\n".join(f"{h.rstrip(':').upper()}: {t}" if h else t for h, t in headed(value))


def person(value: Mapping[str, Any]) -> str:
    """The name of a person or body that is an object; "" where it holds no text."""
    if whole := next((v for n in INSIDE if isinstance(v := value.get(n), str)), ""):
        return whole
    parts = [next((v for n in names if isinstance(v := value.get(n), str)), "") for names in
             (_FIRST, _LAST)]  # fmt: skip
    if not parts[1]:
        parts = [v for v in value.values() if isinstance(v, str)]
    return " ".join(part for part in parts if part)

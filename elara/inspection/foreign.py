"""Read JSON Lines that others wrote, as they are.

Fields of `Article` may have other types than Elara gives them: a PMID is a number, a single author
a text. What can be read as the type that is wanted is; other fields are counted and left; and a
line that cannot be a record is named with its reason, so that no line ends a run.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from elara.records import Article, Section, schema
from elara.text.objects import (
    INSIDE,
    TWICE,
    StatedObject,
    headed,
    headed_lines,
    person,
    stated_object,
)

SKIPPED = {"file": pl.String, "line": pl.Int64, "reason": pl.String}
_BOM = "\ufeff".encode()
# What others call the fields of an `Article`, besides these names in other letters (PMID, Title).
_CALLED = {
    "articletitle": "title", "abstracttext": "abstract", "text": "body", "fulltext": "body",
    "pubmedid": "pmid",
}  # fmt: skip
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}
_UNPAIRED = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Lines:
    """Whole lines of JSON in one file: the bytes from `start` up to `stop`.

    Args:
        name: what records without an id are called by, different for each file.
    """

    path: Path
    start: int
    stop: int
    name: str

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.stop - self.start)


@dataclass
class Notes:
    """What reading left out.

    Args:
        skipped: file, byte at which the line begins (of Parquet the row), and reason; -1 for a
            whole file.
        unknown: fields that no `Article` has, and how many records hold something there.
    """

    skipped: list[tuple[Path, int, str]] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)

    def add(self, other: Notes) -> None:
        """Add what another piece left out."""
        self.skipped += other.skipped
        self.unknown += other.unknown

    def table(self) -> pl.DataFrame:
        """The lines that are no records: `file`, `line` (of Parquet the row; both counted from 1,
        and 0 for the whole file), `reason`."""
        rows = []
        for path in dict.fromkeys(path for path, _, _ in self.skipped):
            mine = sorted((at, reason) for where, at, reason in self.skipped if where == path)
            if path.suffix == ".parquet":
                rows += [(str(path), row + 1, reason) for row, reason in mine]
                continue
            line, counted = 1, 0
            with path.open("rb") as file:
                for at, reason in mine:
                    while counted < at and (some := file.read(min(at - counted, 1 << 20))):
                        line += some.count(b"\n")
                        counted += len(some)
                    rows.append((str(path), line if at >= 0 else 0, reason))
        return pl.DataFrame(rows, SKIPPED, orient="row")


class _RefusedError(Exception):
    """A line cannot be a record; the message says why."""


class _Literal(str):
    """A number as it is written, so that it stays exact."""

    __slots__ = ()


def records(lines: Lines, notes: Notes) -> Iterator[dict[str, Any]]:
    """Read lines of JSON, whatever types their fields have.

    Args:
        lines: where they are.
        notes: filled with what is left out.

    Yields:
        Records with the fields of `Article` that they state, each of the right type.
    """
    for at, line in _stated(lines):
        try:
            yield _record(_parsed(line), f"{lines.name}:byte-{at}", notes.unknown)
        except _RefusedError as error:
            notes.skipped.append((lines.path, at, str(error)))


def places(lines: Lines, skipped: Container[tuple[Path, int]]) -> Iterator[tuple[Path, int]]:
    """Where the records of some lines begin.

    Args:
        lines: where they are.
        skipped: file and byte of the lines that are no records.

    Yields:
        File and byte of each record.
    """
    every = ((lines.path, at) for at, _ in _stated(lines))
    return (place for place in every if place not in skipped)


def _stated(lines: Lines) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, and where they begin."""
    at = lines.start
    for line in lines.read().split(b"\n"):
        if stripped := line.strip().removeprefix(_BOM):
            yield at, stripped
        at += len(line) + 1


def _parsed(line: bytes) -> StatedObject:
    try:
        value = _decoder().decode(line.decode())
    except UnicodeDecodeError:
        raise _RefusedError("not UTF-8: save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise _RefusedError(f"not valid JSON ({error}): fix or delete the line") from None
    if not isinstance(value, StatedObject):
        raise _RefusedError("not a JSON object with named values: fix or delete the line")
    return value


@cache
def _decoder() -> json.JSONDecoder:
    def nothing(_: str) -> None:  # NaN is what pandas writes for an empty cell
        return None

    numbers = {"parse_int": _Literal, "parse_float": _Literal, "parse_constant": nothing}
    return json.JSONDecoder(object_pairs_hook=stated_object, **numbers)  # type: ignore[arg-type]


def _record(value: StatedObject, place: str, unknown: Counter[str]) -> dict[str, Any]:
    readers = _readers()
    found: dict[str, Any] = {}
    others = []
    for written, held in value.items():
        name = _field(written, value)
        if name in found or (read := readers.get(name)) is None:
            others += [written] if held is not None else []
            continue
        if written in value.twice:
            raise _RefusedError(f"`{written}` {TWICE}")
        if held is None:
            continue
        try:
            found[name] = held if type(held) is str and read is _text else read(held)
        except _RefusedError as error:
            raise _RefusedError(f"`{written}` {error}") from None
        if name == "body":
            others += _beside_sections(held)
    for name in _TEXTS:
        if _UNPAIRED.search(found.get(name, "")):
            found[name] = _UNPAIRED.sub("\ufffd", found[name])
    if not found.get("id"):
        found["id"] = _made_id(found, place)
    unknown.update(others)
    return found


def _field(written: str, value: StatedObject) -> str:
    """The field of an `Article` that somebody calls so, unless its own name stands there too."""
    if written in _readers():
        return written
    plain = re.sub(r"[\W_]+", "", written).casefold()
    name = _CALLED.get(plain) or _PLAIN.get(plain, written)
    return written if name in value else name


def _made_id(found: dict[str, Any], place: str) -> str:
    """An id for a record that has none: its place."""
    texts = [found.get("title"), found.get("abstract"), *(s["text"] for s in found.get("body", ()))]
    if not any(texts):
        raise _RefusedError("it has neither an `id` nor a text: give it one")
    return place


_SECTION = tuple(schema(Section))


def _text(value: Any) -> str:
    if isinstance(value, _Literal):
        return re.sub(r"^(-?\d+)\.0+$", r"\1", value)
    if isinstance(value, str):
        return _UNPAIRED.sub("\ufffd", value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "\n".join(text for text in map(_text, value) if text)
    for name in INSIDE:
        if value.get(name) is not None:
            return _text(value[name])
    raise _RefusedError("holds an object where a text is expected: give the text alone")


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        value = [value]
    return [text for text in map(_item, value) if text]


def _item(value: Any) -> str:
    """A text of a list; of an object, such as a name in parts, all of its texts."""
    return (isinstance(value, dict) and person(value)) or _text(value)


def _sections(value: Any) -> list[dict[str, str]]:
    found = []
    for section in value if isinstance(value, list) else [value]:
        if _is_section(section):
            found.append({name: _text(section.get(name)) for name in _SECTION})
        elif isinstance(section, dict) and (parts := headed(section)):
            found += ({"heading": h, "text": t, "kind": "text"} for h, t in parts)
        elif text := _text(section):
            found.append({"heading": "", "text": text, "kind": "text"})
    return found


def _beside_sections(value: Any) -> list[str]:
    """The fields that no section has."""
    sections = [s for s in (value if isinstance(value, list) else [value]) if _is_section(s)]
    return [f"body.{n}" for s in sections for n, v in s.items() if n not in _SECTION and v]


def _is_section(value: Any) -> bool:
    return isinstance(value, dict) and any(name in value for name in _SECTION)


def _flag(value: Any) -> bool:
    known = _FLAGS.get(_text(value).strip().lower())
    if known is None:
        raise _RefusedError(f"holds {value!r} where true or false is expected")
    return known


def _number(value: Any) -> int:
    text = _text(value).strip() or "0"
    if not re.fullmatch(r"-?\d{1,19}", text) or not -(2**63) <= int(text) < 2**63:
        raise _RefusedError(f"holds {str(value)[:40]!r} where a whole number is expected")
    return int(text)


@cache
def _readers() -> dict[str, Callable[[Any], Any]]:
    """What reads each field of an `Article`."""
    plain = {pl.String(): _text, pl.Boolean(): _flag, pl.Int64(): _number}
    found: dict[str, Callable[[Any], Any]] = {}
    for name, dtype in schema(Article).items():
        if isinstance(dtype, pl.List):
            found[name] = _sections if isinstance(dtype.inner, pl.Struct) else _texts
        else:
            found[name] = plain[dtype]
    return found | {"abstract": lambda value: headed_lines(value) or _text(value)}


_PLAIN = {name.replace("_", ""): name for name in schema(Article)}
_TEXTS = tuple(name for name, dtype in schema(Article).items() if dtype == pl.String())

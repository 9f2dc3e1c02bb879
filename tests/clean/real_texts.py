"""Every text in the shared test data, whatever its format."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lxml import etree, html

csv.field_size_limit(1 << 24)
_LONGEST = 200_000  # characters; what is longer is a whole file in one cell


def sets(folder: Path) -> dict[str, list[Path]]:
    """The files of each text set, named by their first two folders."""
    found: dict[str, list[Path]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.parent != folder):
        name = "/".join(path.relative_to(folder).parts[:-1][:2])
        found.setdefault(name, []).append(path)
    return found


def texts(path: Path) -> list[str]:
    """The texts of a file: paragraphs, cells or string values, as they stand there."""
    raw = path.read_bytes()
    name = path.name
    if name.endswith(".gz"):
        raw, name = gzip.decompress(raw), name[:-3]
    kind = name.rsplit(".", 1)[-1]
    found = _READERS[kind](raw)
    return [text for text in found if 3 <= len(text) <= _LONGEST]


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def _lines(raw: bytes) -> Iterator[str]:
    yield from _decoded(raw).splitlines()


def _table(raw: bytes) -> Iterator[str]:
    for row in csv.reader(io.StringIO(_decoded(raw))):
        yield from row


def _json(raw: bytes) -> Iterator[str]:
    yield from _values(json.loads(_decoded(raw)))


def _json_lines(raw: bytes) -> Iterator[str]:
    for line in _decoded(raw).splitlines():
        yield from _values(json.loads(line))


def _values(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _values(item)


def _xml(raw: bytes) -> Iterator[str]:
    parser = etree.XMLParser(recover=True, huge_tree=True, resolve_entities=False)
    root = etree.fromstring(raw, parser)
    if root is not None:
        yield from _blocks(root, markup=False)


def _html(raw: bytes) -> Iterator[str]:
    yield from _blocks(html.fromstring(_decoded(raw)), markup=True)


def _blocks(element: Any, markup: bool) -> Iterator[str]:
    """The outermost elements with text of their own; as markup, tags and entities included."""
    if not isinstance(element.tag, str) or element.tag in ("script", "style"):
        return
    own = [element.text, *(child.tail for child in element)]
    if any(text and text.strip() for text in own):
        yield "".join(element.itertext())
        if markup:
            yield etree.tostring(element, encoding="unicode", method="html", with_tail=False)
    else:
        yield from element.attrib.values()
        for child in element:
            yield from _blocks(child, markup)


def _sheet(raw: bytes) -> Iterator[str]:
    with zipfile.ZipFile(io.BytesIO(raw)) as book:
        root = etree.fromstring(book.read("xl/sharedStrings.xml"))
    yield from ("".join(cell.itertext()) for cell in root)


_READERS = {
    "xml": _xml,
    "nxml": _xml,
    "htm": _html,
    "html": _html,
    "csv": _table,
    "json": _json,
    "jsonl": _json_lines,
    "txt": _lines,
    "md": _lines,
    "xlsx": _sheet,
}

"""Read a user's own tables (CSV, JSON Lines, JSON, Parquet and RIS), one article per row."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from elara.collect.own import TEXTS, columns_of, decoded, file_title, row_article, untold, unused
from elara.collect.parsed import Parsed
from elara.collect.payload import PayloadError
from elara.text.objects import TWICE, stated_object

# A row, or why there is none at this place.
Row = dict[str, Any] | str
_DELIMITERS = ",;\t|"
_LONGEST_CELL = 16 << 20  # characters: what is longer comes from a quote that never ends
_LOOKED_AT = 100  # rows by which the columns of JSON records are told
_TOGETHER = 500  # rows of a Parquet file in memory at a time
_STEP = 1 << 16  # characters
_RIS_TAG = re.compile(r"([A-Z][A-Z0-9])  -(?: (.*))?")
# The tags of RIS that say the same thing, the first that is there.
_RIS = {
    "title": ("TI", "T1", "CT"), "journal": ("JO", "JF", "T2", "JA", "J2"),
    "date": ("PY", "Y1", "DA"), "language": ("LA",), "doi": ("DO",), "url": ("UR",),
    "id": ("ID", "AN"), "pmid": (),
}  # fmt: skip
_PUBMED = re.compile(r"pubmed|medline", re.IGNORECASE)


def parse(rows: Iterator[Row], columns: Mapping[str, str], file: str) -> Iterator[Parsed]:
    """Turn the rows of a table into articles.

    Args:
        rows: from one of the readers below.
        columns: the parameter `columns`: name of a column to what it holds.
        file: name of the file.

    Yields:
        One `Parsed` per row. A table without a column of text gives a single one, which names
        the columns.

    Raises:
        PayloadError: the file breaks off.
    """
    head: list[Row] = []
    broken: PayloadError | None = None
    try:
        for row in itertools.islice(rows, _LOOKED_AT):
            head.append(row)
    except PayloadError as error:
        broken = error
    first = [row for row in head if isinstance(row, dict)]
    names = list(dict.fromkeys(itertools.chain(*first)))
    known = columns_of(names, columns)
    if names and not any(field in known for field in TEXTS):
        yield Parsed(record=-1, status="skipped", reason=untold(names, first))
        return
    note = unused(names, known)
    used = {name for columns in known.values() for name in columns}
    for number, row in enumerate(itertools.chain(head, rows if not broken else ())):
        if isinstance(row, str):
            yield Parsed(record=number, status="error", reason=row)
            continue
        if twice := sorted(used.intersection(getattr(row, "twice", ()))):
            yield Parsed(record=number, status="error", reason=f"`{twice[0]}` {TWICE}")
            continue
        found = row_article(row, known, f"{file_title(file)}, record {number + 1}")
        found.record = number
        if found.article:
            found.reason, note = note, ""
        yield found
    if broken:
        raise broken


def csv_rows(chunks: Iterable[bytes]) -> Iterator[Row]:
    """The rows of a table in text, whatever stands between its cells.

    Args:
        chunks: pieces of the file.

    Yields:
        Rows by the names in the first line, or what is wrong with one.

    Raises:
        PayloadError: it is not text.

    Source: https://www.rfc-editor.org/rfc/rfc4180
    """
    csv.field_size_limit(_LONGEST_CELL)
    pieces = decoded(chunks)
    head = "".join(itertools.islice(pieces, 1))
    lines = _lines(itertools.chain([head], pieces))
    reader = csv.reader(lines, delimiter=_delimiter(head), strict=True)
    names: list[str] = []
    while True:
        begin = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"line {begin}: a quotation mark is not closed or not doubled ({error}): fix it"
            continue
        if not any(map(str.strip, cells)):
            continue
        if not names:
            names = _distinct(cells)
        elif len(cells) != len(names):
            yield (
                f"line {begin}: {len(cells)} cells where the first line names {len(names)}: put "
                f"quotation marks around text that holds the separator or line breaks"
            )
        else:
            yield dict(zip(names, cells, strict=True))


def _delimiter(head: str) -> str:
    """What stands between the cells of a table: the sign that cuts most lines alike."""
    return max(_DELIMITERS, key=lambda sign: _alike(head, sign))


def table_in(head: str) -> bool:
    """Whether a text without a telling name is a table: by a first line that names columns.

    Args:
        head: the beginning of the file.
    """
    delimiter = _delimiter(head)
    names = next(csv.reader(_lines([head]), delimiter=delimiter), [])
    if any(name != name.strip() or not name for name in names):
        return False  # a sentence with commas
    known = columns_of(names, {})
    return _alike(head, delimiter)[0] > 1 and len(known) > 1 and any(f in known for f in TEXTS)


def _alike(head: str, delimiter: str) -> tuple[int, int]:
    """How many of the first rows have as many cells as the first, and how many that are."""
    rows = csv.reader(_lines([head]), delimiter=delimiter)
    try:
        first, *others = [r for r in itertools.islice(rows, 20) if r] or [[]]
    except csv.Error:
        return 0, 0
    width = len(first)
    return (1 + sum(len(row) == width for row in others), width) if width > 1 else (0, 0)


def _distinct(names: list[str]) -> list[str]:
    """Names of columns: none is empty, none is there twice."""
    found: list[str] = []
    for number, cell in enumerate(names, start=1):
        name = cell.strip() or f"column {number}"
        found.append(f"{name} ({number})" if name in found else name)
    return found


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Lines with their ends; not `splitlines`, which also cuts at signs inside a cell."""
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        yield from (f"{line}\n" for line in whole)
    if rest:
        yield rest


def ris_rows(chunks: Iterable[bytes]) -> Iterator[Row]:
    """The references of a RIS file, as reference managers export them, with their abstracts.

    Args:
        chunks: pieces of the file.

    Yields:
        Rows by names that tables use, too. A line without a tag goes on with the value before.

    Raises:
        PayloadError: it is not text.

    Source: https://en.wikipedia.org/wiki/RIS_(file_format), from the specification of Research
        Information Systems, which is not online any more.
    """
    values: dict[str, list[str]] = {}
    last: list[str] = []
    for line in itertools.chain(_lines(decoded(chunks)), ["TY  - "]):
        found = _RIS_TAG.fullmatch(line.rstrip())
        tag = found[1] if found else ""
        if tag == "TY":
            if values:
                yield "a record breaks off before its line `ER  -`: export it again"
            values = {}
        if tag == "ER":
            yield _reference(values)
            values = {}
        elif found:
            last = values.setdefault(tag, [])
            last.append((found[2] or "").strip())
        elif last:
            last[-1] = f"{last[-1]}\n{line.strip()}".strip()


def _reference(values: dict[str, list[str]]) -> Row:
    row: dict[str, Any] = {
        field: next((values[tag][0] for tag in tags if values.get(tag, [""])[0]), "")
        for field, tags in _RIS.items()
    }
    every = {tag: values.get(tag, []) for tag in ("AB", "N2", "AU", "A1", "KW", "DB", "AN")}
    if _PUBMED.search(" ".join(every["DB"])):
        row["pmid"] = "".join(every["AN"][:1])
    row["abstract"] = "\n".join(dict.fromkeys(every["AB"] + every["N2"]))
    row["authors"] = every["AU"] + every["A1"]
    row["keywords"] = "\n".join(every["KW"]).split("\n")
    return row


def jsonl_rows(chunks: Iterable[bytes]) -> Iterator[Row]:
    """The records of a JSON Lines file: a broken line does not touch the others.

    Args:
        chunks: pieces of the file.

    Source: https://jsonlines.org/
    """
    for number, line in enumerate(_lines(decoded(chunks)), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=stated_object)
        except (ValueError, RecursionError) as error:
            yield f"line {number}: not valid JSON ({error}): fix it"
        else:
            yield _record(value, f"line {number}")


def json_rows(chunks: Iterable[bytes]) -> Iterator[Row]:
    """The records of a JSON array, one after the other, or a single object as one record.

    Args:
        chunks: pieces of the file.

    Raises:
        PayloadError: the JSON is broken, or more follows the array; every record before has been
            yielded.
    """
    pieces = decoded(chunks)
    text = next(pieces, "").lstrip()
    try:
        if not text.startswith("["):
            text = "".join([text, *pieces])
            yield _record(json.loads(text, object_pairs_hook=stated_object), "the file")
            return
    except (ValueError, RecursionError) as error:
        raise _broken(error) from None
    text = text.removeprefix("[")
    decoder = json.JSONDecoder(object_pairs_hook=stated_object)
    number = 1
    while not (text := text.lstrip(" \t\n,")).startswith("]"):
        try:
            value, end = decoder.raw_decode(text)
        except (ValueError, RecursionError) as error:
            # Twice as much each time, so that a long record is not read again and again.
            if not (more := "".join(itertools.islice(pieces, 1 + len(text) // _STEP))):
                raise _broken(error) from None
            text += more
            continue
        yield _record(value, f"record {number}")
        text, number = text[end:], number + 1
    if "".join([text[1:], *pieces]).strip():
        raise PayloadError(
            "more follows the end of the JSON array, which is not read: put all records into one "
            "array, or one on each line"
        )


def _broken(error: Exception) -> PayloadError:
    return PayloadError(f"the JSON is broken ({error}): fetch or fix the file")


def _record(value: Any, place: str) -> Row:
    return value if isinstance(value, dict) else f"{place}: not a JSON object with named values"


def parquet_rows(path: Path) -> Iterator[Row]:
    """The rows of a Parquet file, some hundred at a time.

    Args:
        path: the file.

    Raises:
        PayloadError: the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            # Group by group: asked for all at once, Arrow keeps what it has read.
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(
                    batch_size=_TOGETHER, row_groups=[group], use_threads=False
                ):
                    yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise PayloadError(f"the Parquet file is damaged ({error}): fetch it again") from error

"""Read large collections part by part: JSON Lines or Parquet in, Arrow tables of articles out."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elara.inspection.foreign import Lines, Notes, places, records
from elara.inspection.measures import one_chunk, strings
from elara.records import Article, schema

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

# Bytes of input that are worked on at once by each thread.
PART_BYTES = 12 << 20
_PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
# What a field holds that a record does not state. Lists are empty, texts "" and flags false.
_UNSTATED = {"language": "und", "licence": "unknown"}


class InputError(ValueError):
    """A file cannot be read; the message names it, the line, and what to do."""


@dataclass(frozen=True)
class Rows:
    """Some row groups of a Parquet file."""

    path: Path
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Refused:
    """A file that holds no lines of text."""

    path: Path
    reason: str


Piece = tuple[Lines, ...] | Rows | Refused


def pieces(paths: Iterable[Path]) -> Iterator[Piece]:
    """Cut files into pieces of about `PART_BYTES`, small files together, in their order.

    Args:
        paths: `.jsonl` or `.parquet` files with the fields of `Article`.

    Raises:
        InputError: a file is missing or is neither.
    """
    held: list[Lines] = []
    size = 0
    paths = list(paths)
    stems = Counter(path.stem for path in paths)
    for number, path in enumerate(paths, 1):
        if path.suffix == ".parquet":
            if held:
                yield tuple(held)
                held, size = [], 0
            yield from _row_groups(path)
            continue
        if path.suffix not in (".jsonl", ".ndjson"):
            raise InputError(f"{path} is neither .jsonl nor .parquet: convert it first")
        name = path.stem if stems[path.stem] == 1 else f"{path.stem}-{number}"
        for lines in _lines(path, name):
            if isinstance(lines, Refused):
                yield lines
                break
            held.append(lines)
            size += lines.stop - lines.start
            if size >= PART_BYTES:
                yield tuple(held)
                held, size = [], 0
    if held:
        yield tuple(held)


def _lines(path: Path, name: str) -> Iterator[Lines | Refused]:
    try:
        size = path.stat().st_size
        start = 0
        with path.open("rb") as file:
            head = file.read(64)
        if reason := _no_text(head):
            yield Refused(path, reason)
            return
        while size - start > PART_BYTES:
            with path.open("rb") as file:
                file.seek(start + PART_BYTES)
                file.readline()
                stop = file.tell()
            yield Lines(path, start, stop, name)
            start = stop
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}): name files that exist") from error
    if size > start:
        yield Lines(path, start, size, name)


def _no_text(head: bytes) -> str:
    """Why a file that begins like this holds no lines of text, or ""."""
    if head.startswith(_PACKED):
        return "a packed file: unpack it first"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in head:
        return "UTF-16, or no text at all: save the file as UTF-8"
    return ""


def _row_groups(path: Path) -> Iterator[Rows]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} is not a Parquet file ({error}): write it again") from error
    held: list[int] = []
    size = 0
    for group in range(metadata.num_row_groups):
        held.append(group)
        size += metadata.row_group(group).total_byte_size
        if size >= PART_BYTES:
            yield Rows(path, tuple(held))
            held, size = [], 0
    if held:
        yield Rows(path, tuple(held))


def read(piece: Piece, notes: Notes) -> Iterator[pa.Table]:
    """Read a piece.

    Args:
        piece: from `pieces`.
        notes: filled with the lines that cannot be records and the fields that are not read.

    Yields:
        Tables with exactly the columns of `Article`, one chunk each, and no nulls: one from JSON
        Lines, and from Parquet as many as it takes, since its row groups can be large.

    Raises:
        InputError: a column of a Parquet file has another type than in `Article`, or a record in
            it has no id.
    """
    if isinstance(piece, Refused):
        notes.skipped.append((piece.path, -1, piece.reason))
    elif isinstance(piece, tuple):
        data = b"".join(lines.read().rstrip(b"\n") + b"\n" for lines in piece)
        yield usual_records(data) or _foreign(piece, notes)
    else:
        yield from _row_tables(piece, notes)


def usual_records(data: bytes) -> pa.Table | None:
    """Read JSON Lines whose records hold what an `Article` has, each value of its type or null.

    Args:
        data: whole lines, the last one with its line break.

    Returns:
        A table as `read` yields it; None if anything in the lines is unusual.
    """
    import pyarrow as pa
    import pyarrow.json

    whole = pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    declared = pyarrow.json.ParseOptions(arrow_schema(), unexpected_field_behavior="error")
    try:
        table = pyarrow.json.read_json(pa.BufferReader(data), whole, declared)
        table.validate(full=True)  # whether the texts are UTF-8
    except ValueError:
        return None
    # The parser takes two records on one line for two, leaves out blank lines, and lets a list
    # hold null.
    lists = (column.chunk(0) for column in table.columns if pa.types.is_list(column.type))
    one_per_line = data.count(b"\n") == 1 + data.count(b"\n{") == table.num_rows
    if not one_per_line or any(found.values.null_count for found in lists):
        return None
    table = _conform(table)
    return table if _without_id(table) < 0 else None


def _foreign(piece: tuple[Lines, ...], notes: Notes) -> pa.Table:
    """The records of lines that are unusual, by the reader that coerces."""
    import pyarrow as pa

    found = [r for lines in piece for r in records(lines, notes)]
    return _conform(pa.Table.from_pylist(found, schema=arrow_schema()))


def name_repeats(piece: Piece, repeats: dict[int, str], notes: Notes) -> None:
    """Add the records to what is left out whose id another record has.

    Args:
        piece: from `pieces`.
        repeats: which of its records, counted from 0, and their ids.
        notes: what reading left out; of this piece, at least.
    """
    import pyarrow.parquet as pq

    assert not isinstance(piece, Refused)
    where: Sequence[tuple[Path, int]]
    if isinstance(piece, Rows):
        metadata = pq.read_metadata(piece.path)
        first = sum(metadata.row_group(group).num_rows for group in range(piece.groups[0]))
        where = [(piece.path, first + row) for row in repeats]
    else:
        skipped = {(path, at) for path, at, _ in notes.skipped}
        found = [place for lines in piece for place in places(lines, skipped)]
        where = [found[row] for row in repeats]
    for (path, at), name in zip(where, repeats.values(), strict=True):
        reason = f"an earlier record has the id {name[:80]!r}: give this one its own"
        notes.skipped.append((path, at, reason))


def _row_tables(piece: Rows, notes: Notes) -> Iterator[pa.Table]:
    import pyarrow as pa

    rows = 0
    for found in _batches(piece):
        try:
            table = _conform(found)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(
                f"{piece.path}: a column has another type than an article's ({error}): convert it, "
                f"or write the records as JSON Lines, whose values are taken as they are"
            ) from error
        if (missing := _without_id(table)) >= 0:
            raise InputError(
                f"{piece.path}: a record without `id`, at row {rows + missing + 1} of row groups "
                f"{piece.groups[0]} to {piece.groups[-1]}: give each a unique one"
            )
        rows += table.num_rows
        yield table
    notes.unknown.update(dict.fromkeys(_columns(piece.path) - {*arrow_schema().names}, rows))


def _columns(path: Path) -> set[str]:
    import pyarrow.parquet as pq

    return {*pq.read_schema(path).names}


def _batches(piece: Rows) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(piece.path) as file:
        groups = [file.metadata.row_group(g) for g in piece.groups]
        size, count = sum(g.total_byte_size for g in groups), sum(g.num_rows for g in groups)
        named = [c for c in arrow_schema().names if c in file.schema_arrow.names]
        batches = file.iter_batches(
            batch_size=max(1, PART_BYTES * count // max(size, 1)),
            row_groups=piece.groups,
            columns=named,
            use_threads=False,
        )
        for batch in batches:
            yield pa.Table.from_batches([batch])


def _conform(table: pa.Table) -> pa.Table:
    """Exactly the columns of `Article`; what a record does not state is empty."""
    import pyarrow as pa

    filled = []
    for field in arrow_schema():
        column = pa.nulls(table.num_rows, field.type)
        if field.name in table.column_names and table.num_rows:
            column = one_chunk(table.column(field.name))
        filled.append(_without_nulls(column.cast(field.type), field.name))
    return pa.table(filled, schema=arrow_schema())


def _without_id(table: pa.Table) -> int:
    """Position of the first record without an id, or -1."""
    offsets, _ = strings(table.column("id").chunk(0))
    without = np.flatnonzero(offsets[1:] == offsets[:-1])
    return int(without[0]) if len(without) else -1


def _without_nulls(column: pa.Array, name: str = "") -> pa.Array:
    import pyarrow as pa

    if pa.types.is_list(column.type):
        values = column.values
        if pa.types.is_struct(values.type):
            texts = [_without_nulls(child) for child in values.flatten()]
            values = pa.StructArray.from_arrays(texts, fields=[*values.type])
        if column.null_count == 0 and values is column.values:
            return column
        # The validity bitmap goes; the offsets of a null list span nothing.
        return pa.ListArray.from_arrays(column.offsets, values, type=column.type)
    if column.null_count == 0:
        return column
    return column.fill_null(_nothing(column.type, name))


@cache
def _nothing(dtype: pa.DataType, name: str) -> pa.Scalar:
    import polars as pl
    import pyarrow as pa

    value = _UNSTATED.get(name, "") if pa.types.is_string(dtype) else 0
    # Not `pa.scalar`, which imports pandas where there is one.
    return pl.Series([value]).to_arrow()[0].cast(dtype)


def arrow_schema() -> pa.Schema:
    """The columns of `Article` as Arrow types."""
    import pyarrow as pa

    return pa.schema([(name, _arrow(dtype)) for name, dtype in schema(Article).items()])


def _arrow(dtype: pl.DataType) -> pa.DataType:
    import polars as pl
    import pyarrow as pa

    if isinstance(dtype, pl.List):
        inner: Any = dtype.inner
        return pa.list_(_arrow(inner))
    if isinstance(dtype, pl.Struct):
        return pa.struct([(f.name, _arrow(f.dtype)) for f in dtype.fields])  # type: ignore[arg-type]
    plain = {pl.String(): pa.string(), pl.Boolean(): pa.bool_(), pl.Int64(): pa.int64()}
    return plain[dtype]

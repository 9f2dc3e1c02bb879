"""Read large collections part by part: JSON Lines or Parquet in, Arrow tables of articles out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elara.inspect.lines import read_lines
from elara.inspect.measures import strings
from elara.records import Article, schema

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

# Bytes of input that are worked on at once by each thread.
PART_BYTES = 12 << 20
_LINES_AT_ONCE = 1000
# What a field holds that a record does not state. Lists are empty, texts "" and flags false.
_UNSTATED = {"language": "und", "licence": "unknown"}


class InputError(ValueError):
    """A file cannot be read; the message names it, the line, and what to do."""


@dataclass(frozen=True)
class Lines:
    """Whole lines of JSON in one file: the bytes from `start` up to `stop`."""

    path: Path
    start: int
    stop: int

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.stop - self.start)

    def number(self) -> int:
        """Number of the first of these lines in the file, counted from 1."""
        return Lines(self.path, 0, self.start).read().count(b"\n") + 1


@dataclass(frozen=True)
class Rows:
    """Some row groups of a Parquet file."""

    path: Path
    groups: tuple[int, ...]


Piece = tuple[Lines, ...] | Rows


def pieces(paths: Iterable[Path]) -> Iterator[Piece]:
    """Cut files into pieces of about `PART_BYTES`, small files together, in their order.

    Args:
        paths: `.jsonl` or `.parquet` files with the fields of `Article`.

    Raises:
        InputError: a file is missing or is neither.
    """
    held: list[Lines] = []
    size = 0
    for path in paths:
        if path.suffix == ".parquet":
            yield from _row_groups(path)
            continue
        if path.suffix not in (".jsonl", ".ndjson"):
            raise InputError(f"{path} is neither .jsonl nor .parquet: convert it first")
        for lines in _lines(path):
            held.append(lines)
            size += lines.stop - lines.start
            if size >= PART_BYTES:
                yield tuple(held)
                held, size = [], 0
    if held:
        yield tuple(held)


def _lines(path: Path) -> Iterator[Lines]:
    try:
        size = path.stat().st_size
        start = 0
        while size - start > PART_BYTES:
            with path.open("rb") as file:
                file.seek(start + PART_BYTES)
                file.readline()
                stop = file.tell()
            yield Lines(path, start, stop)
            start = stop
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}): name files that exist") from error
    if size > start:
        yield Lines(path, start, size)


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


def read(piece: Piece) -> Iterator[pa.Table]:
    """Read a piece.

    Args:
        piece: from `pieces`.

    Yields:
        Tables with exactly the columns of `Article`, one chunk each, and no nulls: one from JSON
        Lines, and from Parquet as many as it takes, since its row groups can be large.

    Raises:
        InputError: a line is no JSON, a field has another type than in `Article`, or a record
            has no id.
    """
    if isinstance(piece, tuple):
        data = _bytes(piece)
        table = read_lines(data, arrow_schema(), _UNSTATED)
        if table is None:
            table = _conform(_parse(piece, data))
        if _without_id(table) >= 0:
            _find_missing_id(piece)
        yield table
        return
    rows = 0
    for found in _batches(piece):
        table = _conform(found)
        if (missing := _without_id(table)) >= 0:
            raise InputError(
                f"{piece.path}: a record without `id`, at row {rows + missing + 1} of row groups "
                f"{piece.groups[0]} to {piece.groups[-1]}: give each a unique one"
            )
        rows += table.num_rows
        yield table


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
            whole = table.column(field.name).combine_chunks()
            column = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
        filled.append(_without_nulls(column.cast(field.type), field.name))
    return pa.table(filled, schema=arrow_schema())


def _without_id(table: pa.Table) -> int:
    """Position of the first record without an id, or -1."""
    offsets, _ = strings(table.column("id").chunk(0))
    without = np.flatnonzero(offsets[1:] == offsets[:-1])
    return int(without[0]) if len(without) else -1


def _find_missing_id(piece: tuple[Lines, ...]) -> None:
    for lines in piece:
        for number, line in enumerate(lines.read().split(b"\n"), lines.number()):
            if line.strip() and not _parse_bytes(line).column("id")[0].as_py():
                raise InputError(
                    f"{lines.path}, line {number}: the record has no `id`: give each a unique one"
                )


class _Room(threading.local):
    """Memory that a thread reads into again and again: new memory costs the system's time."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def of(self, size: int) -> memoryview:
        if len(self.bytes) < size:
            self.bytes = bytearray(size)
        return memoryview(self.bytes)[:size]


_ROOM = _Room()


def _bytes(piece: tuple[Lines, ...]) -> memoryview:
    """The lines, each piece of a file with a line break behind it; good until the next call."""
    data = room = _ROOM.of(sum(lines.stop - lines.start + 1 for lines in piece))
    for lines in piece:
        size = lines.stop - lines.start
        with lines.path.open("rb", buffering=0) as file:
            file.seek(lines.start)
            read = file.readinto(room[:size]) or 0
        room[read : size + 1] = b"\n" * (size + 1 - read)  # a file may have become shorter
        room = room[size + 1 :]
    return data


def _parse(piece: tuple[Lines, ...], data: memoryview) -> pa.Table:
    import pyarrow as pa

    try:
        return _parse_bytes(data)
    except pa.ArrowInvalid as error:
        if not bytes(data).strip():
            return arrow_schema().empty_table()
        for lines in piece:
            _find_bad_line(lines)
        raise InputError(f"{piece[0].path}: {error}") from error


def _parse_bytes(data: bytes | memoryview) -> pa.Table:
    import pyarrow as pa
    import pyarrow.json as pj

    parse = pj.ParseOptions(explicit_schema=arrow_schema(), unexpected_field_behavior="ignore")
    whole = pj.ReadOptions(use_threads=False, block_size=len(data) + 1)
    return pj.read_json(
        pa.BufferReader(pa.py_buffer(data)), read_options=whole, parse_options=parse
    )


def _find_bad_line(lines: Lines) -> None:
    """Raise for the first line that cannot be parsed by itself."""
    import pyarrow as pa

    every = lines.read().split(b"\n")
    for start in range(0, len(every), _LINES_AT_ONCE):
        some = every[start : start + _LINES_AT_ONCE]
        for count in (len(some), 1):  # all of them at once, and only if that fails one by one
            try:
                for at in range(0, len(some), count):
                    if (text := b"\n".join(some[at : at + count])).strip():
                        _parse_bytes(text)
                break
            except pa.ArrowInvalid as error:
                if count == 1:
                    reason = str(error).removesuffix(" in row 0")
                    raise InputError(
                        f"{lines.path}, line {lines.number() + start + at}: {reason}. "
                        f"Repair or delete the line and run again; nothing was stored."
                    ) from error


def _without_nulls(column: pa.Array, name: str) -> pa.Array:
    import pyarrow as pa

    if column.null_count == 0:
        return column
    if pa.types.is_list(column.type):
        # The validity bitmap goes; the offsets of a null list span nothing.
        return pa.ListArray.from_arrays(column.offsets, column.values, type=column.type)
    if pa.types.is_string(column.type):
        return column.fill_null(_UNSTATED.get(name, ""))
    return column.fill_null(pa.scalar(0).cast(column.type))


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

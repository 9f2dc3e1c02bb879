"""Read large collections part by part: JSON Lines or Parquet in, tables of articles out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from elara.records import Article, schema

if TYPE_CHECKING:
    import pyarrow as pa

# Bytes of input that are worked on at once by each thread.
PART_BYTES = 12 << 20
SKIPPED = {"file": pl.String, "line": pl.Int64, "reason": pl.String}
_FIELDS = schema(Article)
# What a field holds that a record does not state. Lists are empty, texts "" and flags false.
_UNSTATED = {"language": "und", "licence": "unknown"}
# Numbers stay as they are written; NaN is what pandas writes for an empty cell.
_JSON = json.JSONDecoder(
    parse_int=str,
    parse_float=lambda number: number.removesuffix(".0"),
    parse_constant=lambda _: None,
)


class InputError(ValueError):
    """A file cannot be read; the message names it, the line, and what to do."""


class Lines(NamedTuple):
    """Whole lines of a file: its bytes from `start` on, and the number of the first line."""

    path: Path
    start: int
    size: int
    first: int

    def read(self) -> bytes:
        """The lines, with a line break after each."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size).rstrip(b"\n") + b"\n"


class Rows(NamedTuple):
    """A row group of a Parquet file, and the row of the file that it begins with."""

    path: Path
    group: int
    first: int


Piece = Rows | Lines


@dataclass
class Notes:
    """What reading left out.

    Args:
        skipped: lines that are no records: file, line (counted from 1), reason.
        unknown: fields that no `Article` has, and how many records hold something there.
    """

    skipped: list[tuple[str, int, str]] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)


def pieces(paths: Iterable[Path]) -> Iterator[Piece]:
    """Cut files into pieces of about `PART_BYTES`, or row groups, in their order.

    Args:
        paths: `.jsonl` or `.parquet` files with the fields of `Article`.

    Raises:
        InputError: a file cannot be read or is neither.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in paths:
        row, start, line = 0, 0, 1
        try:
            if path.suffix == ".parquet":
                metadata = pq.read_metadata(path)
                for group in range(metadata.num_row_groups):
                    yield Rows(path, group, row)
                    row += metadata.row_group(group).num_rows
            elif path.suffix in (".jsonl", ".ndjson"):
                with path.open("rb") as file:
                    while some := file.read(PART_BYTES) + file.readline():
                        yield Lines(path, start, len(some), line)
                        start, line = start + len(some), line + some.count(b"\n")
            else:
                raise InputError(f"{path} is neither .jsonl nor .parquet: convert it first")
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{path} cannot be read ({error}): name files that exist") from error


def read(piece: Piece, notes: Notes) -> Iterator[pl.DataFrame]:
    """Read a piece.

    Args:
        piece: from `pieces`.
        notes: filled with the lines that cannot be records and the fields that are not read.

    Yields:
        Tables with exactly the columns of `Article`, and no nulls: one from JSON Lines, and from
        Parquet as many as it takes, since its row groups can be large.

    Raises:
        InputError: a column of a Parquet file has another type than in `Article`, or a record in
            it has no id.
    """
    if isinstance(piece, Rows):
        yield from _row_tables(piece, notes)
    else:
        usual = usual_records(piece.read())
        yield _line_by_line(piece, notes) if usual is None else usual


def usual_records(data: bytes) -> pl.DataFrame | None:
    """Read JSON Lines whose records hold what an `Article` has, each value of its type or null.

    Args:
        data: whole lines, the last one with its line break.

    Returns:
        A table as `read` yields it; None if anything in the lines is unusual.
    """
    import pyarrow as pa
    import pyarrow.json

    whole = pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    declared = pyarrow.json.ParseOptions(
        pa.schema([(name, _arrow(dtype)) for name, dtype in _FIELDS.items()]),
        unexpected_field_behavior="error",
    )
    try:
        table = pyarrow.json.read_json(pa.BufferReader(data), whole, declared)
        table.validate(full=True)  # whether the texts are UTF-8
    except ValueError:
        return None
    # The parser takes two records on one line for two, and leaves out blank lines.
    if not data.count(b"\n") == 1 + data.count(b"\n{") == table.num_rows:
        return None
    found = _conform(pl.DataFrame(table))
    return None if (found["id"] == "").any() else found


def _line_by_line(lines: Lines, notes: Notes) -> pl.DataFrame:
    """The records of lines that are unusual."""
    found = []
    for number, line in enumerate(lines.read().split(b"\n"), lines.first):
        if line.strip():
            try:
                found.append(_record(line, notes.unknown))
            except (ValueError, OverflowError, RecursionError) as error:
                reason = f"no record ({error}): fix or delete the line"
                notes.skipped.append((str(lines.path), number, reason))
    return _conform(pl.DataFrame(found, schema=_FIELDS, orient="row"))


def _record(line: bytes, unknown: Counter[str]) -> dict[str, Any]:
    stated = _JSON.decode(line.decode("utf-8-sig").strip())
    if not isinstance(stated, dict):
        raise ValueError("not a JSON object with named values")
    record = {}
    for name in _FIELDS.keys() & stated.keys():
        if (value := stated.pop(name)) is not None:
            record[name] = _taken(value, _FIELDS[name], name)
    if not record.get("id"):
        raise ValueError("it has no `id`: give it one")
    json.dumps(record, ensure_ascii=False).encode()  # refuses half of a surrogate pair
    unknown.update(name for name, value in stated.items() if value is not None)
    return record


def _taken(value: Any, dtype: Any, name: str) -> Any:
    """A value as its column has it: a single text is a list of one, a number a text."""
    if isinstance(dtype, pl.List):
        values = value if isinstance(value, list) else [value]
        return [_taken(one, dtype.inner, name) for one in values if one is not None]
    wanted: Any = {pl.Struct: dict, pl.Boolean: bool}.get(dtype.base_type(), str)
    if not isinstance(value, wanted):
        raise ValueError(f"`{name}` holds {str(value)[:40]!r} where {dtype} is expected")
    return int(np.int64(value)) if dtype == pl.Int64() else value


def _row_tables(piece: Rows, notes: Notes) -> Iterator[pl.DataFrame]:
    import pyarrow.parquet as pq

    row = piece.first
    with pq.ParquetFile(piece.path) as file:
        group, columns = file.metadata.row_group(piece.group), file.schema_arrow.names
        size = max(1, PART_BYTES * group.num_rows // max(group.total_byte_size, 1))
        named = [name for name in _FIELDS if name in columns]
        for batch in file.iter_batches(size, [piece.group], named, use_threads=False):
            try:
                table = _conform(pl.DataFrame(batch))
            except pl.exceptions.PolarsError as error:
                why = str(error).partition("\n")[0]
                raise InputError(
                    f"{piece.path}: a column has another type than an article's ({why}): convert "
                    f"it, or run collect on the file, which takes values as they are"
                ) from error
            if (without := (table["id"] == "").arg_true()).len():
                raise InputError(
                    f"{piece.path}: a record without `id`, at row {row + without[0] + 1}: give "
                    f"each a unique one"
                )
            row += table.height
            yield table
    notes.unknown.update(dict.fromkeys({*columns} - _FIELDS.keys(), group.num_rows))


def _conform(table: pl.DataFrame) -> pl.DataFrame:
    """Exactly the columns of `Article`; what a record does not state is empty."""
    unstated = [pl.lit(None).alias(name) for name in _FIELDS if name not in table.columns]
    return table.with_columns(unstated).select(_filled(n, dtype) for n, dtype in _FIELDS.items())


def _filled(name: str, dtype: pl.DataType) -> pl.Expr:
    if not isinstance(dtype, pl.List):
        nothing = _UNSTATED.get(name, "") if dtype == pl.String() else 0
        return pl.col(name).cast(dtype).fill_null(pl.lit(nothing).cast(dtype))
    found = pl.col(name).cast(dtype, strict=name != "body").list.drop_nulls().fill_null([])
    if isinstance(dtype.inner, pl.Struct):  # of which a field may be missing
        parts = [pl.element().struct.field(f.name).fill_null("") for f in dtype.inner.fields]
        found = found.list.eval(pl.struct(parts))
    return found


def _arrow(dtype: Any) -> pa.DataType:
    import pyarrow as pa

    if isinstance(dtype, pl.List):
        return pa.list_(_arrow(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return pa.struct([(f.name, _arrow(f.dtype)) for f in dtype.fields])
    return {pl.String(): pa.string(), pl.Boolean(): pa.bool_(), pl.Int64(): pa.int64()}[dtype]

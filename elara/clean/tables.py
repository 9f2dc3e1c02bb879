"""Read articles in batches, lay out their texts as one array, and write tables piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from elara.workspace import WorkspaceError

_ROWS = 2048
_BYTES = 32 << 20
_PIECE = 16 << 20
NEEDED = ("id", "title", "abstract", "body")
TITLE, ABSTRACT, HEADING, TEXT = range(4)

# The columns of the result tables; those with a # hold numbers.
_COLUMNS = {
    "changes": "id rule field before after count#",
    "removed": "id rule field text kind terms#",
    "dropped": "id reason",
    "phi": "id field kind start# end#",
    "review": "id rule field kind term before# after#",
}
SCHEMAS = {
    table: pa.schema(
        (column.rstrip("#"), pa.int64() if column.endswith("#") else pa.large_string())
        for column in columns.split()
    )
    for table, columns in _COLUMNS.items()
}


def read(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Read a table of articles in batches.

    Args:
        path: a Parquet file.
        columns: which columns to read; None reads all.

    Yields:
        First, where all columns are read, an empty table with them; then at most 2,048 articles or
        32 MiB at a time (but at least one article).

    Raises:
        WorkspaceError: the file cannot be read as a table of articles.
    """
    try:
        # A buffer ahead would keep what was read until the file's end.
        with pq.ParquetFile(path, pre_buffer=False) as parquet:
            if missing := {*NEEDED} - {*parquet.schema_arrow.names}:
                raise pa.ArrowInvalid(f"it has no column {', '.join(sorted(missing))}")
            if columns is None:
                yield parquet.schema_arrow.empty_table()
            for batch in parquet.iter_batches(batch_size=_ROWS, columns=columns):
                yield from _slices(pa.Table.from_batches([batch]))
    except (pa.ArrowException, OSError) as error:
        raise WorkspaceError(
            f"{path} cannot be read as a table of articles ({error}): run the stage that wrote it "
            f"again. What was cleaned earlier is untouched."
        ) from error


def _slices(table: pa.Table) -> Iterator[pa.Table]:
    if table.nbytes > _BYTES and table.num_rows > 1:
        half = table.num_rows // 2
        yield from _slices(table.slice(0, half))
        yield from _slices(table.slice(half))
    else:
        yield table


@dataclass(frozen=True)
class Texts:
    """The texts of a batch of articles: all titles, all abstracts, all headings, all body texts.

    Args:
        values: the `n` texts.
        ids: the ids of the articles.
        row: for each text, the position of its article in the batch; `n` integers.
        field: for each text, `TITLE`, `ABSTRACT`, `HEADING` or `TEXT`; `n` integers.
        part: for each text, the position of its section; -1 outside the body; `n` integers.
        running: whether it is running text; titles and headings are names, from which no rule
            takes anything away; `n` booleans.
        prose: whether it is running text that is no question and no answer; `n` booleans.
        named: whether it is the heading of an answer, which says who gave it; `n` booleans.
    """

    values: pa.LargeStringArray
    ids: list[str]
    row: npt.NDArray[np.int64]
    field: npt.NDArray[np.int8]
    part: npt.NDArray[np.int64]
    running: npt.NDArray[np.bool_]
    prose: npt.NDArray[np.bool_]
    named: npt.NDArray[np.bool_]

    def address(self, text: int) -> tuple[str, str]:
        """The id of its article, and where in it: `title`, `abstract`, `body[2].text` …"""
        label = ("title", "abstract", "heading", "text")[self.field[text]]
        part = self.part[text]
        return self.ids[self.row[text]], label if part < 0 else f"body[{part}].{label}"


def unpack(batch: pa.Table) -> Texts:
    """Lay out every text of every article of a batch.

    Args:
        batch: a table with the columns of `Article`.

    Returns:
        Twice as many texts as there are articles and sections.
    """
    body = _whole(batch["body"])
    sections = body.flatten()
    lengths = pc.list_value_length(body).to_numpy(zero_copy_only=False)
    rows = np.arange(batch.num_rows)
    owner = np.repeat(rows, lengths)
    part = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kinds = sections.field("kind").to_numpy(zero_copy_only=False)
    sizes = [len(rows), len(rows), len(owner), len(owner)]
    field = np.repeat(np.arange(4, dtype=np.int8), sizes)
    nowhere = np.full(len(rows), -1)
    prose = field == ABSTRACT
    prose[field == TEXT] = kinds == "text"
    named = np.zeros(len(field), bool)
    named[field == HEADING] = kinds == "answer"
    columns = batch["title"], batch["abstract"], sections.field("heading"), sections.field("text")
    return Texts(
        values=pa.concat_arrays([_strings(column) for column in columns]),
        ids=batch["id"].to_pylist(),
        row=np.concatenate([rows, rows, owner, owner]),
        field=field,
        part=np.concatenate([nowhere, nowhere, part, part]),
        running=(field == ABSTRACT) | (field == TEXT),
        prose=prose,
        named=named,
    )


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _strings(column: pa.ChunkedArray | pa.Array) -> pa.LargeStringArray:
    return _whole(column).cast(pa.large_string()).fill_null("")


def pack(batch: pa.Table, values: pa.LargeStringArray) -> pa.Table:
    """Put texts back into their articles: the inverse of `unpack`.

    Args:
        batch: the table that was unpacked.
        values: its texts, in the same order.

    Returns:
        The table with these texts.
    """
    rows, body = batch.num_rows, _whole(batch["body"])
    sections = body.flatten()
    middle = 2 * rows + len(sections)
    lengths = pc.fill_null(pc.list_value_length(body), 0).to_numpy(zero_copy_only=False)
    packed = pa.LargeListArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64()),
        pa.StructArray.from_arrays(
            [values[2 * rows : middle], values[middle:], _strings(sections.field("kind"))],
            names=["heading", "text", "kind"],
        ),
    )
    for name, column in (("title", values[:rows]), ("abstract", values[rows : 2 * rows])):
        batch = batch.set_column(batch.schema.get_field_index(name), name, column)
    return batch.set_column(batch.schema.get_field_index("body"), "body", packed)


class Writers:
    """Writes Parquet tables (zstd) piece by piece; a table that got no rows is written empty.

    A Parquet writer keeps an entry for each column of each piece until the file ends, so rows
    wait until there are 16 MiB in all; then the largest table is written.

    Args:
        folder: where they go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, pq.ParquetWriter] = {}
        self._waiting: dict[str, list[pa.Table]] = {}
        self._bytes: dict[str, int] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *error: object) -> None:
        with self._stack:
            for name in [*self._waiting]:
                self._write(name)

    def rows(self, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Append rows to a result table.

        Args:
            name: a key of `SCHEMAS`.
            rows: may be empty.
        """
        types = SCHEMAS[name]
        columns: list[Any] = list(zip(*rows, strict=True)) or [[] for _ in types]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, types, strict=True)]
        self.table(name, pa.Table.from_arrays(arrays, schema=types))

    def table(self, name: str, table: pa.Table) -> None:
        """Append to a table.

        Args:
            name: its file is `<name>.parquet`.
            table: what to append.
        """
        if name not in self._open:
            path = self.folder / f"{name}.parquet"
            writer = pq.ParquetWriter(path, table.schema, compression="zstd")
            self._open[name] = self._stack.enter_context(writer)
        if table.num_rows:
            self._waiting.setdefault(name, []).append(table)
            self._bytes[name] = self._bytes.get(name, 0) + table.nbytes
            if sum(self._bytes.values()) > _PIECE:
                self._write(max(self._bytes, key=lambda name: self._bytes[name]))

    def _write(self, name: str) -> None:
        self._open[name].write_table(pa.concat_tables(self._waiting.pop(name)))
        del self._bytes[name]

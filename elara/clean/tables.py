"""Read articles in batches, and write the result tables of a cleaning run piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from elara.workspace import WorkspaceError

_ROWS = 2048
_BYTES = 32 << 20
_PIECE = 16 << 20
NEEDED = ("id", "title", "abstract", "body")

_COLUMNS = {
    "changes": "id rule field before after count",
    "removed": "id rule field text kind terms",
    "dropped": "id reason",
    "phi": "id field kind start end",
    "review": "id rule field kind term before after",
}
_NUMBERS = {
    *("changes.count", "removed.terms", "phi.start", "phi.end"),
    *("review.before", "review.after"),
}
SCHEMAS = {
    table: pa.schema(
        (column, pa.int64() if f"{table}.{column}" in _NUMBERS else pa.large_string())
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

"""Write the tables of a collection from sorted runs, holding a small part of them at a time.

This is the second half of an external merge sort: all runs are cut at the same ids, so that one
range of ids after the other can be read, sorted and written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import polars as pl

from elara.collect.merge import WITHDRAWS
from elara.collect.sortedruns import ORDER, Portion, Run
from elara.records import Article, Outcome, Removal, frame

_TOGETHER = 24 << 20  # characters of text in memory at a time
_SAMPLE = 1 << 18  # characters of text between two ids that may become a border
_ROWS = 100_000  # of outcomes and removals, written at a time


def write_articles(
    runs: Sequence[Run], without: pl.Series, more: Sequence[Run], path: Path
) -> None:
    """Write articles sorted by id.

    Args:
        runs: articles as they were read.
        without: `ORDER` of those to leave out.
        more: articles that take their place.
        path: the Parquet file to write.
    """
    every = [*runs, *more]
    ids = [pl.scan_ipc(r.path).select("id").collect()["id"] for r in every]
    borders = _borders(every, ids)
    slices = [[0, *i.search_sorted(borders).to_list(), i.len()] for i in ids]
    del ids
    _write(path, _ranges(every, slices, without), frame([], Article))


def _borders(runs: Sequence[Run], ids: Sequence[pl.Series]) -> pl.Series:
    """Ids that cut all articles into ranges of about as much text as may be in memory."""
    samples = [pl.Series("id", [], dtype=pl.String)]
    for run, found in zip(runs, ids, strict=True):
        every = max(1, run.articles * _SAMPLE // max(run.characters, run.articles * 500))
        samples.append(found.gather_every(every))
    return pl.concat(samples).sort().gather_every(_TOGETHER // _SAMPLE).slice(1).unique().sort()


def _ranges(
    runs: Sequence[Run], slices: Sequence[list[int]], without: pl.Series
) -> Iterator[pl.DataFrame]:
    for bounds in zip(*map(pairwise, slices), strict=True):
        parts = [
            _rows(run.path, start, end)
            for run, (start, end) in zip(runs, bounds, strict=True)
            if start < end
        ]
        if parts:
            table = pl.concat(parts).filter(~pl.col(ORDER).is_in(without.implode()))
            yield table.drop(ORDER).sort("id")


def _rows(path: Path, start: int, end: int) -> pl.DataFrame:
    """Some rows of a run. Only their pages of the file are read, which polars does not promise."""
    import pyarrow as pa

    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    return pl.DataFrame(table.slice(start, end - start))


def write_outcomes(
    portions: Iterable[Portion],
    settled: pl.DataFrame,
    without: pl.Series,
    path: Path,
    more: Sequence[Outcome] = (),
) -> None:
    """Write what became of every file and record, sorted by file and record.

    Args:
        portions: all portions, in their order.
        settled: outcomes of the records that were merged.
        without: `ORDER` of those records.
        path: the Parquet file to write.
        more: outcomes that belong to no portion; they come last.
    """
    columns = frame([], Outcome).columns
    status = pl.col("status").replace("deletion", "skipped")
    reason = pl.when(status="deletion").then(pl.lit(WITHDRAWS)).otherwise("reason")

    def outcomes() -> Iterator[pl.DataFrame]:
        for portion in portions:
            found = pl.concat([pl.read_ipc(p) for p in portion.found])
            alone = found.filter(~pl.col(ORDER).is_in(without.implode()))
            alone = alone.with_columns(status=status, reason=reason).select(columns)
            merged = settled.filter(pl.col("file").is_in(found["file"].unique().implode()))
            both = pl.concat([alone, merged])
            yield both.sort("file", "record", "native_id", maintain_order=True)
        if more:
            yield frame(more, Outcome)

    _write(path, _together(outcomes()), frame([], Outcome))


def write_removed(
    portions: Iterable[Portion], settled: pl.DataFrame, without: pl.Series, path: Path
) -> None:
    """Write what no article holds, sorted by file and record, and in the order of the record.

    Args:
        portions: all portions, in their order.
        settled: outcomes of the records that were merged, which name their article.
        without: `ORDER` of those records.
        path: the Parquet file to write.
    """
    columns = frame([], Removal).columns
    became = settled.group_by("file", "record").agg(became=pl.col("article_id").max())
    merged = pl.col(ORDER).is_in(without.implode())
    article = pl.when(merged).then(pl.col("became").fill_null("")).otherwise("article_id")

    def removed() -> Iterator[pl.DataFrame]:
        for paths in (portion.removed for portion in portions if portion.removed):
            table = pl.concat([pl.read_ipc(path) for path in paths])
            named = table.join(became, on=("file", "record"), how="left", maintain_order="left")
            named = named.with_columns(article_id=article)
            yield named.sort("file", "record", maintain_order=True).select(columns)

    _write(path, _together(removed()), frame([], Removal))


def _together(tables: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows in tables of a size that is worth writing."""
    waiting: list[pl.DataFrame] = []
    for table in tables:
        waiting.append(table)
        if sum(t.height for t in waiting) >= _ROWS:
            yield pl.concat(waiting)
            waiting = []
    if waiting:
        yield pl.concat(waiting)


def _write(path: Path, tables: Iterable[pl.DataFrame], empty: pl.DataFrame) -> None:
    import pyarrow.parquet as pq

    oldest = pl.CompatLevel.oldest()
    columns = empty.to_arrow(compat_level=oldest).schema
    with pq.ParquetWriter(path, columns, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.to_arrow(compat_level=oldest))

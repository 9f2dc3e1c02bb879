"""Settle what belongs together: merge the records that share a name, run by run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from elara.collect.connect import GROUP
from elara.collect.merge import merge
from elara.collect.parsed import Parsed
from elara.collect.runs import ORDER, Run, text_length, write_run
from elara.machine.cores import open_files
from elara.records import Article, Outcome, Piece, frame, records

_TOGETHER = 2_000  # records merged in memory at a time
_MOST_PARTS = 500  # files open at a time


def settle(
    groups: pl.DataFrame, runs: Iterable[Run], found: pl.LazyFrame, scratch: Path
) -> tuple[list[Run], pl.DataFrame, pl.DataFrame]:
    """Merge the records of each group.

    Args:
        groups: from `connected`.
        runs: all runs.
        found: all records, columns of `elara.collect.runs.FOUND_SCHEMA`.
        scratch: folder for the runs made here.

    Returns:
        Runs with the articles that came out, the outcomes of the records of all groups, and
        the pieces of text of the articles whose records differ, sorted by article.
    """
    most = max(1, min(_MOST_PARTS, open_files() // 4))
    parts = min(most, groups.height // _TOGETHER + 1)
    groups = groups.with_columns(part=pl.col(GROUP) % parts)
    paths = _articles_by_part(groups, runs, parts, scratch)
    merged: list[Run] = []
    outcomes: list[pl.DataFrame] = []
    pieces = [frame([], Piece)]
    for part, path in enumerate(paths):
        chosen = groups.lazy().filter(part=part).select(ORDER)
        rows = found.join(chosen, on=ORDER, how="semi").sort(ORDER).collect()
        articles, settled, given = merge(_revived(rows, path))
        outcomes.append(frame(settled, Outcome))
        pieces.append(frame(given, Piece))
        for start in range(0, len(articles), _TOGETHER):
            few = articles[start : start + _TOGETHER]
            target = scratch / f"merged-{part}-{start}.articles"
            run = write_run([(-1, a) for a in few], sum(map(text_length, few)), target)
            merged.append(run)
        path.unlink()
    where = pl.concat(pieces).sort("article_id", maintain_order=True)
    return merged, pl.concat([frame([], Outcome), *outcomes]), where


def _articles_by_part(
    groups: pl.DataFrame, runs: Iterable[Run], parts: int, scratch: Path
) -> list[Path]:
    """Copy the articles of the groups out of the runs, one file for each part."""
    import pyarrow as pa

    paths = [scratch / f"part-{n}.arrow" for n in range(parts)]
    orders = groups.select(ORDER, "part")
    writers: dict[int, Any] = {}
    try:
        for run in runs:
            table = pl.read_ipc(run.path).join(orders, on=ORDER)
            for part, rows in table.partition_by("part", as_dict=True, include_key=False).items():
                number = int(str(part[0]))
                copied = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
                if number not in writers:
                    writers[number] = pa.ipc.new_file(paths[number], copied.schema)
                writers[number].write_table(copied)
    finally:
        for writer in writers.values():
            writer.close()
    for number in set(range(parts)) - writers.keys():
        paths[number].touch()
    return paths


def _revived(rows: pl.DataFrame, path: Path) -> list[Parsed]:
    """Records as the parsers gave them, in reading order."""
    articles: dict[int, Article] = {}
    if path.stat().st_size:
        table = pl.read_ipc(path)
        articles = dict(zip(table[ORDER].to_list(), records(table, Article), strict=True))
    return [
        Parsed(
            record=row["record"],
            native_id=row["native_id"],
            status=row["status"],
            reason=row["reason"],
            article=articles.get(row[ORDER]),
            article_id=row["article_id"],
            revision=row["revision"],
            retracts=row["retracts"].splitlines(),
            file=row["file"],
        )
        for row in rows.iter_rows(named=True)
    ]

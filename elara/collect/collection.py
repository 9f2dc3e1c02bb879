"""Collect a folder: parse in parallel, merge, and write four tables, however large it is."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from elara.collect.licences import folder_licence
from elara.collect.listing import RawFile, list_files, portions
from elara.collect.live.accounts import NOT_RECEIVED
from elara.collect.merge import linked, merge_linked
from elara.collect.own import check_columns
from elara.collect.report import summary
from elara.collect.sortedruns import ORDER, read_portion, write_tables
from elara.collect.workers import spread
from elara.display.progress import track
from elara.machine.cores import usable_cores
from elara.records import Outcome

_TABLES = ("articles.parquet", "outcomes.parquet", "removed.parquet", "pieces.parquet")
_SMALL = 32 << 20  # bytes of raw files: below, starting processes takes longer than it saves


@dataclass(slots=True)
class Collection:
    """What a folder held. Nothing of it is in memory until `collect` is called on a table.

    Args:
        articles: one row per `Article`, sorted by id.
        outcomes: one row per `Outcome`: what became of every file and record.
        removed: one row per `Removal`: the pieces of records that are not in their article.
        pieces: one row per `Piece`: where the text comes from of articles that several records
            describe, sorted by article.
    """

    articles: pl.LazyFrame
    outcomes: pl.LazyFrame
    removed: pl.LazyFrame
    pieces: pl.LazyFrame

    def counts(self) -> dict[str, int]:
        """How many articles, sources and files there are, records that were skipped or are in
        error, and pieces of records that no article holds."""
        received = ~pl.col("reason").str.starts_with(NOT_RECEIVED)
        articles = self.articles.select(articles=pl.len(), sources=pl.col("source").n_unique())
        outcomes = self.outcomes.select(
            files=pl.col("file").filter(received).n_unique(),
            skipped=(pl.col("status") == "skipped").sum(),
            errors=(pl.col("status") == "error").sum(),
        )
        tables = pl.collect_all([articles, outcomes, self.removed.select(removed=pl.len())])
        return {name: n for table in tables for name, n in table.row(0, named=True).items()}

    def example(self) -> dict[str, Any]:
        """One article as a row to look at: the first from PubMed, or else the first.

        Raises:
            ValueError: the folder held no article.
        """
        for articles in (self.articles.filter(source="pubmed"), self.articles):
            first = articles.head(1).collect()
            if first.height:
                return first.row(0, named=True)
        raise ValueError(
            f"No article could be read from this folder: {summary(self.outcomes, 0)}. Do what the "
            f"reasons advise, or name another folder in `local_files`."
        )


def collect_folder(
    folder: Path,
    into: Path | None = None,
    *,
    permissive_only: bool = False,
    licence: str = "",
    columns: Mapping[str, str] | None = None,
    workers: int | None = None,
    more: Sequence[Outcome] = (),
) -> Collection:
    """Read every file in a folder and the folders below it.

    Memory use does not grow with the folder: articles pass through files, and only the records
    that share an id, PMID, PMCID or DOI with others are looked at together.

    Args:
        folder: where the raw files are. Formats are recognised by content.
        into: folder for `articles.parquet`, `outcomes.parquet`, `removed.parquet` and
            `pieces.parquet`, which `stage.write` can seal. None keeps the tables in memory, which
            suits small folders.
        permissive_only: refuse articles whose licence does not let others pass them on.
        licence: of texts that state none and for which no `licence.txt` holds: an SPDX id, an
            address, a sentence, or `private`; "" leaves them `unknown`.
        columns: what the columns of tables hold where their names do not say it, e.g.
            `{"Headline": "title", "body_text": "text"}`.
        workers: processes that parse; None takes the usable cores, and one for a small folder.
        more: outcomes of what is in no file: `Harvest.outcomes`.

    Returns:
        Articles, merged where several records describe the same one, the outcome of every file
        and record, and what of a record is not in its article. The same files give the same
        bytes, whatever the number of workers.

    Raises:
        ValueError: `licence` names none that Elara knows, or `columns` nothing an article has.
        WorkerError: a process died.
    """
    columns = dict(columns or {})
    check_columns(columns)
    files = list_files(folder, folder_licence(licence))
    if workers is None:
        workers = usable_cores() if sum(f.size for f in files) > _SMALL else 1
    if into:
        into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".collect-", dir=into) as temporary:
        scratch = Path(temporary)
        read = functools.partial(
            read_portion, scratch=scratch, permissive_only=permissive_only, columns=columns
        )
        tasks = list(enumerate(portions(files) or [[]]))
        done = track(spread(read, tasks, workers, _named), total=len(tasks), label="read files")
        paths = [(into or scratch) / name for name in _TABLES]
        read_portions = sorted(done, key=lambda portion: portion.number)
        runs = [run for portion in read_portions for run in portion.files("articles")]
        tables = [table for portion in read_portions for table in portion.files("found")]
        found = pl.scan_ipc(tables)
        groups = linked(found)
        merged, settled, pieces = merge_linked(groups, runs, found, scratch)
        write_tables(read_portions, [*runs, *merged], settled, groups[ORDER], paths, more)
        pieces.write_parquet(paths[3], compression="zstd")
        if into:
            return Collection(*map(pl.scan_parquet, paths))
        return Collection(*(pl.read_parquet(path).lazy() for path in paths))


def _named(task: tuple[int, list[RawFile]]) -> str:
    _, files = task
    more = f" and {len(files) - 1} more files" if len(files) > 1 else ""
    return f"{files[0].name}{more}"

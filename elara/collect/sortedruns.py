"""Sort articles on disk: read raw files into sorted runs, and write one table from all runs.

This is an external merge sort. A run holds as many articles as fit into little memory, sorted by
id; then all runs are cut at the same ids, so that one range of ids after the other can be read,
sorted and written. Beside a run lies a table with one row per record that says what was found and
by which names, which is all that record linkage needs, and one of the pieces that no article holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from elara.collect.africa import countries, spellings
from elara.collect.licences import permissive
from elara.collect.listing import RawFile
from elara.collect.parsed import WITHDRAWS, Parsed
from elara.collect.rawfiles import read_listed
from elara.collect.topics import load_topics
from elara.records import Article, Outcome, Removal, frame, schema

# Where a record stands in the reading order of the whole collection: file, then record.
ORDER = "order"
_FILE_SHIFT = 32  # bits of `ORDER` below the file's rank
_RUN_ARTICLES = 5_000
_RUN_CHARACTERS = 16 << 20
_ROWS = 50_000  # of the tables beside a run
_TOGETHER = 24 << 20  # characters of text in memory at a time
_SAMPLE = 1 << 18  # characters of text between two ids that may become a border
_ROWS_WRITTEN = 100_000  # of outcomes and removals at a time
# What merging and the outcomes need to know about a record, and about its article.
_TOLD = ("file", "native_id", "status", "reason", "article_id", "revision")
_NAMES = ("pmid", "pmcid", "doi")
FOUND_SCHEMA: dict[str, Any] = {
    ORDER: pl.Int64,
    "record": pl.Int64,
    "has_article": pl.Boolean,
    **dict.fromkeys((*_TOLD, *_NAMES, "retracts"), pl.String),
}
# A piece that a parser left out: the columns of `Removal`, and its record's place.
REMOVED_SCHEMA: dict[str, Any] = {ORDER: pl.Int64, **schema(Removal)}


class Run(NamedTuple):
    """A table of articles on disk, sorted by id.

    Args:
        path: an Arrow file with the columns of `Article` and their `ORDER`.
        articles: how many.
        characters: length of their texts in all.
    """

    path: Path
    articles: int
    characters: int


class Portion(NamedTuple):
    """What was read from a portion.

    Args:
        number: its place among the portions.
        runs: its articles.
        found: tables with the columns of `FOUND_SCHEMA`, one row per record.
        removed: tables with the columns of `REMOVED_SCHEMA`, one row per piece left out.
    """

    number: int
    runs: list[Run]
    found: list[Path]
    removed: list[Path]


def read_portion(
    task: tuple[int, list[RawFile]],
    scratch: Path,
    permissive_only: bool,
    columns: Mapping[str, str],
) -> Portion:
    """Parse files and put what they hold into a scratch folder.

    Args:
        task: the portion's number and files.
        scratch: the folder.
        permissive_only: refuse articles whose licence does not let others pass them on.
        columns: what the columns of tables hold, as for `read_file`.
    """
    number, files = task
    portion = Portion(number, [], [], [])
    rows: list[tuple[Any, ...]] = []
    removed: list[tuple[Any, ...]] = []
    articles: list[tuple[int, Article]] = []
    characters = 0

    def spill(most_rows: int, most_articles: int) -> None:
        """Move to disk what is that many, or long."""
        nonlocal characters
        if len(rows) >= most_rows:
            _spill(rows, FOUND_SCHEMA, portion.found, scratch / f"{number}.found")
        if len(removed) >= most_rows:
            _spill(removed, REMOVED_SCHEMA, portion.removed, scratch / f"{number}.removed")
        if len(articles) >= most_articles or characters >= _RUN_CHARACTERS:
            target = scratch / f"{number}-{len(portion.runs)}.articles"
            portion.runs.append(write_run(articles, target))
            articles.clear()
            characters = 0

    for file in files:
        found: Iterable[Parsed] = read_listed(file, columns)
        for place, parsed in enumerate(permissive(found) if permissive_only else found):
            order = (file.rank << _FILE_SHIFT) + place
            rows.append(_row(order, parsed))
            whose = (order, parsed.file, parsed.record, parsed.article_id)
            removed += [(*whose, *piece) for piece in parsed.dropped]
            if parsed.article:
                articles.append((order, parsed.article))
                characters += _text_length(parsed.article)
            spill(_ROWS, _RUN_ARTICLES)
    spill(1, 1)
    return portion


def write_run(articles: list[tuple[int, Article]], path: Path) -> Run:
    """Assign articles to specialties and countries and write them sorted by id.

    Args:
        articles: each with its `ORDER`.
        path: the file to write.
    """
    articles = sorted(articles, key=lambda pair: (pair[1].id, pair[0]))
    assign([article for _, article in articles])
    table = frame((a for _, a in articles), Article)
    orders = pl.Series(ORDER, [order for order, _ in articles], dtype=pl.Int64)
    table.with_columns(orders).write_ipc(path, compression="uncompressed")
    return Run(path, len(articles), sum(_text_length(article) for _, article in articles))


def assign(articles: Sequence[Article]) -> None:
    """Say which specialties and African countries articles are about.

    Args:
        articles: changed in place.
    """
    topics = load_topics()
    texts = ["\n".join((a.title, a.abstract, *a.keywords, *a.mesh)) for a in articles]
    # One search for all names in all texts; only where one occurs is it worth a closer look.
    names = list(spellings())
    likely = pl.Series(texts, dtype=pl.String).str.contains_any(names, ascii_case_insensitive=True)
    for a, named in zip(articles, likely, strict=True):
        a.topics = topics.of(a.title, a.keywords, a.mesh)
        if named:
            a.countries = countries(a.title, a.abstract, a.keywords, a.mesh, ())


def _text_length(article: Article) -> int:
    return len(article.abstract) + sum(len(s.text) for s in article.body)


def _row(order: int, parsed: Parsed) -> tuple[Any, ...]:
    told = [getattr(parsed, name) for name in _TOLD]
    names = [getattr(parsed.article, name, "") for name in _NAMES]
    article = parsed.article is not None
    return order, parsed.record, article, *told, *names, "\n".join(parsed.retracts)


def _spill(
    rows: list[tuple[Any, ...]], columns: Mapping[str, Any], paths: list[Path], stem: Path
) -> None:
    """Move rows out of memory, into one more table."""
    path = stem.with_suffix(f"{stem.suffix}-{len(paths)}")
    values = zip(*rows, strict=True)
    pl.DataFrame(dict(zip(columns, values, strict=True)), columns).write_ipc(
        path, compression="lz4"
    )
    paths.append(path)
    rows.clear()


def write_tables(
    portions: Sequence[Portion],
    merged: Sequence[Run],
    settled: pl.DataFrame,
    without: pl.Series,
    paths: Sequence[Path],
    more: Sequence[Outcome],
) -> None:
    """Write the articles sorted by id, and by file and record what became of every record and
    what no article holds.

    Args:
        portions: all portions, in their order.
        merged: the articles that records became which were merged.
        settled: the outcomes of those records.
        without: `ORDER` of those records.
        paths: the Parquet files to write: articles, outcomes, removals.
        more: outcomes that belong to no portion; they come last.
    """
    alone = ~pl.col(ORDER).is_in(without.implode())
    runs = [*(run for portion in portions for run in portion.runs), *merged]
    _write(paths[0], _articles(runs, alone), frame([], Article))
    _write(paths[1], _together(_outcomes(portions, settled, alone, more)), frame([], Outcome))
    _write(paths[2], _together(_removed(portions, settled, alone)), frame([], Removal))


def _articles(runs: Sequence[Run], alone: pl.Expr) -> Iterator[pl.DataFrame]:
    """The articles of one range of ids after the other."""
    ids = [pl.scan_ipc(run.path).select("id").collect()["id"] for run in runs]
    borders = _borders(runs, ids)
    slices = [[0, *i.search_sorted(borders).to_list(), i.len()] for i in ids]
    del ids
    for bounds in zip(*map(pairwise, slices), strict=True):
        places = zip(runs, bounds, strict=True)
        if parts := [_rows(run.path, start, end) for run, (start, end) in places if start < end]:
            yield pl.concat(parts).filter(alone).drop(ORDER).sort("id")


def _borders(runs: Sequence[Run], ids: Sequence[pl.Series]) -> pl.Series:
    """Ids that cut all articles into ranges of about as much text as may be in memory."""
    samples = [pl.Series("id", [], dtype=pl.String)]
    for run, found in zip(runs, ids, strict=True):
        every = max(1, run.articles * _SAMPLE // max(run.characters, run.articles * 500))
        samples.append(found.gather_every(every))
    return pl.concat(samples).sort().gather_every(_TOGETHER // _SAMPLE).slice(1).unique().sort()


def _rows(path: Path, start: int, end: int) -> pl.DataFrame:
    """Some rows of a run. Only their pages of the file are read, which polars does not promise."""
    import pyarrow as pa

    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    return pl.DataFrame(table.slice(start, end - start))


def _outcomes(
    portions: Iterable[Portion], settled: pl.DataFrame, alone: pl.Expr, more: Sequence[Outcome]
) -> Iterator[pl.DataFrame]:
    status = pl.col("status").replace("deletion", "skipped")
    reason = pl.when(status="deletion").then(pl.lit(WITHDRAWS)).otherwise("reason")
    for portion in portions:
        found = pl.concat([pl.read_ipc(path) for path in portion.found])
        told = found.filter(alone).with_columns(status=status, reason=reason)
        merged = settled.filter(pl.col("file").is_in(found["file"].unique().implode()))
        both = pl.concat([told.select(settled.columns), merged])
        yield both.sort("file", "record", "native_id", maintain_order=True)
    if more:
        yield frame(more, Outcome)


def _removed(
    portions: Iterable[Portion], settled: pl.DataFrame, alone: pl.Expr
) -> Iterator[pl.DataFrame]:
    """The pieces left out in the order of their records, with the article that holds the rest."""
    columns = frame([], Removal).columns
    became = settled.group_by("file", "record").agg(became=pl.col("article_id").max())
    article = pl.when(alone).then("article_id").otherwise(pl.col("became").fill_null(""))
    for paths in (portion.removed for portion in portions if portion.removed):
        table = pl.concat([pl.read_ipc(path) for path in paths])
        named = table.join(became, on=("file", "record"), how="left", maintain_order="left")
        named = named.with_columns(article_id=article)
        yield named.sort("file", "record", maintain_order=True).select(columns)


def _together(tables: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows in tables of a size that is worth writing."""
    waiting: list[pl.DataFrame] = []
    for table in tables:
        waiting.append(table)
        if sum(t.height for t in waiting) >= _ROWS_WRITTEN:
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

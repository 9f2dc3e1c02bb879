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
from elara.collect.listing import RawFile
from elara.collect.parsed import WITHDRAWS, Parsed
from elara.collect.rawfiles import read_listed
from elara.collect.topics import load_topics
from elara.records import Article, Outcome, Removal, frame, schema

# Where a record stands in the reading order of the whole collection: file, then record.
ORDER = "order"
_LENGTH = "characters"  # of the texts of an article
_FILE_SHIFT = 32  # bits of `ORDER` below the file's rank
_RUN_ARTICLES = 5_000
_RUN_CHARACTERS = 16 << 20
_ROWS = 50_000  # records, or pieces that no article holds, in memory at a time
_TOGETHER = 24 << 20  # characters of text in memory at a time
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


class Portion(NamedTuple):
    """What was read from a portion.

    Args:
        number: its place among the portions.
        parts: names of its files without the suffix, which is `.articles` for a run, `.found` for
            the columns of `FOUND_SCHEMA`, and `.removed` for those of `REMOVED_SCHEMA`.
    """

    number: int
    parts: list[str]

    def files(self, suffix: str) -> list[str]:
        """Its tables of a kind."""
        return [f"{part}.{suffix}" for part in self.parts]


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
    portion = Portion(number, [])
    rows: list[tuple[Any, ...]] = []
    removed: list[tuple[Any, ...]] = []
    articles: list[tuple[int, Article]] = []
    characters = 0

    def spill() -> None:
        """Move all to disk."""
        part = str(scratch / f"{number}-{len(portion.parts)}")
        for values, columns, kind in (
            (rows, FOUND_SCHEMA, "found"),
            (removed, REMOVED_SCHEMA, "removed"),
        ):
            by_column = dict(zip(columns, zip(*values, strict=True), strict=False))
            pl.DataFrame(by_column, columns).write_ipc(f"{part}.{kind}", compression="lz4")
            values.clear()
        write_run(articles, f"{part}.articles")
        articles.clear()
        portion.parts.append(part)

    for file in files:
        for place, parsed in enumerate(read_listed(file, columns)):
            if permissive_only and parsed.article and not parsed.article.redistributable:
                licence = parsed.article.licence
                parsed.remark(
                    f"licence {licence} does not allow redistribution: refused by permissive_only"
                )
                parsed.status, parsed.article, parsed.article_id = "skipped", None, ""
            order = (file.rank << _FILE_SHIFT) + place
            rows.append(_row(order, parsed))
            whose = (order, parsed.file, parsed.record, parsed.article_id)
            removed += [(*whose, *piece) for piece in parsed.dropped]
            if parsed.article:
                articles.append((order, parsed.article))
                characters += _text_length(parsed.article)
            full = len(articles) >= _RUN_ARTICLES or max(len(rows), len(removed)) >= _ROWS
            if full or characters >= _RUN_CHARACTERS:
                spill()
                characters = 0
    spill()
    return portion


def write_run(articles: list[tuple[int, Article]], path: str) -> str:
    """Assign articles to specialties and countries and write them sorted by id.

    Args:
        articles: each with its `ORDER`.
        path: an Arrow file, with the columns of `Article`, `ORDER`, and the length of the text.
    """
    articles = sorted(articles, key=lambda pair: (pair[1].id, pair[0]))
    assign([article for _, article in articles])
    orders = pl.Series(ORDER, [order for order, _ in articles], dtype=pl.Int64)
    lengths = pl.Series(_LENGTH, [_text_length(a) for _, a in articles], dtype=pl.Int64)
    table = frame((a for _, a in articles), Article).with_columns(orders, lengths)
    table.write_ipc(path, compression="uncompressed")
    return path


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


def write_tables(
    portions: Sequence[Portion],
    runs: Sequence[str],
    settled: pl.DataFrame,
    without: pl.Series,
    paths: Sequence[Path],
    more: Sequence[Outcome],
) -> None:
    """Write the articles sorted by id, and by file and record what became of every record and
    what no article holds.

    Args:
        portions: all portions, in their order.
        runs: all articles, with those that records became which were merged.
        settled: the outcomes of those records.
        without: `ORDER` of those records.
        paths: the Parquet files to write: articles, outcomes, removals.
        more: outcomes that belong to no portion; they come last.
    """
    alone = ~pl.col(ORDER).is_in(without.implode())
    _write(paths[0], _articles(runs, alone), Article)
    _write(paths[1], _outcomes(portions, settled, alone, more), Outcome)
    _write(paths[2], _removed(portions, settled, alone), Removal)


def _articles(runs: Sequence[str], alone: pl.Expr) -> Iterator[pl.DataFrame]:
    """The articles of one range of ids after the other, cut where the text fills the memory."""
    every = pl.concat([pl.scan_ipc(run).select("id", _LENGTH) for run in runs])
    part = pl.col(_LENGTH).cum_sum() // _TOGETHER
    borders = every.sort("id").filter(part != part.shift()).select("id").unique().collect()["id"]
    slices = []
    for run in runs:
        ids = pl.scan_ipc(run).select("id").collect()["id"]
        slices.append([0, *ids.search_sorted(borders.sort()).to_list(), ids.len()])
    for bounds in zip(*map(pairwise, slices), strict=True):
        places = zip(runs, bounds, strict=True)
        if parts := [_rows(run, start, end) for run, (start, end) in places if start < end]:
            yield pl.concat(parts).filter(alone).drop(ORDER, _LENGTH).sort("id")


def _rows(path: str, start: int, end: int) -> pl.DataFrame:
    """Some rows of a run. Only their pages of the file are read, which polars does not promise."""
    import pyarrow as pa

    table = pa.ipc.open_file(pa.memory_map(path)).read_all()
    return pl.DataFrame(table.slice(start, end - start))


def _outcomes(
    portions: Iterable[Portion], settled: pl.DataFrame, alone: pl.Expr, more: Sequence[Outcome]
) -> Iterator[pl.DataFrame]:
    status = pl.col("status").replace("deletion", "skipped")
    reason = pl.when(status="deletion").then(pl.lit(WITHDRAWS)).otherwise("reason")
    for portion in portions:
        found = pl.concat([pl.read_ipc(path) for path in portion.files("found")])
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
    for portion in portions:
        table = pl.concat([pl.read_ipc(path) for path in portion.files("removed")])
        named = table.join(became, on=("file", "record"), how="left", maintain_order="left")
        named = named.with_columns(article_id=article)
        yield named.sort("file", "record", maintain_order=True).select(columns)


def _write(path: Path, tables: Iterable[pl.DataFrame], record: type) -> None:
    import pyarrow.parquet as pq

    oldest = pl.CompatLevel.oldest()
    columns = frame([], record).to_arrow(compat_level=oldest).schema
    with pq.ParquetWriter(path, columns, compression="zstd") as writer:
        for table in tables:
            if table.height:
                writer.write_table(table.to_arrow(compat_level=oldest))

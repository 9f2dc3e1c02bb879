"""Read a portion of the raw files into sorted runs of articles on disk.

This is the first half of an external merge sort: a run holds as many articles as fit into little
memory, sorted by id. Beside it lies a table with one row per record that says what was found and
by which names, which is all that record linkage needs, and one of the pieces that no article holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from elara.collect.africa import countries, spellings
from elara.collect.licences import permissive
from elara.collect.listing import RawFile
from elara.collect.parsed import Parsed
from elara.collect.rawfiles import read_listed
from elara.collect.topics import load_topics
from elara.records import Article, Removal, frame, schema

# Where a record stands in the reading order of the whole collection: file, then record.
ORDER = "order"
_FILE_SHIFT = 32  # bits of `ORDER` below the file's rank
_RUN_ARTICLES = 5_000
_RUN_CHARACTERS = 16 << 20
_ROWS = 50_000  # of the tables beside a run
# What merging and the outcomes need to know about a record.
FOUND_SCHEMA: dict[str, Any] = {
    ORDER: pl.Int64,
    "file": pl.String,
    "record": pl.Int64,
    "native_id": pl.String,
    "status": pl.String,
    "reason": pl.String,
    "article_id": pl.String,
    "revision": pl.String,
    "has_article": pl.Boolean,
    "pmid": pl.String,
    "pmcid": pl.String,
    "doi": pl.String,
    "retracts": pl.String,
}
# A piece that a parser left out: the columns of `Removal`, and its record's place.
REMOVED_SCHEMA: dict[str, Any] = {ORDER: pl.Int64, **schema(Removal)}


@dataclass(frozen=True, slots=True)
class Run:
    """A table of articles on disk, sorted by id.

    Args:
        path: an Arrow file with the columns of `Article` and their `ORDER`.
        articles: how many.
        characters: length of their texts in all.
    """

    path: Path
    articles: int
    characters: int


@dataclass(frozen=True, slots=True)
class Portion:
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
    likely = pl.Series(texts, dtype=pl.String).str.contains_any(
        list(spellings()), ascii_case_insensitive=True
    )
    for article, named in zip(articles, likely, strict=True):
        article.topics = topics.of(article.title, article.keywords, article.mesh)
        if named:
            article.countries = countries(
                article.title, article.abstract, article.keywords, article.mesh, ()
            )


def _text_length(article: Article) -> int:
    return len(article.abstract) + sum(len(s.text) for s in article.body)


def _row(order: int, parsed: Parsed) -> tuple[Any, ...]:
    article = parsed.article
    names = (article.pmid, article.pmcid, article.doi) if article else ("", "", "")
    return (
        order,
        parsed.file,
        parsed.record,
        parsed.native_id,
        parsed.status,
        parsed.reason,
        parsed.article_id,
        parsed.revision,
        article is not None,
        *names,
        "\n".join(parsed.retracts),
    )


def _spill(
    rows: list[tuple[Any, ...]], columns: Mapping[str, Any], paths: list[Path], stem: Path
) -> None:
    """Move rows out of memory, into one more table."""
    path = stem.with_suffix(f"{stem.suffix}-{len(paths)}")
    values = zip(*rows, strict=True)
    series = [pl.Series(n, v, t) for (n, t), v in zip(columns.items(), values, strict=True)]
    pl.DataFrame(series).write_ipc(path, compression="lz4")
    paths.append(path)
    rows.clear()

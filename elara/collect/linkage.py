"""Link the records that may describe one article by the names they share, and merge them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from elara.collect.merge import merge
from elara.collect.parsed import Parsed
from elara.collect.sortedruns import ORDER, Run, write_run
from elara.records import Article, Outcome, Piece, frame, records

GROUP = "group"
_TOGETHER = 2_000  # records merged in memory at a time


def linked(found: pl.LazyFrame) -> pl.DataFrame:
    """Group the records that share an id, PMID, PMCID or DOI, directly or through others.

    Args:
        found: one row per record, columns of `elara.collect.sortedruns.FOUND_SCHEMA`.

    Returns:
        Columns order and group, sorted by order: every record that has to be looked at together
        with others. Articles that share no name with anything are not in it; they stay as they
        are. A notice of deletion belongs to the records of its PMID, one of retraction to those
        that it names, and an answer to those of its question.
    """
    shared = _keys(found).collect().filter(pl.col("key").is_duplicated())
    groups = _components(shared)
    # An answer has no name of its own: it follows the article that it names.
    articles = found.filter("has_article").join(groups.lazy(), on=ORDER)
    answers = found.filter(~pl.col("has_article"), status="article")
    answers = answers.join(articles.select("article_id", GROUP).unique(), on="article_id")
    return pl.concat([groups, answers.select(ORDER, GROUP).collect()]).sort(ORDER)


def _keys(found: pl.LazyFrame) -> pl.LazyFrame:
    """Each record with the hash of each of its names. Equal hashes of different names only mean
    that two records are looked at together in vain."""
    named = {"id": "article_id", "PMID": "pmid", "PMCID": "pmcid", "DOI": "doi"}
    parts = [
        found.filter("has_article", pl.col(column) != "").select(
            ORDER, key=pl.format(f"{kind} {{}}", column)
        )
        for kind, column in named.items()
    ]
    withdrawn = found.filter(status="deletion").select(ORDER, key=pl.format("PMID {}", "native_id"))
    retracting = found.filter(pl.col("retracts") != "")
    retracted = retracting.select(ORDER, key=pl.col("retracts").str.split("\n")).explode("key")
    return pl.concat([*parts, withdrawn, retracted]).with_columns(pl.col("key").hash())


def _components(shared: pl.DataFrame) -> pl.DataFrame:
    """Label the connected components of the graph of records and names."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    orders, records = np.unique(shared[ORDER].to_numpy(), return_inverse=True)
    names, keys = np.unique(shared["key"].to_numpy(), return_inverse=True)
    size = len(orders) + len(names)
    edges = (np.ones(len(records), dtype=np.int8), (records, keys + len(orders)))
    _, labels = connected_components(coo_array(edges, shape=(size, size)), directed=False)
    return pl.DataFrame({ORDER: orders, GROUP: labels[: len(orders)].astype(np.int64)})


def merge_linked(
    groups: pl.DataFrame, runs: Iterable[Run], found: pl.LazyFrame, scratch: Path
) -> tuple[list[Run], pl.DataFrame, pl.DataFrame]:
    """Merge the records of each group, some groups at a time.

    Args:
        groups: from `linked`.
        runs: all runs.
        found: all records, columns of `elara.collect.sortedruns.FOUND_SCHEMA`.
        scratch: folder for the runs made here.

    Returns:
        Runs with the articles that came out, the outcomes of the records of all groups, and
        the pieces of text of the articles whose records differ, sorted by article.
    """
    parts = groups.height // _TOGETHER + 1
    groups = groups.with_columns(part=pl.col(GROUP) % parts)
    copies: dict[Any, list[Path]] = {}
    for number, run in enumerate(runs):
        table = pl.read_ipc(run.path).join(groups.select(ORDER, "part"), on=ORDER)
        for (part,), rows in table.partition_by("part", as_dict=True, include_key=False).items():
            path = scratch / f"part-{part}-{number}.articles"
            rows.write_ipc(path, compression="uncompressed")
            copies.setdefault(part, []).append(path)
    told = found.join(groups.lazy(), on=ORDER).sort("part", ORDER).collect()
    merged: list[Run] = []
    outcomes, pieces = [frame([], Outcome)], [frame([], Piece)]
    for (part,), rows in told.partition_by("part", as_dict=True, maintain_order=True).items():
        articles, settled, given = merge(_parsed(rows, copies.get(part, ())))
        outcomes.append(frame(settled, Outcome))
        pieces.append(frame(given, Piece))
        for start in range(0, len(articles), _TOGETHER):
            few = [(-1, article) for article in articles[start : start + _TOGETHER]]
            merged.append(write_run(few, scratch / f"merged-{part}-{start}.articles"))
    where = pl.concat(pieces).sort("article_id", maintain_order=True)
    return merged, pl.concat(outcomes), where


def _parsed(rows: pl.DataFrame, copies: Iterable[Path]) -> Iterator[Parsed]:
    """Records as the parsers gave them, in reading order; their copied articles are deleted."""
    articles: dict[int, Article] = {}
    for path in copies:
        table = pl.read_ipc(path)
        articles |= zip(table[ORDER], records(table, Article), strict=True)
        path.unlink()
    plain = rows.select("record", "native_id", "status", "reason", "article_id", "revision", "file")
    for order, retracts, values in zip(
        rows[ORDER], rows["retracts"], plain.to_dicts(), strict=True
    ):
        yield Parsed(**values, article=articles.get(order), retracts=retracts.splitlines())

"""Find the records that may describe one article, by the names they share."""

from __future__ import annotations

import polars as pl

from elara.collect.runs import ORDER

GROUP = "group"


def connected(found: pl.LazyFrame) -> pl.DataFrame:
    """Group the records that share an id, PMID, PMCID or DOI, directly or through others.

    Args:
        found: one row per record, columns of `elara.collect.runs.FOUND_SCHEMA`.

    Returns:
        Columns order and group, sorted by order: every record that has to be looked at together
        with others. Articles that share no name with anything are not in it; they stay as they
        are. A notice of deletion belongs to the records of its PMID, one of retraction to those
        that it names, and an answer to those of its question.
    """
    keys = _keys(found).collect()
    shared = keys.filter(pl.col("key").is_duplicated())
    del keys
    if not shared.height:
        return pl.DataFrame(schema={ORDER: pl.Int64, GROUP: pl.Int64})
    groups = _components(shared)
    # An answer has no name of its own: it follows the article that it names.
    of_article = (
        found.filter("has_article")
        .join(groups.lazy(), on=ORDER)
        .select("article_id", GROUP)
        .unique()
    )
    answers = (
        found.filter(~pl.col("has_article"), status="article")
        .join(of_article, on="article_id")
        .select(ORDER, GROUP)
        .collect()
    )
    return pl.concat([groups, answers]).sort(ORDER)


def _keys(found: pl.LazyFrame) -> pl.LazyFrame:
    """Each record with the hash of each of its names. Equal hashes of different names only mean
    that two records are looked at together in vain."""
    articles = found.filter("has_article")
    named = {"id": "article_id", "PMID": "pmid", "PMCID": "pmcid", "DOI": "doi"}
    parts = [
        articles.filter(pl.col(column) != "").select(ORDER, key=pl.format(f"{kind} {{}}", column))
        for kind, column in named.items()
    ]
    notices = found.filter(status="deletion")
    parts.append(notices.select(ORDER, key=pl.format("PMID {}", "native_id")))
    retracting = found.filter(pl.col("retracts") != "")
    parts.append(retracting.select(ORDER, key=pl.col("retracts").str.split("\n")).explode("key"))
    return pl.concat([p.with_columns(pl.col("key").hash()) for p in parts])


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

"""Find records that are the same article or nearly the same text, and choose which one to keep.

MinHash and LSH only propose pairs. No record is removed on their word: its exact Jaccard
similarity with the very record that is kept in its place is computed first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from elara.inspect.features import MEDIUM
from elara.inspect.text import full_text, shingles, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# 32 bands of 4 rows: a pair at Jaccard 0.8 shares a band with probability 1 - (1 - 0.8^4)^32,
# that is 0.99999993.
BANDS = 32
ROWS = 4
_SEED = 42

# Fewer words than this are a title at most: equal or similar titles are no equal articles.
SHORTEST = 20

# In a band bucket each record is compared with this many neighbours at most. It bounds the work
# on thousands of copies of one text; they still join one cluster, neighbour by neighbour.
_NEIGHBOURS = 100

_IDENTIFIERS = ("doi", "pmid", "pmcid")
_BATCH = 4096
_PAIRS = {
    "row": pl.UInt32,
    "other": pl.UInt32,
    "similarity": pl.Float64,
    "id": pl.String,
    "other_id": pl.String,
}
_FINAL = {"row": pl.UInt32, "other": pl.UInt32, "reason": pl.String, "cluster": pl.Int64}


@dataclass(frozen=True)
class Clusters:
    """Groups of records that stand for one article.

    Args:
        removed: one row per record that has a better copy: `id`, `reason` (`same_doi`,
            `same_pmid`, `same_pmcid`, `same_text` or `near_duplicate`), `kept_id`, `similarity`
            (exact Jaccard of the 3-word shingles with the kept record, 0 to 1), `cluster`.
        pairs: one row per pair that MinHash proposed: `id`, `other_id`, `similarity`.
        threshold: similarity from which two records are near duplicates.
        copies_of_retracted: ids of records that are not marked retracted but are the same
            article as one that is.
    """

    removed: pl.DataFrame
    pairs: pl.DataFrame
    threshold: float
    copies_of_retracted: tuple[str, ...] = ()

    def plot(self) -> Figure:
        """Every proposed pair at its exact similarity: what was verified, what was not."""
        from elara.inspect.report import duplicate_figure

        return duplicate_figure(self.pairs, self.threshold)


def exact_duplicates(scored: pl.DataFrame) -> Clusters:
    """Find records of the same article: one DOI, PMID or PMCID, or the same words.

    Args:
        scored: what `score` returns.

    Returns:
        The clusters. Texts of fewer than 20 words are compared by identifier only.
    """
    table = _prepare(scored)
    nothing = pl.DataFrame(schema=_PAIRS)
    return _clusters(table, _identical(table), nothing, threshold=1.0)


def near_duplicates(scored: pl.DataFrame, threshold: float = 0.8) -> Clusters:
    """Find exact duplicates, then records whose texts are nearly the same.

    Candidates come from MinHash with banding; each is verified by the exact Jaccard similarity
    of its 3-word shingles. Connected records form a cluster. Of a cluster the best record is
    kept: not retracted, then not low in quality, redistributable, of the highest quality, with
    an abstract, with the smallest id. A record of the cluster that is less similar to it than
    `threshold` is kept too, and stands for those that are similar to it.

    Args:
        scored: what `score` returns.
        threshold: smallest Jaccard similarity of a near duplicate, in (0, 1].

    Returns:
        The clusters.

    Raises:
        ValueError: the threshold is not in (0, 1].

    Source: Broder 1997, https://doi.org/10.1109/SEQUEN.1997.666900; rensa's R-MinHash,
        https://github.com/beowolx/rensa
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; a Jaccard similarity is above 0, at most 1")
    table = _prepare(scored)
    identical = _identical(table)
    pairs = _verify(table, _candidates(table, set(identical["other"].to_list())))
    return _clusters(table, identical, pairs, threshold)


def _prepare(scored: pl.DataFrame) -> pl.DataFrame:
    """One row per record, best first, with its identifiers, length, text hash and shingles."""
    order = [
        pl.col("retracted"),
        pl.col("quality") < MEDIUM,
        ~pl.col("redistributable"),
        -pl.col("quality"),
        pl.col("abstract") == "",
        pl.col("id"),
    ]
    ordered = scored.sort(order).select("id", *_IDENTIFIERS, "retracted", full_text().alias("text"))
    parts = [_digest(part) for part in ordered.iter_slices(_BATCH)] or [_digest(ordered)]
    return pl.concat(parts).with_row_index("row")


def _digest(part: pl.DataFrame) -> pl.DataFrame:
    table = words(part["text"])
    whole = table.group_by("doc").agg(length=pl.len(), same_text=pl.col("word").str.join(" "))
    sets = shingles(table).group_by("doc").agg(pl.col("shingle").unique().sort())
    every = part.drop("text").with_row_index("doc")
    joined = every.join(whole, on="doc", how="left").join(sets, on="doc", how="left").sort("doc")
    same_text = pl.when(pl.col("length") >= SHORTEST).then(pl.col("same_text").hash(seed=0))
    return joined.with_columns(
        pl.col("length").fill_null(0),
        pl.col("shingle").fill_null([]),
        same_text.cast(pl.String),
    ).drop("doc")


def _identical(table: pl.DataFrame) -> pl.DataFrame:
    """Records that are one article: `row` (the best of them), `other`, `reason`."""
    edges = []
    for key in (*_IDENTIFIERS, "same_text"):
        reason = key if key == "same_text" else f"same_{key}"
        same = table.filter(pl.col(key).is_not_null() & (pl.col(key) != ""))
        same = same.select(pl.col("row").min().over(key), pl.col("row").alias("other"))
        edges.append(
            same.filter(pl.col("row") < pl.col("other")).with_columns(reason=pl.lit(reason))
        )
    found = pl.concat(edges).unique("other", keep="first", maintain_order=True)
    root = _components(table.height, pl.concat(edges).select("row", "other").iter_rows())
    best = pl.Series("row", root[found["other"].to_numpy()], dtype=pl.UInt32)
    return found.with_columns(best)


def _candidates(table: pl.DataFrame, copies: set[int]) -> pl.DataFrame:
    """Pairs of rows that share at least one MinHash band."""
    from rensa import RMinHash

    docs = table.filter((pl.col("length") >= SHORTEST) & ~pl.col("row").is_in(sorted(copies)))
    if docs.height < 2:
        return pl.DataFrame(schema={"row": pl.UInt32, "other": pl.UInt32})
    offsets = np.concatenate([[0], docs["shingle"].list.len().cum_sum().to_numpy()])
    hashes = docs["shingle"].explode().to_numpy()
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        hashes, offsets.astype(np.uint64), BANDS * ROWS, _SEED
    )
    signature = np.array(matrix.to_rows(), dtype=np.uint32).reshape(docs.height, BANDS, ROWS)
    rows = docs["row"].to_numpy()
    found = []
    for band in range(BANDS):
        _, bucket = np.unique(signature[:, band], axis=0, return_inverse=True)
        order = np.argsort(bucket, kind="stable")
        bucket, members = bucket[order], rows[order]
        for step in range(1, min(_NEIGHBOURS, docs.height - 1) + 1):
            together = bucket[step:] == bucket[:-step]
            if not together.any():
                break
            found.append(np.stack([members[:-step][together], members[step:][together]], axis=1))
    pairs = np.concatenate(found) if found else np.empty((0, 2), dtype=np.uint32)
    return (
        pl.DataFrame(pairs, schema={"row": pl.UInt32, "other": pl.UInt32})
        .unique()
        .sort("row", "other")
    )


def _verify(table: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Add to pairs of rows their exact Jaccard `similarity` and their ids."""
    sets = table["shingle"]
    parts = []
    for part in [*pairs.iter_slices(_BATCH * 8)] or [pairs]:
        both = pl.DataFrame({"a": sets.gather(part["row"]), "b": sets.gather(part["other"])})
        shared = pl.col("a").list.set_intersection("b").list.len().cast(pl.Float64)
        union = pl.col("a").list.len() + pl.col("b").list.len() - shared
        jaccard = pl.when(union > 0).then(shared / union).otherwise(1.0).alias("similarity")
        parts.append(part.select("row", "other").hstack(both.select(jaccard)))
    return pl.concat(parts).with_columns(
        id=table["id"].gather(pairs["row"]), other_id=table["id"].gather(pairs["other"])
    )


def _clusters(
    table: pl.DataFrame, identical: pl.DataFrame, pairs: pl.DataFrame, threshold: float
) -> Clusters:
    near = pairs.filter(pl.col("similarity") >= threshold)
    replaced = {
        other: (row, reason) for row, other, reason in identical.iter_rows()
    } | _replace_near(table, near, threshold)
    root = _components(
        table.height,
        [*identical.select("row", "other").iter_rows(), *near.select("row", "other").iter_rows()],
    )
    final = []
    for row, (kept, reason) in replaced.items():
        while kept in replaced:  # the copy of a copy
            kept = replaced[kept][0]
        final.append((kept, row, reason, root[row]))
    kept_rows = pl.DataFrame(final, schema=_FINAL, orient="row")
    verified = _verify(table, kept_rows)
    removed = verified.select(
        id="other_id",
        reason=kept_rows["reason"],
        kept_id="id",
        similarity=pl.col("similarity").round(6),
        cluster=kept_rows["cluster"].rank("dense").cast(pl.Int64),
    ).sort("id")
    return Clusters(
        removed,
        pairs.select("id", "other_id", pl.col("similarity").round(6)),
        threshold,
        _copies_of_retracted(table, identical),
    )


def _replace_near(
    table: pl.DataFrame, near: pl.DataFrame, threshold: float
) -> dict[int, tuple[int, str]]:
    """Which row stands for which: cluster by cluster, the best record for all similar to it."""
    root = _components(table.height, near.select("row", "other").iter_rows())
    rows = pl.concat([near["row"], near["other"]]).unique().sort()
    left = pl.DataFrame({"other": rows, "cluster": root[rows.to_numpy()]})
    replaced: dict[int, tuple[int, str]] = {}
    while left.height:
        best = left.with_columns(row=pl.col("other").min().over("cluster"))
        rest = _verify(table, best.filter(pl.col("row") < pl.col("other")))
        similar = rest.filter(pl.col("similarity") >= threshold)
        for row, other in similar.select("row", "other").iter_rows():
            replaced[other] = (row, "near_duplicate")
        gone = pl.concat([best["row"], similar["other"]]).unique()
        left = left.filter(~pl.col("other").is_in(gone.implode()))
    return replaced


def _copies_of_retracted(table: pl.DataFrame, identical: pl.DataFrame) -> tuple[str, ...]:
    retracted = table["retracted"].to_numpy()
    root = np.arange(table.height)
    root[identical["other"].to_numpy()] = identical["row"].to_numpy()
    tainted = np.isin(root, root[retracted]) & ~retracted
    return tuple(sorted(table["id"].filter(pl.Series(tainted)).to_list()))


def _components(
    n: int, pairs: Iterable[tuple[int, int]]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Union-find: for each of n rows the smallest row that it is connected with."""
    parent = list(range(n))

    def find(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for a, b in pairs:
        low, high = sorted((find(a), find(b)))
        parent[high] = low
    return np.array([find(row) for row in range(n)], dtype=np.int64)

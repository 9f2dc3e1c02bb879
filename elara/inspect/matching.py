"""Which records stand for one article, and which of them stays.

This works on one narrow row per record; the texts themselves may lie anywhere. Whoever has them
(the notebook's table, the files of a large collection) hands in two functions: one gives a MinHash
band's keys, one the exact similarity of pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from elara.inspect.features import MEDIUM
from elara.inspect.measures import BANDS, SHORTEST, WORDS, Measures
from elara.inspect.text import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# In a band bucket each record is compared with this many neighbours at most. It bounds the work
# on thousands of copies of one text; they still join one cluster, neighbour by neighbour.
_NEIGHBOURS = 100

_IDENTIFIERS = ("doi", "pmid", "pmcid")
_PAIRS = {"row": pl.UInt32, "other": pl.UInt32}

# Keys of a band for all rows (u32); similarities (f64) of pairs of rows.
Bands = Callable[[int], Array]
Similar = Callable[[Array, Array], Array]


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


def narrow(scored: pl.DataFrame, measures: Measures) -> pl.DataFrame:
    """What matching needs to know of each record, and nothing of its text.

    Args:
        scored: what `score` returns.
        measures: of the same rows.

    Returns:
        The same rows: `id`, what decides which copy stays, and 64-bit hashes of the identifiers
        and of the words, null where there are none to compare.
    """
    words = measures.counts[:, WORDS]
    return scored.select(
        "id",
        "retracted",
        "redistributable",
        "quality",
        (pl.col("abstract") != "").alias("with_abstract"),
        *(pl.when(pl.col(i) != "").then(pl.col(i).hash(seed=0)).alias(i) for i in _IDENTIFIERS),
        same_text=pl.Series(measures.digests),
        words=pl.Series(words, dtype=pl.UInt32),
    ).with_columns(pl.when(pl.col("words") >= SHORTEST).then("same_text").alias("same_text"))


def match(
    records: pl.DataFrame, bands: Bands | None, similar: Similar, threshold: float
) -> Clusters:
    """Find the records that are one article, and the one of each cluster that stays.

    Connected records form a cluster. Of a cluster the best record is kept: not retracted, then
    not low in quality, redistributable, of the highest quality, with an abstract, with the
    smallest id. A record of the cluster that is less similar to it than `threshold` is kept too,
    and stands for those that are similar to it.

    Args:
        records: what `narrow` returns.
        bands: gives the keys of a MinHash band, or None to compare identifiers and words only.
        similar: gives the exact Jaccard similarity of pairs of rows.
        threshold: smallest similarity of a near duplicate, in (0, 1].

    Returns:
        The clusters. They do not depend on the order of the rows.

    Source: Broder 1997, https://doi.org/10.1109/SEQUEN.1997.666900; Leskovec, Rajaraman and
        Ullman, Mining of Massive Datasets, chapter 3, http://www.mmds.org/
    """
    order = _best_first(records)  # from here on a row is a place in this order
    known = _Similarities(lambda a, b: similar(order[a], order[b]))
    identical = _identical(records, order)
    pairs = pl.DataFrame(schema=_PAIRS)
    if bands is not None:
        single = np.ones(len(order), dtype=bool)
        single[identical["other"].to_numpy()] = False
        compared = np.flatnonzero(single & (records["words"].to_numpy()[order] >= SHORTEST))
        pairs = _candidates(lambda band: bands(band)[order], compared)
    known.learn(pl.concat([pairs, identical.select("row", "other")]))
    pairs = known.of(pairs)
    return _clusters(records, order, identical, pairs, known, threshold)


class _Similarities:
    """The similarities of pairs that were asked for so far: none is computed twice."""

    def __init__(self, similar: Similar) -> None:
        self._similar = similar
        self._known = pl.DataFrame(schema=_PAIRS | {"similarity": pl.Float64})

    def learn(self, pairs: pl.DataFrame) -> None:
        new = (
            pairs.select("row", "other")
            .unique()
            .join(self._known, on=["row", "other"], how="anti")
            .sort("row", "other")
        )
        if new.height:
            left, right = (new[side].to_numpy().astype(np.int64) for side in ("row", "other"))
            computed = new.with_columns(similarity=self._similar(left, right))
            self._known = pl.concat([self._known, computed])

    def of(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """The pairs, in their order, with their `similarity`."""
        self.learn(pairs)
        return pairs.join(self._known, on=["row", "other"], how="left", maintain_order="left")


def _best_first(records: pl.DataFrame) -> Array:
    """The rows, the best first."""
    quality = records["quality"].to_numpy()
    rank = records.select(
        pl.col("retracted") * 4 + (pl.col("quality") < MEDIUM) * 2 + ~pl.col("redistributable")
    )
    keys = (~records["with_abstract"].to_numpy(), -quality, rank.to_series().to_numpy())
    order = np.lexsort(keys)  # the last key counts first
    equal = np.ones(max(len(order) - 1, 0), dtype=bool)
    for key in keys:
        equal &= key[order[1:]] == key[order[:-1]]
    # Ids are slow to sort, so only equals are put in the order of their ids.
    group = np.concatenate([[0], np.cumsum(~equal)])[: len(order)]
    tied = np.flatnonzero(np.concatenate([equal, [False]]) | np.concatenate([[False], equal]))
    ids = pl.DataFrame({"group": group[tied], "id": records["id"].gather(order[tied])})
    order[tied] = order[tied][ids.select(pl.arg_sort_by("group", "id")).to_series().to_numpy()]
    return order


def _identical(records: pl.DataFrame, order: Array) -> pl.DataFrame:
    """Records that are one article: `row` (the best of them), `other`, `reason`."""
    edges = []
    for key in (*_IDENTIFIERS, "same_text"):
        keys = records[key].gather(order)
        known = keys.is_not_null()
        shared = pl.DataFrame({"other": known.arg_true(), "key": keys.filter(known)})
        shared = shared[_repeated(shared["key"].to_numpy())]
        same = shared.select(pl.col("other").min().over("key").alias("row"), "other")
        reason = key if key == "same_text" else f"same_{key}"
        edges.append(
            same.filter(pl.col("row") < pl.col("other")).with_columns(reason=pl.lit(reason))
        )
    every = pl.concat(edges)
    found = every.unique("other", keep="first", maintain_order=True)
    root = _components(len(order), every)
    best = pl.Series("row", root[found["other"].to_numpy()], dtype=pl.UInt32)
    return found.with_columns(best)


def _repeated(keys: Array) -> Array:
    """Positions of the keys that occur more than once; most do not, so sorting them is enough."""
    ordered = np.sort(keys)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.flatnonzero(np.isin(keys, twice)) if len(twice) else np.empty(0, dtype=np.int64)


def _candidates(keys: Bands, compared: Array) -> pl.DataFrame:
    """Pairs of rows, of those that are compared, that share at least one MinHash band."""
    from elara.inspect.pairs import neighbours

    def pairs_of(band: int) -> Array:
        entries = keys(band)[compared].astype(np.uint64) << np.uint64(32)
        entries |= compared.astype(np.uint64)
        entries.sort()
        return neighbours(entries, _NEIGHBOURS)

    found = np.empty(0, dtype=np.uint64)
    with ThreadPoolExecutor(2) as pool:  # sorting lets go of the GIL; each holds one band
        for pairs in pool.map(pairs_of, range(BANDS)):
            found = np.unique(np.concatenate([found, pairs]))
    row, other = found >> np.uint64(32), found & np.uint64(0xFFFFFFFF)
    return pl.DataFrame({"row": row, "other": other}, schema_overrides=_PAIRS)


def _clusters(
    records: pl.DataFrame,
    order: Array,
    identical: pl.DataFrame,
    pairs: pl.DataFrame,
    known: _Similarities,
    threshold: float,
) -> Clusters:
    near = pairs.filter(pl.col("similarity") >= threshold)
    replaced = {
        other: (row, reason) for row, other, reason in identical.iter_rows()
    } | _replace_near(len(order), near, known, threshold)
    edges = pl.concat([identical.select("row", "other"), near.select("row", "other")])
    root = _components(len(order), edges)
    final = []
    for row, (kept, reason) in replaced.items():
        while kept in replaced:  # the copy of a copy
            kept = replaced[kept][0]
        final.append((kept, row, reason, root[row]))
    schema = _PAIRS | {"reason": pl.String, "cluster": pl.Int64}
    verified = known.of(pl.DataFrame(final, schema=schema, orient="row"))

    def ids(rows: pl.Series) -> pl.Series:
        return records["id"].gather(order[rows.to_numpy()])

    removed = verified.select(
        ids(verified["other"]).alias("id"),
        "reason",
        ids(verified["row"]).alias("kept_id"),
        pl.col("similarity").round(6),
        pl.col("cluster").rank("dense").cast(pl.Int64),
    ).sort("id")
    proposed = pairs.select(
        ids(pairs["row"]).alias("id"),
        ids(pairs["other"]).alias("other_id"),
        pl.col("similarity").round(6),
    )
    return Clusters(removed, proposed, threshold, _copies_of_retracted(records, order, identical))


def _replace_near(
    rows: int, near: pl.DataFrame, known: _Similarities, threshold: float
) -> dict[int, tuple[int, str]]:
    """Which row stands for which: cluster by cluster, the best record for all similar to it."""
    root = _components(rows, near)
    among = pl.concat([near["row"], near["other"]]).unique().sort()
    left = pl.DataFrame({"other": among, "cluster": root[among.to_numpy()]})
    replaced: dict[int, tuple[int, str]] = {}
    while left.height:
        best = left.with_columns(row=pl.col("other").min().over("cluster"))
        rest = known.of(best.filter(pl.col("row") < pl.col("other")).select("row", "other"))
        similar = rest.filter(pl.col("similarity") >= threshold)
        for row, other in similar.select("row", "other").iter_rows():
            replaced[other] = (row, "near_duplicate")
        gone = pl.concat([best["row"], similar["other"]]).unique()
        left = left.filter(~pl.col("other").is_in(gone.implode()))
    return replaced


def _copies_of_retracted(
    records: pl.DataFrame, order: Array, identical: pl.DataFrame
) -> tuple[str, ...]:
    retracted = records["retracted"].to_numpy()[order]
    root = np.arange(len(order))
    root[identical["other"].to_numpy()] = identical["row"].to_numpy()
    tainted = np.isin(root, root[retracted]) & ~retracted
    return tuple(sorted(records["id"].gather(order[tainted]).to_list()))


def _components(rows: int, pairs: pl.DataFrame) -> Array:
    """For each row the smallest row that it is connected with."""
    from elara.inspect.pairs import components

    left, right = (pairs[side].to_numpy().astype(np.int64) for side in ("row", "other"))
    return components(rows, left, right)

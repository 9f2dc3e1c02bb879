"""Find the records that stand for one article, and the one of each cluster that stays.

MinHash and LSH only propose pairs. No record is removed on their word: its exact Jaccard
similarity with the very record that is kept in its place is computed first, and then the two are
compared word by word. Leaflets of one template are alike in all but the drug and its dose.

`match` holds one narrow row per record. What it needs of the texts, which may lie anywhere, it gets
from four functions, a little at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl

from elara.inspection.differences import differences, plain_texts
from elara.inspection.features import MEDIUM, Measures, measure, texts_of
from elara.inspection.lexicon import tables
from elara.inspection.pairs import PAIRS, as_frame, bucket_pairs, similarities
from elara.inspection.selection import Clusters
from elara.text.groups import components
from elara.text.placeholders import PLACEHOLDER
from elara.text.words import ABSTRACT_TOKENS, BANDS, BODY_TOKENS, SHORTEST, WORDS, Array

# In a band bucket each record is compared with this many neighbours at most. It bounds the work
# on thousands of copies of one text; they still join one cluster, neighbour by neighbour.
_NEIGHBOURS = 100
# With so many of the records that are most similar to it a record is compared word by word. It
# bounds the work on thousands of leaflets of one template.
_PARTNERS = 10

_NO_ABSTRACT = PLACEHOLDER + r"|^\W*na\W*$"  # what tables have in an empty cell
_IDENTIFIERS = ("doi", "pmid", "pmcid")
# Why records are one article, whatever their texts' similarity: the first reason counts.
IDENTICAL = (*(f"same_{i}" for i in _IDENTIFIERS), "same_text")
_STATED = [
    pl.when(pl.col(i) != "").then(pl.col(i).hash(seed=0)).fill_null(0).alias(i)
    for i in _IDENTIFIERS
]
# What comes before quality, the smaller the better: retracted, low, not redistributable.
_STANDING = (
    pl.col("retracted").cast(pl.UInt8) * 4
    + (pl.col("quality") < MEDIUM).cast(pl.UInt8) * 2
    + (~pl.col("redistributable")).cast(pl.UInt8)
)

# One number for all rows: the hashes (u64) by which they are identical, for a number in IDENTICAL;
# the keys of a band (u32).
Numbers = Callable[[int], Array]
# For pairs of rows the similarities (f64), or what keeps the first from standing for the second.
Similar = Callable[[Array, Array], Array]
Differ = Callable[[Array, Array], list[str]]


def near_duplicates(scored: pl.DataFrame, threshold: float = 0.8) -> Clusters:
    """Find records of the same article, then records whose texts are nearly the same.

    Records are the same article that have one DOI, PMID or PMCID, or the same words. A text of
    fewer than 20 words has a copy only where journal and authors are the same too, and a title of
    so few words without a text has none.

    Candidates for nearly the same text come from MinHash with banding; each is verified by the
    exact Jaccard similarity of its 3-word shingles. A record that differs from the one that would
    stand for it in a drug, a number, a unit, a negation or the like stays, and is listed in
    `review`. `match` says which record of a cluster stays.

    Args:
        scored: what `score` returns.
        threshold: smallest Jaccard similarity of a near duplicate, in (0, 1].

    Returns:
        The clusters.

    Raises:
        ValueError: the threshold is not in (0, 1].

    Source: Broder 1997, https://doi.org/10.1109/SEQUEN.1997.666900
    """
    from elara.text.shingles import shingle_sets

    check_threshold(threshold)
    lexicon = tables(())  # which words are medical does not matter here
    found = measure(scored, lexicon)
    words = found.counts[:, WORDS]

    def sets(rows: Array) -> tuple[Array, Array]:
        starts, shingles = shingle_sets(texts_of(scored[rows]), lexicon)
        return starts, shingles

    return match(
        narrow(scored, found),
        identities(scored, found).__getitem__,
        found.keys.__getitem__,
        lambda left, right: similarities(left, right, words, sets),
        lambda left, right: differences(left, right, lambda rows: plain_texts(scored[rows])),
        threshold,
    )


def check_threshold(threshold: float) -> None:
    """Raise ValueError unless the threshold can be a Jaccard similarity."""
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; a Jaccard similarity is above 0, at most 1")


def narrow(scored: pl.DataFrame, measures: Measures) -> pl.DataFrame:
    """What matching holds of each record, and nothing of its text.

    Args:
        scored: what `score` returns.
        measures: of the same rows.

    Returns:
        The same rows: `id`, what decides which copy stays, and `words`.
    """
    return scored.select(
        "id",
        "retracted",
        "redistributable",
        "quality",
        (pl.col("abstract") != "").alias("with_abstract"),
        words=pl.Series(measures.counts[:, WORDS], dtype=pl.UInt32),
    )


def identities(articles: pl.DataFrame, measures: Measures) -> Array:
    """Hashes of what makes records identical: IDENTICAL x articles (u64), 0 for nothing.

    Args:
        articles: the columns of `Article`.
        measures: of the same rows.
    """
    return np.vstack([*articles.select(_STATED), _texts(articles, measures)])


def _texts(articles: pl.DataFrame, measures: Measures) -> Array:
    """Hashes of the words, signs and headings (u64), 0 for none or for a short title alone."""
    found: Array = measures.digests.copy()
    if articles["body"].list.len().sum():
        headings = pl.col("body").list.eval(pl.element().struct.field("heading")).list.join("\n")
        said = headings.str.strip_chars() != ""
        hashed = articles.select(pl.when(said).then(headings.hash(seed=1)).fill_null(0))
        found ^= hashed.to_series().to_numpy()
    words, tokens = measures.counts[:, WORDS], measures.counts[:, [ABSTRACT_TOKENS, BODY_TOKENS]]
    short = np.flatnonzero(words < SHORTEST)
    # Two letters titled "Reply" are two letters, and so are two of a few words by two authors.
    few = articles[short].select(
        placed=pl.concat_str("journal", pl.col("authors").list.join("\n"), separator="\n").hash(),
        untold=pl.col("abstract").str.contains(_NO_ABSTRACT) & (pl.col("body").list.len() == 0),
    )
    told = (words[short] > 0) & tokens[short].any(axis=1) & ~few["untold"].to_numpy()
    found[short] = np.where(told, found[short] ^ few["placed"].to_numpy(), np.uint64(0))
    return found


def match(
    records: pl.DataFrame,
    hashes: Numbers,
    bands: Numbers,
    similar: Similar,
    differ: Differ,
    threshold: float,
) -> Clusters:
    """Find the records that are one article, and the one of each cluster that stays.

    Connected records form a cluster. Of a cluster the best record is kept: not retracted, then
    not low in quality, redistributable, of the highest quality, with an abstract, with the
    smallest id. A record of the cluster that is less similar to it than `threshold`, or differs
    from it in what counts, is kept too, and stands for those that are similar to it. A record
    that says all that the best one says, and more, takes its place, unless it is worse in one of
    the first three points.

    Args:
        records: what `narrow` returns.
        hashes: gives a row of what `identities` returns.
        bands: gives the keys of a MinHash band.
        similar: gives the exact Jaccard similarity of pairs of rows.
        differ: says what keeps a row from standing for another, see
            `elara.inspection.differences.difference`.
        threshold: smallest similarity of a near duplicate, in (0, 1].

    Returns:
        The clusters. They do not depend on the order of the rows.

    Source: Broder 1997, https://doi.org/10.1109/SEQUEN.1997.666900; Leskovec, Rajaraman and
        Ullman, Mining of Massive Datasets, chapter 3, http://www.mmds.org/
    """
    order = best_first(records)
    words, standing = records["words"].to_numpy(), records.select(_STANDING).to_series().to_numpy()
    # From here on a row is a place in this order.
    records = records.select("id", "retracted", "words")[order]

    def rows(pairs: pl.DataFrame) -> Iterator[Array]:
        return (order[pairs[side].to_numpy()].astype(np.int64) for side in ("row", "other"))

    def told(pairs: pl.DataFrame) -> pl.DataFrame:
        left, right = rows(pairs)
        said = np.array(differ(left, right), dtype=object)
        turned = (said != "") & (words[right] > words[left]) & (standing[right] <= standing[left])
        places = np.flatnonzero(turned)
        turned[places] = [not text for text in differ(right[places], left[places])]
        said[turned] = ""
        difference = pl.Series(said.tolist(), dtype=pl.String)
        return pairs.with_columns(difference=difference, turned=turned)

    def like(pairs: pl.DataFrame) -> pl.DataFrame:
        return pairs.with_columns(similarity=similar(*rows(pairs)))

    likeness = _Known(like, {"similarity": pl.Float64}, order)
    difference = _Known(told, {"difference": pl.String, "turned": pl.Boolean}, order)
    identical = _identical(hashes, order)
    alone = records["words"].to_numpy() >= SHORTEST
    alone[identical["other"].to_numpy()] = False
    compared = np.flatnonzero(alone)
    pairs = _candidates(bands, order[compared], compared.astype(np.uint32))
    likeness.of(pl.concat([pairs, identical.select("row", "other")]))
    return _clusters(records, identical, likeness.of(pairs), (likeness, difference), threshold)


class _Known:
    """What is known of the pairs that were asked for so far: nothing is computed twice.

    Pairs are computed in the order of the files, where copies lie near each other more often than
    in the order of the best: a few parts are opened at a time, and not all of them for a few pairs.
    """

    def __init__(
        self, compute: Callable[[pl.DataFrame], pl.DataFrame], found: Any, order: Array
    ) -> None:
        self._compute, self._order = compute, order
        self.pairs = pl.DataFrame(schema={**PAIRS, **found})

    def of(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """The pairs, in their order, with what is computed of them."""
        both = ["row", "other"]
        new = pairs.select(both).unique().join(self.pairs, on=both, how="anti").sort(both)
        if new.height:
            lying = np.argsort(self._order[new["row"].to_numpy()], kind="stable")
            self.pairs = pl.concat([self.pairs, self._compute(new[lying])])
        return pairs.join(self.pairs, on=both, how="left", maintain_order="left")


def best_first(records: pl.DataFrame) -> Array:
    """The rows (u32), the best first, see `match`."""
    order = pl.arg_sort_by(_STANDING, -pl.col("quality"), ~pl.col("with_abstract"), "id")
    return records.select(order).to_series().to_numpy()


def _identical(hashes: Numbers, order: Array) -> pl.DataFrame:
    """Records that are one article: `row` (the best of them), `other`, `reason`."""
    edges = []
    for number, reason in enumerate(IDENTICAL):
        known = pl.DataFrame({"key": hashes(number)[order]}).with_row_index("other")
        shared = known.filter((pl.col("key") != 0) & pl.col("key").is_duplicated())
        best = pl.col("other").min().over("key")
        same = shared.select(row=best, other="other", reason=pl.lit(reason))
        edges.append(same.filter(pl.col("row") < pl.col("other")))
    every = pl.concat(edges)
    found = every.unique("other", keep="first", maintain_order=True)
    first = components(every).select("other", row="cluster")
    return found.drop("row").join(first, on="other", maintain_order="left").select(every.columns)


def _candidates(bands: Numbers, rows: Array, places: Array) -> pl.DataFrame:
    """Pairs of places, of the rows that are compared, that share at least one MinHash band."""

    def pairs_of(band: int) -> Array:
        return bucket_pairs(bands(band)[rows], places, _NEIGHBOURS)

    found = np.empty(0, dtype=np.uint64)
    with ThreadPoolExecutor(2) as pool:  # sorting lets go of the GIL; each holds one band
        for pairs in pool.map(pairs_of, range(BANDS)):
            found = np.union1d(found, pairs)
    return as_frame(found)


def _clusters(
    records: pl.DataFrame,
    identical: pl.DataFrame,
    pairs: pl.DataFrame,
    compared: tuple[_Known, _Known],
    threshold: float,
) -> Clusters:
    likeness, told = compared
    near = pairs.filter(pl.col("similarity") >= threshold)
    copies = pl.concat([identical, _replace_near(near, likeness, told, threshold)])
    other, kept = copies["other"].to_numpy(), copies["row"].to_numpy()
    stands = np.arange(records.height, dtype=np.uint32)
    stands[other] = kept
    while (stands[kept] != kept).any():  # the copy of a copy
        kept = stands[kept]
    groups = components(pl.concat([copies.select("row", "other"), near.select("row", "other")]))
    verified = likeness.of(copies.with_columns(row=kept))
    verified = verified.join(groups, on="other", maintain_order="left")
    # Of each record that stays the most similar one that it was compared with, or its better copy.
    differing = told.pairs.filter(
        (pl.col("difference") != "") & ~pl.col("other").is_in(copies["other"].implode())
    )
    differing = likeness.of(differing).sort("similarity", "row", descending=[True, False])
    differing = differing.unique("other", keep="first", maintain_order=True)
    ids, similarity = records["id"].gather, pl.col("similarity").round(6)
    removed = verified.select(
        id=ids(verified["other"]),
        reason="reason",
        kept_id=ids(verified["row"]),
        similarity=similarity,
        cluster=pl.col("cluster").rank("dense").cast(pl.Int64),
    )
    ends = {"id": ids(pairs["row"]), "other_id": ids(pairs["other"])}
    proposed = pairs.select(**ends, similarity=similarity)
    better = ids(stands[differing["row"].to_numpy()])
    review = differing.select(
        id=ids(differing["other"]), kept_id=better, similarity=similarity, difference="difference"
    )
    retracted = _copies_of_retracted(records, identical)
    return Clusters(removed.sort("id"), proposed, threshold, retracted, review.sort("id"))


def _replace_near(
    near: pl.DataFrame, likeness: _Known, told: _Known, threshold: float
) -> pl.DataFrame:
    """Which row stands for which: cluster by cluster, the best record for all like it."""
    closest = near.sort("other", "similarity", "row", descending=[False, True, False])
    closest = closest.group_by("other", maintain_order=True).head(_PARTNERS)
    same = told.of(closest.select("row", "other")).filter(pl.col("difference") == "")
    left = components(same)
    replaced = pl.DataFrame(schema=PAIRS)
    while left.height:
        best = left.with_columns(row=pl.col("other").min().over("cluster"))
        rest = likeness.of(best.filter(pl.col("row") < pl.col("other")).select("row", "other"))
        similar = told.of(rest.filter(pl.col("similarity") >= threshold).select("row", "other"))
        similar = similar.filter(pl.col("difference") == "")
        # Where another record says more than the best, it takes its place in the next round.
        turned = similar.filter("turned").unique("row", keep="first", maintain_order=True)
        similar = similar.filter(~pl.col("row").is_in(turned["row"].implode()))
        turned = turned.select(row="other", other="row")
        replaced = pl.concat([replaced, turned, similar.select("row", "other")])
        gone = pl.concat([best["row"], similar["other"]]).unique()
        left = left.filter(~pl.col("other").is_in(gone.implode()))
    return replaced.with_columns(reason=pl.lit("near_duplicate"))


def _copies_of_retracted(records: pl.DataFrame, identical: pl.DataFrame) -> tuple[str, ...]:
    best = identical.select("row", other="row").unique()
    members = pl.concat([best, identical.select("row", "other")])
    marked = members.with_columns(records[members["other"]].select("id", "retracted"))
    copies = marked.filter(pl.col("retracted").any().over("row") & ~pl.col("retracted"))
    return tuple(sorted(copies["id"].to_list()))

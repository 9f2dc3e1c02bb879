"""Find records that are the same article or nearly the same text, and choose which one to keep.

MinHash and LSH only propose pairs. No record is removed on their word: its exact Jaccard
similarity with the very record that is kept in its place is computed first, and then the two are
compared word by word. Leaflets of one template are alike in all but the drug and its dose.
"""

from __future__ import annotations

import polars as pl

from elara.inspection.differences import differences, plain_texts
from elara.inspection.lexicon import tables
from elara.inspection.matching import Clusters, identities, match, narrow
from elara.inspection.measures import measure, similarities, texts_of
from elara.text.words import WORDS, Array


def near_duplicates(scored: pl.DataFrame, threshold: float = 0.8) -> Clusters:
    """Find records of the same article, then records whose texts are nearly the same.

    Records are the same article that have one DOI, PMID or PMCID, or the same words. A text of
    fewer than 20 words has a copy only where journal and authors are the same too, and a title of
    so few words without a text has none.

    Candidates for nearly the same text come from MinHash with banding; each is verified by the
    exact Jaccard similarity of its 3-word shingles. A record that differs from the one that would
    stand for it in a drug, a number, a unit, a negation or the like stays, and is listed in
    `review`. `elara.inspection.matching.match` says which record of a cluster stays.

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

    def similar(left: Array, right: Array) -> Array:
        return similarities(left, right, words, sets)

    def differ(left: Array, right: Array) -> list[str]:
        return differences(left, right, lambda rows: plain_texts(scored[rows]))

    hashes = identities(scored, found).__getitem__
    bands = found.keys.__getitem__
    return match(narrow(scored, found), hashes, bands, similar, differ, threshold)


def check_threshold(threshold: float) -> None:
    """Raise ValueError unless the threshold can be a Jaccard similarity."""
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; a Jaccard similarity is above 0, at most 1")

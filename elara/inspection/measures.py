"""Hand the texts of articles to the compiled pass over their words."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from elara.text.words import Array, Tables, Texts, strings

# How many shingles are held at once to compare pairs: 8 bytes each.
_SHINGLES_AT_ONCE = 4_000_000

TEXT_COLUMNS = ("title", "abstract", "body")


class Measures(NamedTuple):
    """One row per article.

    Args:
        counts: i64, articles x 10, the columns as named in `elara.text.words`.
        digests: u64, a hash of all words in their order.
        keys: u32, bands x articles, the bucket of each MinHash band.
    """

    counts: Array
    digests: Array
    keys: Array


def measure(articles: pl.DataFrame, tables: Tables) -> Measures:
    """Measure the texts of articles in one pass.

    Args:
        articles: with the columns `title`, `abstract` and `body`.
        tables: what `elara.inspection.lexicon.tables` returns.
    """
    from elara.text import shingles

    return Measures(*shingles.measure(texts_of(articles), tables))


def texts_of(articles: pl.DataFrame) -> Texts:
    """The characters of the texts.

    A translation is no part of an article's text: it neither counts nor resembles another.
    """
    lengths = articles["body"].list.len()
    section = articles.filter(lengths > 0)["body"].explode().struct
    foreign = section.field("kind") == "translation"
    sections = section.field("text").set(foreign, "")
    parts = np.concatenate([[0], np.cumsum(lengths.to_numpy(), dtype=np.int64)])
    return strings(articles["title"]), strings(articles["abstract"]), strings(sections), parts


def similarities(
    left: Array,
    right: Array,
    words: Array,
    sets: Callable[[Array], tuple[Array, Array]],
) -> Array:
    """Exact Jaccard similarity of pairs of articles, in bounded memory.

    Args:
        left: rows, pair by pair.
        right: those of the others.
        words: number of words of every row.
        sets: gives the shingles of rows, as `elara.text.shingles.shingle_sets` does.

    Returns:
        One similarity per pair, f64.
    """
    from elara.text.shingles import jaccard

    found = np.empty(len(left), dtype=np.float64)
    load = np.cumsum(words[left].astype(np.int64) + words[right]) // _SHINGLES_AT_ONCE
    for chunk in np.split(np.arange(len(left)), np.flatnonzero(np.diff(load)) + 1):
        rows = np.unique(np.concatenate([left[chunk], right[chunk]]))
        starts, shingles = sets(rows)
        a, b = (np.searchsorted(rows, side[chunk]) for side in (left, right))
        found[chunk] = jaccard(starts, shingles, a, b)
    return found

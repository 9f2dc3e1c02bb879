"""Pair the rows that share a bucket, and compare pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from elara.text.words import Array

PAIRS = {"row": pl.UInt32, "other": pl.UInt32}
# How many shingles are held at once to compare pairs: 8 bytes each.
_SHINGLES_AT_ONCE = 4_000_000
_UPPER, _LOWER = np.uint64(32), np.uint64(0xFFFFFFFF)


def bucket_pairs(keys: Array, rows: Array, furthest: int) -> Array:
    """Pair the rows of each bucket.

    Args:
        keys: the bucket of each row (u32).
        rows: the rows (u32). In a bucket they are taken in ascending order.
        furthest: how many places on in its bucket a row is paired with at most.

    Returns:
        Pairs (u64, sorted), the smaller row in the upper half; `as_frame` reads them.
    """
    entries = (keys.astype(np.uint64) << _UPPER) | rows
    entries.sort()
    same = entries[1:] >> _UPPER == entries[:-1] >> _UPPER
    shared = np.zeros(len(entries), dtype=bool)
    shared[1:] |= same
    shared[:-1] |= same
    entries = entries[shared]
    found = []
    for step in range(1, min(furthest, len(entries) - 1) + 1):
        together = entries[step:] >> _UPPER == entries[:-step] >> _UPPER
        if not together.any():
            break
        ends = entries[:-step][together], entries[step:][together]
        found.append((ends[0] << _UPPER) | (ends[1] & _LOWER))
    return np.sort(np.concatenate(found)) if found else np.empty(0, dtype=np.uint64)


def as_frame(pairs: Array) -> pl.DataFrame:
    """The pairs of `bucket_pairs` as a table: `row`, `other`."""
    return pl.DataFrame({"row": pairs >> _UPPER, "other": pairs & _LOWER}, schema_overrides=PAIRS)


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

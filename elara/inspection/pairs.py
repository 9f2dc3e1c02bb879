"""Pairs of documents: who meets in a bucket, how similar they are, who is connected."""

from __future__ import annotations

import numpy as np

from elara.inspection.machine import call
from elara.inspection.text import Array


def jaccard(starts: Array, shingles: Array, left: Array, right: Array) -> Array:
    """Exact Jaccard similarity of pairs of documents.

    Args:
        starts, shingles: what `elara.inspection.kernels.shingle_sets` returns.
        left, right: positions of documents (i64), pair by pair.

    Returns:
        Shared shingles over all shingles, f64; 1 where both have none.
    """
    found = np.empty(left.shape[0], dtype=np.float64)
    largest = int(np.diff(starts).max(initial=0))
    seen = np.empty(max(16, 4 * largest), dtype=np.uint64)
    call("jaccard", starts, shingles, left, right, found, seen)
    return found


def repeated(keys: Array) -> Array:
    """Where keys are that occur more than once, and a few others: so fewer have to be sorted.

    Args:
        keys: u32.

    Returns:
        Places (i64), ascending.
    """
    seen = np.zeros(1 << (4 * len(keys)).bit_length(), dtype=np.uint8)
    places = np.empty(len(keys) + 1, dtype=np.int64)
    return places[: call("repeated", keys, seen, places)]


def neighbours(entries: Array, furthest: int) -> Array:
    """Pairs of documents that lie in one bucket.

    Args:
        entries: sorted u64, a bucket's key in the upper half and a document in the lower.
        furthest: how many places on in its bucket a document is paired with at most.

    Returns:
        Pairs (u64), the smaller document in the upper half.
    """
    limit = np.array([furthest], dtype=np.int64)
    pairs = np.empty(1 + len(entries) // 4, dtype=np.uint64)
    while (total := call("neighbours", entries, limit, pairs)) > len(pairs):
        pairs = np.empty(total, dtype=np.uint64)
    return pairs[:total].copy()


def components(n: int, left: Array, right: Array) -> Array:
    """Union-find: for each of n rows the smallest row that it is connected with (i64).

    Args:
        n: number of rows.
        left, right: rows (i64) that are connected, pair by pair.
    """
    parent = np.arange(n)
    call("components", left, right, parent)
    return parent

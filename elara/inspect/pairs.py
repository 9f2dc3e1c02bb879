"""Pairs of documents, compiled: who meets in a bucket, how similar they are, who is connected.

Importing this module imports numba, so it is imported where it is used.
"""

from __future__ import annotations

import numpy as np

from elara.inspect.compiled import compiled
from elara.inspect.text import Array

_HALF = np.uint64(32)
_LOWER = np.uint64(0xFFFFFFFF)


@compiled
def jaccard(starts: Array, shingles: Array, left: Array, right: Array) -> Array:
    """Exact Jaccard similarity of pairs of documents.

    Args:
        starts, shingles: what `elara.inspect.kernels.shingle_sets` returns.
        left, right: positions of documents (i64), pair by pair.

    Returns:
        Shared shingles over all shingles, f64; 1 where both have none.
    """
    found = np.empty(left.shape[0], dtype=np.float64)
    for p in range(left.shape[0]):
        a, a_end = starts[left[p]], starts[left[p] + 1]
        b, b_end = starts[right[p]], starts[right[p] + 1]
        together = a_end - a + b_end - b
        shared = 0
        while a < a_end and b < b_end:
            if shingles[a] == shingles[b]:
                shared += 1
                a += 1
                b += 1
            elif shingles[a] < shingles[b]:
                a += 1
            else:
                b += 1
        found[p] = shared / (together - shared) if together > 0 else 1.0
    return found


@compiled
def neighbours(entries: Array, furthest: int) -> Array:
    """Pairs of documents that lie in one bucket.

    Args:
        entries: sorted u64, a bucket's key in the upper half and a document in the lower.
        furthest: how many places on in its bucket a document is paired with at most.

    Returns:
        Pairs (u64), the smaller document in the upper half.
    """
    n = entries.shape[0]
    pairs = np.empty(1024, dtype=np.uint64)
    total = 0
    for a in range(n):
        b = a + 1
        while b < n and b - a <= furthest and entries[b] >> _HALF == entries[a] >> _HALF:
            if total == pairs.shape[0]:
                more = np.empty(2 * total, dtype=np.uint64)
                more[:total] = pairs
                pairs = more
            pairs[total] = (entries[a] << _HALF) | (entries[b] & _LOWER)
            total += 1
            b += 1
    return pairs[:total].copy()


@compiled
def components(n: int, left: Array, right: Array) -> Array:
    """Union-find: for each of n rows the smallest row that it is connected with (i64).

    Args:
        n: number of rows.
        left, right: rows (i64) that are connected, pair by pair.
    """
    parent = np.arange(n)
    for p in range(left.shape[0]):
        a, b = left[p], right[p]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a < b:
            parent[b] = a
        else:
            parent[a] = b
    for row in range(n):  # a parent is smaller than its row, so it is final by now
        parent[row] = parent[parent[row]]
    return parent

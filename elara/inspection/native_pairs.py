"""Pairs of documents, for numba: `elara.inspection.pairs` calls what is made of it.

Importing this module imports numba, so it is imported where machine code is made.
"""

from __future__ import annotations

from typing import Any

from elara.inspection.compiled import ONE, S32, ZERO, U, compiled
from elara.inspection.text import Array

_LOWER = U(0xFFFFFFFF)


@compiled
def jaccard(
    starts: Array, shingles: Array, left: Array, right: Array, similarity: Array, seen: Array
) -> Any:
    """Exact Jaccard similarity of pairs of documents, see `elara.inspection.pairs.jaccard`."""
    for p in range(left.shape[0]):
        a = shingles[starts[left[p]] : starts[left[p] + 1]]
        b = shingles[starts[right[p]] : starts[right[p] + 1]]
        room = 16
        while room < 2 * a.shape[0]:
            room *= 2
        mask = U(room - 1)
        seen[:room] = ZERO  # which no shingle is
        for shingle in a:
            at = (shingle >> S32) & mask
            while seen[at] != ZERO:
                at = (at + ONE) & mask
            seen[at] = shingle
        shared = 0
        for shingle in b:
            at = (shingle >> S32) & mask
            while (seen[at] != ZERO) & (seen[at] != shingle):
                at = (at + ONE) & mask
            shared += seen[at] == shingle
        together = a.shape[0] + b.shape[0] - shared
        similarity[p] = shared / together if together > 0 else 1.0
    return left.shape[0]


@compiled
def repeated(keys: Array, seen: Array, places: Array) -> int:
    """Where keys are that may occur twice, see `elara.inspection.pairs.repeated`; `seen` is 0."""
    mask = U(seen.shape[0] - 1)
    for key in keys:
        at = U(key) & mask
        seen[at] = min(seen[at] + 1, 2)
    found = 0
    for i in range(keys.shape[0]):
        places[found] = i  # written in any case: whether it counts cannot be guessed
        found += seen[U(keys[i]) & mask] == 2
    return found


@compiled
def neighbours(entries: Array, furthest: Array, pairs: Array) -> int:
    """Pairs of documents that lie in one bucket, see `elara.inspection.pairs.neighbours`.

    Returns how many there are; those that find no room in `pairs` are only counted.
    """
    n = entries.shape[0]
    total = 0
    for a in range(n):
        b = a + 1
        while b < n and b - a <= furthest[0] and entries[b] >> S32 == entries[a] >> S32:
            if total < pairs.shape[0]:
                pairs[total] = (entries[a] << S32) | (entries[b] & _LOWER)
            total += 1
            b += 1
    return total


@compiled
def components(left: Array, right: Array, parent: Array) -> Any:
    """Union-find, see `elara.inspection.pairs.components`; `parent` comes as 0, 1, 2 …"""
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
    for row in range(parent.shape[0]):  # a parent is smaller than its row, so it is final by now
        parent[row] = parent[parent[row]]
    return parent.shape[0]

"""The one pass over the text, compiled: Arrow buffers in, columns out.

Each function is pure: it reads the buffers and tables that it is given and fills the arrays that
it returns. None holds the GIL, so that threads can work on different parts of a collection. Their
sources are in `elara.inspection.native_text`.
"""

from __future__ import annotations

import numpy as np

from elara.inspection import measures as column
from elara.inspection.lexicon import Tables
from elara.inspection.machine import call
from elara.inspection.text import Array

# Offsets (i64) and bytes (u8) of many strings, as Arrow lays them out.
Strings = tuple[Array, Array]
# Titles, abstracts, all body texts, and which of these belong to a document: document `i` has
# those from `parts[i]` up to `parts[i + 1]`.
Texts = tuple[Strings, Strings, Strings, Array]

# The hash functions of MinHash: an odd factor and a shift each.
_HASHES = column.BANDS * column.ROWS
_random = np.random.default_rng(42)
_FACTOR = _random.integers(0, 1 << 31, _HASHES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
_SHIFT = _random.integers(0, 1 << 32, _HASHES, dtype=np.uint32)
_STATE = 21  # see `elara.inspection.native_text`


def measure(texts: Texts, tables: Tables) -> tuple[Array, Array, Array]:
    """Count, hash and sketch every document in one pass over its text.

    Args:
        texts: the documents.
        tables: what `elara.inspection.lexicon.tables` returns.

    Returns:
        Counts (i64, documents x 10); a hash of all words in their order (u64); the MinHash
        band keys (u32, BANDS x documents), 0 for documents of fewer than SHORTEST words.

    Source: Broder 1997, https://doi.org/10.1109/SEQUEN.1997.666900
    """
    n = len(texts[3]) - 1
    counts = np.empty((n, column.COUNTS), dtype=np.int64)
    digests = np.empty(n, dtype=np.uint64)
    keys = np.zeros((column.BANDS, n), dtype=np.uint32)
    room = _room(_sizes(texts).max(initial=0))
    seen, unique, state = (np.empty(k, dtype=np.uint64) for k in (room, room, _STATE))
    sketch, halves = np.empty(_HASHES, dtype=np.uint32), np.empty(room, dtype=np.uint32)
    scratch = (seen, unique, state, sketch, halves)
    call("measure", *_flat(texts), *tables, _FACTOR, _SHIFT, counts, digests, keys, *scratch)
    return counts, digests, keys


def shingle_sets(texts: Texts, tables: Tables, rows: Array) -> tuple[Array, Array]:
    """The distinct shingles of some documents, one document after the other.

    Args:
        texts: the documents.
        tables: what `elara.inspection.lexicon.tables` returns.
        rows: positions of those that are asked for (i64).

    Returns:
        Where each one's shingles begin and end (i64, rows + 1), and their hashes (u64).
    """
    sizes = _sizes(texts)[rows]
    starts = np.empty(len(rows) + 1, dtype=np.int64)
    counts = np.empty(column.COUNTS, dtype=np.int64)
    sets = np.empty(int(sizes.sum()), dtype=np.uint64)  # only what is filled takes memory
    seen = np.empty(_room(sizes.max(initial=0)), dtype=np.uint64)
    state = np.empty(_STATE, dtype=np.uint64)
    found = call("shingle_sets", *_flat(texts), *tables, rows, starts, counts, sets, seen, state)
    return starts, sets[:found].copy()


def hash_words(words: list[str]) -> Array:
    """The 64-bit hashes of lower-cased words (u64), as the pass computes them."""
    starts = np.cumsum([0, *map(len, words)], dtype=np.int64)
    code_points = np.frombuffer("".join(words).encode("utf-32-le"), dtype=np.uint32)
    hashes = np.empty(len(words), dtype=np.uint64)
    call("hash_words", starts, code_points.astype(np.int64), hashes)
    return hashes


def _sizes(texts: Texts) -> Array:
    """Bytes of each document."""
    titles, abstracts, bodies, parts = texts
    return np.diff(titles[0]) + np.diff(abstracts[0]) + np.diff(bodies[0][parts])


def _room(size: int) -> int:
    """What the largest document needs, see `elara.inspection.native_text`."""
    return max(256, 1 << max(0, int(size) - 1).bit_length())


def _flat(texts: Texts) -> tuple[Array, ...]:
    titles, abstracts, bodies, parts = texts
    return (*titles, *abstracts, *bodies, parts)

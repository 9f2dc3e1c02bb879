"""What the one pass over the text finds in a table of articles; what is compiled is in kernels.

A table comes as Arrow (`title`, `abstract`, `body` as in `Article`), because the compiled pass
reads Arrow's buffers where they lie.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from elara.inspection.text import Array

if TYPE_CHECKING:
    import pyarrow as pa

    from elara.inspection.kernels import Strings, Texts
    from elara.inspection.lexicon import Tables

# The columns of the counts.
(
    WORDS,
    MEDICAL_WORDS,
    ENGLISH_WORDS,
    DISTINCT_SHINGLES,
    SENTENCES,
    ORDINARY_SENTENCES,
    CHARACTERS,
    ODD_SIGNS,
    ABSTRACT_TOKENS,
    BODY_TOKENS,
) = range(10)
COUNTS = 10

# Fewer words than this are a title at most: equal or similar titles are no equal articles.
SHORTEST = 20

# 32 bands of 4 rows: a pair at Jaccard 0.8 shares a band with probability 1 - (1 - 0.8^4)^32,
# that is 0.99999993.
BANDS = 32
ROWS = 4

# How many shingles are held at once to compare pairs: 8 bytes each.
_SHINGLES_AT_ONCE = 4_000_000

TEXT_COLUMNS = ("title", "abstract", "body")


class Measures(NamedTuple):
    """One row per article.

    Args:
        counts: i64, articles x 10, the columns as named above.
        digests: u64, a hash of all words in their order.
        keys: u32, bands x articles, the bucket of each MinHash band.
    """

    counts: Array
    digests: Array
    keys: Array


def measure(table: pa.Table, tables: Tables) -> Measures:
    """Measure the texts of a table in one pass.

    Args:
        table: articles with the columns `title`, `abstract` and `body`.
        tables: what `elara.inspection.lexicon.tables` returns.
    """
    from elara.inspection import kernels

    return Measures(*kernels.measure(texts_of(table), tables))


def measure_frame(articles: pl.DataFrame, tables: Tables) -> Measures:
    """Like `measure`, for a polars table, slice by slice."""
    slices = [*articles.select(TEXT_COLUMNS).iter_slices(16_384)] or [articles.select(TEXT_COLUMNS)]
    parts = [measure(part.to_arrow(), tables) for part in slices]
    return Measures(
        np.concatenate([p.counts for p in parts]),
        np.concatenate([p.digests for p in parts]),
        np.concatenate([p.keys for p in parts], axis=1),
    )


def texts_of(table: pa.Table) -> Texts:
    """The buffers of the texts, without a copy of the bytes.

    A translation is no part of an article's text: it neither counts nor resembles another.
    """
    import pyarrow.compute as pc

    title, abstract, body = (_whole(table.column(name)) for name in TEXT_COLUMNS)
    if len(body.values) == 0:
        nothing = (np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint8))
        return strings(title), strings(abstract), nothing, np.zeros(len(title) + 1, np.int64)
    parts = np.asarray(body.offsets).astype(np.int64)
    sections = body.values.field("text")
    foreign = pc.equal(body.values.field("kind"), "translation").fill_null(False)
    if pc.any(foreign).as_py():
        sections = pc.if_else(foreign, "", sections)
    return strings(title), strings(abstract), strings(sections), parts


def _whole(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    chunks = column.chunks
    return (
        chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks or [pa.array([], column.type)])
    )


def strings(array: pa.Array) -> Strings:
    """Offsets (i64, one more than texts) and bytes (u8) of texts; a null is an empty text."""
    import pyarrow as pa

    if array.null_count:
        array = array.fill_null("")
    width = np.int64 if pa.types.is_large_string(array.type) else np.int32
    _, offsets, data = array.buffers()
    if offsets is None or len(array) == 0:
        return np.zeros(len(array) + 1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    found = np.frombuffer(offsets, dtype=width)[array.offset : array.offset + len(array) + 1]
    empty = np.zeros(0, dtype=np.uint8)
    return found.astype(np.int64), np.frombuffer(data, dtype=np.uint8) if data else empty


def similarities(
    left: Array,
    right: Array,
    words: Array,
    sets: Callable[[Array], tuple[Array, Array]],
) -> Array:
    """Exact Jaccard similarity of pairs of articles, in bounded memory.

    Args:
        left, right: rows, pair by pair.
        words: number of words of every row.
        sets: gives the sorted shingles of rows, as `elara.inspection.kernels.shingle_sets` does.

    Returns:
        One similarity per pair, f64.
    """
    from elara.inspection.pairs import jaccard

    found = np.empty(len(left), dtype=np.float64)
    load = np.cumsum(words[left].astype(np.int64) + words[right]) // _SHINGLES_AT_ONCE
    for chunk in np.split(np.arange(len(left)), np.flatnonzero(np.diff(load)) + 1):
        rows = np.unique(np.concatenate([left[chunk], right[chunk]]))
        starts, shingles = sets(rows)
        a, b = (np.searchsorted(rows, side[chunk]) for side in (left, right))
        found[chunk] = jaccard(starts, shingles, a, b)
    return found

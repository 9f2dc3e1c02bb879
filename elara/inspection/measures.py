"""Hand the texts of articles to the compiled pass over their words.

A table comes as Arrow (`title`, `abstract`, `body` as in `Article`), because the pass reads Arrow's
buffers where they lie.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from elara.text.words import Array, Tables

if TYPE_CHECKING:
    import pyarrow as pa

    from elara.text.shingles import Strings, Texts

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


def measure(table: pa.Table, tables: Tables) -> Measures:
    """Measure the texts of a table in one pass.

    Args:
        table: articles with the columns `title`, `abstract` and `body`.
        tables: what `elara.inspection.lexicon.tables` returns.
    """
    from elara.text import shingles

    return Measures(*shingles.measure(texts_of(table), tables))


def measure_frame(articles: pl.DataFrame, tables: Tables) -> Measures:
    """Like `measure`, for a polars table."""
    return measure(articles.select(TEXT_COLUMNS).to_arrow(), tables)


def texts_of(table: pa.Table) -> Texts:
    """The buffers of the texts, without a copy of the bytes.

    A translation is no part of an article's text: it neither counts nor resembles another.
    """
    import pyarrow.compute as pc

    title, abstract, body = (one_chunk(table.column(name)) for name in TEXT_COLUMNS)
    parts = np.asarray(body.offsets).astype(np.int64)
    sections = body.values.field("text")
    if len(sections):
        foreign = pc.equal(body.values.field("kind"), "translation").fill_null(False)
        sections = pc.if_else(foreign, "", sections) if pc.any(foreign).as_py() else sections
    return strings(title), strings(abstract), strings(sections), parts


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; of a single chunk it is no copy."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def strings(array: pa.Array) -> Strings:
    """Offsets (i64, one more than texts) and bytes (u8) of texts; a null is an empty text."""
    import pyarrow as pa

    if array.null_count:
        array = array.fill_null("")
    width = np.int64 if pa.types.is_large_string(array.type) else np.int32
    _, offsets, data = array.buffers()
    if offsets is None or len(array) == 0:
        return np.zeros(len(array) + 1, dtype=np.int64), np.frombuffer(b"", dtype=np.uint8)
    found = np.frombuffer(offsets, dtype=width)[array.offset : array.offset + len(array) + 1]
    read = np.frombuffer(data or b"", dtype=np.uint8)
    read.flags.writeable = False  # as of a mapped file: numba compiles for one type only
    return found.astype(np.int64), read


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

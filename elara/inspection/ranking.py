"""The order of records by which one of two copies stays."""

from __future__ import annotations

import numpy as np
import polars as pl

from elara.inspection.features import MEDIUM
from elara.inspection.text import Array

# Records are sorted by their ids this many at a time.
_IDS_AT_ONCE = 100_000


def standing(records: pl.DataFrame) -> Array:
    """What comes before quality (u8), the smaller the better: retracted, low, redistributable."""
    rank = records.select(
        pl.col("retracted").cast(pl.UInt8) * 4
        + (pl.col("quality") < MEDIUM).cast(pl.UInt8) * 2
        + (~pl.col("redistributable")).cast(pl.UInt8)
    )
    return rank.to_series().to_numpy()


def best_first(records: pl.DataFrame) -> Array:
    """The rows (u32), the best first; `elara.inspection.matching.match` says which is better.

    Args:
        records: what `elara.inspection.matching.narrow` returns.
    """
    quality = records["quality"].to_numpy()
    keys = (~records["with_abstract"].to_numpy(), -quality, standing(records))
    order = np.lexsort(keys).astype(np.uint32)  # the last key counts first
    first = np.arange(len(order)) == 0  # of those that are equal
    for key in keys:
        there = key[order]
        first[1:] |= there[1:] != there[:-1]
    # Ids are slow to sort, so only equals are put in the order of their ids.
    begins = np.flatnonzero(first)
    blocks = begins[1:][np.diff(begins // _IDS_AT_ONCE) > 0]
    for rows, new in zip(np.split(order, blocks), np.split(first, blocks), strict=True):
        tied = np.flatnonzero(~new | ~np.append(new[1:], True))
        group = np.cumsum(new, dtype=np.uint32)[tied]
        ids = pl.DataFrame({"group": group, "id": records["id"].gather(rows[tied])})
        rows[tied] = rows[tied][ids.select(pl.arg_sort_by("group", "id")).to_series().to_numpy()]
    return order

"""Find the groups that pairs connect: records of one article, articles of one topic."""

from __future__ import annotations

import numpy as np
import polars as pl


def components(pairs: pl.DataFrame) -> pl.DataFrame:
    """Find what is connected, through however many pairs.

    Args:
        pairs: `row` and `other`: rows, or names, of one type.

    Returns:
        Each one that is in a pair (`other`, ascending), and the smallest that it is connected with
        (`cluster`).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if pairs.is_empty():
        return pairs.select("other", cluster="row")
    ends = np.stack([pairs["row"].to_numpy(), pairs["other"].to_numpy()])
    rows, places = np.unique(ends, return_inverse=True)
    places = places.reshape(ends.shape)
    edges = coo_array((np.ones(pairs.height, dtype=np.int8), places), shape=(len(rows),) * 2)
    _, labels = connected_components(edges, directed=False)
    _, first = np.unique(labels, return_index=True)
    return pl.DataFrame({"other": rows, "cluster": rows[first[labels]]})

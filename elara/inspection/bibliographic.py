"""Find records of one article that two databases describe differently.

Blocking proposes pairs, the rules of `elara.inspection.evidence` judge them, and of each group of
linked records the best one is kept.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from elara.inspection.citation import citations
from elara.inspection.evidence import Pairs, judge
from elara.inspection.features import MEDIUM

if TYPE_CHECKING:
    from elara.inspection import Clusters

# In a block each record is compared with this many neighbours in the order of titles. It bounds
# the work where thousands of records share a key, such as the DOI of a whole supplement.
_NEIGHBOURS = 20

_SETTLED = ("row", "other", "reason", "title")


def bibliographic_duplicates(records: pl.DataFrame) -> pl.DataFrame:
    """Find records that cite the same article in different forms, and choose which one to keep.

    Records that a rule links form a cluster. Its best record is kept: not retracted, not low in
    quality, redistributable, of the highest quality, with an abstract, the newest, with the most
    fields, with the smallest id (as far as the table has these columns). It stands for those
    that a rule links with it directly; of the others the best is kept, and so on.

    Args:
        records: one row per record: `id` and any of `title`, `abstract`, `authors` (list),
            `journal`, `published`, `doi`, `pmid`, `publication_types` (list), `volume`, `pages`
            (text). What is missing proves nothing for or against a pair.

    Returns:
        One row per record that has a better copy, sorted by id: `id`, `reason` (the evidence:
        `citation_pmid`, `citation_doi`, `citation_place` for volume and pages, `citation_title`,
        `citation_abstract`), `kept_id`, `similarity` (of the titles, 0 to 1; null where one has
        none), `cluster`.

    Raises:
        ValueError: two records have one id.

    Source: the fields compared are those of Hair et al. 2023 (ASySD),
        https://doi.org/10.1186/s12915-023-01686-z; the rules are our own.
    """
    if records["id"].is_duplicated().any():
        twice = records.filter(pl.col("id").is_duplicated())["id"].sort()[0]
        raise ValueError(f"the id {twice} occurs more than once: collect gives each record its own")
    table = citations(_best_first(records))
    return _settle(table, judge(table, _candidates(table)))


def add_bibliographic(scored: pl.DataFrame, clusters: Clusters) -> Clusters:
    """Add the bibliographic duplicates among the records that have no better copy so far.

    Args:
        scored: what `score` returns, perhaps with `volume` and `pages`.
        clusters: what `near_duplicates` returns for it.

    Returns:
        The clusters with the further removed records. Their `similarity` is that of the titles.
        What was removed for a record that is now removed itself names the one that stays, and
        copies of retracted articles are marked here too.
    """
    known = clusters.removed
    found = bibliographic_duplicates(scored.filter(~pl.col("id").is_in(known["id"].implode())))
    shift = known["cluster"].max() or 0
    removed = pl.concat(
        [
            known.with_columns(pl.col("kept_id").replace(found["id"], found["kept_id"])),
            found.with_columns(pl.col("cluster") + shift).select(known.columns),
        ]
    )
    retracted = {*scored.filter("retracted")["id"]}
    bad = pl.Series([*retracted, *clusters.copies_of_retracted], dtype=pl.String)
    groups = [found.select("kept_id", "id"), found.select("kept_id", id="kept_id")]
    member = pl.concat(groups).unique().with_columns(bad=pl.col("id").is_in(bad.implode()))
    tainted = member.filter(pl.col("bad").any().over("kept_id"))["id"].to_list()
    copies = {*clusters.copies_of_retracted, *tainted} - retracted
    review = clusters.review.with_columns(pl.col("kept_id").replace(found["id"], found["kept_id"]))
    review = review.filter(
        ~pl.col("id").is_in(found["id"].implode()) & (pl.col("id") != pl.col("kept_id"))
    )
    return dataclasses.replace(
        clusters,
        removed=removed.sort("id"),
        copies_of_retracted=tuple(sorted(copies)),
        review=review,
    )


def _best_first(records: pl.DataFrame) -> pl.DataFrame:
    wishes = {
        "retracted": pl.col("retracted"),
        "quality": pl.col("quality") < MEDIUM,
        "redistributable": ~pl.col("redistributable"),
    }
    order = [wish for name, wish in wishes.items() if name in records.columns]
    if "quality" in records.columns:
        order.append(-pl.col("quality"))
    if "abstract" in records.columns:
        order.append(pl.col("abstract").fill_null("") == "")
    if "published" in records.columns:
        order.append(pl.col("published").fill_null("").rank("dense", descending=True))
    said = [pl.col(n).fill_null("") != "" for n in records.columns if records[n].dtype == pl.String]
    return records.sort([*order, -pl.sum_horizontal(said).cast(pl.Int64), pl.col("id")])


def _candidates(table: pl.DataFrame) -> Pairs:
    """Pairs of rows, smaller row first, that share a key of any block."""
    solid = table["title"].str.replace_all(" ", "")
    long_title = solid.str.len_chars() >= 12
    words = table["title"].str.split(" ").list.unique()
    longest = words.list.eval(
        pl.element().sort_by([pl.element().str.len_chars(), pl.element()], descending=True).head(3)
    )
    year = table["year"].cast(pl.String)
    place = table["volume"] + "|" + table["page"]
    keys = {
        "pmid": table["pmid"],
        "work": table["work"],
        "head": solid.str.head(20).zip_with(long_title, pl.Series([None], dtype=pl.String)),
        "tail": solid.str.tail(20).zip_with(long_title, pl.Series([None], dtype=pl.String)),
        "longest": longest.list.sort().list.join(" ") + "|" + table["first"].str.head(3),
        "place": place + "|" + year,
        "first": place + "|" + table["first"].str.head(4),
        "page": table["page"] + "|" + table["first"].str.head(4) + "|" + year,
        "abstract": table["abstract"].str.slice(60, 80),
    }
    # Rows in the order of titles, so that neighbours in a large block are the likely pairs.
    rank = table.select(pl.struct("title", "year", "page", "id").rank("ordinal")).to_series()
    found: list[Pairs] = []
    for key in keys.values():
        block = pl.DataFrame({"key": key, "rank": rank}).with_row_index("row")
        block = block.filter(pl.col("key").is_not_null() & (pl.col("key") != ""))
        block = block.filter(pl.len().over("key") > 1).sort("key", "rank")
        names, rows = block["key"].rank("dense").to_numpy(), block["row"].to_numpy()
        for step in range(1, _NEIGHBOURS + 1):
            together = names[step:] == names[:-step]
            if not together.any():
                break
            both = np.stack([rows[:-step][together], rows[step:][together]], axis=1)
            found.append(np.sort(both.astype(np.int64), axis=1))
    if not found:
        return np.empty((0, 2), dtype=np.int64)
    return np.unique(np.concatenate(found), axis=0)


def _settle(table: pl.DataFrame, linked: pl.DataFrame) -> pl.DataFrame:
    """One row per record that another stands for. Smaller rows are preferred ones."""
    members = _components(table.height, linked)
    left, settled = members, [linked.clear().select(*_SETTLED)]
    while left.height:
        best = left.with_columns(row=pl.col("other").min().over("cluster"))
        rest = best.filter(pl.col("row") < pl.col("other"))
        same = judge(table, rest.select("row", "other").to_numpy().astype(np.int64))
        settled.append(same.select(*_SETTLED))
        gone = pl.concat([best["row"], same["other"]]).unique()
        left = left.filter(~pl.col("other").is_in(gone.implode()))
    found = pl.concat(settled).join(members, on="other")
    return found.select(
        id=table["id"].gather(found["other"]),
        reason=pl.lit("citation_") + pl.col("reason"),
        kept_id=table["id"].gather(found["row"]),
        similarity=pl.col("title").round(6),
        cluster=pl.col("cluster").rank("dense").cast(pl.Int64),
    ).sort("id")


def _components(height: int, linked: pl.DataFrame) -> pl.DataFrame:
    """Each linked row (`other`) with the number of the group it is connected with (`cluster`)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    a, b = linked["row"].to_numpy(), linked["other"].to_numpy()
    graph = coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(height, height))
    _, label = connected_components(graph, directed=False)
    rows = pl.concat([linked["row"], linked["other"]]).unique().sort()
    return pl.DataFrame({"other": rows, "cluster": label[rows.to_numpy()]})

"""Find records of one article that two databases describe differently.

Blocking proposes pairs. Their citations are compared field by field and judged by a few rules: all
that Elara knows about this stands in `_verdict`. Of each group of linked records the best is kept.
The thresholds were chosen on two of the four gold sets; see benchmarks/gold_duplicates.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import polars as pl

from elara.inspection.citation import citations, folded_abstracts, same_journal
from elara.inspection.features import MEDIUM
from elara.inspection.pairs import PAIRS, as_frame, bucket_pairs
from elara.inspection.selection import Clusters, check_ids
from elara.text.groups import components
from elara.text.words import Array

# How many keys propose pairs: two records that share one are compared.
BLOCKS = 9
# In a block each record is compared with this many neighbours in the order of titles. It bounds
# the work where thousands of records share a key, such as the DOI of a whole supplement.
_NEIGHBOURS = 20
_PAIRS_AT_ONCE = 20_000
_UPPER = np.uint64(32)

_LINKED = {**PAIRS, "reason": pl.String, "title": pl.Float64}

# What is known of records, and what gives it for some rows, which come in ascending order.
Kind = Literal["citations", "abstracts", "scored", "articles", "texts", "scores"]
Rows = Callable[[Kind, Array], pl.DataFrame]


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
    check_ids(records["id"])
    table = citations(records)
    keys = block_keys(table, records).__getitem__
    return cited_alike(keys, lambda kind, rows: (table if kind == "citations" else records)[rows])


def block_keys(table: pl.DataFrame, records: pl.DataFrame) -> Array:
    """Hash what two records of one article are likely to have in common.

    Args:
        table: what `citations` returns for the records.
        records: the records.

    Returns:
        BLOCKS x records (u32), 0 where a record lacks the field.
    """
    solid = pl.col("title").str.replace_all(" ", "")
    long_title = pl.when(solid.str.len_chars() >= 12)
    # By length, and words of one length by the alphabet.
    ordered = pl.element().sort_by([pl.element().str.len_chars(), pl.element()], descending=True)
    longest = pl.col("title").str.split(" ").list.unique().list.eval(ordered.head(3))
    year, first = pl.col("year").cast(pl.String), pl.col("first")
    place = pl.col("volume") + "|" + pl.col("page")
    keys = [
        pl.col("pmid"),
        pl.col("work"),
        long_title.then(solid.str.head(20)),
        long_title.then(solid.str.tail(20)),
        longest.list.sort().list.join(" ") + "|" + first.str.head(3),
        place + "|" + year,
        place + "|" + first.str.head(4),
        pl.col("page") + "|" + first.str.head(4) + "|" + year,
        pl.col("abstract"),
    ]
    # Of the abstract what lies behind its opening, which many share.
    hashed = table.with_columns(abstract=folded_abstracts(records, 300, 60, 80)).select(
        pl.when(key != "").then(key.hash()).fill_null(0).alias(str(number))
        for number, key in enumerate(keys)
    )
    return np.vstack([(column.to_numpy() >> _UPPER).astype(np.uint32) for column in hashed])


def cited_alike(keys: Callable[[int], Array], rows: Rows) -> pl.DataFrame:
    """Do what `bibliographic_duplicates` does where the records may lie anywhere.

    Args:
        keys: gives what `block_keys` returns for one number; 0 for records that are left out.
        rows: gives what is asked for of records, which come in ascending order.
    """
    found = np.empty(0, dtype=np.uint64)
    for number in range(BLOCKS):
        found = np.union1d(found, _block_pairs(keys(number), rows))
    linked = [pl.DataFrame(schema=_LINKED)]
    for start in range(0, len(found), _PAIRS_AT_ONCE):
        pairs = as_frame(found[start : start + _PAIRS_AT_ONCE])
        linked.append(judge(pairs, rows).select(*_LINKED))
    return _settle(pl.concat(linked), rows)


def add_citations(clusters: Clusters, found: pl.DataFrame, retracted: pl.Series) -> Clusters:
    """Add the bibliographic duplicates among the records that had no better copy so far.

    Args:
        clusters: what `elara.inspection.matching.match` returns.
        found: what `cited_alike` returns for the records that it leaves.
        retracted: ids of the records that are marked as retracted.

    Returns:
        The clusters with the further removed records. Their `similarity` is that of the titles.
        What was removed for a record that is now removed itself names the one that stays, and
        copies of retracted articles are marked here too.
    """
    known = clusters.removed
    shift = known["cluster"].max() or 0
    removed = pl.concat(
        [
            known.with_columns(pl.col("kept_id").replace(found["id"], found["kept_id"])),
            found.with_columns(pl.col("cluster") + shift).select(known.columns),
        ]
    )
    copies = pl.Series(clusters.copies_of_retracted, dtype=pl.String)
    bad = pl.concat([retracted, copies])
    groups = [found.select("kept_id", "id"), found.select("kept_id", id="kept_id")]
    member = pl.concat(groups).unique().with_columns(bad=pl.col("id").is_in(bad.implode()))
    tainted = member.filter(pl.col("bad").any().over("kept_id"))["id"].to_list()
    review = clusters.review.with_columns(pl.col("kept_id").replace(found["id"], found["kept_id"]))
    gone = pl.col("id").is_in(found["id"].implode())
    review = review.filter(~gone, pl.col("id") != pl.col("kept_id"))
    return dataclasses.replace(
        clusters,
        removed=removed.sort("id"),
        copies_of_retracted=tuple(sorted({*copies, *tainted} - {*retracted})),
        review=review,
    )


def _best_first(records: pl.DataFrame) -> pl.DataFrame:
    wishes = [
        ("retracted", pl.col("retracted")),
        ("quality", pl.col("quality") < MEDIUM),
        ("redistributable", ~pl.col("redistributable")),
        ("quality", -pl.col("quality")),
        ("abstract", pl.col("abstract").fill_null("") == ""),
        ("published", pl.col("published").fill_null("").rank("dense", descending=True)),
    ]
    order = [wish for name, wish in wishes if name in records.columns]
    said = [pl.col(n).fill_null("") != "" for n in records.columns if records[n].dtype == pl.String]
    return records.sort([*order, -pl.sum_horizontal(said).cast(pl.Int64), pl.col("id")])


def _block_pairs(keys: Array, rows: Rows) -> Array:
    """Pairs of rows (u64, see `bucket_pairs`) that share a key."""
    block = pl.DataFrame({"key": keys}).with_row_index("row").filter(pl.col("key") != 0)
    block = block.filter(pl.len().over("key") > 1)
    crowded = pl.len().over("key") > _NEIGHBOURS + 1
    large = block.filter(crowded)
    if large.height:
        # In the order of titles, so that neighbours in a large block are the likely pairs.
        titles = rows("citations", large["row"].to_numpy())
        by_title = titles.select(pl.arg_sort_by("title", "year", "page", "id")).to_series()
        large = large[by_title]
    every = pl.concat([block.filter(~crowded), large])["row"].to_numpy()
    places = bucket_pairs(keys[every], np.arange(len(every), dtype=np.uint32), _NEIGHBOURS)
    ends: Array = np.sort(every[as_frame(places).to_numpy()].astype(np.uint64), axis=1)
    coded: Array = (ends[:, 0] << _UPPER) | ends[:, 1]
    return coded


def _settle(linked: pl.DataFrame, rows: Rows) -> pl.DataFrame:
    """One row per record that another stands for."""
    members = components(linked)
    every = rows("scored", members["other"].to_numpy())
    order = _best_first(every.with_row_index("place"))["place"].to_numpy()
    # From here on a record's number is its place in the order: smaller ones are preferred.
    table, every = rows("citations", members["other"].to_numpy())[order], every[order]
    places = pl.int_range(pl.len(), dtype=pl.UInt32)
    left = cluster = members[order].select(other=places, cluster="cluster")
    settled = [pl.DataFrame(schema=_LINKED)]
    while left.height:
        best = left.with_columns(row=pl.col("other").min().over("cluster"))
        rest = best.filter(pl.col("row") < pl.col("other")).select("row", "other")
        same = judge(rest, lambda kind, some: (table if kind == "citations" else every)[some])
        settled.append(same.select(*_LINKED))
        gone = pl.concat([best["row"], same["other"]]).unique()
        left = left.filter(~pl.col("other").is_in(gone.implode()))
    found = pl.concat(settled).join(cluster, on="other")
    return found.select(
        id=every["id"].gather(found["other"]),
        reason=pl.lit("citation_") + pl.col("reason"),
        kept_id=every["id"].gather(found["row"]),
        similarity=pl.col("title").round(6),
        cluster=pl.col("cluster").rank("dense").cast(pl.Int64),
    ).sort("id")


def judge(pairs: pl.DataFrame, rows: Rows) -> pl.DataFrame:
    """Compare pairs of citations and keep those that a rule takes for one article.

    Args:
        pairs: `row` and `other` (u32).
        rows: gives the citations, and the abstracts where the rest is alike.

    Returns:
        One row per linked pair: `row`, `other`, `reason` (the rule: `pmid`, `doi`, `place`,
        `title` or `abstract`), `title` (similarity of the titles, 0 to 1) and the other evidence.

    Source: string similarities of RapidFuzz, https://rapidfuzz.github.io/RapidFuzz/
    """
    compared = _compare(pairs, rows).with_columns(reason=_verdict())
    return compared.filter(pl.col("reason").is_not_null())


def _compare(pairs: pl.DataFrame, rows: Rows) -> pl.DataFrame:
    """What each pair has in common: similarities from 0 to 1, equalities, null for unknown."""
    from rapidfuzz import fuzz

    pairs, some = _places(pairs)
    table = rows("citations", some)
    a, b = table[pairs["left"]], table[pairs["right"]]
    pairs = pairs.with_columns(
        *(a[name] == b[name] for name in ("pmid", "work", "volume", "page", "last")),
        title=_similar(table["title"], pairs, fuzz.ratio),
        authors=_similar(table["authors"], pairs, fuzz.token_set_ratio),
        first=_similar(table["first"], pairs, fuzz.token_set_ratio),
        gap=(a["year"] - b["year"]).abs(),
        notice=a["notice"].eq_missing(b["notice"]),
        parts=(a["parts"] == b["parts"]) | (a["parts"] == "") | (b["parts"] == ""),
        electronic=a["electronic"] | b["electronic"],
        extent=(a["last"] == a["page"]) == (b["last"] == b["page"]),
        single=a["last"] == a["page"],
        words=pl.min_horizontal(a["words"], b["words"]),
    )
    # Without one of these no rule applies, and the rest, which takes longest, need not be known.
    col = pl.col
    same = col("pmid") | col("work") | (col("volume") & (col("page") | col("last")))
    alike = (col("title") >= 0.6) & ((col("authors") >= 0.6) | (col("first") >= 0.85))
    pairs = pairs.filter((same | alike).fill_null(False))
    placed, some = _places(pairs)
    abstracts = folded_abstracts(rows("abstracts", some), 900, 0, 600)
    return pairs.with_columns(
        wording=_each(table["title"], pairs, _wording, pl.Float64),
        contained=_similar(table["title"], pairs, fuzz.partial_ratio, least=0.9),
        abstract=_similar(abstracts, placed, fuzz.ratio, least=0.9),
        journal=_each(table["journal"], pairs, same_journal, pl.Boolean),
    )


def _places(pairs: pl.DataFrame) -> tuple[pl.DataFrame, Array]:
    """The pairs, with where each row is among all of theirs, and these, ascending."""
    every = np.unique(pairs.select("row", "other").to_numpy())
    left, right = (pl.Series(np.searchsorted(every, pairs[n])) for n in ("row", "other"))
    return pairs.with_columns(left=left, right=right), every


def _similar(
    texts: pl.Series, pairs: pl.DataFrame, scorer: Callable[..., float], least: float = 0.0
) -> pl.Series:
    """Similarity of each pair's texts, 0 to 1 (0 below `least`); null where one is missing."""
    from rapidfuzz.process import cpdist

    a, b = texts.gather(pairs["left"]), texts.gather(pairs["right"])
    known = a.is_not_null() & b.is_not_null()
    one, two = a.filter(known).to_list(), b.filter(known).to_list()
    scores = cpdist(one, two, scorer=scorer, score_cutoff=least * 100)
    every = np.full(pairs.height, np.nan)
    every[known.to_numpy()] = scores / 100
    return pl.Series(every).fill_nan(None)


def _each(
    texts: pl.Series, pairs: pl.DataFrame, compare: Callable[[str, str], Any], dtype: Any
) -> pl.Series:
    """What is said of each pair's texts; null where one is missing."""
    both = zip(texts.gather(pairs["left"]), texts.gather(pairs["right"]), strict=True)
    return pl.Series([None if None in two else compare(*two) for two in both], dtype=dtype)


def _wording(one: str, two: str) -> float:
    """Similarity of the words that only one title has with those that only the other has, 0 to 1.

    Spelling leaves it high (`anaemia`, `anemia`), another subject does not (`adults`, `children`).
    """
    from rapidfuzz import fuzz

    a, b = one.split(), two.split()
    only = ["".join(w for w in a if w not in b), "".join(w for w in b if w not in a)]
    return fuzz.ratio(*only) / 100 if all(only) else 1.0


def _verdict() -> pl.Expr:
    """The rule that says that a pair is one article, or null. This is all the knowledge there is.

    `is_` demands that something is known to hold, `not_` only that the opposite is not known.
    """
    col = pl.col

    def is_(condition: pl.Expr) -> pl.Expr:
        return condition.fill_null(False)

    def not_(condition: pl.Expr) -> pl.Expr:
        return ~condition.fill_null(False)

    equal_title = col("title") >= 0.995
    alike = (col("title") >= 0.93) | ((col("contained") >= 0.95) & (col("words") >= 5))
    related = col("title").is_null() | (col("title") >= 0.6) | (col("contained") >= 0.9)
    authors = (col("authors") >= 0.75) | (col("first") >= 0.85)
    # A name with a damaged letter ("Ta?a?aj"), where all else agrees.
    here = col("volume") & (col("gap") == 0) & col("journal") & equal_title
    authors_here = authors | (here & (col("authors") >= 0.6))
    one_subject = col("parts") & ((col("wording") >= 0.6) | (col("contained") >= 0.97))
    moved = ~col("page") & not_(col("last")) & ~col("electronic")
    # A misprinted page. An erratum or an abstract has the title too, but one page, not a range.
    misprint = here & col("extent") & (col("authors") >= 0.9) & (col("first") >= 0.85)
    same_range = col("page") & col("last") & ~col("single")
    # One database names the study group, the other who wrote for it.
    spokesman = here & same_range & (col("words") >= 8)
    place = is_(col("volume") & (col("page") | col("last")))
    near_year = not_(col("gap") > 1)

    # No rule overrides a notice and what it is about, or two PMIDs. Two DOIs are two articles too,
    # unless one of them was registered or copied wrongly and every other field agrees.
    wrong_doi = is_(col("page") & col("journal") & (col("gap") == 0) & equal_title)
    wrong_doi &= is_(col("authors") >= 0.9) & not_(~col("volume"))
    possible = is_(col("notice")) & not_(~col("pmid")) & (not_(~col("work")) | wrong_doi)

    rules = {
        "pmid": is_(col("pmid")) & is_(related),
        # One DOI may stand for a whole supplement of abstracts: title and page must not differ.
        "doi": is_(col("work"))
        & is_(related)
        & is_(one_subject | same_range)
        & (not_(moved) | is_(equal_title)),
        "place": place
        & near_year
        & (
            (not_(~authors_here & ~spokesman) & is_(related) & is_(one_subject | same_range))
            # A translated title: the same pages from first to last by the same people.
            | (is_(same_range) & is_(col("authors") >= 0.9) & is_(col("gap") == 0))
        ),
        "title": is_(alike)
        & (is_(col("words") >= 4) | is_(here))
        & is_(one_subject)
        & is_(authors_here)
        & near_year
        & (not_(moved) | is_(misprint))
        & (not_(~col("journal")) | place | is_(same_range))
        # A year apart: printed after it went online, or another report of the same work?
        & (is_(col("gap") == 0) | is_(col("journal") & (col("title") >= 0.93)))
        & not_((col("gap") == 1) & ~col("volume")),
        # What databases rewrite is the title, not the summary.
        "abstract": is_(col("abstract") >= 0.9)
        & is_(related)
        & is_(one_subject)
        & is_(authors)
        & near_year
        & not_(~col("volume") | moved | ~col("journal")),
    }
    reason = pl.coalesce(pl.when(rule).then(pl.lit(name)) for name, rule in rules.items())
    return pl.when(possible).then(reason)

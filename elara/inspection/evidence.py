"""Compare two citations field by field, and decide by rules whether they are one article.

All that Elara knows about this stands in `_verdict`: a few rules that need agreement, and what
forbids a match whatever else agrees. A field that is missing agrees with nothing and forbids
nothing. The thresholds were chosen on two of the four gold sets; see benchmarks/gold_duplicates.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import polars as pl

from elara.inspection.citation import folded_abstracts, same_journal
from elara.text.words import Array

# What is known of records, and what gives it for some rows, which come in ascending order.
Kind = Literal["citations", "abstracts", "scored", "articles", "texts", "scores"]
Rows = Callable[[Kind, Array], pl.DataFrame]


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

"""Say what to collect next: the topics of poor specialties on which there are fewest examples."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

import polars as pl

_PHRASE = re.compile(r'"([^"]+)"\[')
_SIGNS = r"[^\p{L}\p{N}]+"
_NEXT = {"specialty": pl.String, "examples": pl.Int64, "lacking": pl.Int64, "collect": pl.String}


class Topic(Protocol):
    """A topic that can be collected, such as one of `elara.collect.load_searches()`."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def query(self) -> str:
        """In PubMed's syntax, its phrases in quotes."""

    @property
    def specialty(self) -> str:
        """One of the 13."""


def collect_next(
    counts: pl.DataFrame,
    sources: pl.Series,
    articles: pl.DataFrame | pl.LazyFrame,
    topics: Iterable[Topic],
    *,
    wanted: int = 50,
    most: int = 4,
) -> pl.DataFrame:
    """Name the topics to collect next for each specialty that has too few examples.

    An example counts for a topic if the title, a heading or a keyword of its article holds a
    phrase of the topic's search.

    Args:
        counts: from `elara.expand.coverage`.
        sources: for each example the id of its article; that of a curated case counts for none.
        articles: the clean `Article` rows that they were built from; they may be scanned.
        topics: what can be collected.
        wanted: examples that each specialty should have.
        most: topics that are named for a specialty, those with the fewest examples first.

    Returns:
        Columns specialty, examples, lacking and collect (names of topics, each with its number of
        examples), the poorest specialty first; no row for a specialty that has enough.
    """
    topics = list(topics)
    has = dict(counts.group_by("specialty").agg(pl.col("examples").sum()).iter_rows())
    texts = _texts(sources, articles)
    rows = []
    for specialty in dict.fromkeys(topic.specialty for topic in topics):
        number = int(has.get(specialty, 0))
        if number < wanted:
            known = [(_examples(t, texts), t.name) for t in topics if t.specialty == specialty]
            named = ", ".join(f"{name} ({n})" for n, name in sorted(known)[:most])
            rows.append((specialty, number, wanted - number, named))
    return pl.DataFrame(rows, _NEXT, orient="row").sort("examples", "specialty")


def _texts(sources: pl.Series, articles: pl.DataFrame | pl.LazyFrame) -> pl.Series:
    """What the article of each example is about, as words with a blank around each."""
    listed = [pl.col(name).list.join(" . ") for name in ("mesh", "keywords")]
    about = articles.lazy().filter(pl.col("id").is_in(sources.unique().implode()))
    text = pl.concat_str("title", *listed, separator=" . ")
    named = about.select("id", text=_plain(text)).collect()
    return sources.alias("id").to_frame().join(named, on="id").get_column("text")


def _plain(text: pl.Expr) -> pl.Expr:
    return pl.format(" {} ", text.str.to_lowercase().str.replace_all(_SIGNS, " "))


def _examples(topic: Topic, texts: pl.Series) -> int:
    phrases = pl.DataFrame({"phrase": _PHRASE.findall(topic.query)}, {"phrase": pl.String})
    wanted = phrases.select(_plain(pl.col("phrase"))).to_series().to_list()
    return int(texts.str.contains_any(wanted).sum())

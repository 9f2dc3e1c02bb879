"""The quality score: a weighted mean of eight features, all of them in the table below.

Each feature is a measure of the text (a share or a count) and a ramp that turns the measure into
a value between 0 and 1. The score says how much there is to learn from a record as text. It says
nothing about whether the medicine in it is right.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import polars as pl

from elara.inspect.terms import is_medical, medical_words
from elara.inspect.text import full_text, shingles, words

HIGH = 0.7
MEDIUM = 0.4

# Fewer words than this show no sentences, symbols or repeats to judge: those features are 0.
TOO_SHORT = 20

# A smaller share of English function words is foreign where the source states so; half of it is
# foreign whatever the source states.
_ENGLISH_SHARE = 0.12
_FUNCTION_WORDS = """
    the of and in to was with were for is that by are from this at be which than we has have
    been or may not these had its it you your can who their more as an
"""

# Placeholders that PubMed prints where an article has no (translated) title.
_NO_TITLE = r"(?i)^\[?(?:not available|no title available|untitled)\.?\]?\.?$"
_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Feature:
    """One line of the score.

    Args:
        name: the column is `feature_<name>`.
        weight: its part of the score; the weights sum to 1.
        direction: whether a higher or a lower measure is better.
        low: measure at one end of the ramp; value 0 for `higher`, 1 for `lower`.
        high: measure at the other end.
        meaning: what is measured, with its unit.
    """

    name: str
    weight: float
    direction: Literal["higher", "lower"]
    low: float
    high: float
    meaning: str

    def value(self) -> pl.Expr:
        """The feature in [0, 1], from a column that holds its measure under the same name."""
        ramp = ((pl.col(self.name) - self.low) / (self.high - self.low)).clip(0.0, 1.0)
        return (ramp if self.direction == "higher" else 1.0 - ramp).fill_null(0.0)


FEATURES = (
    Feature("abstract", 0.20, "higher", 0, 100, "words of the abstract, or of a body in its place"),
    Feature("length", 0.15, "higher", 0, 250, "words of the whole text"),
    Feature("sentences", 0.10, "higher", 0.3, 0.8, "share of sentences that have 5 to 60 words"),
    Feature("medical", 0.20, "higher", 0, 0.25, "share of words that are medical terms"),
    Feature("symbols", 0.10, "lower", 0.02, 0.12, "share of characters that are odd signs"),
    Feature("repetition", 0.10, "lower", 0.1, 0.5, "share of 3-word runs that were there before"),
    Feature(
        "language", 0.10, "higher", 0.05, 0.25, "share of words that are English function words"
    ),
    Feature(
        "metadata",
        0.05,
        "higher",
        0,
        1,
        "share present: date, journal, authors, subject, id, licence",
    ),
)


def feature_table() -> pl.DataFrame:
    """The features as a table, for reading: one row each, in the order of the score."""
    return pl.DataFrame([asdict(f) for f in FEATURES], schema_overrides={"low": pl.Float64})


def score(articles: pl.DataFrame) -> pl.DataFrame:
    """Score every article.

    The text of an article is its title, abstract and body texts.

    Args:
        articles: a table with the columns of `Article`.

    Returns:
        The same rows in the same order with, added: `quality` in [0, 1], `bucket` (`high` from
        0.7, `medium` from 0.4, else `low`), `feature_<name>` in [0, 1] for each of `FEATURES`,
        and `flags`, a list of any of `retracted`, `non_english`, `empty`, `no_abstract`.
    """
    vocabulary = medical_words(articles["mesh"])
    parts = [_measures(part, vocabulary) for part in articles.iter_slices(_BATCH)]
    measures = pl.concat(parts) if parts else _measures(articles, vocabulary)
    values = measures.select(f.value().alias(f"feature_{f.name}") for f in FEATURES)
    quality = pl.sum_horizontal(pl.col(f"feature_{f.name}") * f.weight for f in FEATURES)
    high = pl.when(pl.col("quality") >= HIGH).then(pl.lit("high"))
    bucket = high.when(pl.col("quality") >= MEDIUM).then(pl.lit("medium"))
    scored = (
        values.select(quality.round(6).alias("quality"), pl.all().round(6))
        .with_columns(bucket.otherwise(pl.lit("low")).alias("bucket"))
        .select("quality", "bucket", *values.columns)
    )
    return pl.concat([articles, scored, _flags(articles, measures)], how="horizontal")


def _measures(articles: pl.DataFrame, vocabulary: frozenset[str]) -> pl.DataFrame:
    """The raw measure of each feature, one row per article, named like the feature."""
    text = articles.select(full_text().alias("text")).to_series()
    body = pl.col("body").list.eval(pl.element().struct.field("text")).list.join(" ")
    in_words = [e.str.count_matches(r"\S+") for e in (pl.col("abstract"), body)]
    sentences = pl.col("text").str.replace_all(r"([.!?])\s+", "$1\n").str.split("\n")
    sentences = sentences.list.eval(pl.element().filter(pl.element().str.contains(r"\p{L}")))
    ordinary = sentences.list.eval(pl.element().str.count_matches(r"\S+").is_between(5, 60))
    # Odd: no letter of any script, digit, space, or sign that ordinary medical prose uses.
    odd = pl.col("text").str.count_matches(r"[^\p{L}\p{N}\s.,;:()\[\]/%'’“”\"+=<>≤≥±°×–—-]")
    shaped = pl.col("length") >= TOO_SHORT
    return (
        articles.with_columns(text)
        .hstack(_word_measures(text, vocabulary))
        .select(
            "length",
            "medical",
            pl.max_horizontal(in_words).alias("abstract"),
            pl.when(shaped).then(ordinary.list.mean()).alias("sentences"),
            pl.when(shaped).then(odd / pl.col("text").str.len_chars()).alias("symbols"),
            pl.when(shaped).then("repetition").alias("repetition"),
            pl.col("english").alias("language"),
            _completeness().alias("metadata"),
        )
    )


def _word_measures(text: pl.Series, vocabulary: frozenset[str]) -> pl.DataFrame:
    """What can be counted word by word: length, medical, english, repetition."""
    table = words(text)
    kinds = table.select(pl.col("word").unique()).with_columns(
        medical=is_medical(pl.col("word"), vocabulary),
        english=pl.col("word").is_in(_FUNCTION_WORDS.split()),
    )
    counted = (
        table.join(kinds, on="word")
        .group_by("doc")
        .agg(pl.len().alias("length"), pl.col("medical").mean(), pl.col("english").mean())
    )
    repeated = (
        shingles(table)
        .group_by("doc")
        .agg(repetition=1.0 - pl.col("shingle").n_unique() / pl.len())
    )
    every = pl.DataFrame({"doc": range(len(text))}, schema={"doc": pl.UInt32})
    joined = every.join(counted, on="doc", how="left").join(repeated, on="doc", how="left")
    return joined.sort("doc").drop("doc").with_columns(pl.col("length").fill_null(0))


def _completeness() -> pl.Expr:
    """Share of six kinds of metadata that a record has."""
    present = [
        pl.col("published") != "",
        pl.col("journal") != "",
        pl.col("authors").list.len() > 0,
        pl.col("mesh").list.len() + pl.col("keywords").list.len() > 0,
        pl.any_horizontal(pl.col("doi", "pmid", "pmcid", "url") != ""),
        pl.col("licence") != "unknown",
    ]
    return pl.mean_horizontal(p.cast(pl.Float64) for p in present)


def _flags(articles: pl.DataFrame, measures: pl.DataFrame) -> pl.DataFrame:
    """The `flags` column. Language follows the text; a short text follows what is stated."""
    stated = ~pl.col("language").is_in(["en", "und"])
    text_is_foreign = pl.col("share") < _ENGLISH_SHARE
    no_body = pl.col("body").list.len() == 0
    conditions = {
        "retracted": pl.col("retracted"),
        "non_english": pl.when(pl.col("words") >= TOO_SHORT)
        .then(text_is_foreign & (stated | (pl.col("share") < _ENGLISH_SHARE / 2)))
        .otherwise(stated),
        "empty": (pl.col("words") == 0)
        | (pl.col("title").str.contains(_NO_TITLE) & (pl.col("abstract") == "") & no_body),
        "no_abstract": pl.col("abstract") == "",
    }
    named = [pl.when(c).then(pl.lit(name)) for name, c in conditions.items()]
    return articles.with_columns(
        share=measures["language"].fill_null(0.0), words=measures["length"]
    ).select(flags=pl.concat_list(named).list.drop_nulls())

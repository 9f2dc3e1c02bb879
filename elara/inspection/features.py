"""Score the quality of articles: a weighted mean of eight features, all in the table below.

Each feature is a measure of the text (a share or a count) and a ramp that turns the measure into
a value between 0 and 1. The score says how much there is to learn from a record as text. It says
nothing about whether the medicine in it is right.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import polars as pl

from elara.display.figures import BLUE, ORANGE, new_figure, plain
from elara.inspection.lexicon import medical_words, tables
from elara.text import words as column
from elara.text.placeholders import PLACEHOLDER
from elara.text.words import SHORTEST, Array, Tables, Texts, strings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXT_COLUMNS = ("title", "abstract", "body")
HIGH = 0.7
MEDIUM = 0.4

# A smaller share of English function words is foreign where the source states so; half of it is
# foreign whatever the source states.
_ENGLISH_SHARE = 0.12

# Notices about another article, by the names of their kind in PubMed, Europe PMC and JATS. What is
# "corrected and republished" is an article.
_NOTICE_TYPES = (
    r"(?im)^(?:published[ -]erratum|errat(?:um|a)|corrigend(?:um|a)|corrections?|addend(?:um|a)"
    r"|(?:partial[ -])?retraction(?: of publication|[ -]notice)?|withdrawal|removal"
    r"|(?:editorial )?expression[ -]of[ -]concern)$"
)
# And by their titles: "Correction to: …", but not "Correction of anaemia …".
_NOTICE_TITLE = (
    r"(?i)^\W*(?:(?:authors?|publisher|editor(?:ial)?)(?:['’]?s?['’]?)? )?(?:"
    r"errat(?:um|a)\b|corrigend(?:um|a)\b|addend(?:um|a)(?: to\b|\W*$|\s*[:.\[(–—])"
    r"|corrections?(?:\W*$| to\b|: | for ?[:“\"‘']| for \w+ et al|\. )"
    r"|(?:partial )?retraction(?: (?:note|notice|statement)\b|: |\W*$| of ?[:“\"‘']|\. )"
    r"|(?:notice|statement) of (?:retraction|withdrawal|concern|correction)\b"
    r"|withdrawal (?:note|notice|statement)\b|(?:editorial )?expression of concern\b)"
    r"|^\W*publisher['’]?s (?:reply|note|response)\b"
    r"|[\[(] ?(?:an? )?(?:erratum|corrigendum|correction|retraction|expression of concern) ?"
    r"[\])]\W*$"
    r"|[:.–—] (?:erratum|corrigendum)\W*$"
)


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


def measure(articles: pl.DataFrame, tables: Tables) -> Measures:
    """Measure the texts of articles in one pass.

    Args:
        articles: with the columns `title`, `abstract` and `body`.
        tables: what `elara.inspection.lexicon.tables` returns.
    """
    from elara.text import shingles

    return Measures(*shingles.measure(texts_of(articles), tables))


def texts_of(articles: pl.DataFrame) -> Texts:
    """The characters of the texts.

    A translation is no part of an article's text: it neither counts nor resembles another.
    """
    lengths = articles["body"].list.len()
    section = articles.filter(lengths > 0)["body"].explode().struct
    foreign = section.field("kind") == "translation"
    sections = section.field("text").set(foreign, "")
    parts = np.concatenate([[0], np.cumsum(lengths.to_numpy(), dtype=np.int64)])
    return strings(articles["title"]), strings(articles["abstract"]), strings(sections), parts


def score(articles: pl.DataFrame) -> pl.DataFrame:
    """Score every article.

    The text of an article is its title, abstract and body texts.

    Args:
        articles: a table with the columns of `Article`.

    Returns:
        The same rows in the same order with, added: `quality` in [0, 1], `bucket` (`high` from
        0.7, `medium` from 0.4, else `low`), `feature_<name>` in [0, 1] for each of `FEATURES`,
        and `flags`, a list of any of `retracted`, `notice`, `non_english`, `empty`,
        `no_abstract`.
    """
    found = measure(articles, tables(medical_words(articles["mesh"])))
    return pl.concat([articles, judge(articles, found.counts)], how="horizontal")


def judge(articles: pl.DataFrame, counts: Array) -> pl.DataFrame:
    """The columns that `score` adds, from what was counted in the text.

    Args:
        articles: the columns of `Article`, one row per article.
        counts: i64, one row per article, see `elara.text.words`.
    """
    quality = pl.sum_horizontal(pl.col(f"feature_{f.name}") * f.weight for f in FEATURES)
    high = pl.when(pl.col("quality") >= HIGH).then(pl.lit("high"))
    bucket = high.when(pl.col("quality") >= MEDIUM).then(pl.lit("medium")).otherwise(pl.lit("low"))
    return (
        # One query: each that is run by itself costs more than its work on a part of a collection.
        articles.lazy()
        .select(**_stated())
        .with_columns(_measures(counts))
        .with_columns(f.value().alias(f"feature_{f.name}") for f in FEATURES)
        .with_columns(quality=quality.round(6))
        .select("quality", bucket.alias("bucket"), pl.col("^feature_.*$").round(6), flags=_flags())
        .collect(optimizations=pl.QueryOptFlags.none())
    )


def _measures(counts: Array) -> list[pl.Series]:
    """The raw measures of the features that the text tells, one row per article."""
    # Elara's texts have no more than 2^53 words, so that counts are exact as floats.
    count = counts.T.astype(np.float64)
    words = count[column.WORDS]
    shaped = words >= SHORTEST  # fewer show no sentences, symbols or repeats to judge

    def share(part: Array, whole: Array, where: Array) -> Array:
        # NaN, where there is nothing to judge, becomes null and then the value 0.
        found = np.full(len(part), np.nan)
        np.divide(part, whole, out=found, where=where & (whole > 0))
        return found

    measured = {
        "length": words,
        "abstract": np.maximum(count[column.ABSTRACT_TOKENS], count[column.BODY_TOKENS]),
        "medical": share(count[column.MEDICAL_WORDS], words, words > 0),
        "language": share(count[column.ENGLISH_WORDS], words, words > 0),
        "sentences": share(count[column.ORDINARY_SENTENCES], count[column.SENTENCES], shaped),
        "symbols": share(count[column.ODD_SIGNS], count[column.CHARACTERS], shaped),
        "repetition": 1.0 - share(count[column.DISTINCT_SHINGLES], words - 2, shaped),
    }
    return [pl.Series(name, values, nan_to_null=True) for name, values in measured.items()]


def _stated() -> dict[str, pl.Expr]:
    """What the score and the flags need of a record besides the measures of its text."""
    untold = (pl.col("abstract") == "") & (pl.col("body").list.len() == 0)
    metadata = [
        pl.col("published") != "",
        pl.col("journal") != "",
        pl.col("authors").list.len() > 0,
        pl.col("mesh").list.len() + pl.col("keywords").list.len() > 0,
        pl.any_horizontal(pl.col("doi", "pmid", "pmcid", "url") != ""),
        pl.col("licence") != "unknown",
    ]
    return {
        "metadata": pl.mean_horizontal(present.cast(pl.Float64) for present in metadata),
        "retracted": pl.col("retracted"),
        "notice": pl.col("publication_types").list.join("\n").str.contains(_NOTICE_TYPES)
        | pl.col("title").str.contains(_NOTICE_TITLE),
        "stated_foreign": ~pl.col("language").is_in(["en", "und"]),
        "untitled": pl.col("title").str.contains(PLACEHOLDER) & untold,
        "no_abstract": pl.col("abstract") == "",
    }


def _flags() -> pl.Expr:
    """The `flags` column. Language follows the text; a short text follows what is stated."""
    stated = pl.col("stated_foreign")
    share = pl.col("language").fill_null(0.0)
    foreign = (share < _ENGLISH_SHARE) & (stated | (share < _ENGLISH_SHARE / 2))
    words = pl.col("length")
    conditions = {
        "retracted": pl.col("retracted"),
        "notice": pl.col("notice"),
        "non_english": pl.when(words >= SHORTEST).then(foreign).otherwise(stated),
        "empty": (words == 0) | pl.col("untitled"),
        "no_abstract": pl.col("no_abstract"),
    }
    said = (pl.when(c).then(pl.lit(name)) for name, c in conditions.items())
    return pl.concat_list(said).list.drop_nulls()


def quality_figure(scored: pl.DataFrame | pl.LazyFrame) -> Figure:
    """Histogram of the quality score with the limits of the buckets.

    Args:
        scored: what `score` returns, or `Inspected.scores`.
    """
    quality = scored.lazy().select("quality").collect().to_series()
    figure = new_figure(7, 3.5)
    axes = figure.subplots()
    axes.hist(quality.to_numpy(), bins=[i / 40 for i in range(41)], color=BLUE)
    for limit, name in ((MEDIUM, "medium from 0.4"), (HIGH, "high from 0.7")):
        axes.axvline(limit, color=ORANGE, linestyle="--")
        text = axes.text(limit - 0.01, 0.97, name, color=ORANGE, ha="right", va="top")
        text.set_transform(axes.get_xaxis_transform())
    axes.set(xlabel="quality (0 to 1)", ylabel="articles", xlim=(0, 1))
    plain(axes)
    return figure


def feature_figure(scored: pl.DataFrame | pl.LazyFrame) -> Figure:
    """One small histogram per feature, on one scale.

    Args:
        scored: what `score` returns, or `Inspected.scores`.
    """
    figure = new_figure(9, 4.5)
    grid = figure.subplots(2, 4, sharex=True, sharey=True).ravel()
    for axes, feature in zip(grid, FEATURES, strict=True):
        values = scored.lazy().select(f"feature_{feature.name}").collect().to_series()
        axes.hist(values.to_numpy(), bins=[i / 20 for i in range(21)], color=BLUE)
        axes.set_title(f"{feature.name} (weight {feature.weight:.2f})", fontsize=10)
        axes.set(xlim=(0, 1), xticks=(0, 0.5, 1))
        plain(axes)
    figure.supxlabel("value of the feature (0 to 1)")
    figure.supylabel("articles")
    return figure

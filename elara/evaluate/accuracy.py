"""Say what the scores of multiple-choice items show: accuracy, chance, and the letters chosen."""

from __future__ import annotations

import polars as pl

from elara.evaluate.choices import LETTERS

ONE_LETTER = 0.6  # a larger share of one letter is called a preference
_GROUP = ("set", "side", "scorer")


def accuracy_table(scores: pl.DataFrame, level: float = 0.95) -> pl.DataFrame:
    """Accuracy of each set, side and scorer, beside chance.

    Args:
        scores: of `score_letters`, `score_words` or `score_generated`.
        level: of the interval.

    Returns:
        Columns set, side, scorer, split, template, shots, items, accuracy, low and high (Wilson),
        chance (mean of 1 / options), none (items without a prediction: unparsed, or a tie),
        letter (the most frequent prediction) and share (of all items).

    Source: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953
    """
    letter = pl.col("predicted").filter(pl.col("predicted") != "")
    table = scores.group_by(_GROUP, maintain_order=True).agg(
        *(pl.col(name).first() for name in ("split", "template", "shots")),
        items=pl.len(),
        accuracy=pl.col("right").mean(),
        chance=(1 / pl.col("options")).mean(),
        none=(pl.col("predicted") == "").sum(),
        letter=letter.mode().sort().first().fill_null(""),
        share=letter.unique_counts().max().fill_null(0) / pl.len(),
    )
    rows = table.select("accuracy", "items").iter_rows()
    bounds = [_wilson(share, items, level) for share, items in rows]
    low, high = (pl.Series([bound[i] for bound in bounds], dtype=pl.Float64) for i in (0, 1))
    first = [*_GROUP, "split", "template", "shots", "items", "accuracy", "low", "high"]
    return table.with_columns(low=low, high=high).select(
        *first, "chance", "none", "letter", "share"
    )


def _wilson(share: float, items: int, level: float) -> tuple[float, float]:
    from scipy.stats import binomtest

    interval = binomtest(round(share * items), items).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def letter_table(scores: pl.DataFrame) -> pl.DataFrame:
    """How often each letter was predicted, beside how often it is right.

    Args:
        scores: of one set, side and scorer.

    Returns:
        Columns letter ("" for no prediction), predicted, keys (items of which it is the key) and
        right (predictions of it that are).
    """
    rows = []
    for letter in ("", *LETTERS[: int(scores["options"].to_numpy().max())]):
        mine = scores.filter(predicted=letter)
        right = mine.filter(key=letter).height
        rows.append((letter, mine.height, scores.filter(key=letter).height, right))
    return pl.DataFrame(rows, ["letter", "predicted", "keys", "right"], orient="row")


def letters_told(scores: pl.DataFrame) -> list[str]:
    """Say where an accuracy shows a preference for one letter rather than knowledge.

    Args:
        scores: of any sets, sides and scorers.

    Returns:
        A sentence for each set, side and scorer in which one letter takes at least 60 % of the
        predictions, or in which some items have no prediction.
    """
    told = []
    for row in accuracy_table(scores).iter_rows(named=True):
        name = f"{row['set']}, {row['side']}, {row['scorer']}"
        if row["share"] >= ONE_LETTER:
            mine = scores.filter(**{part: row[part] for part in _GROUP})
            keys = mine.filter(key=row["letter"]).height
            told.append(
                f"{name}: {row['letter']} is the answer to {row['share']:.0%} of {row['items']:,} "
                f"items. The accuracy of {row['accuracy']:.1%} mostly says how often "
                f"{row['letter']} is the key ({keys / row['items']:.1%}), not what the model "
                f"knows; chance is {row['chance']:.1%}."
            )
        if row["none"]:
            why = "no letter could be read" if row["scorer"] == "generated" else "options tie"
            told.append(f"{name}: in {row['none']:,} of {row['items']:,} items {why}.")
    return told


def accuracy_scores(scores: pl.DataFrame) -> pl.DataFrame:
    """Turn scores of multiple-choice items into a table that `judge` takes.

    Args:
        scores: of one scorer, with both sides, and `seed` where several adapters were measured.

    Returns:
        Columns metric (`accuracy`), item, cluster (each item is one of its own), source (the set),
        specialty, arm, value, weight and, where given, seed.
    """
    seed = {"seed"} & set(scores.columns)
    return scores.select(
        pl.lit("accuracy").alias("metric"),
        item="id",
        cluster="id",
        source="set",
        specialty="specialty",
        arm="side",
        value="right",
        weight=pl.lit(1.0),
        **dict.fromkeys(seed, pl.col("seed")) if seed else {},
    )

"""Drop examples that repeat another one, and say which and why."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import polars as pl

from elara.audit.overlap import Words, similar
from elara.expand.cautions import drugs

_TERM = re.compile(
    r"\d+(?:[.,·]\d+)*|[<>≤≥%]|\b(?:no|not|non|nor|none|never|without|cannot|avoid\w*|contraindicated|"
    r"stop\w*|withh[eo]ld\w*)\b",
    re.IGNORECASE,
)
_DROPPED = ("id", "rule", "repeats", "similarity")


@dataclass(frozen=True)
class Repeats:
    """Which examples repeat others.

    Args:
        examples: those kept: of each repeat the first in id order.
        dropped: columns id, rule (`equal question`, `equal answer`, `answer alike`), repeats (the
            id of the one kept) and similarity (0 to 1).
        alike: id_a, id_b, similarity, differs: answers alike but for a number, a negation, a
            comparison or a drug. Both stay, and belong on one side of a split.
    """

    examples: pl.DataFrame
    dropped: pl.DataFrame
    alike: pl.DataFrame


def without_repeats(examples: pl.DataFrame) -> Repeats:
    """Drop examples whose question or answer stands in an earlier one already.

    Question sets repeat template answers under many titles; if one copy were trained on and
    another tested on, the test would reward memory. Two answers are alike from a Jaccard
    similarity of word 3-shingles of `elara.audit.overlap.SIMILAR` on.

    Args:
        examples: `Example` rows.
    """
    ordered = examples.sort("id")
    said = [
        pl.col("messages").list.get(turn).struct.field("content").alias(name)
        for name, turn in (("question", -2), ("answer", -1))
    ]
    texts = ordered.select("id", *said)
    dropped = []
    for name in ("answer", "question"):
        key = pl.col(name).str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
        first = texts.with_columns(repeats=pl.col("id").first().over(key))
        again = first.filter(pl.col("id") != pl.col("repeats"))
        dropped.append(again.select("id", rule=pl.lit(f"equal {name}"), repeats="repeats"))
        texts = texts.join(again, on="id", how="anti")
    near = _alike(texts)
    repeated = near.filter(pl.col("differs") == "").unique("id_b", keep="first")
    dropped.append(
        repeated.select("similarity", id="id_b", rule=pl.lit("answer alike"), repeats="id_a")
    )
    rows = pl.concat(dropped, how="diagonal").with_columns(pl.col("similarity").fill_null(1.0))
    kept = ordered.join(rows, on="id", how="anti", maintain_order="left")
    both = near.filter(
        pl.col("differs") != "",
        pl.col("id_a").is_in(kept["id"].implode()),
        pl.col("id_b").is_in(kept["id"].implode()),
    )
    return Repeats(kept, rows.select(_DROPPED).sort("id"), both)


def _alike(texts: pl.DataFrame) -> pl.DataFrame:
    """Pairs of answers that are alike: id_a, id_b (the later one), similarity, differs."""
    runs = Words.of(texts["answer"]).sequences(3)
    pairs = similar(runs, runs).filter(pl.col("train") < pl.col("text")).sort("text", "train")
    ids, answers = texts["id"].to_list(), texts["answer"].to_list()
    rows = [
        (ids[a], ids[b], round(similarity, 4), differs(answers[a], answers[b]))
        for b, a, similarity in pairs.select("text", "train", "similarity").iter_rows()
    ]
    schema = {"id_a": pl.String, "id_b": pl.String, "similarity": pl.Float64, "differs": pl.String}
    return pl.DataFrame(rows, schema, orient="row")


def differs(one: str, other: str) -> str:
    """The first number, negation, comparison or drug that only one of two texts has, or "".

    Args:
        one: a text.
        other: another one.
    """
    counts = [Counter([*map(str.casefold, _TERM.findall(t)), *drugs(t)]) for t in (one, other)]
    missing = (counts[0] - counts[1]) + (counts[1] - counts[0])
    return min(missing, default="")

"""Sentences that many articles share word for word and that say nothing about their subject."""

from __future__ import annotations

import re

import polars as pl

from elara.clean.ledger import holds_protected
from elara.clean.repair import selected
from elara.clean.rules import Rule

_FEWEST_WORDS = 5
# A sentence ends before a capital: "S. aureus" and "vs. placebo" are not cut in two.
_CAPITAL = "A-ZÀ-ÖØ-Þ"
_BREAK = re.compile(rf"((?<=[.!?])[ \t]+(?=[{_CAPITAL}])|\n)")


def boilerplate_rule(texts: pl.DataFrame, repeats: int) -> Rule:
    """Make the rule that removes the sentences which many articles share.

    A sentence with a digit, unit, comparison, gene name, negation or any other protected term
    is never boilerplate, however often it occurs: "No adverse events occurred." is a finding.
    Sentences of fewer than five words are headings or labels and stay too.

    Args:
        texts: running text, one row each: `row` (the article) and `text`.
        repeats: in how many articles a sentence has to be found, at least 2.

    Returns:
        A rule for these texts; it does nothing where there is no such sentence.

    Raises:
        ValueError: `repeats` is below 2: every sentence would be boilerplate.
    """
    if repeats < 2:
        raise ValueError(f"boilerplate_repeats is {repeats}; a sentence repeats from 2 on")
    sentence = pl.col("sentence")
    found = (
        texts.select(
            "row",
            sentence=pl.col("text")
            .str.replace_all(rf"([.!?])[ \t]+([{_CAPITAL}])", "$1\n$2")
            .str.split("\n"),
        )
        .explode("sentence")
        .filter(sentence.str.contains(rf"^\p{{Lu}}(?:\S*\s+){{{_FEWEST_WORDS - 1},}}\S*[.!?]$"))
        .unique()
        .group_by("sentence")
        .len()
        .filter(pl.col("len") >= repeats)
        .filter(~holds_protected(sentence) & ~sentence.str.contains(r"\d"))
    )
    shared = sorted(found["sentence"].to_list())

    def without(text: str) -> str:
        return "".join(part for part in _BREAK.split(text) if part not in known)

    def passages(text: pl.Expr) -> pl.Expr:
        return text.map_elements(
            lambda t: [part for part in _BREAK.split(t) if part in known],
            return_dtype=pl.List(pl.String),
        )

    known = frozenset(shared)
    return Rule(
        "boilerplate",
        f"Sentences that stand word for word in at least {repeats} articles say nothing here.",
        "Sepsis is common. Further research is needed here.",
        "Sepsis is common.",
        apply=selected(lambda series: _contains_any(series, shared), without),
        removes=passages,
    )


def _contains_any(series: pl.Series, sentences: list[str]) -> pl.Series:
    if not sentences:
        return pl.repeat(False, len(series), dtype=pl.Boolean, eager=True)
    return series.to_frame("t").select(pl.col("t").str.contains_any(sentences)).to_series()

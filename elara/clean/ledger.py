"""The ledger of protected terms: what a reader must find again after cleaning.

A rule may take away a passage, and then it says so; everything else must still hold every term as
often as before. Terms are counted in the repaired text (`repair.repaired`), so that `5 Âµg`
and `5 µg` are one term.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from elara.clean.repair import repaired

_NUMBER = r"\d+(?:[.,·]\d+)*"
_UNIT = (
    r"(?:(?:[µμ]g|mcg|mg|ng|pg|kg|g|[µμ][lL]|m[lL]|d[lL]|[lL]|[µμ]mol|mmol|nmol|pmol|mol|mOsm|mEq|"
    r"Eq|[µμ]M|mM|nM|pM|M|mIU|IU|U|kDa|Da|kPa|Pa|mm\s?Hg|cm|mm|[µμ]m|nm|m2|m|kcal|cal|kJ|J|mGy|Gy|"
    r"mSv|Hz|kbp|bp|bpm|hours?|hr|h|minutes?|min|days?|d|weeks?|months?|years?|doses?)\b|m²|°C|%)"
)


@dataclass(frozen=True)
class Protected:
    """One kind of term that cleaning may not lose.

    Args:
        kind: its name.
        pattern: regular expression in Rust syntax.
        example: a term that it finds.
    """

    kind: str
    pattern: str
    example: str


PROTECTED = (
    Protected(
        "quantity",
        rf"{_NUMBER}\s?{_UNIT}(?:\s?/\s?{_UNIT})*",
        "0.5 µg/kg/min",
    ),
    Protected(
        "power_of_ten",
        rf"(?:{_NUMBER}\s?)?[×x]\s?10(?:[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+|\^?-?\d+)(?:/[µμ]?[lL])?",
        "4.5 ×10⁹/L",
    ),
    Protected("comparison", rf"[<>≤≥=≈≠~]\s?[-−+]?{_NUMBER}%?", "≥ 90"),
    Protected("plus_minus", rf"±\s?{_NUMBER}", "± 2.1"),
    Protected("range", rf"{_NUMBER}\s?%?\s?(?:-|–|—|to)\s?{_NUMBER}", "0.05-0.5"),
    Protected("p_value", rf"\b[pP]\s?[<>=≤≥]\s?{_NUMBER}", "p<0.05"),
    Protected("negative_number", r"(?:^|[\s(\[])[-−]\d+(?:[.,]\d+)*", "−0.7"),
    Protected("greek", r"[\p{Greek}µ]", "β"),
    Protected("raised_sign", r"[\p{L}\p{N}]*[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻₀₁₂₃₄₅₆₇₈₉₊₋]+", "H₂O"),
    Protected(
        "name_with_digits",
        r"\b\p{L}[\p{L}]*-?\d[\p{L}\d]*(?:[-/][\p{L}\d]+)*\+?|\b\d+(?:,\d+)*-\p{L}[\p{L}\d-]*",
        "IL-6",
    ),
    Protected("hyphenated", r"\b\p{L}+(?:-\p{L}+)+\b", "beta-blocker"),
    Protected("dotted", r"\b(?:\p{L}\.){2,}", "i.v."),
    Protected("species", r"\b[A-Z]\. [a-z]{3,}", "S. aureus"),
    Protected(
        "negation",
        r"(?i)\b(?:no|not|non|nor|none|never|neither|without|cannot|absence|absent|lack|lacks|"
        r"lacking|negative|denies|denied|n't|isn['’]t|doesn['’]t|wasn['’]t|didn['’]t)\b",
        "without",
    ),
)
_ANY = "|".join(f"(?:{p.pattern})" for p in PROTECTED if p.kind != "hyphenated")


class LostTerms(ValueError):
    """A rule lost protected terms outside the passages that it names."""


def holds_protected(text: pl.Expr) -> pl.Expr:
    """Whether a text holds any protected term (a hyphenated everyday word does not count)."""
    return text.str.contains(_ANY)


def terms(texts: pl.DataFrame) -> pl.DataFrame:
    """Count the protected terms of texts.

    Args:
        texts: `key` (any integer) and `text`; one key may have many texts.

    Returns:
        `key`, `kind`, `term`, `count`.
    """
    return _count(_view(texts))


def _view(texts: pl.DataFrame) -> pl.DataFrame:
    return texts.select("key", text=repaired(pl.col("text")))


def _count(ready: pl.DataFrame) -> pl.DataFrame:
    found = [
        ready.select("key", kind=pl.lit(p.kind), term=pl.col("text").str.extract_all(p.pattern))
        .explode("term")
        .drop_nulls("term")
        .with_columns(pl.col("term").str.strip_chars(" (["))
        for p in PROTECTED
    ]
    return pl.concat(found).group_by("key", "kind", "term").agg(count=pl.len().cast(pl.Int64))


def compare(before: pl.DataFrame, removed: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """Find terms that are rarer after than they should be.

    Args:
        before: `key` (one text each) and `text`, before a rule.
        removed: `key` and `text` of the passages that the rule names as removed.
        after: the same keys and `text`, after it.

    Returns:
        `key`, `kind`, `term`, `before` (what should be there), `after` (what is), sorted.
    """
    on = ["key", "kind", "term"]
    was, now = _view(before), _view(after)
    same = was.join(now, on=["key", "text"], how="semi")["key"].implode()  # most repairs
    differs = ~pl.col("key").is_in(same)
    return (
        _count(was.filter(differs))
        .join(_count(_view(removed)).rename({"count": "gone"}), on=on, how="left")
        .join(_count(now.filter(differs)).rename({"count": "after"}), on=on, how="left")
        .with_columns(pl.col("after", "gone").fill_null(0))
        .select(*on, before=pl.col("count") - pl.col("gone"), after="after")
        .filter(pl.col("after") < pl.col("before"))
        .sort(on)
    )

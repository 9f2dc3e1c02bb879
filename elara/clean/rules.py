"""The rules of cleaning: named blocks in a list, each with its reason and a tested example."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from elara.clean import repair
from elara.clean.repair import TextExpr

_PUBLISHER = (
    "elsevier|wiley|springer|nature|bmj|oxford university press|cambridge university press|"
    "taylor & francis|sage|karger|wolters kluwer|lippincott|mary ann liebert|thieme|american |"
    "the american|the authors?|the royal|massachusetts|blackwell|informa|s\\. karger|iucr|mosby"
)
_YEAR = r"\(?(?:19|20)\d\d"
_COPYRIGHT = (
    r"(?:\(?psycinfo database record|"
    rf"copyright\s*(?:©|\(c\)|{_YEAR})|(?:©|\(c\))\s*(?:copyright|{_YEAR})"
    rf"|©\s*(?:by\s|crown|{_PUBLISHER})"
    rf"|published (?:\d{{4}} )?by (?:{_PUBLISHER}|john wiley)"
    r"|all rights reserved\.|this article is protected by copyright"
    r"|this (?:article is a|is a) u\.?s\.? government work)"
)
_TAIL = rf"(?im)(?:^|[ \t]+){_COPYRIGHT}[^\n]{{0,300}}$"

_MAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}"
_CORRESPONDENCE = (
    rf"(?im)(?:^|[ \t]+)(?:(?:address for )?correspondence(?: to)?|corresponding author|"
    rf"e-?mail(?: address)?|electronic address|contact)\s?:[^\n]{{0,200}}?{_MAIL}\.?"
    rf"|[ \t]*\((?:e-?mail:?\s*)?{_MAIL}\)|^\s*{_MAIL}\s*$"
)
_URL = r"(?:https?://|www\.)[^\s()<>]+"
_LINK = (
    rf"(?im)[ \t]*[(\[](?:(?:available|accessed|retrieved) (?:at|from|on):?\s*|see:? |doi:?\s*)?"
    rf"{_URL}[)\]]"
    rf"|^\s*(?:(?:available (?:at|from)|url|link):?\s*)?{_URL}\s*$"
    r"|(?:^|[ \t]+)doi:\s?10\.\d{4,9}/[^\s]+"
)
_SHORT_PARAGRAPH = 40


@dataclass(frozen=True)
class Rule:
    """One step of cleaning.

    Args:
        name: short and unique; changes are filed under it.
        why: one sentence.
        before: an example text.
        after: what `apply` makes of it.
        apply: from string expression to string expression. `where(pattern, function)` makes one
            of a Python function.
        removes: for a rule that takes passages away: from the same expression to the list of
            passages. Such a rule touches abstracts and body texts only. A rule without it
            repairs; it may not lose a protected term anywhere.
    """

    name: str
    why: str
    before: str
    after: str
    apply: TextExpr
    removes: TextExpr | None = None


def removing(name: str, why: str, before: str, after: str, pattern: str) -> Rule:
    """A rule that removes every match of a pattern.

    Args:
        name: see `Rule`.
        why: see `Rule`.
        before: see `Rule`.
        after: see `Rule`.
        pattern: regular expression in Rust syntax, https://docs.rs/regex/latest/regex/#syntax
    """
    return Rule(
        name,
        why,
        before,
        after,
        apply=lambda text: text.str.replace_all(pattern, ""),
        removes=lambda text: text.str.extract_all(pattern),
    )


def _split_repeats(text: str) -> tuple[list[str], list[str]]:
    seen: set[str] = set()
    kept, repeated = [], []
    for line in text.split("\n"):
        key = " ".join(line.split()).casefold()
        if len(key) >= _SHORT_PARAGRAPH and key in seen:
            repeated.append(line)
        else:
            kept.append(line)
        seen.add(key)
    return kept, repeated


def _repeats(text: pl.Expr) -> pl.Expr:
    return text.map_elements(
        lambda t: _split_repeats(t)[1], return_dtype=pl.List(pl.String), skip_nulls=True
    )


RULES = [
    Rule(
        "entities",
        "Web exports escape signs, some of them twice.",
        "p &amp;lt; 0.05 &amp; 5&nbsp;&micro;g",
        "p < 0.05 & 5\u00a0µg",
        repair.resolve_entities,
    ),
    Rule(
        "encoding",
        "UTF-8 read as another encoding, ligatures and full-width letters hide words and units.",
        "2 Âµg/kg of a Î²-blocker for atrial ﬁbrillation, x²",
        "2 µg/kg of a β-blocker for atrial fibrillation, x²",
        repair.fix_encoding,
    ),
    Rule(
        "control_characters",
        "Invisible characters split words for a tokenizer.",
        "hypo\u00adtension\u200b\x07",
        "hypotension",
        repair.drop_controls,
    ),
    removing(
        "scripts",
        "Programs and style sheets of a web page are no text.",
        "Fever.<script>track('x');</script> Cough.",
        "Fever. Cough.",
        repair.SCRIPT_ELEMENT,
    ),
    Rule(
        "superscripts",
        "Removing the tags alone would turn 10<sup>9</sup> into 109.",
        "5 ×10<sup>9</sup>/L, H<sub>2</sub>O, p53<sup>wt</sup>",
        "5 ×10⁹/L, H₂O, p53wt",
        repair.write_scripts,
    ),
    Rule(
        "html_tags",
        "Only tags with known names go: comparisons use the same brackets.",
        "<p>Age <i>x</i> &lt;b and p<0.05 and >3</p>",
        "\nAge x &lt;b and p<0.05 and >3\n",
        repair.strip_tags,
    ),
    Rule(
        "hyphenation",
        "Words split at a line end; a hyphen that belongs to the word stays.",
        "hyper-\ntension and non-\nsmall cell, placebo-\ncontrolled",
        "hypertension and non-small cell, placebo-controlled",
        repair.join_hyphens,
    ),
    removing(
        "copyright_tail",
        "Publishers append legal lines to abstracts.",
        "Bleeding fell. Copyright © 2020 Elsevier Ltd. All rights reserved.",
        "Bleeding fell.",
        _TAIL,
    ),
    removing(
        "correspondence",
        "Contact lines are no medicine, and they hold personal addresses.",
        "Survival rose. Correspondence: a.b@example.org",
        "Survival rose.",
        _CORRESPONDENCE,
    ),
    removing(
        "links",
        "A link in brackets or on a line of its own says nothing; inside a sentence it stays.",
        "The code is free (https://example.org/x). See https://example.org for how.",
        "The code is free. See https://example.org for how.",
        _LINK,
    ),
    Rule(
        "repeated_paragraphs",
        "Some exports hold a paragraph twice.",
        "Aspirin was given to all of the patients.\nX.\nAspirin was given to all of the patients.",
        "Aspirin was given to all of the patients.\nX.",
        repair.where("\n", lambda text: "\n".join(_split_repeats(text)[0])),
        _repeats,
    ),
    Rule(
        "white_space",
        "Tabs, no-break and double blanks, and empty lines carry nothing.",
        " 5\u00a0 mg\t daily \r\n\n\n\nfor life ",
        "5 mg daily\n\nfor life",
        repair.tidy_space,
    ),
]

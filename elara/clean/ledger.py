"""The ledger of protected terms: what a reader must find again after cleaning.

A rule may take away a passage, and then it says so; everything else must still hold every term as
often as before. The ledger shares no code with the rules: it reads damaged text by itself, with the
standard library's tables of entities, encodings and HTML names, so that a wrong repair cannot
hide from it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from lxml.html import defs

_NUMBER = r"\d+(?:[.,·]\d+)*"
_UNIT = (
    r"(?:(?:[µμ]g|mcg|mg|ng|pg|kg|g|[µμ][lL]|m[lL]|d[lL]|[lL]|[µμ]mol|mmol|nmol|pmol|mol|mOsm|mEq|"
    r"Eq|[µμ]M|mM|nM|pM|M|mIU|IU|U|kDa|Da|kPa|Pa|mm\s?Hg|cm|mm|[µμ]m|nm|m2|m|kcal|cal|kJ|J|mGy|Gy|"
    r"mSv|Hz|kbp|bp|bpm|hours?|hr|h|minutes?|min|days?|d|weeks?|months?|years?|doses?)\b|m²|°C|%)"
)
_LETTER = r"[^\W\d_]"
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿ"
_LOWERED = "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎"


@dataclass(frozen=True)
class Protected:
    """One kind of term that cleaning may not lose.

    Args:
        kind: its name.
        pattern: regular expression that Python and Rust read alike.
        example: a term that it finds.
        finding: whether no passage that holds one may be removed, unless it stands elsewhere too.
    """

    kind: str
    pattern: str
    example: str
    finding: bool = False


PROTECTED = (
    Protected("quantity", rf"{_NUMBER}\s?{_UNIT}(?:\s?/\s?{_UNIT})*", "0.5 µg/kg/min", True),
    Protected(
        "power_of_ten",
        rf"(?:{_NUMBER}\s?)?[×x]\s?10(?:[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+|\^?-?\d+)(?:/[µμ]?[lL])?",
        "4.5 ×10⁹/L",
        True,
    ),
    Protected("comparison", rf"[<>≤≥=≈≠~]\s?[-−+]?{_NUMBER}%?", "≥ 90", True),
    Protected("plus_minus", rf"±\s?{_NUMBER}", "± 2.1", True),
    Protected("range", rf"{_NUMBER}\s?%?\s?(?:-|–|—|to)\s?{_NUMBER}", "0.05-0.5"),
    Protected("p_value", rf"\b[pP]\s?[<>=≤≥]\s?{_NUMBER}", "p<0.05", True),
    Protected("negative_number", r"(?:^|[\s(\[])[-−]\d+(?:[.,]\d+)*", "−0.7"),
    Protected("number", _NUMBER, "1,234.5"),
    Protected("greek", "[Ͱ-Ͽἀ-῿µ]", "β", True),
    Protected("raised_sign", rf"[^\W_]*[{_RAISED}{_LOWERED}]+", "H₂O"),
    Protected(
        "name_with_digits",
        rf"\b{_LETTER}+-?\d[^\W_]*(?:[-/][^\W_]+)*\+?|\b\d+(?:,\d+)*-{_LETTER}[^\W_-]*(?:-[^\W_]+)*",
        "IL-6",
    ),
    Protected("acronym", r"\b[^\W\d_a-z]{2,}\b|\b[a-z]{1,3}[A-Z]{1,4}[A-Za-z]*\b", "mRNA"),
    Protected("hyphenated", rf"\b{_LETTER}+(?:-{_LETTER}+)+\b", "beta-blocker"),
    Protected("dotted", rf"\b(?:{_LETTER}\.){{2,}}", "i.v."),
    Protected("species", r"\b[A-Z]\. [a-z]{3,}", "S. aureus", True),
    Protected(
        "negation",
        r"(?i)\b(?:no|not|non|nor|none|never|neither|without|cannot|absence|absent|lack|lacks|"
        r"lacking|negative|denies|denied|(?:is|are|does|do|was|were|did|has|have|had|could|would|"
        r"should|can|wo)n['’]t)\b",
        "without",
    ),
)
_PATTERNS = {p.kind: re.compile(p.pattern) for p in PROTECTED}
_ORDER = {p.kind: number for number, p in enumerate(PROTECTED)}

_TAG = re.compile(
    r"""</?([A-Za-z][\w:-]*)((?:\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>=]+))*)\s*/?>"""
)
_TAG_NAMES = {
    *defs.tags,
    *[
        "bold",
        "italic",
        "monospace",
        "underline",
        "sc",
        "xref",
        "ext-link",
        "inf",
        "figure",
        "nobr",
    ],
}
_TAG_NAMES |= {"inline-formula", "mark", "section", "article"}
_NO_TEXT = re.compile(r"(?is)<(script|style)\b[^<>]*>.*?</\1\s*>|<!--.*?-->")
_RAISING = re.compile(r"(?i)<(sup|sub)>\s*([\d+−=(),.;n -]{1,40}?)\s*</\1>")
_UP = dict(zip("0123456789+-=()n−", [*_RAISED, "⁻"], strict=True))
_DOWN = dict(zip("0123456789+-=()−", [*_LOWERED, "₋"], strict=True))
# UTF-8 that was read as Latin-1 or Windows-1252: what stands for a first byte (but ×, which stands
# before a blank in its own right), then the rest.
_TRAIL = "[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
_MISREAD = re.compile(
    f"[\xc2-\xd6\xd8-\xdf]{_TRAIL}|[\xe0-\xef]{_TRAIL}{{2}}|[\xf0-\xf4]{_TRAIL}{{3}}|Ã |Â |â€\ufffd"
)
_KNOWN = {"Ã ": "à", "Â ": " ", "â€\ufffd": "”"}  # a byte of these was lost
_FORMAT = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u2060\ufeff]")
_WIDE = re.compile("[\ufb00-\ufb06\uff01-\uff5e]")


class LostTerms(ValueError):
    """A rule lost protected terms outside the passages that it names."""


@dataclass(frozen=True)
class Loss:
    """A protected term that is rarer than it should be.

    Args:
        kind: the kind of term.
        term: the term.
        before: how often it should be there.
        after: how often it is.
    """

    kind: str
    term: str
    before: int
    after: int


def reading(text: str) -> str:
    """The text as it was meant, on one line.

    Args:
        text: any text, damaged or repaired.

    Source: entities, https://html.spec.whatwg.org/#named-character-references; the encodings are
        Python's own; HTML names are those of `lxml.html.defs`.
    """
    while "&" in text and (plain := html.unescape(text)) != text:
        text = plain
    if not text.isascii():
        while (fixed := _MISREAD.sub(_as_written, text)) != text:
            text = fixed
        text = _WIDE.sub(lambda m: unicodedata.normalize("NFKC", m[0]), text)
        text = unicodedata.normalize("NFC", text)
    text = _FORMAT.sub("", text)
    if "<" in text:
        text = _RAISING.sub(_raised, _NO_TEXT.sub("", text))
        text = _TAG.sub(_without_tag, text)
    return " ".join(text.split())


def _as_written(found: re.Match[str]) -> str:
    if found[0] in _KNOWN:
        return _KNOWN[found[0]]
    # Windows-1252 has a sign for most bytes from 0x80 to 0x9F, Latin-1 a control character.
    misread = b"".join(sign.encode("latin-1" if ord(sign) < 256 else "cp1252") for sign in found[0])
    try:
        return misread.decode()
    except UnicodeDecodeError:
        return found[0]


def _raised(found: re.Match[str]) -> str:
    signs = _UP if found[1].lower() == "sup" else _DOWN
    if not re.search(r"[\d+−n-]", found[2]):
        return found[2]
    return "".join(signs.get(sign, sign) for sign in found[2])


def _without_tag(found: re.Match[str]) -> str:
    name = found[1].lower()
    if name not in _TAG_NAMES and not name.startswith(("mml:", "jats:")):
        return found[0]
    block = name in defs.block_tags or name in ("br", "td", "tr", "li", "section", "article")
    return " " if block else ""


def terms(text: str) -> Counter[tuple[str, str]]:
    """Count the protected terms of a text, by kind and term.

    Args:
        text: any text, damaged or repaired.
    """
    return _count(reading(text))


def _count(text: str) -> Counter[tuple[str, str]]:
    return Counter(
        (kind, found[0].strip(" (["))
        for kind, pattern in _PATTERNS.items()
        for found in pattern.finditer(text)
    )


def lost(before: str, after: str, removed: Sequence[str] = ()) -> list[Loss]:
    """Find the terms that are rarer after than they should be.

    Args:
        before: a text before a rule (or before all of them).
        after: and after.
        removed: the passages that were named as removed.

    Returns:
        The losses, in the order of `PROTECTED`; none if all is well.
    """
    if _cut_out(before, removed, after) if removed else before.split() == after.split():
        return []
    was, now = reading(before), reading(after)
    if was == now:
        return []
    due = _count(was)
    for passage in removed:
        due.subtract(terms(passage))
    have = _count(now)
    return sorted(
        (Loss(*term, count, have[term]) for term, count in due.items() if have[term] < count),
        key=lambda loss: (_ORDER[loss.kind], loss.term),
    )


def _cut_out(before: str, removed: Sequence[str], after: str) -> bool:
    """Whether `after` is `before` without these passages, none of which touches a word.

    White space does not count: a line takes its line end along.
    """
    kept, place = [], 0
    for passage in removed:
        at = before.find(passage, place)
        if at < 0:
            return False
        end = at + len(passage)
        if _in_word(before, at) or _in_word(before, end):
            return False
        kept.append(before[place:at])
        place = end
    return ("".join(kept) + before[place:]).split() == after.split()


def _in_word(text: str, at: int) -> bool:
    return 0 < at < len(text) and all(c.isalnum() or c in "-−" for c in text[at - 1 : at + 1])


_WEB = re.compile(
    r"(?i)(?:©|\(c\)|copyright)\W*(?:19|20)\d\d|(?:https?://|www\.)\S+|\S+@\S+|\b10\.\d{4,9}/\S+"
)
_FINDINGS = {p.kind: re.compile(p.pattern) for p in PROTECTED if p.finding}


def findings(passage: str) -> list[Loss]:
    """The findings in a passage that is to be removed for good: there should be none.

    Args:
        passage: a piece of a text.
    """
    plain = _WEB.sub("", reading(passage))
    return [
        Loss(kind, found[0].strip(), 1, 0)
        for kind, pattern in _FINDINGS.items()
        for found in pattern.finditer(plain)
    ]


def count_terms(texts: pl.Series) -> int:
    """How many protected terms texts hold, counted as they stand.

    Args:
        texts: strings.
    """
    table = texts.to_frame("text")
    counts = [pl.col("text").str.count_matches(p.pattern).sum().alias(p.kind) for p in PROTECTED]
    return int(table.select(pl.sum_horizontal(*counts)).item() or 0)

"""Count the protected terms of a text, so that a change that loses one can be refused.

A rule may take away a passage without such a term (or a citation, an address, a legal line), and
then it says so; everything else must still hold every term as often as before. The ledger reads
damaged text by itself, with the standard library's tables of entities, encodings and HTML names,
and not with the rules' repairs, so that a wrong repair cannot hide from it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import polars as pl
from lxml.html import defs

from elara.clean.legal import kind_of

_words = str.split

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
    """

    kind: str
    pattern: str
    example: str


PROTECTED = (
    Protected("quantity", rf"{_NUMBER}\s?{_UNIT}(?:\s?/\s?{_UNIT})*", "0.5 µg/kg/min"),
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
    Protected("number", _NUMBER, "1,234.5"),
    Protected("greek", "[Ͱ-Ͽἀ-῿µ]", "β"),
    Protected("raised_sign", rf"[^\W_]*[{_RAISED}{_LOWERED}]+", "H₂O"),
    Protected(
        "name_with_digits",
        rf"\b{_LETTER}+-?\d[^\W_]*(?:[-/][^\W_]+)*\+?|\b\d+(?:,\d+)*-{_LETTER}[^\W_-]*(?:-[^\W_]+)*",
        "IL-6",
    ),
    Protected("acronym", r"\b[^\W\d_a-z]{2,}\b|\b[a-z]{1,3}[A-Z]{1,4}[A-Za-z]*\b", "mRNA"),
    Protected("hyphenated", rf"\b{_LETTER}+(?:-{_LETTER}+)+\b", "beta-blocker"),
    Protected("dotted", rf"\b(?:{_LETTER}\.){{2,}}", "i.v."),
    Protected("species", r"\b[A-Z]\. [a-z]{3,}", "S. aureus"),
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
    *_words("bold italic monospace underline sc xref ext-link inf figure nobr inline-formula mark"),
    *_words("section article"),
}
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
# A word that a line end splits.
_LINE_END = re.compile(r"([^\W\d_]+)-[^\S\n]*\n\s*([^\W\d_]+)")
# "pre- and postmenopausal": the hyphen stands for what follows later.
LINKING = {*_words("and or to und oder bis et ou y o u e à")}
# Two words in small letters, each between blanks: no pattern reaches over the blank between them.
_BORDER = re.compile(r" [a-z]{3,} (?=[a-z]{3,} )")


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
    before: int = 0
    after: int = 0


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

    Only the part between what both texts begin and end with is read, cut at blanks between words of
    three or more small letters. No repair that `reading` undoes and no pattern of `PROTECTED`
    reaches over such a blank, so that the verdict is that of reading all.

    Args:
        before: a text before a rule (or before all of them).
        after: and after.
        removed: the passages that were named as removed.

    Returns:
        The losses, in the order of `PROTECTED`; none if all is well.
    """
    if removed:
        if _cut_out(before, removed, after):
            return []
    elif before.split() == after.split():
        return []
    if _rarer(*_differing(before, after), removed):
        return _rarer(before, after, removed)
    return []


def _rarer(before: str, after: str, removed: Sequence[str]) -> list[Loss]:
    if "-" in before and "\n" in before:
        before = _LINE_END.sub(_as_joined(after), before)
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


def _as_joined(after: str) -> Callable[[re.Match[str]], str]:
    """Read a word that a line end split as the text after the rule has it: one, or hyphened."""

    def read(found: re.Match[str]) -> str:
        first, second = found.groups()
        if second.lower() in LINKING:
            return f"{first}- {second}"
        # For a negation (non-small), capitals and single letters, one word would hide a loss.
        small = len(first) > 1 and first[1:].islower() and second.islower()
        if small and not _PATTERNS["negation"].fullmatch(first) and first + second in after:
            return first + second
        return f"{first}-{second}" if f"{first}-{second}" in after else found[0]

    return read


def _differing(before: str, after: str) -> tuple[str, str]:
    """The parts of two texts between borders around all that differs."""
    if any(sign in text for text in (before, after) for sign in "<&"):
        return before, after
    shorter = min(len(before), len(after))
    same = alike(before, after, shorter)
    start = end = 0
    for found in _BORDER.finditer(before, max(0, same - 200), same):
        start = found.end()
    tail = alike(before[::-1], after[::-1], shorter - start)
    if found_end := _BORDER.search(before, len(before) - tail):
        end = len(before) - found_end.end()
    return before[start : len(before) - end], after[start : len(after) - end]


def alike(one: str, two: str, most: int) -> int:
    """With how many of the same characters two texts begin, at most so many."""
    same, differ = 0, most + 1
    while same + 1 < differ:
        middle = (same + differ) // 2
        if one[same:middle] == two[same:middle]:
            same = middle
        else:
            differ = middle
    return same


def _cut_out(before: str, removed: Sequence[str], after: str) -> bool:
    """Whether `after` is `before` without these, blanks apart, and no word or term is cut."""
    kept, place = [], 0
    for passage in removed:
        at = before.find(passage, place)
        end = at + len(passage)
        if at < 0 or cuts(before, at) or cuts(before, end):
            return False
        kept.append(before[place:at])
        place = end
    return ("".join(kept) + before[place:]).split() == after.split()


_AROUND = 40
# A term reaches over a blank only beside a digit or sign, in "mm Hg" and in "S. aureus".
_REACHES = re.compile(r"[\dH<>≤≥=≈≠~±×/%−–—⁰-ₜ-]")


def cuts(text: str, at: int) -> bool:
    """Whether a word or a protected term goes on over a place."""
    if not 0 < at < len(text):
        return False
    if all(c.isalnum() or c in "-−" for c in text[at - 1 : at + 1]):
        return True
    left, right = text[:at].rstrip()[-1:], text[at:].lstrip()[:1]
    blank = text[at - 1].isspace() or text[at].isspace()
    species = left == "." and right.islower()
    if blank and not species and not _REACHES.search(left + right):
        return False
    start = max(0, at - _AROUND)
    near, here = text[start : at + _AROUND], at - start
    return any(
        found.start() < here < found.end() and found[0][: here - found.start()].strip(" ([")
        for pattern in _PATTERNS.values()
        for found in pattern.finditer(near)
    )


def findings(passage: str) -> list[Loss]:
    """The protected terms in a passage that is to be removed for good: there should be none.

    Citations, addresses, legal lines and labels hold years, acronyms and hyphens of their own;
    what they consist of is decided by `kind_of`.

    Args:
        passage: a piece of a text.
    """
    kind, held = contents(passage)
    return [] if kind else [Loss(*term, count) for term, count in held.items()]


@lru_cache(maxsize=4096)
def contents(passage: str) -> tuple[str, Counter[tuple[str, str]]]:
    """Of which kind a passage is, if it holds protected terms at all, and these terms.

    Args:
        passage: a piece of a text.
    """
    held = terms(passage)
    return (kind_of(passage) if held else "", held)


def count_terms(texts: pl.Series) -> int:
    """How many protected terms texts hold, counted as they stand.

    Args:
        texts: strings.
    """
    table = texts.to_frame("text")
    counts = [pl.col("text").str.count_matches(p.pattern).sum().alias(p.kind) for p in PROTECTED]
    return int(table.select(pl.sum_horizontal(*counts)).item() or 0)

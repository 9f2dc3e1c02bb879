"""Write superscripts and subscripts on a line: 10<sup>5.3</sup> is 10^5.3, and never 105.3."""

from __future__ import annotations

import re

from elara.collect.xmlrecords import Element

SUPERSCRIPTS = str.maketrans("0123456789-−–+", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻⁻⁺")
SUBSCRIPTS = str.maketrans("0123456789-−–+", "₀₁₂₃₄₅₆₇₈₉₋₋₋₊")
_SMALL = {"sup": SUPERSCRIPTS, "sub": SUBSCRIPTS}
_MARK = {"sup": "^", "sub": "_"}
# A whole number with its sign, or a charge.
WHOLE = re.compile(r"[-−–+]?[0-9]+|[0-9]+[-−–+]")
# Several numbers, mostly of notes, of which each keeps its own digits.
_NUMBERS = re.compile(r"[,;–-]?\s*\d{1,3}(?:\s*[,;–-]\s*\d{1,3})+|,\s*\d{1,3}")
# One name or number, or what has parentheses of its own. Small digits within would be ambiguous.
_SIMPLE = re.compile(r"[-−–+]?(?:[^\W⁰-⁹¹²³₀-₉]|[.·])+")
_IN_PARENTHESES = re.compile(r"\([^()]*\)")
_DEGREE = re.compile(r"[o○∘˚]([CF]?)")
# Endings of ordinals and titles, which are raised for their looks alone: 1st, 2nd, 1er, Mme, nth.
_ENDING = re.compile(r"st|nd|rd|th|er|re|ère|ème|me|lle|[ºª]", re.IGNORECASE)
_TRADE = {"TM": "™", "SM": "℠"}
# A number would swallow what is raised behind one of these: 5.<sup>3</sup> is not 5.3.
GOES_ON = ".,·-−–"
_OPENING = set("([{<-–—/\\'\"‘“«")  # what follows begins a word, as in [14C]urea
_WRITTEN = re.compile(r"<(su[bp])>([^<>]*)</\1>")
# Private characters stand for the tags.
_SIGNS = {"sup": ("\ue010", "\ue011"), "sub": ("\ue012", "\ue013")}
_RUN = re.compile("\ue010([^\ue010-\ue013]*)\ue011|\ue012([^\ue010-\ue013]*)\ue013")
_ADJACENT = re.compile("\ue011\ue010|\ue013\ue012")
_SIGN = re.compile("[\ue010-\ue013]+")
_NEAR = 100  # characters before and after a run that are looked at
# `14` in 14C begins a word, `1` in "1 Current affiliation" and `a` in "a The strata" do not.
_NOTE = re.compile(r"\d{1,2}")
_WORD_AFTER = re.compile(r"[A-Z]?[a-z]{3}|[A-Z][a-z]{2}")


def one_line(kind: str, text: str, before: str, after: str = "", notes: bool = False) -> str:
    """A raised or lowered run as it is written on a line, kept apart from what is around it.

    Raised behind a letter or digit, and lowered behind a digit, whole numbers become small digits
    (10⁵, m², Ca²⁺, log₁₀5) and all else is marked: `10^5.3`, `10^(6-8)`, `10^n`. Where a run
    cannot be confused with what it follows, it reads as it is: CO2, 14C, CD4+, 1st, 50[2].

    Args:
        kind: `sup` or `sub`.
        text: the run, white space as single spaces.
        before: what precedes it on its line, white space included.
        after: what follows it, at least three characters if there are so many.
        notes: whether a run may be the mark of a note at the beginning of a paragraph, which
            stands apart from its first word. Running text has such notes.
    """
    close = before.rstrip()
    touches = close == before
    last = close[-1:]
    if notes and not (before and touches) and not last.isdigit():
        letter = text.isalpha() and len(text) == 1 and after[:1].isalnum()
        if letter or (_NOTE.fullmatch(text) and _WORD_AFTER.match(after)):
            return f"{text} "
    number = last.isdigit()
    if touches and not text[:1].isalpha():
        number = close.rstrip(GOES_ON)[-1:].isdigit()
    goes_on = after[:1].isdigit()
    if not any(map(str.isalnum, text)):
        return text.translate(_SMALL[kind]) if touches and number and goes_on else text
    if kind == "sup" and number:
        if degree := _DEGREE.fullmatch(text):
            return f"°{degree[1]}"
        if text == "0" and after[:1] in ("C", "F"):
            return "°"
    swallowed = goes_on and text[-1].isdigit()
    behind = number or swallowed
    word = kind == "sup" and touches and bool(last)
    if WHOLE.fullmatch(text):
        return text.translate(_SMALL[kind]) if behind or (word and last not in _OPENING) else text
    if not behind and not (word and last.isalnum()):
        return text
    if _ENDING.fullmatch(text) or (text[0] == "[" and text[-1] == "]"):
        return text
    if _NUMBERS.fullmatch(text) and not (number and ("-" in text or "–" in text)):
        return text.translate(_SMALL[kind])
    if text in _TRADE:
        return _TRADE[text]
    ends = _SIMPLE.fullmatch(text) and not after[:1].isalnum()
    return _MARK[kind] + (text if ends or _IN_PARENTHESES.fullmatch(text) else f"({text})")


def mark_runs(tree: Element) -> None:
    """Put signs around raised and lowered runs, by which `flat_runs` knows them in the text.

    Args:
        tree: XML; changed in place.
    """
    for small in (*tree.iter("sup"), *tree.iter("sub")):  # quicker than both at once
        begin, end = _SIGNS[str(small.tag)]
        small.text = begin + (small.text or "")
        small.tail = end + (small.tail or "")


def flat_runs(text: str) -> str:
    """Raised and lowered runs on one line.

    Args:
        text: in which `mark_runs` put signs around them, or a source wrote their tags out by
            mistake: `10<sup>5</sup>`.
    """
    if "<su" in text:
        text = _WRITTEN.sub(lambda run: run[2].join(_SIGNS[run[1]]), text)
    if "\ue011" not in text and "\ue013" not in text:
        return text
    text = _ADJACENT.sub("", text)
    while runs := [*_RUN.finditer(text)]:  # the innermost
        pieces: list[str] = []  # from the end: what precedes a run is still as the source has it
        end = len(text)
        for run in reversed(runs):
            kind, inside = ("sup", run[1]) if run[2] is None else ("sub", run[2])
            before = _SIGN.sub("", text[max(0, run.start() - _NEAR) : run.start()])
            behind = text[run.end() : end]
            after = _SIGN.sub("", behind[:_NEAR]) or (pieces[-1] if pieces else "")
            within = " ".join(inside.split())
            written = one_line(kind, within, before, after)
            pieces += [behind, inside if written == within else written]
            end = run.start()
        text = "".join([*pieces, text[:end]][::-1])
    return " ".join(text.split())

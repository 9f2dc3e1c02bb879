"""Raised and lowered text on one line: 10<sup>5.3</sup> is 10^5.3, and never 105.3."""

from __future__ import annotations

import re

_UP = str.maketrans("0123456789-−–+", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻⁻⁺")
_DOWN = str.maketrans("0123456789-−–+", "₀₁₂₃₄₅₆₇₈₉₋₋₋₊")
_SMALL = {"sup": _UP, "sub": _DOWN}
_MARK = {"sup": "^", "sub": "_"}
# A whole number with its sign, or a charge.
_WHOLE = re.compile(r"[-−–+]?[0-9]+|[0-9]+[-−–+]")
# One name or number: needs no parentheses.
_SIMPLE = re.compile(r"[-−–+]?[0-9]+(?:[.·][0-9]+)?|[^\W\d_]+|[-−–+][^\W\d_]|\([^()]*\)")
_ORDINAL = re.compile(r"st|nd|rd|th|er|re|ère|ème|[ºª]", re.IGNORECASE)
_DEGREE = re.compile(r"[o○∘˚]([CF]?)")
# A number would swallow what is raised behind one of these: 5.<sup>3</sup> is not 5.3.
GOES_ON = ".,·-−–"
_RUN = re.compile(r"<(su[bp])>([^<>]*)</\1>")
_ADJACENT = re.compile(r"</sup><sup>|</sub><sub>")
_NEAR = 100  # characters before a run that are looked at

# Of running text, where a note may look like an exponent.
_INTEGERS = re.compile(r"[,;–-]?\s*\d{1,3}(?:\s*[,;–-]\s*\d{1,3})+|,\s*\d{1,3}")
_WORD = re.compile(r"[-−–+]?[\w.]+")
# `14` in 14C begins a word, `1` in "1 Current affiliation" and `a` in "a The strata" do not.
_NUMBER = re.compile(r"\d{1,2}")
_WORD_AFTER = re.compile(r"[A-Z]?[a-z]{3}|[A-Z][a-z]{2}")
_NOTES = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
# Endings of ordinals and titles, which are raised for their looks alone: 1st, 2nd, 1er, Mme, nth.
_ENDINGS = {"st", "nd", "rd", "th", "er", "re", "ère", "ème", "me", "lle"}
_OPENING = set("([{<-–—/\\'\"‘“«")


def one_line(kind: str, text: str, before: str, after: str = "") -> str:
    """A raised or lowered run as it is written on a line, kept apart from the digits around it.

    Whole numbers become small digits (10⁵), all else is marked: `10^5.3`, `10^(6-8)`, `10^n`.
    Where no digit stands beside it, a run reads as it always has: CO2, Ca2+, Ser189, 14C. So do
    signs (CD4+), ordinals (1st) and notes in brackets.

    Args:
        kind: `sup` or `sub`.
        text: the run, white space as single spaces.
        before: what precedes it.
        after: what follows it.
    """
    close = before.rstrip()
    touches = close == before
    worded = text[:1].isalpha()
    number = (close.rstrip(GOES_ON) if touches and not worded else close)[-1:].isdigit()
    goes_on = after[:1].isdigit()
    if not any(map(str.isalnum, text)):
        return text.translate(_SMALL[kind]) if touches and number and goes_on else text
    swallowed = goes_on and text[-1].isdigit()
    if (degree := _DEGREE.fullmatch(text)) and number and kind == "sup":
        return f"°{degree[1]}"
    if not (number and (touches or not worded)) and not swallowed:
        return text
    if _WHOLE.fullmatch(text):
        return text.translate(_SMALL[kind])
    if _ORDINAL.fullmatch(text) or (text[0] == "[" and text[-1] == "]"):
        return text
    return _MARK[kind] + (text if _SIMPLE.fullmatch(text) and not swallowed else f"({text})")


def flat_runs(text: str) -> str:
    """Raised and lowered runs on one line, in a text that still has their tags: `10<sup>5</sup>`.

    Args:
        text: plain text but for the tags; a source may have written them out by mistake.
    """
    text = _ADJACENT.sub("", text)
    pieces: list[str] = []  # from the end, as `elara.collect.xmlrecords.keep_exponents` goes
    end = len(text)
    for run in reversed([*_RUN.finditer(text)]):
        after = text[run.end() : end] or (pieces[-1] if pieces else "")
        before = text[max(0, run.start() - _NEAR) : run.start()]
        if "<" in before:
            before = _RUN.sub(r"\2", before)
        within = " ".join(run[2].split())
        written = one_line(run[1], within, before, after)
        pieces += [text[run.end() : end], run[2] if written == within else written]
        end = run.start()
    return "".join([*pieces, text[:end]][::-1])


def raised(text: str, before: str, after: str) -> str:
    """How a raised run of characters is written in a line.

    Args:
        text: the run.
        before: the end of the line up to the run, white space included.
        after: what follows the run, at least three characters if there are so many.

    Returns:
        Whole numbers as superscript digits (10⁹, 50², m²), which never run into the number before
        them; everything else behind a digit or letter as `^x` (10^5.3). Marks, ordinals and what
        begins a word (`14` in 14C) stay as they are.
    """
    text = " ".join(text.split())
    last = before.rstrip()[-1:]
    glued = bool(before) and not before[-1].isspace()
    if not glued and not last.isdigit() and _begins_a_note(text, after):
        return f"{text} "
    if _WHOLE.fullmatch(text):
        if text == "0" and last.isdigit() and after[:1] in ("C", "F"):
            return "°"
        behind = last.isdigit() or (glued and last not in _OPENING)
        return text.translate(_UP) if behind or after[:1].isdigit() else text
    if not any(map(str.isalnum, text)) or not (last.isdigit() or (glued and last.isalnum())):
        return text
    if _INTEGERS.fullmatch(text):  # several notes, of which each keeps its own digits
        return text.translate(_NOTES)
    if text[0] == "[":
        return text  # a number in brackets cannot run into the one before
    if text in ("o", "º"):
        return "°" if last.isdigit() else text
    if text in ("TM", "SM"):
        return "™" if text == "TM" else "℠"
    return text if text in _ENDINGS else f"^{_grouped(text, after)}"


def lowered(text: str, before: str, after: str) -> str:
    """How a lowered run of characters is written in a line.

    Args:
        text: the run.
        before: the end of the line up to the run, white space included.
        after: what follows the run.

    Returns:
        Whole numbers beside a digit as subscript digits (MSP-1₄₂, log₁₀5), everything else behind
        a digit as `_x`; behind a letter the run stays as it is (CO2, Cmax, PM2.5).
    """
    text = " ".join(text.split())
    if not any(map(str.isalnum, text)):
        return text
    before_digit = after[:1].isdigit() and text[-1:].isdigit()
    if before[-1:].isdigit() or before_digit:
        return text.translate(_DOWN) if _WHOLE.fullmatch(text) else f"_{_grouped(text, after)}"
    return text


def _begins_a_note(text: str, after: str) -> bool:
    if text.isalpha() and len(text) == 1:
        return after[:1].isalnum()
    return bool(_NUMBER.fullmatch(text) and _WORD_AFTER.match(after))


def _grouped(text: str, after: str) -> str:
    """In parentheses where the end of the run could not be told otherwise."""
    apart = _WORD.fullmatch(text) and not after[:1].isalnum()
    return text if apart or (text[0], text[-1]) == ("(", ")") else f"({text})"

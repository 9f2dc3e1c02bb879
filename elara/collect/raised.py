"""Raised and lowered characters in plain text, kept apart from what stands beside them."""

from __future__ import annotations

import re

_INTEGER = re.compile(r"[-−–+]?[0-9]+[-−–+]?")
_INTEGERS = re.compile(r"[,;–-]?\s*\d{1,3}(?:\s*[,;–-]\s*\d{1,3})+|,\s*\d{1,3}")
_WORD = re.compile(r"[-−–+]?[\w.]+")
# `14` in 14C begins a word, `1` in "1 Current affiliation" and `a` in "a The strata" do not.
_NUMBER = re.compile(r"\d{1,2}")
_WORD_AFTER = re.compile(r"[A-Z]?[a-z]{3}|[A-Z][a-z]{2}")
_UP = str.maketrans("0123456789-−–+", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻⁻⁺")
_NOTES = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_DOWN = str.maketrans("0123456789-−–+", "₀₁₂₃₄₅₆₇₈₉₋₋₋₊")
# Endings of ordinals and titles, which are raised for their looks alone: 1st, 2nd, 1er, Mme, nth.
_ENDINGS = {"st", "nd", "rd", "th", "er", "re", "ère", "ème", "me", "lle"}
_OPENING = set("([{<-–—/\\'\"‘“«")


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
    if _INTEGER.fullmatch(text):
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
        return text.translate(_DOWN) if _INTEGER.fullmatch(text) else f"_{_grouped(text, after)}"
    return text


def _begins_a_note(text: str, after: str) -> bool:
    if text.isalpha() and len(text) == 1:
        return after[:1].isalnum()
    return bool(_NUMBER.fullmatch(text) and _WORD_AFTER.match(after))


def _grouped(text: str, after: str) -> str:
    """In parentheses where the end of the run could not be told otherwise."""
    apart = _WORD.fullmatch(text) and not after[:1].isalnum()
    return text if apart or (text[0], text[-1]) == ("(", ")") else f"({text})"

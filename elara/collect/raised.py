"""Raised and lowered text on one line: 10<sup>5.3</sup> is 10^5.3, and never 105.3."""

from __future__ import annotations

import re

_SMALL = {
    "sup": str.maketrans("0123456789-−–+", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻⁻⁺"),
    "sub": str.maketrans("0123456789-−–+", "₀₁₂₃₄₅₆₇₈₉₋₋₋₊"),
}
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

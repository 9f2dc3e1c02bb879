"""Write formulas on a line: 10<sup>5.3</sup> is 10^5.3, and never 105.3; MathML and TeX as text."""

from __future__ import annotations

import itertools
import re

from lxml import etree

from elara.collect.xmlrecords import Element, inner_text, replace_content, text_of

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

_ACCENT_MARKS = "\u0300-\u036f\u20d0-\u20ff′"
# One name or number: needs no parentheses around it as a base, index or exponent.
_BARE = re.compile(rf"(?:[^\W_][{_ACCENT_MARKS}.]*)+|[-−][^\W_]|[-−]\d+|\S?")
# Nor does a name with an index, above or below a fraction line.
_TERM = re.compile(rf"[-−]?(?:[\w^][{_ACCENT_MARKS}.!]*)+|\S?")
# Operators that read better with a space on either side.
_SPACED = set("=≠≈≅≃∼<>≤≥≪≫±∓×⋅·+∈∉⊂⊆∪∩→←↔⇒⇔∧∨∝≡|∣")
_DASHES = set("-−–")
_BRACKETS = {"(": ")", "[": "]", "{": "}", "⟨": "⟩", "⌊": "⌋", "⌈": "⌉"}
# Accents above a letter, as characters that combine with it.
_ACCENTS = {
    "¯": "\u0304", "‾": "\u0304", "\u0304": "\u0304", "−": "\u0304", "_": "\u0304",
    "^": "\u0302", "ˆ": "\u0302", "\u0302": "\u0302", "~": "\u0303", "˜": "\u0303",
    "∼": "\u0303", "\u0303": "\u0303", "˙": "\u0307", ".": "\u0307", "→": "\u20d7",
}  # fmt: skip
_INVISIBLE = "\u2061\u2062\u2063\u2064\u200b"
_TEX_DOCUMENT = re.compile(r"\\begin\{document\}(.*?)\\end\{document\}", re.DOTALL)


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
        for run in reversed(runs):  # what precedes a run is still as the source has it
            kind, inside = ("sup", run[1]) if run[2] is None else ("sub", run[2])
            before = _SIGN.sub("", text[max(0, run.start() - _NEAR) : run.start()])
            after = _SIGN.sub("", text[run.end() : run.end() + _NEAR])
            within = " ".join(inside.split())
            written = one_line(kind, within, before, after)
            written = inside if written == within else written
            text = text[: run.start()] + written + text[run.end() :]
    return " ".join(text.split())


def linear_formulas(tree: Element) -> Element:
    """Replace every formula by one line of text that can be read aloud.

    Fractions become `a/b`, exponents `x^n` (or superscript digits after a digit), indices `x_i`,
    roots `√(x)`; parentheses keep apart what the drawn formula kept apart.

    Args:
        tree: JATS or PubMed XML with MathML or `tex-math`; changed in place.

    Returns:
        The same tree.

    Source: https://www.w3.org/TR/MathML3/chapter3.html
    """
    for formula in list(tree.iter("{*}math")):
        try:
            replace_content(formula, _apart(formula, linear(formula)))
        except RecursionError:  # nested as no formula is
            replace_content(formula, text_of(formula))
    for formula in list(tree.iter("tex-math")):
        parent = formula.getparent()
        twin = parent is not None and parent.find("{*}math") is not None
        replace_content(formula, "" if twin else _tex(inner_text(formula)))
    return tree


def _apart(formula: Element, text: str) -> str:
    """A formula kept apart from the digits around it: 5 and 1/2 are not 51/2."""
    before, parent = formula.getprevious(), formula.getparent()
    ahead = "" if parent is None else parent.text or ""
    if before is not None:
        ahead = before.tail or text_of(before)
    left = " " * (ahead[-1:].isdigit() and text[:1].isdigit())
    return left + text + " " * (text[-1:].isdigit() and (formula.tail or "")[:1].isdigit())


def _tex(source: str) -> str:
    """TeX without the document that PubMed Central wraps around each formula."""
    found = _TEX_DOCUMENT.search(source)
    return " ".join((found[1] if found else source).strip().strip("$").split())


def linear(element: Element) -> str:
    """One MathML element as a line of text.

    Args:
        element: `math` or any presentation element inside it.
    """
    return " ".join(_layout(element).split())


def _row(element: Element) -> str:
    if not len(element):
        return _token(element)
    line = ""
    stacked = False
    for child in element:
        text = _layout(child)
        if not text:
            continue
        last = line.rstrip()[-1:]
        if text in _DASHES and last not in ("", "(", "[", "{", ",", "="):
            text = f" {text} "
        # What follows an index or exponent, or precedes a fraction, must not look part of it.
        elif (last.isalnum() and _name(child) == "mfrac") or (
            stacked and (text[0].isalnum() or text[0] in "∑∏∫√")
        ):
            line += " "
        line += text
        stacked = len(text) > 1 and any(sign in text for sign in "_^/")
    return line


def _name(element: Element) -> str:
    return etree.QName(element).localname


def _token(element: Element) -> str:
    text = "".join(c for c in element.text or "" if c not in _INVISIBLE).strip()
    match _name(element):
        case "mo" if text in _SPACED:
            return f" {text} "
        case "mo" if text in (",", ";"):
            return f"{text} "
        case "mspace":
            return " "
        case "mtext":
            return element.text or ""
        case "mi" | "mo" if len(text) > 1 and text.isalpha():
            return f" {text} "  # a name such as `log` must not run into its neighbours
    return text


def _layout(element: Element) -> str:
    """An element whose children stand above, below or beside each other."""
    parts = [child for child in element if isinstance(child.tag, str)]
    match _name(element), len(parts):
        case "mfrac", 2:
            return f"{_grouped(parts[0], _TERM)}/{_grouped(parts[1], _TERM)}"
        case "msup", 2:
            return _raised(_grouped(parts[0]), parts[1])
        case "msub" | "munder", 2:
            return f"{_grouped(parts[0])}_{_grouped(parts[1])}"
        case "msubsup" | "munderover", 3:
            return _raised(f"{_grouped(parts[0])}_{_grouped(parts[1])}", parts[2])
        case "mover", 2:
            base, over = _grouped(parts[0]), linear(parts[1])
            accent = _ACCENTS.get(over, "")
            return base + accent if accent and len(base) == 1 else _raised(base, parts[1])
        case "msqrt", _:
            return f"√({_row(element).strip()})"
        case "mroot", 2:
            return f"{_grouped(parts[0])}^(1/{_grouped(parts[1])})"
        case "mfenced", _:
            inside = (element.get("separators", ",")[:1] + " ").join(map(linear, parts))
            return element.get("open", "(") + inside + element.get("close", ")")
        case "mtable", _:
            return "; ".join(linear(row) for row in parts)
        case "mtr" | "mlabeledtr", _:
            return " ".join(linear(cell) for cell in parts)
        case "mmultiscripts", _:
            return _surrounded(parts)
        case "semantics", _:
            return _layout(parts[0]) if parts else ""
        case "annotation" | "annotation-xml" | "mphantom", _:
            return ""
    return _row(element)


def _surrounded(parts: list[Element]) -> str:
    """A symbol with indices and exponents on either side of it, as in ¹²⁹Xe."""
    names = [_name(part) for part in parts]
    before = names.index("mprescripts") if "mprescripts" in names else len(parts)
    line = _grouped(parts[0])
    for lower, upper in zip(parts[1:before:2], parts[2:before:2], strict=False):
        line = _raised(f"{line}_{_grouped(lower)}" if linear(lower) else line, upper)
    mass = "".join(linear(part).translate(SUPERSCRIPTS) for part in parts[before + 2 :: 2])
    number = "".join(linear(part).translate(SUBSCRIPTS) for part in parts[before + 1 :: 2])
    return mass + number + line


def _grouped(element: Element, bare: re.Pattern[str] = _BARE) -> str:
    """In parentheses, unless the text has its own or matches `bare` as a whole."""
    text = " ".join(_layout(element).split())
    return text if bare.fullmatch(text) or _enclosed(text) else f"({text})"


def _enclosed(text: str) -> bool:
    """Whether the bracket that opens the text is closed by its last character."""
    signs = [(sign in _BRACKETS) - (sign in _BRACKETS.values()) for sign in text]
    depths = list(itertools.accumulate(signs))
    return text[0] in _BRACKETS and 0 in depths and depths.index(0) == len(text) - 1


def _raised(base: str, exponent: Element) -> str:
    text = linear(exponent)
    if base[-1:].isdigit() and "_" not in base and WHOLE.fullmatch(text):
        return base + text.translate(SUPERSCRIPTS)
    if text in ("∘", "°"):
        return base + "°"
    if text in ("", "′", "'", "″", "*", "†"):
        return base + text
    return f"{base}^{_grouped(exponent)}"

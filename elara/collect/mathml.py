"""Formulas as a line of text: MathML, or TeX where a source has nothing else."""

from __future__ import annotations

import re

from lxml import etree

from elara.collect.superscripts import SUBSCRIPTS, SUPERSCRIPTS, WHOLE
from elara.collect.xmlrecords import (
    Element,
    inner_text,
    replace_content,
    text_of,
)

_MARKS = "\u0300-\u036f\u20d0-\u20ff′"
# One name or number: needs no parentheses around it as a base, index or exponent.
_SIMPLE = re.compile(rf"(?:[^\W_][{_MARKS}.]*)+|[-−][^\W_]|[-−]\d+|\S?")
# Nor does a name with an index, above or below a fraction line.
_TERM = re.compile(rf"[-−]?(?:[\w^][{_MARKS}.!]*)+|\S?")
# Operators that read better with a space on either side.
_SPACED = set("=≠≈≅≃∼<>≤≥≪≫±∓×⋅·+∈∉⊂⊆∪∩→←↔⇒⇔∧∨∝≡|∣")
_SIGNS = set("-−–")
_BRACKETS = {"(": ")", "[": "]", "{": "}", "⟨": "⟩", "⌊": "⌋", "⌈": "⌉"}
# Accents above a letter, as characters that combine with it.
_ACCENTS = {
    "¯": "\u0304", "‾": "\u0304", "\u0304": "\u0304", "−": "\u0304", "_": "\u0304",
    "^": "\u0302", "ˆ": "\u0302", "\u0302": "\u0302", "~": "\u0303", "˜": "\u0303",
    "∼": "\u0303", "\u0303": "\u0303", "˙": "\u0307", ".": "\u0307", "→": "\u20d7",
}  # fmt: skip
_INVISIBLE = "\u2061\u2062\u2063\u2064\u200b"
_TEX_DOCUMENT = re.compile(r"\\begin\{document\}(.*?)\\end\{document\}", re.DOTALL)


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
    if before is not None:
        ahead = before.tail or text_of(before)
    else:
        ahead = (parent.text or "") if parent is not None else ""
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
        if text in _SIGNS and last not in ("", "(", "[", "{", ",", "="):
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


def _grouped(element: Element, bare: re.Pattern[str] = _SIMPLE) -> str:
    """In parentheses, unless the text has its own or matches `bare` as a whole."""
    text = " ".join(_layout(element).split())
    return text if bare.fullmatch(text) or _enclosed(text) else f"({text})"


def _enclosed(text: str) -> bool:
    """Whether the bracket that opens the text is closed by its last character."""
    if text[0] not in _BRACKETS:
        return False
    depth = 0
    for position, character in enumerate(text):
        depth += (character in _BRACKETS) - (character in _BRACKETS.values())
        if not depth:
            return position == len(text) - 1
    return False


def _raised(base: str, exponent: Element) -> str:
    text = linear(exponent)
    if base[-1:].isdigit() and "_" not in base and WHOLE.fullmatch(text):
        return base + text.translate(SUPERSCRIPTS)
    if text in ("∘", "°"):
        return base + "°"
    if text in ("", "′", "'", "″", "*", "†"):
        return base + text
    return f"{base}^{_grouped(exponent)}"

"""Repair of damaged text: functions from text to text that only undo what software did to it.

They never apply NFKC: it would turn x² into x2, ½ into 1⁄2 and µ (micro) into μ (mu). Both µ and μ
stay as written, and so do curly quotes and every kind of dash.
"""

from __future__ import annotations

import html
import re
from functools import cache

import ftfy

_FTFY = ftfy.TextFixerConfig(
    unescape_html=False,  # a rule of its own: ftfy leaves entities alone beside a "<"
    uncurl_quotes=False,  # typography is no damage
    fix_latin_ligatures=True,  # ﬁbrillation, from PDF files, is not found by a search
    fix_character_width=True,
    normalization="NFC",  # not NFKC, see above
    explain=False,
)

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,30});")

_SCRIPT = re.compile(r"<(sup|sub)>([^<>]{1,40})</\1>", re.IGNORECASE)
_UP = str.maketrans("0123456789+-−=()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿ")
_DOWN = str.maketrans("0123456789+-−=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")

_ATTRIBUTES = r"""(?:\s+[\w:.-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=]+))*\s*"""
_BLOCK = (
    "address|article|blockquote|br|dd|div|dl|dt|h[1-6]|hr|li|ol|p|pre|section|table|tbody|td|tfoot|th|"
    "thead|tr|ul|caption|center|fig|figure"
)
_INLINE = (
    "a|abbr|acronym|b|big|bold|cite|code|del|dfn|em|font|i|img|inf|ins|"
    "italic|kbd|mark|nobr|q|s|sc|small|span|strike|strong|sub|sup|tt|u|"
    "underline|var|xref|monospace|ext-link|inline-formula|(?:mml|jats):[a-z-]+"
)
_BLOCK_TAG = re.compile(rf"\s*</?(?:{_BLOCK}){_ATTRIBUTES}/?>\s*", re.IGNORECASE)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE}){_ATTRIBUTES}/?>", re.IGNORECASE)

_INVISIBLE = "\xad\u200b\u200e\u200f\u2060\ufeff"
CONTROLS = "".join(
    chr(c) for c in range(0xA0) if c < 9 or 0xD < c < 0x20 or (c > 0x7E and c != 0x85)
)
_CONTROL = re.compile(f"[{re.escape(CONTROLS)}{_INVISIBLE}]")

# The parts of a broken word that a hyphen really belongs to.
_PREFIX = "all|anti|co|cross|double|ex|high|inter|intra|long|low|mid|multi|non|post|pre|self|short"
_SECOND = (
    "associated|based|blind|blinded|controlled|dependent|derived|free|induced|like|mediated|"
    "negative|positive|related|resistant|risk|sensitive|specific|term|treated|type|up|year"
)
_BROKEN_PREFIX = re.compile(rf"\b({_PREFIX})-\n\s*([a-z])")
_BROKEN_SECOND = re.compile(rf"([a-z]{{2,}})-\n\s*({_SECOND})\b")
_BROKEN_WORD = re.compile(r"\b([a-z]{2,})-\n\s*([a-z]{2,})")

_LINE_END = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_BLANKS = re.compile(r"[^\S\n]+")
_BLANKS_AT_END = re.compile(r" ?\n ?")
_EMPTY_LINES = re.compile(r"\n{3,}")

# Text in UTF-8 that was read as Latin-1 or Windows-1252 has a letter from Â to ô and then a sign
# that stands for a byte from 0x80 to 0xBF.
_LEADS = "".join(map(chr, range(0xC2, 0xF5)))
_TRAILS = "".join(map(chr, range(0x80, 0xC0))) + "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_ODD = [*range(0xFB00, 0xFB07), *range(0xFF01, 0xFF5F), *range(0x300, 0x370)]
BROKEN = (
    *(lead + trail for lead in _LEADS for trail in _TRAILS),
    "Ã ",  # "à", whose second byte became a blank
    "Â ",
    *map(chr, [*range(0x80, 0xA0), *_ODD, 0xFFFD, 0x2126, 0x212A, 0x212B]),
)
INVISIBLE = (*CONTROLS, *_INVISIBLE)
# Every sign that Python counts as white space, but for the plain blank and the plain line end.
SPACES = "\t\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)


def unescape(text: str) -> str:
    """Resolve character entities, however often they were escaped.

    Only entities that end in a semicolon count: `R&D` and `&copy2` are text.

    Args:
        text: any text.

    Source: HTML named character references, https://html.spec.whatwg.org/#named-character-references
    """
    while (resolved := _ENTITY.sub(_character, text)) != text:
        text = resolved
    return text


@cache
def _named(entity: str) -> str:
    return html.unescape(entity)


def _character(found: re.Match[str]) -> str:
    return _named(found[0])


def unbreak(text: str) -> str:
    """Repair text that was decoded with the wrong encoding, ligatures and full-width letters.

    Args:
        text: any text.

    Source: https://ftfy.readthedocs.io/en/latest/config.html
    """
    return str(ftfy.fix_text(text, _FTFY))


def drop_controls(text: str) -> str:
    """Remove control characters, soft hyphens and invisible marks; tabs and line ends stay."""
    return _CONTROL.sub("", text)


def raise_scripts(text: str) -> str:
    """Write `<sup>` and `<sub>` as Unicode signs, so that 10<sup>9</sup> does not become 109.

    Args:
        text: any text. Where a letter has no such sign, the tags go and the text stays.
    """
    return _SCRIPT.sub(_script, text)


def _script(found: re.Match[str]) -> str:
    inner = found[2].strip()
    if not re.fullmatch(r"[\d+\-−=(),.;n ]+", inner) or not re.search(r"[\d+\-−n]", inner):
        return inner
    return inner.translate(_UP if found[1].lower() == "sup" else _DOWN)


def strip_tags(text: str) -> str:
    """Remove tags with known names only, so that `p<0.05 and >3` and `a <b and c> d` survive.

    Args:
        text: any text. Block tags become a line break.
    """
    return _INLINE_TAG.sub("", _BLOCK_TAG.sub("\n", text))


def join_hyphens(text: str) -> str:
    """Join words that a line break split; a hyphen that belongs to the word stays."""
    kept = _BROKEN_PREFIX.sub(r"\1-\2", text)
    return _BROKEN_WORD.sub(r"\1\2", _BROKEN_SECOND.sub(r"\1-\2", kept))


def tidy_space(text: str) -> str:
    """One kind of line end, one blank between words, at most one blank line."""
    lines = _BLANKS_AT_END.sub("\n", _BLANKS.sub(" ", _LINE_END.sub("\n", text)))
    return _EMPTY_LINES.sub("\n\n", lines).strip()

"""Repair of damaged text: functions from text to text that only undo what software did to it.

They never apply NFKC: it would turn x² into x2, ½ into 1⁄2 and µ (micro) into μ (mu). Both µ and μ
stay as written, and so do curly quotes and every kind of dash.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import cache

import ftfy
import polars as pl

TextFunction = Callable[[str], str]
TextExpr = Callable[[pl.Expr], pl.Expr]

_FTFY = ftfy.TextFixerConfig(
    unescape_html=False,  # a rule of its own: ftfy leaves entities alone beside a "<"
    uncurl_quotes=False,  # typography is no damage
    fix_latin_ligatures=True,  # ﬁbrillation, from PDF files, is not found by a search
    fix_character_width=True,
    normalization="NFC",  # not NFKC, see above
    explain=False,
)

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,30});")
ENTITY_GATE = r"&(?:#|[A-Za-z])\w+;"

_SCRIPT = re.compile(r"<(sup|sub)>([^<>]{1,40})</\1>", re.IGNORECASE)
_UP = str.maketrans("0123456789+-−=()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿ")
_DOWN = str.maketrans("0123456789+-−=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")

_ATTRIBUTES = r"""(?:\s+[\w:.-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=]+))*\s*"""
_BLOCK = "address|article|blockquote|br|dd|div|dl|dt|h[1-6]|hr|li|ol|p|pre|section|table|tr|ul"
_INLINE = (
    "a|abbr|acronym|b|big|bold|caption|cite|code|del|dfn|em|fig|figure|font|i|img|inf|ins|italic|"
    "kbd|mark|nobr|q|s|sc|small|span|strike|strong|sub|sup|td|tbody|tfoot|th|thead|tt|u|underline|"
    "var|xref|monospace|ext-link|inline-formula|(?:mml|jats):[a-z-]+"
)
SCRIPT_ELEMENT = (
    r"(?is)<script(?:\s[^<>]*)?>.*?</script\s*>|<style(?:\s[^<>]*)?>.*?</style\s*>|<!--.*?-->"
)
# Kept first, joined last: the parts of a broken word that a hyphen really belongs to.
_PREFIX = "all|anti|co|cross|double|ex|high|inter|intra|long|low|mid|multi|non|post|pre|self|short"
_SECOND = (
    "associated|based|blind|blinded|controlled|dependent|derived|free|induced|like|mediated|"
    "negative|positive|related|resistant|risk|sensitive|specific|term|treated|type|up|year"
)


def where(pattern: str, function: TextFunction) -> TextExpr:
    """Make an expression of a Python function that runs only on the texts that may need it.

    Args:
        pattern: a regular expression (Rust syntax); texts without a match stay as they are.
        function: from text to text.
    """
    return selected(lambda series: series.str.contains(pattern), function)


def selected(gate: Callable[[pl.Series], pl.Series], function: TextFunction) -> TextExpr:
    """Like `where`, with any test in place of a pattern.

    Args:
        gate: from texts to booleans: which texts the function runs on.
        function: from text to text.
    """

    def on_series(series: pl.Series) -> pl.Series:
        hit = gate(series).fill_null(False)
        if not hit.any():
            return series
        changed = [function(text) for text in series.filter(hit).to_list()]
        return series.clone().scatter(hit.arg_true(), pl.Series(changed, dtype=pl.String))

    return lambda text: text.map_batches(on_series, return_dtype=pl.String)


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


def strip_tags(text: pl.Expr) -> pl.Expr:
    """Remove tags with known names only, so that `p<0.05 and >3` and `a <b and c> d` survive.

    Args:
        text: string expression. Block tags become a line break.
    """
    block = rf"(?i)\s*</?(?:{_BLOCK}){_ATTRIBUTES}/?>\s*"
    return text.str.replace_all(block, "\n").str.replace_all(
        rf"(?i)</?(?:{_INLINE}){_ATTRIBUTES}/?>", ""
    )


def drop_controls(text: pl.Expr) -> pl.Expr:
    """Remove control characters, soft hyphens and invisible marks; tabs and line ends stay."""
    return text.str.replace_all(
        r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u{ad}\u{200b}\u{200e}\u{200f}\u{2060}\u{feff}]", ""
    )


def join_hyphens(text: pl.Expr) -> pl.Expr:
    """Join words that a line break split; a hyphen that belongs to the word stays."""
    kept = text.str.replace_all(rf"\b({_PREFIX})-[ \t]*\n\s*([a-z])", "$1-$2")
    kept = kept.str.replace_all(rf"([a-z]{{2,}})-[ \t]*\n\s*({_SECOND})\b", "$1-$2")
    return kept.str.replace_all(r"\b([a-z]{2,})-[ \t]*\n\s*([a-z]{2,})", "$1$2")


def tidy_space(text: pl.Expr) -> pl.Expr:
    """One kind of line end, one blank between words, at most one blank line."""
    lines = text.str.replace_all(r"\r\n?|[\x0b\x0c\u{85}\u{2028}\u{2029}]", "\n")
    lines = lines.str.replace_all(r"[^\S\n]+", " ").str.replace_all(r" ?\n ?", "\n")
    return lines.str.replace_all(r"\n{3,}", "\n\n").str.strip_chars()


# Text read with the wrong encoding has a strange letter and then another sign outside ASCII (or a
# blank, after Ã and Â); the rest is ligatures, full-width letters and what NFC composes.
_MAY_BE_BROKEN = (
    r"[^\x00-\x7f±≥≤µμ×·°–—’‘“”…®™α-ω−²³\s][^\x00-\x7f]|[ÂÃ]\s"
    r"|[\u{80}-\u{9f}\u{fb00}-\u{fb06}\u{ff01}-\u{ff5e}\u{300}-\u{36f}\u{fffd}\u{2126}\u{212a}\u{212b}]"
)
resolve_entities: TextExpr = where(ENTITY_GATE, unescape)
fix_encoding: TextExpr = where(_MAY_BE_BROKEN, unbreak)
write_scripts: TextExpr = where(r"(?i)<su[pb]>", raise_scripts)


def repaired(text: pl.Expr) -> pl.Expr:
    """All repairs in a row, on one line: the text as it was meant, which the ledger reads.

    Args:
        text: string expression.
    """
    signs = write_scripts(drop_controls(fix_encoding(resolve_entities(text))))
    return strip_tags(signs).str.replace_all(r"\s+", " ").str.strip_chars()

"""Repair damaged text with functions that only undo what software did to it.

They never apply NFKC to a text: it would turn x² into x2, ½ into 1⁄2 and µ (micro) into μ (mu).
Both µ and μ stay as written, and so do curly quotes and every kind of dash.

Words that a line end splits are joined where the joined word is known: from the text itself, from
the words of the whole collection, or from the lexicon. A hyphen that the text or the collection has
is never taken away.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Mapping
from itertools import pairwise

import ftfy
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from elara.clean.ledger import LINKING
from elara.text.folding import LOWER
from elara.text.wordlist import is_word

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

# A soft hyphen is where a word may be split: at a line end the line end goes with it.
_SPLIT_WORD = re.compile(r"(?<=[^\W\d_])\xad[^\S\n]*\n[^\S\n]*(?=[^\W\d_])")

_LINE_ENDS = ("\r\n", *"\r\x0b\x0c\x85\u2028\u2029")

# Text in UTF-8 that was read as Latin-1 or Windows-1252 has a letter from Â to ô and then a sign
# that stands for a byte from 0x80 to 0xBF.
_LEADS = "".join(map(chr, range(0xC2, 0xF5)))
_TRAILS = "".join(map(chr, range(0x80, 0xC0))) + "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_LIGATURES = "".join(map(chr, range(0xFB00, 0xFB07)))  # from PDF files; a search misses them
_WIDE = "".join(map(chr, range(0xFF01, 0xFF5F)))
# Scripts that write full-width signs: Chinese, Japanese, Korean.
_EAST_ASIAN = re.compile(
    "[\u1100-\u11ff\u2e80-\u2fff\u3001-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\ufe30-\ufe4f\uff5f-\uffef\U00020000-\U0003ffff]"
)
BROKEN = (*_LEADS, *map(chr, range(0x80, 0xA0)), *_LIGATURES, *_WIDE)
_LIGATURE = re.compile(f"[{_LIGATURES}]")
_NARROW = re.compile("[\ufb00-\ufb06\uff01-\uff5e]")
# What text in UTF-8 becomes in the wrong encoding: Latin-1 or Windows-1252, and nothing else.
_WESTERN = re.compile(f"[\x00-\xff{''.join(t for t in _TRAILS if ord(t) > 0xFF)}\ufffd]+")
_MISREAD = re.compile(f"[\x80-\x9f{_LEADS}](?:(?<=[\x80-\x9f])|[{_TRAILS}])")
_BEYOND_ASCII = re.compile(r"\S*[^\x00-\x7f]\S*(?:\s+\S*[^\x00-\x7f]\S*)*")
_COMPOSED = re.compile("[A-Za-z\xc0-\u024f][\u0300-\u036f]+")
INVISIBLE = (*CONTROLS, *_INVISIBLE)

# Characters that stand for the two ends of a text inside a trigger; Unicode reserves both.
START, END = "\ufffe", "\uffff"

_SPLIT = re.compile(r"(?<![\w])((?:[^\W\d_]+-)*)([^\W\d_]+)-\n[^\S\n]*([^\W\d_]+)")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_words = str.split
# "my elbow-\nit hurts": a dash, unless both make a word ("arthrit-\nis").
_AFTER_DASH = {
    *_words("a an are but he i is it she so that the then there they this was we were you")
}
# "day-to-\nday": after another hyphen these are words of their own.
_SMALL = {*_words("a and as at by for in of off on or out the to up with")}
_APART = {*_words("non no not self")}
# ASCII signs that are no part of a word become blanks, but for the hyphen.
_WORD_SIGNS = {c: 32 for c in range(128) if not chr(c).isalpha() and chr(c) != "-"} | LOWER
_MORE = 10  # times as often must a joined word be found as one with a hyphen, which may be damage
_BROKEN = re.compile(r"([^\W\d_]+)-[^\S\n]*[\r\n]+[^\S\n]*([^\W\d_]+)")


def translate(texts: pa.LargeStringArray, table: Mapping[int, int]) -> pl.Series:
    """Replace ASCII characters in many texts at once.

    Args:
        texts: `n` texts, none of them null.
        table: ASCII characters and what replaces them, as for `str.translate`.
    """
    if not len(texts):
        return pl.Series(dtype=pl.String)
    _, places, data = texts.buffers()
    offsets = np.frombuffer(places, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    signs = bytes(table.get(sign, sign) for sign in range(256))
    folded = data[offsets[0] : offsets[-1]].to_pybytes().translate(signs) if data else b""
    starts = pa.py_buffer(offsets - offsets[0])
    array = pa.LargeStringArray.from_buffers(len(texts), starts, pa.py_buffer(folded))
    return pl.Series(pl.from_arrow(array))


def unescape(text: str) -> str:
    """Resolve character entities, however often they were escaped.

    Only entities that end in a semicolon count: `R&D` and `&copy2` are text.

    Args:
        text: any text.

    Source: HTML named character references, https://html.spec.whatwg.org/#named-character-references
    """
    while (resolved := _ENTITY.sub(lambda found: html.unescape(found[0]), text)) != text:
        text = resolved
    return text


def unbreak(text: str) -> str:
    """Repair text that was decoded with the wrong encoding, and ligatures and full-width letters.

    A letter that no encoding damaged stays what it is. Only runs of signs that Latin-1 and
    Windows-1252 have are repaired, so that a text may hold broken French beside sound Greek, and
    full-width letters are narrowed only in a text without Chinese, Japanese or Korean.

    Args:
        text: any text.

    Source: https://ftfy.readthedocs.io/en/latest/config.html
    """
    if _NARROW.search(text):
        narrow = _LIGATURE if _EAST_ASIAN.search(text) else _NARROW
        text = narrow.sub(lambda m: unicodedata.normalize("NFKC", m[0]), text)
    fixed = _WESTERN.sub(_encoded, text) if _MISREAD.search(text) else text
    if fixed == text:
        return text
    # What a damaged text has in two signs, a repaired one has in one.
    return _COMPOSED.sub(lambda m: unicodedata.normalize("NFC", m[0]), fixed)


def _encoded(found: re.Match[str]) -> str:
    """Repair a run; of a long one in ASCII only the few words that hold other signs, for speed."""
    run = found[0]
    fixed = _BEYOND_ASCII.sub(_refit, run)
    # Two signs are damage, but only beside other damage.
    return _decoded(run) if fixed != run and ("Ã " in run or "Â " in run) else fixed


def _refit(words: re.Match[str]) -> str:
    return _decoded(words[0]) if _MISREAD.search(words[0]) else words[0]


def _decoded(text: str) -> str:
    """Undo what another encoding did. ftfy's other repairs touch sound letters of other scripts."""
    return "\n".join(map(ftfy.fix_encoding, text.split("\n")))


def drop_controls(text: str) -> str:
    """Remove control characters, soft hyphens and invisible marks; tabs and line ends stay."""
    return _CONTROL.sub("", _SPLIT_WORD.sub("", text))


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


def tidy_space(text: str) -> str:
    """One kind of line end, one blank between words, at most one blank line."""
    for end in _LINE_ENDS:
        text = text.replace(end, "\n")
    text = "\n".join([" ".join(line.split()) for line in text.split("\n")])
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip()


def split_forms(texts: pa.LargeStringArray) -> set[str]:
    """What the words that a line end splits may have been: one word, and two with a hyphen.

    Args:
        texts: `n` texts, none of them null.
    """
    found: set[str] = set()
    hit = pc.match_substring_regex(texts, r"-[ \t]*[\r\n]")
    for text in texts.filter(hit).to_pylist():
        for first, second in _BROKEN.findall(text):
            found |= {first + second, f"{first}-{second}"}
    return {form.translate(LOWER) for form in found}


def count_forms(texts: pa.LargeStringArray, forms: Iterable[str]) -> dict[str, int]:
    """How often words occur in texts, with the parts and pairs of compounds.

    Args:
        texts: `n` texts, none of them null.
        forms: words, and pairs of words with a hyphen between, in small letters.
    """
    # A blank around each word, and a hyphen between two blanks.
    spaced = {f" {form.replace('-', ' - ')} ": form for form in sorted(forms)}
    words = translate(texts, _WORD_SIGNS).str.replace_all("-", " - ", literal=True)
    found = (" " + words + " ").str.extract_many([*spaced], overlapping=True)
    counts = found.explode().drop_nulls().value_counts()
    return {spaced[form]: count for form, count in counts.iter_rows()}


def join_hyphens(text: str, collection: Mapping[str, int] | None = None) -> str:
    """Join what a line end split: to one word if that is known, else with its hyphen.

    "hyper-" and "tension" become one word, "beta-" and "blocker" keep the hyphen. Before "and",
    "or" and "to" the blank stays too; numbers and names in capitals are left alone.

    Args:
        text: any text.
        collection: how often words occur in all texts, if they are counted.
    """
    own: set[str] | None = None

    def form(found: re.Match[str]) -> str:
        nonlocal own
        if own is None:
            own = _own_words(text)
        return _form(found, own, collection)

    return _SPLIT.sub(form, text)


def _own_words(text: str) -> set[str]:
    words = set()
    for compound in _WORD.findall(text.lower()):
        parts = compound.split("-")
        words |= {*parts, *(f"{a}-{b}" for a, b in pairwise(parts))}
    return words


def _form(found: re.Match[str], own: set[str], collection: Mapping[str, int] | None) -> str:
    lead, first, second = found.groups()
    hyphened = f"{first}-{second}"
    if second.lower() in LINKING:
        return f"{lead}{first}- {second}"
    if not second.islower():
        return f"{lead}{hyphened}" if hyphened.lower() in own else found[0]
    one, two = (first + second).lower(), hyphened.lower()
    keeps = (
        len(first) < 2
        or not first[1:].islower()
        or first.lower() in _APART
        or second == "up"
        or (lead and first in _SMALL)
        or two in own
    )
    joined, apart = (collection.get(form, 0) if collection else 0 for form in (one, two))
    known = joined > _MORE * apart if apart else one in own or joined > 0 or is_word(one)
    if known and not keeps:
        return f"{lead}{first}{second}"
    blank = " " if second in _AFTER_DASH and two not in own else ""
    return f"{lead}{first}-{blank}{second}"

"""Compare two nearly equal texts word by word, and say whether one may stand for the other.

Sentences are aligned first and the words of those that differ then, so that long texts are
compared in little memory. A difference counts unless it is one of typography or spelling, of
ordinary words, of a date stamp or a legal line, or a whole sentence that loses no finding.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl

from elara.inspection import lexicon
from elara.inspection.features import TEXT_COLUMNS
from elara.text.words import ALONE, Array, characters

# A list of words longer than this is not compared word by word: a text as long as a book whose
# every sentence differs.
_MOST_WORDS = 20_000
_PAIRS_AT_ONCE = 1000
_SHOWN = 3  # differences that are named
_LONGEST = 60  # characters of each side of a difference

_END = "\n"  # the end of a sentence, among the words
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？।။។])\s*|\n+")
# A minus behind a word that is no hyphen, as in "HER2-", and one before a number.
_TRAILING, _MINUS = r"(?<=[A-Z0-9])-(?=[\s,.;:)\]]|$)", r"(?<![^\s(\[<>≤≥=±,;:/])-(?=\.?\d)"
_SIGNS = "<>≤≥=≠±+~≈≅∼%‰°÷^/↑↓→←√∞✓✔✗✘☐☑☒"

# Blanks, the micro sign, lowered digits, ligatures, full width.
_ALIKE = (0xA0, 0x2009, 0x202F, 0xB5, *range(0x2080, 0x208A), *range(0xFB00, 0xFB05))
_SAME = {c: unicodedata.normalize("NFKC", chr(c)) for c in (*_ALIKE, *range(0xFF01, 0xFF5F))}
_SAME |= {ord(a): b for a, b in zip("×·⁄≦≧∼≅⩽⩾’‘", "x./≤≥~≈≤≥''", strict=True)}
_SAME |= {ord(a): f"^{b}" for a, b in zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True)}
_SAME |= {ord(a): "-" for a in "‐‑‒–—―−﹣"} | dict.fromkeys([0xAD, 0x200B, 0x2060, 0xFEFF], "")
_GREEK = {c: unicodedata.name(chr(c), "").rpartition(" LETTER ")[2] for c in range(0x391, 0x3CA)}
_GREEK |= {ord("Λ"): "LAMBDA", ord("λ"): "LAMBDA"}
# Not mu, which is a prefix of units.
_SAME |= {c: name.lower() for c, name in _GREEK.items() if name.isalpha() and name != "MU"}

_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve"
_AS_NUMBER = {word: str(number) for number, word in enumerate(_NUMBERS.split())}
_UNITS = {
    **dict.fromkeys(("mcg", "ug", "microgram", "micrograms", "microgramme"), "μg"),
    **dict.fromkeys(("milligram", "milligrams", "milligramme", "mgs"), "mg"),
    **dict.fromkeys(("gram", "grams", "gramme", "grammes", "gm", "gms"), "g"),
    **dict.fromkeys(("kilogram", "kilograms", "kgs"), "kg"),
    **dict.fromkeys(("millilitre", "millilitres", "milliliter", "milliliters", "mls"), "ml"),
    **dict.fromkeys(("litre", "litres", "liter", "liters"), "l"),
    **dict.fromkeys(("percent", "pct"), "%"),
}
_UNIT_NAMES = """
    kg g mg μg ng pg l dl ml μl nl mol mmol μmol nmol pmol iu miu u meq eq mosm cm mm nm μm km
    mmhg kpa pa kcal cal kj j gy mgy sv msv hz bpm da kda min h hr hrs sec s ppm mci bq
"""
_CASED = frozenset({"m", "mm", "μm", "nm", "pm", "fm"})  # "mM" is an amount, "mm" a length

_STAMPING = """
    updated revised reviewed modified accessed retrieved printed downloaded published posted
    checked created update revision review publication date
"""
_BESIDE = """
    last next this page content document leaflet information was is on the and of in by first
    online medically date version epub
"""
_MONTHS = "january february march april may june july august september october november december"
_MONTH = frozenset(m[:n] for m in _MONTHS.split() for n in (3, 4, len(m)))
_KNOWN_UNITS, _STAMP, _AROUND = (
    frozenset(words.split()) for words in (_UNIT_NAMES, _STAMPING, _BESIDE)
)
_LEGAL = re.compile(r"©|\(c\)\s*(?:19|20)\d\d|\bcopyright\b|\ball rights reserved\b", re.IGNORECASE)


class _Word(NamedTuple):
    key: str  # what is compared
    shown: str
    number: bool = False
    sign: bool = False
    latin: bool = True


def difference(kept: str, other: str) -> str:
    """What keeps a text from standing for another.

    Args:
        kept: the text that would stay.
        other: the text that would be removed.

    Returns:
        "" if `other` may go; else what differs, as in `5 mg → 50 mg; no → `, at most three places.
    """
    left, right = _sentences(kept), _sentences(other)
    found: list[str] = []
    for a, b, c, d in _blocks(left, right):
        found += _judged(_words(left[a:b]), _words(right[c:d]), last=d == len(right))
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more


def differences(left: Array, right: Array, texts: Callable[[Array], Sequence[str]]) -> list[str]:
    """What keeps texts from standing for others, in bounded memory.

    Args:
        left, right: rows, pair by pair: what would be kept, and what would be removed.
        texts: gives the texts of rows, which come in ascending order.

    Returns:
        One `difference` per pair.
    """
    found: list[str] = []
    for start in range(0, len(left), _PAIRS_AT_ONCE):
        a, b = (side[start : start + _PAIRS_AT_ONCE] for side in (left, right))
        rows = np.unique(np.concatenate([a, b]))
        known = dict(zip(rows.tolist(), texts(rows), strict=True))
        found += [
            difference(known[x], known[y]) for x, y in zip(a.tolist(), b.tolist(), strict=True)
        ]
    return found


def plain_texts(articles: pl.DataFrame) -> list[str]:
    """The title, abstract, headings and texts of articles, one below the other."""
    found = []
    for title, abstract, body in articles.select(TEXT_COLUMNS).iter_rows():
        below = (part for section in body for part in (section["heading"], section["text"]))
        found.append("\n".join(part for part in (title, abstract, *below) if part))
    return found


def _sentences(text: str) -> list[str]:
    if "&" in text:
        text = html.unescape(text)
    return [s for s in _SENTENCE.split(text.strip()) if s]


def _blocks(left: Sequence[str], right: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    """Where two sequences differ: begin and end in each; neighbouring places are one."""
    from rapidfuzz.distance import Levenshtein

    a = c = 0
    for same in Levenshtein.opcodes(left, right).as_matching_blocks():
        if a < same.a or c < same.b:
            yield a, same.a, c, same.b
        a, c = same.a + same.size, same.b + same.size


@cache
def _token() -> re.Pattern[str]:
    """A number, a word, or a sign that says something."""
    kinds, _ = characters()
    marks = "".join(c for c in map(chr, range(0x300, 0x20000)) if unicodedata.category(c)[0] == "M")
    codes = np.flatnonzero(kinds == ALONE)
    ranges = np.split(codes, np.flatnonzero(np.diff(codes) != 1) + 1)
    alone = "".join(f"{chr(some[0])}-{chr(some[-1])}" for some in ranges)
    return re.compile(
        rf"(?P<number>(?:{_MINUS})?(?:\d+(?:[.,]\d+)*|\.\d+))"
        rf"|(?P<alone>[{alone}])"
        rf"|(?P<word>(?:(?![{alone}])[^\W\d_]|[{marks}])+(?:'(?:t|s|re|ve|ll|d|m)\b)?)"
        rf"|(?P<sign>[{re.escape(_SIGNS)}]|{_TRAILING}|(?<=\d):(?=\d))"
    )


def _words(sentences: Sequence[str]) -> list[_Word]:
    return [word for sentence in sentences for word in _sentence(sentence)]


@lru_cache(maxsize=4096)  # texts of one template share most of their sentences
def _sentence(sentence: str) -> tuple[_Word, ...]:
    """The words of a sentence and its end; none of a legal line or a date stamp."""
    plain = unicodedata.normalize("NFC", sentence).translate(_SAME)
    plain = re.sub(r">=|=>", "≥", re.sub(r"<=|=<", "≤", plain)).replace("+/-", "±")
    words = list(_tokens(plain))
    if not words or _is_stamp(words) or (_LEGAL.search(sentence) and not _treats(words)):
        return ()
    return (*words, _Word(_END, ""))


def _tokens(plain: str) -> Iterator[_Word]:
    after_number = False
    for piece in plain.split():
        found = _read(piece, after_number)
        yield from found
        if found:
            after_number = found[-1].shown[-1].isdecimal()


@lru_cache(maxsize=65_536)  # most words of a text are common ones
def _read(piece: str, after_number: bool) -> tuple[_Word, ...]:
    """The words of a text without blanks."""
    found = []
    for match in _token().finditer(piece):
        shown, kind = match[0], match.lastgroup
        if kind == "number":
            found.append(_Word(_number(shown), shown, number=True))
        elif kind == "word":
            word = shown.casefold().removesuffix("'s")
            key = _AS_NUMBER.get(word) or _UNITS.get(word, word)
            if after_number and key in _CASED:
                key = shown
            number = word in _AS_NUMBER
            found.append(_Word(key, shown, number=number, sign=key == "%", latin=key < "\u0370"))
        else:
            found.append(_Word(shown, shown, sign=kind == "sign", latin=kind == "sign"))
        after_number = kind == "number"
    return tuple(found)


def _number(shown: str) -> str:
    """A number in one form: 1,000 is 1000, .50 is 0.5."""
    if re.fullmatch(r"-?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", shown):
        shown = shown.replace(",", "")
    sign, digits = ("-", shown[1:]) if shown.startswith("-") else ("", shown)
    if digits.count(".") == 1 and "," not in digits:
        whole, decimals = digits.split(".")
        decimals = decimals.rstrip("0")
        digits = f"{whole or '0'}.{decimals}" if decimals else whole
    return sign + digits


def _is_stamp(words: list[_Word]) -> bool:
    """Whether a sentence says when something was updated, and nothing else."""
    keys = [w.key for w in words if not w.sign]
    return (
        len(keys) <= 12
        and any(k in _STAMP for k in keys)
        and any(w.number and re.fullmatch(r"(?:19|20)\d\d", w.key) for w in words)
        and sum(w.number for w in words) <= 6
        and all(w.number or w.sign or w.key in _STAMP | _AROUND | _MONTH for w in words)
    )


def _treats(words: list[_Word]) -> bool:
    """Whether one of some words is a unit, a negation or the like."""
    return any(w.key in _KNOWN_UNITS or w.key in lexicon.FIXED for w in words)


def _judged(left: list[_Word], right: list[_Word], last: bool) -> Iterator[str]:
    """What differs between the words of some sentences, where it counts."""
    if max(len(left), len(right)) > _MOST_WORDS:
        yield "too much to compare word by word"
        return
    a, b = [w.key for w in left], [w.key for w in right]
    for start, stop, begin, end in _blocks(a, b):
        one, two = left[start:stop], right[begin:end]
        if last and end >= len(right) - 1 and _is_cut_off(one, two):
            continue
        if not two and _whole(a, start, stop):
            continue  # a sentence that is kept
        if not one and (lost := _whole(b, begin, end)):
            counts = _finding(right[lost[0] : lost[1]])
        elif one and two:
            counts = _replaced(one, two)
        else:
            counts = _added(one or two)
        if counts:
            around = not one or not two
            sides = (left, start, stop), (right, begin, end)
            yield " → ".join(_shown(*side, around) for side in sides)


def _is_cut_off(left: list[_Word], right: list[_Word]) -> bool:
    """Whether at the end of the other text words are missing, the first perhaps in part."""
    rest = [w for w in right if w.key != _END]
    if not left or len(rest) > 1:
        return False
    return not rest or (not rest[0].number and left[0].key.startswith(rest[0].key))


def _whole(keys: list[str], start: int, stop: int) -> tuple[int, int] | None:
    """Where whole sentences lie if some words are such; as good as these are those that lie
    further left by words that are the same behind and before."""
    while True:
        if keys[stop - 1] == _END and (start == 0 or keys[start - 1] == _END):
            return start, stop
        if start == 0 or keys[start - 1] != keys[stop - 1]:
            return None
        start, stop = start - 1, stop - 1


def _finding(words: list[_Word]) -> bool:
    """Whether a sentence that would be lost holds a number, a unit, a negation or the like."""
    return any(w.number or w.sign for w in words) or _treats(words)


def _added(words: list[_Word]) -> bool:
    """Whether words say something new where they stand in a sentence of one text only."""
    said = [w for w in words if w.key != _END]
    return _finding(said) or any(not w.latin or not lexicon.is_familiar(w.key) for w in said)


def _replaced(left: list[_Word], right: list[_Word]) -> bool:
    """Whether words that stand in each other's place say something else."""
    one, two = ([w for w in side if w.key != _END] for side in (left, right))
    a, b = ("".join(w.key for w in side) for side in (one, two))
    if a == b and not (len(one) != len(two) and any(w.number for w in one + two)):
        return False
    if not one or not two:
        return bool(one or two) and _added(one or two)
    return _meant(one) != _meant(two)


def _meant(words: list[_Word]) -> list[str]:
    """What words mean, in their order: ordinary ones nothing, those of one line the same."""
    listed = lexicon.meanings()
    found = []
    for w in words:
        if w.key in listed and not w.number:
            found.append(str(min(listed[w.key])))
        elif w.number or w.sign or not w.latin or not lexicon.is_ordinary(w.key):
            found.append(lexicon.spelt_alike(f"={w.key}"))
    return found


def _shown(words: list[_Word], start: int, stop: int, around: bool) -> str:
    """The words of a place as they stand there: a number with what it counts, and what is there
    in one text only between its neighbours."""
    if around:
        start, stop = max(start - 1, 0), stop + 1
    elif start < stop and words[stop - 1].number:
        stop += 1
    said = " ".join(w.shown for w in words[start:stop] if w.shown)
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"

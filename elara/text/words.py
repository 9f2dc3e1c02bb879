"""Define words, sentences, odd signs and shingles by one table over all of Unicode.

- A **word** is a run of letters, marks and digits, each lower-cased by itself: `é` is one letter
  whether it comes as one character or as `e` and an accent. In a script that writes no blanks
  between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese …) each character is a word.
- A **sentence** ends at a line break, or at white space after one of `.!?`. Only sentences with a
  letter count, and their length is that of their white-space separated tokens.
- An **odd sign** is no letter, mark, digit, white space, or sign of ordinary medical prose.
- A **shingle** is a run of three words.
- Two texts are **identical** if they have the same words and, between them, the same signs that
  say something: `<`, `%`, `+`, a point or a minus before a digit. Quotation marks, brackets, the
  marks between sentences and the kind of a dash say nothing.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from elara.text.sentences import UNSPACED

Array = np.ndarray[Any, np.dtype[Any]]
# Where each of many strings begins and ends (i64), and the characters of all of them (u32).
Strings = tuple[Array, Array]
# Titles, abstracts, all body texts, and which of these belong to a document: document `i` has
# those from `parts[i]` up to `parts[i + 1]`.
Texts = tuple[Strings, Strings, Strings, Array]

WORD = r"[\p{L}\p{M}\p{N}]+"

# Kinds of characters. Those from LETTER on are parts of words, and ALONE is a word by itself.
SPACE, SIGN, ODD, LETTER, DIGIT, ALONE = range(6)

_SIGNS = ".,;:()[]/%'’“”\"+=<>≤≥±°×–—-"
_SPACES = "\t\n\v\f\r\x85"  # the white space that has no category of its own
_BY_CATEGORY = {"L": LETTER, "M": DIGIT, "N": DIGIT, "Z": SPACE}
_WITH_LOWER = [b"Lu", b"Lt", b"Nl"]

# Punctuation that says something, and symbols that do not.
_SAYING, _SILENT = "%‰/†‡", "©®™|`´¨¸"
DASH = ord("-")
_POINTS = {".": ".", ",": ",", ":": ":", "·": "."}

# The columns of the counts of a text, see `elara.text.shingles.measure`.
(
    WORDS,
    MEDICAL_WORDS,
    ENGLISH_WORDS,
    DISTINCT_SHINGLES,
    SENTENCES,
    ORDINARY_SENTENCES,
    CHARACTERS,
    ODD_SIGNS,
    ABSTRACT_TOKENS,
    BODY_TOKENS,
) = range(10)
COUNTS = 10

# Fewer words than this are a title at most: equal or similar titles are no equal articles.
SHORTEST = 20

# 32 bands of 4 rows: a pair at Jaccard 0.8 shares a band with probability 1 - (1 - 0.8^4)^32,
# that is 0.99999993.
BANDS = 32
ROWS = 4

# What a word is known as; a word can be both.
MEDICAL, ENGLISH = 1, 2
FLAGS = MEDICAL | ENGLISH
LETTERS = 26  # of a node of the tree of endings

# What `elara.inspection.lexicon.tables` returns.
Tables = tuple[Array, Array, Array, Array]

# Above the last ideographs there are only private characters and unseen selectors.
_LAST = 0x34000


@cache
def characters() -> tuple[Array, Array]:
    """The kind and the lower-case form of every character.

    Returns:
        Kinds (u8) and lower-case code points (i32), both indexed by code point. Of a sign the
        second is what it counts as where texts are compared: 0 for nothing, and negative for what
        says something beside a digit only.

    Source: The Unicode Standard, general categories, https://www.unicode.org/reports/tr44/
    """
    # Each process makes this, so the loop over all characters does no more than it must.
    exact = np.array(list(map(unicodedata.category, map(chr, range(_LAST)))), dtype="S2")
    general = exact.view(np.uint8)[::2]
    kinds = np.full(sys.maxunicode + 1, ODD, dtype=np.uint8)
    for category, kind in _BY_CATEGORY.items():
        kinds[:_LAST][general == ord(category)] = kind
    lower = np.arange(sys.maxunicode + 1, dtype=np.int32)
    for code in np.flatnonzero(np.isin(exact, _WITH_LOWER)).tolist():
        lower[code] = ord(chr(code).lower()[0])
    kinds[[ord(c) for c in _SIGNS]] = SIGN
    kinds[[ord(c) for c in _SPACES]] = SPACE
    for first, last in UNSPACED:
        kinds[first : last + 1][np.isin(general[first : last + 1], [*b"LM"])] = ALONE
    kinds[0x3007] = ALONE  # the ideograph for zero counts as a number
    lower[:_LAST][np.isin(general, [*b"PCZ"])] = 0
    lower[[ord(c) for c in _SAYING]] = [ord(c) for c in _SAYING]
    lower[[ord(c) for c in _SILENT]] = 0
    lower[:_LAST][exact == b"Pd"] = lower[0x2212] = -DASH
    lower[[ord(c) for c in _POINTS]] = [-ord(c) for c in _POINTS.values()]
    return kinds, lower


def strings(texts: pl.Series) -> Strings:
    """Where each text begins and ends (i64), and the characters of all texts (u32)."""
    ends = np.cumsum(texts.str.len_chars().fill_null(0), dtype=np.int64)
    whole = texts.str.join()[0] or ""
    return np.concatenate([[0], ends]), np.frombuffer(whole.encode("utf-32-le"), np.uint32)

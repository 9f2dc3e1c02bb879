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

import unicodedata
from functools import cache
from typing import Any

import numpy as np

from elara.text.sentences import UNSPACED

Array = np.ndarray[Any, np.dtype[Any]]

WORD = r"[\p{L}\p{M}\p{N}]+"

# Kinds of characters. Those from LETTER on are parts of words, and ALONE is a word by itself.
SPACE, SIGN, ODD, LETTER, DIGIT, ALONE = range(6)

_SIGNS = ".,;:()[]/%'’“”\"+=<>≤≥±°×–—-"
_SPACES = "\t\n\v\f\r\x85"  # the white space that has no category of its own
_BY_CATEGORY = {"L": LETTER, "M": DIGIT, "N": DIGIT, "Z": SPACE}
_WITH_LOWER = np.array([b"Lu", b"Lt", b"Nl"])

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
Tables = tuple[Array, Array, Array, Array, Array]

# Above the last ideographs there are only private characters and unseen selectors.
_LAST = 0x34000


@cache
def characters() -> tuple[Array, Array]:
    """The kind and the lower-case form of every character.

    Returns:
        Kinds (u8) and lower-case code points (i32), both indexed by code point; characters
        beyond the tables are ODD. Of a sign the second is what it counts as where texts are
        compared: 0 for nothing, and negative for what says something beside a digit only.

    Source: The Unicode Standard, general categories, https://www.unicode.org/reports/tr44/
    """
    # Each process makes this, so the loop over all characters does no more than it must.
    letters = "".join(map(unicodedata.category, map(chr, range(_LAST)))).encode()
    of_category = np.frombuffer(letters, dtype=np.uint8)
    of_group = np.full(128, ODD, dtype=np.uint8)
    of_group[[ord(c) for c in _BY_CATEGORY]] = list(_BY_CATEGORY.values())
    kinds = of_group[of_category[::2]]
    lower = np.arange(_LAST, dtype=np.int32)
    with_lower = np.isin(of_category.view("S2"), _WITH_LOWER)
    for code in np.flatnonzero(with_lower).tolist():
        lower[code] = ord(chr(code).lower()[0])
    kinds[[ord(c) for c in _SIGNS]] = SIGN
    kinds[[ord(c) for c in _SPACES]] = SPACE
    general, exact = of_category[0::2], of_category.view("S2")
    _signs(lower, general, exact)
    for first, last in UNSPACED:
        block = kinds[first : last + 1]
        block[np.isin(general[first : last + 1], [ord("L"), ord("M")])] = ALONE
    kinds[0x3007] = ALONE  # the ideograph for zero counts as a number
    return kinds, lower


def _signs(lower: Array, general: Array, exact: Array) -> None:
    """What a sign counts as, see `characters`."""
    signs = np.isin(general, [ord(c) for c in "PCZ"])
    lower[signs] = 0
    for code in map(ord, _SAYING):
        lower[code] = code
    for code in map(ord, _SILENT):
        lower[code] = 0
    lower[exact == b"Pd"] = lower[0x2212] = -DASH
    for point, meant in _POINTS.items():
        lower[ord(point)] = -ord(meant)

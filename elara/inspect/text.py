"""What inspection means by a word, a sentence, an odd sign: one table over all of Unicode.

- A **word** is a run of letters, marks and digits, each lower-cased by itself: `é` is one letter
  whether it comes as one character or as `e` and an accent.
- A **sentence** ends at a line break, or at white space after one of `.!?`. Only sentences with a
  letter count, and their length is that of their white-space separated tokens.
- An **odd sign** is no letter, mark, digit, white space, or sign of ordinary medical prose.
- A **shingle** is a run of three words.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

WORD = r"[\p{L}\p{M}\p{N}]+"

# Kinds of characters. Those from LETTER on are parts of words.
SPACE, SIGN, ODD, LETTER, DIGIT = range(5)

_SIGNS = ".,;:()[]/%'’“”\"+=<>≤≥±°×–—-"
_SPACES = "\t\n\v\f\r\x85"  # the white space that has no category of its own
_BY_CATEGORY = {"L": LETTER, "M": DIGIT, "N": DIGIT, "Z": SPACE}
_WITH_LOWER = np.array([b"Lu", b"Lt", b"Nl"])

# Above the last ideographs there are only private characters and unseen selectors.
_LAST = 0x34000


@cache
def characters() -> tuple[Array, Array]:
    """The kind and the lower-case form of every character.

    Returns:
        Kinds (u8) and lower-case code points (i32), both indexed by code point; characters
        beyond the tables are ODD.

    Source: The Unicode Standard, general categories, https://www.unicode.org/reports/tr44/
    """
    # Each process makes this, so the loop over all characters does no more than it must.
    letters = "".join(map(unicodedata.category, map(chr, range(_LAST)))).encode()
    of_group = np.full(128, ODD, dtype=np.uint8)
    of_group[[ord(c) for c in _BY_CATEGORY]] = list(_BY_CATEGORY.values())
    kinds = of_group[np.frombuffer(letters, dtype=np.uint8)[::2]]
    lower = np.arange(_LAST, dtype=np.int32)
    with_lower = np.isin(np.frombuffer(letters, dtype="S2"), _WITH_LOWER)
    for code in np.flatnonzero(with_lower).tolist():
        lower[code] = ord(chr(code).lower()[0])
    kinds[[ord(c) for c in _SIGNS]] = SIGN
    kinds[[ord(c) for c in _SPACES]] = SPACE
    return kinds, lower

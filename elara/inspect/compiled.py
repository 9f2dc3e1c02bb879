"""How the compiled functions are compiled, and the numbers that they share.

numba keeps what it compiled beside the source, or in the user's cache where that cannot be
written. It looks at the date of the file that a function is in, so after a change to this file
delete `__pycache__/*.nbi` here.

Importing this module imports numba, so it is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np

from elara.inspect import measures as column
from elara.inspect.text import Array

P = ParamSpec("P")
R = TypeVar("R")

U = np.uint64
# FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/, and the last step of MurmurHash3.
START = U(0xCBF29CE484222325)
PRIME = U(0x100000001B3)
SPREAD = U(0xFF51AFD7ED558CCD)
# Odd constants keep the order of the words in a shingle's hash: (a, b, c) is not (c, b, a).
FIRST, SECOND = U(0x9E3779B97F4A7C15), U(0xC2B2AE3D27D4EB4F)
THIRD = U(0x165667B19E3779F9)
S29, S32 = U(29), U(32)
ZERO, ONE, LOWER_A = U(0), U(1), U(97)
COUNTS = 10
TAIL = 16  # longer than the longest medical ending
NEWLINE, FULL_STOP, EXCLAMATION, QUESTION = 10, 46, 33, 63

# The hash functions of MinHash: an odd factor and a shift each.
HASHES = column.BANDS * column.ROWS
_random = np.random.default_rng(42)
FACTOR = _random.integers(0, 1 << 31, HASHES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
SHIFT = _random.integers(0, 1 << 32, HASHES, dtype=np.uint32)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile at the first call; later processes load what is kept."""
    fast = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    return cast(Callable[P, R], fast)


@compiled
def word_hash(code_points: Array) -> Any:
    """The 64-bit hash of a word, given as lower-cased code points."""
    h = START
    for code in code_points:
        h = (h ^ U(code)) * PRIME
    h ^= h >> S32
    h *= SPREAD
    return h ^ (h >> S29)

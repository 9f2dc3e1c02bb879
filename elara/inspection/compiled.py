"""How the kernels are compiled, and the numbers that they share.

Importing this module imports numba, so it is imported where machine code is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba
import numpy as np

from elara.inspection import lexicon
from elara.inspection import measures as column

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
FLAGS = U(lexicon.FLAGS)
COUNTS = column.COUNTS
TAIL = 16  # longer than the longest medical ending
NEWLINE, FULL_STOP, EXCLAMATION, QUESTION = 10, 46, 33, 63

HASHES = column.BANDS * column.ROWS


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """A function for other compiled ones: division by zero is no exception, as in numpy."""
    fast = numba.njit(error_model="numpy")(function)
    return cast(Callable[P, R], fast)

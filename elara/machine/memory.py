"""Give memory back that the process no longer needs."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Return free memory to the system, where the C library can (glibc: malloc_trim(3)).

    Memory that several threads take and free in pieces of all sizes has gaps; left alone, they add
    up with the number of batches.
    """
    # Other C libraries have no such function, and Windows has no library without a name.
    with suppress(AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)

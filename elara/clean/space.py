"""White space, for many texts in one pass over their bytes: what `repair.tidy_space` does to each.

Two texts in three have odd blanks, so this is by far the most frequent repair.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elara.clean.triggers import buffers


def tidy(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """One kind of line end, one blank between words, at most one blank line.

    Args:
        texts: `n` texts, none of them null.

    Returns:
        `n` texts; each is what `repair.tidy_space` makes of it.
    """
    data, offsets = buffers(texts)
    out = np.empty(max(1, int(offsets[-1] - offsets[0])), np.uint8)
    ends = np.zeros(len(offsets), np.int64)
    _tidy(data, offsets, out, ends)
    return pa.LargeStringArray.from_buffers(
        len(texts), pa.py_buffer(ends), pa.py_buffer(out[: ends[-1]])
    )


def same_words(one: pa.LargeStringArray, two: pa.LargeStringArray) -> npt.NDArray[np.bool_]:
    """Which texts differ in nothing but white space between the same words.

    Args:
        one: `n` texts.
        two: `n` texts.
    """
    same: npt.NDArray[np.bool_] = _same_words(*buffers(one), *buffers(two))
    return same


@numba.njit(nogil=True, cache=True, inline="always")
def _blank(data, place, end):  # type: ignore[no-untyped-def]
    """How many bytes the white space at a place has, as Python sees it; negative: a line end."""
    byte = data[place]
    if byte <= 32:
        if byte == 32 or byte == 9 or 28 <= byte <= 31:
            return 1
        return -1 if 10 <= byte <= 13 else 0
    if byte < 0xC2 or place + 1 >= end:
        return 0
    second = data[place + 1]
    if byte == 0xC2:
        return 2 if second == 0xA0 else (-2 if second == 0x85 else 0)
    if byte < 0xE1 or byte > 0xE3 or place + 2 >= end:
        return 0
    third = data[place + 2]
    if byte == 0xE2:
        if second == 0x80:
            if third <= 0x8A or third == 0xAF:
                return 3
            return -3 if third == 0xA8 or third == 0xA9 else 0
        return 3 if second == 0x81 and third == 0x9F else 0
    if byte == 0xE1:
        return 3 if second == 0x9A and third == 0x80 else 0
    return 3 if second == 0x80 and third == 0x80 else 0


@numba.njit(nogil=True, cache=True)
def _skip(data, place, end):  # type: ignore[no-untyped-def]
    while place < end:
        size = _blank(data, place, end)
        if size == 0:
            break
        place += abs(size)
    return place


@numba.njit(nogil=True, cache=True)
def _tidy(data, offsets, out, ends):  # type: ignore[no-untyped-def]
    used = 0
    for text in range(len(offsets) - 1):
        place, end = offsets[text], offsets[text + 1]
        first, lines, blanks = used, 0, False
        while place < end:
            size = _blank(data, place, end)
            if size > 0:
                blanks = True
                place += size
            elif size < 0:
                lines += 1
                if data[place] == 13 and place + 1 < end and data[place + 1] == 10:
                    place += 1
                place -= size
            else:
                if used > first:
                    if lines:
                        out[used] = 10
                        used += 1
                        if lines > 1:
                            out[used] = 10
                            used += 1
                    elif blanks:
                        out[used] = 32
                        used += 1
                lines, blanks = 0, False
                out[used] = data[place]
                used += 1
                place += 1
        ends[text + 1] = used


@numba.njit(nogil=True, cache=True)
def _same_words(data_one, offsets_one, data_two, offsets_two):  # type: ignore[no-untyped-def]
    result = np.zeros(len(offsets_one) - 1, np.bool_)
    for text in range(len(result)):
        one, end_one = offsets_one[text], offsets_one[text + 1]
        two, end_two = offsets_two[text], offsets_two[text + 1]
        while True:
            at_one, at_two = one, two
            one, two = _skip(data_one, one, end_one), _skip(data_two, two, end_two)
            if one == end_one or two == end_two:
                result[text] = one == end_one and two == end_two
                break
            # Where one text has white space, so has the other; at the start it does not matter.
            inside = at_one > offsets_one[text]
            if (inside and (one > at_one) != (two > at_two)) or data_one[one] != data_two[two]:
                break
            one += 1
            two += 1
    return result

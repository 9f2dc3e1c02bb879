"""Texts out of JSON into a column, for numba: `elara.inspection.lines` calls what is made of it.

Importing this module imports numba, so it is imported where machine code is made.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elara.inspection.compiled import U, compiled
from elara.inspection.lines import SECTIONS, TEXT
from elara.inspection.native_json import BACKSLASH, ESCAPES, LETTER_U
from elara.inspection.text import Array

_BAD = -1
_HEX = np.full(256, -1, dtype=np.int64)
for _number, _digits in enumerate(["0", *"123456789", "aA", "bB", "cC", "dD", "eE", "fF"]):
    for _digit in _digits:
        _HEX[ord(_digit)] = _number


@compiled
def _unescape(data: Array, i: int, stop: int, into: Array, at: int) -> Any:
    """Copy a text with escapes; returns where the copy ends."""
    while i < stop:
        if data[i] != BACKSLASH:
            into[at] = data[i]
            i, at = i + 1, at + 1
            continue
        if data[i + 1] != LETTER_U:
            into[at] = ESCAPES[data[i + 1]]
            i, at = i + 2, at + 1
            continue
        code = _code(data, i, stop)
        i += 6
        if 0xD800 <= code < 0xDC00:
            low = _code(data, i, stop)
            if not 0xDC00 <= low < 0xE000:
                return _BAD
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
            i += 6
        elif code < 0 or 0xDC00 <= code < 0xE000:
            return _BAD
        if code < 0x80:
            into[at] = code
            at += 1
            continue
        length = 2 + (code >= 0x800) + (code >= 0x10000)
        for k in range(length - 1, 0, -1):
            into[at + k] = 0x80 | (code & 63)
            code >>= 6
        into[at] = ((0xF00 >> length) & 0xFF) | code
        at += length
    return at


@compiled
def _code(data: Array, i: int, stop: int) -> Any:
    r"""The number of `\uXXXX`, or a negative number."""
    if i + 6 > stop or data[i] != BACKSLASH or data[i + 1] != LETTER_U:
        return _BAD
    code = 0
    for k in range(i + 2, i + 6):
        if _HEX[data[k]] < 0:
            return _BAD
        code = 16 * code + _HEX[data[k]]
    return code


@compiled
def _copy(data: Array, spans: Array, which: int, unstated: Array, into: Array, at: int) -> Any:
    """Copy the text of a span; returns where the copy ends."""
    start, stop = spans[2 * which], spans[2 * which + 1]
    if start < 0:
        for k in range(unstated.shape[0]):
            into[at + k] = unstated[k]
        return at + unstated.shape[0]
    if start & 1:
        return _unescape(data, start >> 1, stop, into, at)
    start >>= 1
    # Unsigned: an index that may be negative is looked at twice.
    first, to = U(start), U(at)
    for k in range(U(stop - start)):
        into[to + k] = data[first + k]
    return at + stop - start


@compiled
def gather(
    data: Array,
    spans: Array,
    items: Array,
    plan: Array,
    unstated: Array,
    offsets: Array,
    into: Array,
) -> Any:
    """Copy one field of every record into a column.

    Args:
        data, items: from `scan`.
        spans: from `scan`, those of the field.
        plan: the field's kind, and which of a section's texts.
        unstated: what stands for a text that is not stated.
        offsets: filled with where each text ends (and 0 first); for a list, with the number of
            items before each record, followed by where each item's text ends (and 0 first).
        into: filled with the texts.

    Returns:
        Bytes of the texts, or a negative number.
    """
    kind, part = plan[0], plan[1]
    rows = spans.shape[0] // 2
    at = 0
    step = 3 if kind == SECTIONS else 1
    k = 0
    if kind != TEXT:
        offsets[0] = 0
        k = rows + 1
    offsets[k] = 0
    for row in range(rows):
        if kind == TEXT:
            k += 1
            at = _copy(data, spans, row, unstated, into, at)
            if at < 0:
                return _BAD
            offsets[k] = at
            continue
        count = spans[2 * row + 1] // step if spans[2 * row] >= 0 else 0
        offsets[row + 1] = offsets[row] + count
        for n in range(count):
            k += 1
            which = spans[2 * row] + step * n + part
            at = _copy(data, items, which, unstated, into, at)
            if at < 0:
                return _BAD
            offsets[k] = at
    return at

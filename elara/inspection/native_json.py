"""A reader of JSON Lines, for numba: `elara.inspection.lines` calls what is made of it.

`scan` finds where the values of each record lie. It reads what is usual and gives up, with a
negative number, on everything else. The bytes end with a line break, which no value holds, so that
it need not look for their end.

Importing this module imports numba, so it is imported where machine code is made.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elara.inspection.compiled import ONE, U, compiled
from elara.inspection.lines import BOOLEAN, NULL, NUMBER, SECTIONS, TEXT, UNSTATED
from elara.inspection.text import Array

_BAD = -1
_QUOTE, BACKSLASH, _COLON, _COMMA, LETTER_U = ord('"'), ord("\\"), ord(":"), ord(","), ord("u")
_OPEN, _CLOSE, _BEGIN, _END, _MINUS, _0, _9 = (ord(c) for c in "{}[]-09")
_SPACE, _TAB, _RETURN, _BREAK = (ord(c) for c in " \t\r\n")
_PLAIN = np.array([c >= 32 and c not in (_QUOTE, BACKSLASH) for c in range(256)])
# What stands for itself or a control sign behind a backslash; 0 is an error, and so is "u" here.
ESCAPES = np.zeros(256, dtype=np.uint8)
for _sign, _meaning in zip('"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True):
    ESCAPES[ord(_sign)] = ord(_meaning)


@compiled
def _after(data: Array, i: int) -> Any:
    """The next place that is not blank, in this line."""
    while data[i] == _SPACE or data[i] == _TAB or data[i] == _RETURN:
        i += 1
    return i


@compiled
def _text(data: Array, i: int, spans: Array, at: int) -> Any:
    """Note where the text lies that is quoted from byte `i` on, twice its start, plus 1 if it has
    escapes; returns the place behind it."""
    if data[i] != _QUOTE:
        return _BAD
    p = U(i + 1)
    escaped = 0
    while True:
        while _PLAIN[data[p]]:
            p += ONE
        if data[p] == _QUOTE:
            break
        if data[p] != BACKSLASH:
            return _BAD
        escaped = 1
        p += ONE
        if ESCAPES[data[p]] == 0 and data[p] != LETTER_U:
            return _BAD
        p += ONE
    spans[at] = 2 * (i + 1) + escaped
    spans[at + 1] = np.int64(p)
    return np.int64(p) + 1


@compiled
def _is(data: Array, i: int, word: Array) -> bool:
    for k in range(word.shape[0]):  # noqa: SIM110 (numba has no `all`)
        if data[i + k] != word[k]:
            return False
    return True


_TRUE, _FALSE, _NULL = (np.frombuffer(w, dtype=np.uint8) for w in (b"true", b"false", b"null"))
_SECTION = np.frombuffer(b'heading"text"kind"', dtype=np.uint8)
_SECTION_ENDS = np.array([0, 8, 13, 18])


@compiled
def _field(data: Array, i: int, names: Array, ends: Array, guess: int) -> Any:
    """Which of the names (each with its closing quote) stands here."""
    fields = ends.shape[0] - 1
    for k in range(fields):
        field = (guess + k) % fields
        if _is(data, i, names[ends[field] : ends[field + 1]]):
            return field
    return _BAD


@compiled
def _key(data: Array, i: int, names: Array, ends: Array, guess: int) -> Any:
    """The field named here and the place of its value."""
    i = _after(data, i)
    if data[i] != _QUOTE:
        return _BAD, i
    field = _field(data, i + 1, names, ends, guess)
    if field < 0:
        return _BAD, i
    i = _after(data, i + 1 + ends[field + 1] - ends[field])
    if data[i] != _COLON:
        return _BAD, i
    return field, _after(data, i + 1)


@compiled
def _integer(data: Array, i: int, spans: Array, at: int) -> Any:
    negative = data[i] == _MINUS
    first = i + negative
    number: Any = 0
    i = first
    while data[i] >= _0 and data[i] <= _9:
        number = 10 * number + np.int64(data[i]) - _0
        i += 1
    if i == first or i - first > 18 or (data[first] == _0 and i - first > 1):
        return _BAD
    spans[at], spans[at + 1] = 0, -number if negative else number
    return i


@compiled
def _section(data: Array, i: int, items: Array, item: int) -> Any:
    """Three texts, from the brace on."""
    if data[i] != _OPEN:
        return _BAD
    items[2 * item : 2 * item + 6] = UNSTATED
    i = _after(data, i + 1)
    if data[i] == _CLOSE:
        return i + 1
    guess = 0
    while True:
        field, i = _key(data, i, _SECTION, _SECTION_ENDS, guess)
        if field < 0 or items[2 * (item + field)] != UNSTATED:
            return _BAD
        i = _text(data, i, items, 2 * (item + field))
        if i < 0:
            return _BAD
        guess = field + 1
        i = _after(data, i)
        if data[i] == _CLOSE:
            return i + 1
        if data[i] != _COMMA:
            return _BAD
        i += 1


@compiled
def _list(data: Array, i: int, sections: bool, items: Array, item: int) -> Any:
    """A list of texts or sections: the place behind it, and the next free item."""
    if data[i] != _BEGIN:
        return _BAD, item
    i = _after(data, i + 1)
    if data[i] == _END:
        return i + 1, item
    while True:
        if 2 * item + 6 > items.shape[0]:
            return _BAD, item
        if sections:
            i = _section(data, i, items, item)
            item += 3
        else:
            i = _text(data, i, items, 2 * item)
            item += 1
        if i < 0:
            return _BAD, item
        i = _after(data, i)
        if data[i] == _END:
            return i + 1, item
        if data[i] != _COMMA:
            return _BAD, item
        i = _after(data, i + 1)


@compiled
def scan(data: Array, names: Array, ends: Array, kinds: Array, spans: Array, items: Array) -> int:
    """Find the values of every record.

    Args:
        data: whole lines.
        names, ends: the fields, each with its closing quote, and where they end.
        kinds: what each field holds.
        spans: per field and record two numbers, UNSTATED so far. Texts: twice the start, plus 1
            where there are escapes, and the end; lists: the first item and their number; else 0
            and the value. The first number is negative where nothing is stated.
        items: two numbers for each text in a list, likewise; a section has three.

    Returns:
        The number of records, or a negative number.
    """
    most = spans.shape[0] // (2 * kinds.shape[0])
    i: Any = 0
    row = item = 0
    while True:
        while i < data.shape[0] and (data[i] == _BREAK or _after(data, i) > i):
            i += 1
        if i == data.shape[0]:
            return row
        if data[i] != _OPEN:
            return _BAD
        i = _after(data, i + 1)
        guess = 0
        more = data[i] != _CLOSE
        while more:
            field, i = _key(data, i, names, ends, guess)
            at = 2 * (most * field + row)
            if field < 0 or spans[at] != UNSTATED:
                return _BAD
            kind = kinds[field]
            guess = field + 1
            if _is(data, i, _NULL):
                spans[at] = NULL
                i += 4
            elif kind == TEXT:
                i = _text(data, i, spans, at)
            elif kind == BOOLEAN:
                spans[at], spans[at + 1] = 0, data[i] == _TRUE[0]
                if _is(data, i, _TRUE):
                    i += 4
                elif _is(data, i, _FALSE):
                    i += 5
                else:
                    return _BAD
            elif kind == NUMBER:
                i = _integer(data, i, spans, at)
            else:
                first = item
                i, item = _list(data, i, kind == SECTIONS, items, item)
                spans[at], spans[at + 1] = first, item - first
            if i < 0:
                return _BAD
            i = _after(data, i)
            more = data[i] == _COMMA
            if not more and data[i] != _CLOSE:
                return _BAD
            i += more
        i = _after(data, i + 1)
        if data[i] != _BREAK:
            return _BAD
        row += 1

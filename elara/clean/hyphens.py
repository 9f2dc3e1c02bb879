"""Words that a line end splits: joined where the joined word is known, else kept with a hyphen.

What is known comes from three places: the text itself, the words of the whole collection, and the
lexicon. A hyphen that the text or the collection has is never taken away.
"""

from __future__ import annotations

import re
from itertools import pairwise

import numba
import numpy as np
import pyarrow as pa

from elara.clean.triggers import buffers
from elara.wordlist import is_word

_SPLIT = re.compile(r"(?<![\w])((?:[^\W\d_]+-)*)([^\W\d_]+)-\n[^\S\n]*([^\W\d_]+)")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
# "pre- and postmenopausal": the hyphen stands for what follows later.
_LINKING_WORDS = """
    and or to und oder bis et ou y o u e à
"""
_LINKING = frozenset(_LINKING_WORDS.split())
# "day-to-\nday": after another hyphen these are words of their own.
_SMALL_WORDS = """
    a and as at by for in of off on or out the to up with
"""
_SMALL = frozenset(_SMALL_WORDS.split())
_APART_WORDS = """
    non no not self
"""
_APART = frozenset(_APART_WORDS.split())
_MORE = 10  # times as often must a joined word be found as one with a hyphen, which may be damage
_SLOTS = 1 << 26


class Words:
    """How often each word of a collection occurs, in memory that does not grow with it.

    Words share 64 MiB of counters by their hashes, two counters each, of which the smaller one
    counts: among a million different words about one in a thousand unknown ones looks known.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_SLOTS, np.uint8)

    def add(self, texts: pa.LargeStringArray) -> None:
        """Count the words of texts, and pairs of words that a hyphen joins.

        Args:
            texts: `n` texts, none of them null.
        """
        _count(*buffers(texts), self._counts)

    def count(self, word: str) -> int:
        """How often a word occurs, at most 255.

        Args:
            word: a word, or two with a hyphen between.
        """
        return int(_look_up(np.frombuffer(word.encode(), np.uint8), self._counts))


@numba.njit(nogil=True, cache=True, inline="always")
def _small(byte):  # type: ignore[no-untyped-def]
    return byte + 32 if 65 <= byte <= 90 else byte


@numba.njit(nogil=True, cache=True, inline="always")
def _slots(value):  # type: ignore[no-untyped-def]
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    mask = np.uint64(_SLOTS - 1)
    return value >> np.uint64(38), value & mask


@numba.njit(nogil=True, cache=True)
def _count(data, offsets, counts):  # type: ignore[no-untyped-def]
    basis, prime = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
    for text in range(len(offsets) - 1):
        word = pair = basis
        letters = before = False  # whether a word is being read, and one stands before its hyphen
        for place in range(offsets[text], offsets[text + 1] + 1):
            byte = _small(data[place]) if place < offsets[text + 1] else np.uint8(10)
            if 97 <= byte <= 122 or byte >= 0x80:
                word = (word ^ np.uint64(byte)) * prime
                if before:
                    pair = (pair ^ np.uint64(byte)) * prime
                letters = True
                continue
            if letters:
                _raise(counts, word)
                if before:
                    _raise(counts, pair)
            before = letters and byte == 45
            if before:
                pair = (word ^ np.uint64(45)) * prime
            word, letters = basis, False


@numba.njit(nogil=True, cache=True)
def _look_up(data, counts):  # type: ignore[no-untyped-def]
    value = np.uint64(0xCBF29CE484222325)
    for byte in data:
        value = (value ^ np.uint64(_small(byte))) * np.uint64(0x100000001B3)
    one, two = _slots(value)
    return min(counts[one], counts[two])


@numba.njit(nogil=True, cache=True, inline="always")
def _raise(counts, value):  # type: ignore[no-untyped-def]
    one, two = _slots(value)
    if counts[one] < 255:
        counts[one] += 1
    if two != one and counts[two] < 255:
        counts[two] += 1


def join_hyphens(text: str, collection: Words | None = None) -> str:
    """Join what a line end split: to one word if that is known, else with its hyphen.

    "hyper-" and "tension" become one word, "beta-" and "blocker" keep the hyphen. Before "and",
    "or" and "to" the blank stays too; numbers and names in capitals are left alone.

    Args:
        text: any text.
        collection: the words of all texts, if they are counted.
    """
    own: set[str] | None = None

    def form(found: re.Match[str]) -> str:
        nonlocal own
        if own is None:
            own = _own_words(text)
        return _form(found, own, collection)

    return _SPLIT.sub(form, text)


def _own_words(text: str) -> set[str]:
    words = set()
    for compound in _WORD.findall(text.lower()):
        parts = compound.split("-")
        words |= {*parts, *(f"{a}-{b}" for a, b in pairwise(parts))}
    return words


def _form(found: re.Match[str], own: set[str], collection: Words | None) -> str:
    lead, first, second = found.groups()
    hyphened = f"{first}-{second}"
    if second.lower() in _LINKING:
        return f"{lead}{first}- {second}"
    if not second.islower():
        return f"{lead}{hyphened}" if hyphened.lower() in own else found[0]
    one, two = (first + second).lower(), hyphened.lower()
    keeps = (
        len(first) < 2
        or not first[1:].islower()
        or first.lower() in _APART
        or second == "up"
        or (lead and first in _SMALL)
        or two in own
    )
    if keeps or not _known(one, two, own, collection):
        return f"{lead}{hyphened}"
    return f"{lead}{first}{second}"


def _known(one: str, two: str, own: set[str], collection: Words | None) -> bool:
    joined, apart = (collection.count(one), collection.count(two)) if collection else (0, 0)
    if apart:
        return joined > _MORE * apart
    return one in own or joined > 0 or is_word(one)

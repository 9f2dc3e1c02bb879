"""Words that a line end splits: joined where the joined word is known, else kept with a hyphen.

What is known comes from three places: the text itself, the words of the whole collection, and the
lexicon. A hyphen that the text or the collection has is never taken away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from elara.clean.ledger import LINKING
from elara.clean.triggers import buffers
from elara.text.wordlist import is_word

_SPLIT = re.compile(r"(?<![\w])((?:[^\W\d_]+-)*)([^\W\d_]+)-\n[^\S\n]*([^\W\d_]+)")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_words = str.split
# "my elbow-\nit hurts": a dash, unless both make a word ("arthrit-\nis").
_AFTER_DASH = {
    *_words("a an are but he i is it she so that the then there they this was we were you")
}
# "day-to-\nday": after another hyphen these are words of their own.
_SMALL = {*_words("a and as at by for in of off on or out the to up with")}
_APART = {*_words("non no not self")}
_SMALL_LETTERS = {c: c + 32 for c in range(65, 91)}  # as the kernel folds them
_MORE = 10  # times as often must a joined word be found as one with a hyphen, which may be damage
_BROKEN = re.compile(r"([^\W\d_]+)-[^\S\n]*[\r\n]+[^\S\n]*([^\W\d_]+)")
_MARKS = 1 << 16


def split_forms(texts: pa.LargeStringArray) -> set[str]:
    """What the words that a line end splits may have been: one word, and two with a hyphen.

    Args:
        texts: `n` texts, none of them null.
    """
    found: set[str] = set()
    hit = pc.match_substring_regex(texts, r"-[ \t]*[\r\n]")
    for text in texts.filter(hit).to_pylist():
        for first, second in _BROKEN.findall(text):
            found |= {first + second, f"{first}-{second}"}
    return {form.translate(_SMALL_LETTERS) for form in found}


class Words:
    """How often some words occur in a collection.

    Args:
        forms: the words to count, and pairs of words with a hyphen between, in small letters.
    """

    def __init__(self, forms: Iterable[str] = ()) -> None:
        hashed = sorted((int(_hash(np.frombuffer(f.encode(), np.uint8))), f) for f in forms)
        self._place = {form: place for place, (_, form) in enumerate(hashed)}
        self._hashes = np.array([value for value, _ in hashed], np.uint64)
        self._counts = np.zeros(len(hashed), np.int64)
        self._marks = np.zeros(_MARKS, np.bool_)
        self._marks[(self._hashes & np.uint64(_MARKS - 1)).astype(np.int64)] = True

    def add(self, texts: pa.LargeStringArray) -> None:
        """Count in these texts, too.

        Args:
            texts: `n` texts, none of them null.
        """
        if self._place:
            _count(*buffers(texts), self._hashes, self._marks, self._counts)

    def count(self, word: str) -> int:
        """How often a word occurs; 0 for one that was not to be counted.

        Args:
            word: a word, or two with a hyphen between.
        """
        place = self._place.get(word.translate(_SMALL_LETTERS))
        return 0 if place is None else int(self._counts[place])


@numba.njit(nogil=True, cache=True)
def _hash(data):  # type: ignore[no-untyped-def]
    value = np.uint64(0xCBF29CE484222325)
    for byte in data:
        value = (value ^ np.uint64(byte)) * np.uint64(0x100000001B3)
    return value


@numba.njit(nogil=True, cache=True)
def _count(data, offsets, hashes, marks, counts):  # type: ignore[no-untyped-def]
    basis, prime = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
    for text in range(len(offsets) - 1):
        word = pair = basis
        letters = before = False  # whether a word is being read, and one stands before its hyphen
        for place in range(offsets[text], offsets[text + 1] + 1):
            byte = data[place] if place < offsets[text + 1] else np.uint8(10)
            if 65 <= byte <= 90:
                byte += 32
            if 97 <= byte <= 122 or byte >= 0x80:
                word = (word ^ np.uint64(byte)) * prime
                if before:
                    pair = (pair ^ np.uint64(byte)) * prime
                letters = True
                continue
            if letters:
                _note(hashes, marks, counts, word)
                if before:
                    _note(hashes, marks, counts, pair)
            before = letters and byte == 45
            if before:
                pair = (word ^ np.uint64(45)) * prime
            word, letters = basis, False


@numba.njit(nogil=True, cache=True)
def _note(hashes, marks, counts, value):  # type: ignore[no-untyped-def]
    if marks[value & np.uint64(65535)]:
        place = np.searchsorted(hashes, value)
        if place < len(hashes) and hashes[place] == value:
            counts[place] += 1


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
    if second.lower() in LINKING:
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
        blank = " " if second in _AFTER_DASH and two not in own else ""
        return f"{lead}{first}-{blank}{second}"
    return f"{lead}{first}{second}"


def _known(one: str, two: str, own: set[str], collection: Words | None) -> bool:
    joined, apart = (collection.count(one), collection.count(two)) if collection else (0, 0)
    if apart:
        return joined > _MORE * apart
    return one in own or joined > 0 or is_word(one)

"""Find in one pass which texts a list of rules can touch at all.

A rule names its triggers: short strings of which a text holds at least one if the rule is to look
at it. Most texts hold none, so one fast scan of the bytes spares them every regular expression.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

# Signs that stand for the two ends of a text inside a trigger. Unicode reserves both; in the
# scan they are bytes that UTF-8 never uses.
START, END = "\ufffe", "\uffff"
# Before a word that must stand in the text as it is written, with a capital and another word after.
WORD = "\ufdd0"
_ENDS = {START.encode(): b"\xfe", END.encode(): b"\xff"}
_FOLD = {**{c: c + 32 for c in range(65, 91)}, **dict.fromkeys(range(48, 58), 48)}
_FOLD_TABLE = np.array([_FOLD.get(c, c) for c in range(256)], np.uint8)
# What a byte is to a word with a capital: 2 may begin it, 1 goes on with it, -1 may follow it. A
# letter beyond ASCII has several bytes; those after the first go on only.
_WORD_TABLE = np.zeros(256, np.int8)
_WORD_TABLE[65:91] = _WORD_TABLE[0xC3:0xE0] = 2
_WORD_TABLE[97:123] = _WORD_TABLE[0x80:0xC0] = _WORD_TABLE[0xE1] = 1
_WORD_TABLE[[9, 11, 12, 13, 28, 29, 30, 31, 32, 45, 0xC2, 0xE2, 0xE3]] = -1
_MULTIPLIER = 2654435761  # Knuth's, for multiplicative hashing
_MOST_BLOCKS = 64

Buffers = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


def fold(text: str) -> str:
    """Text as triggers see it: ASCII letters in lower case, every ASCII digit a 0."""
    return text.translate(_FOLD)


def touches(triggers: Sequence[str]) -> Callable[[str], bool]:
    """Make the test whether a text holds one of the triggers.

    Args:
        triggers: folded strings, and words after `WORD`; with none, every text is touched.
    """
    if not triggers:
        return lambda text: True
    words = "|".join(re.escape(t[1:]) for t in triggers if t[0] == WORD)
    strings = "|".join(re.escape(t) for t in triggers if t[0] != WORD)
    named = re.compile(rf"(?<![a-zA-Z0-9])(?:{words})(?=[^\S\n]|-)" if words else r"(?!)").search
    found = re.compile(strings or r"(?!)").search
    return lambda text: bool(named(text) or found(fold(f"{START}{text}{END}")))


def buffers(texts: pa.LargeStringArray) -> Buffers:
    """The bytes of an Arrow array and where each text starts, without a copy.

    Args:
        texts: `n` texts, none of them null.

    Returns:
        The bytes (uint8) and `n` + 1 positions in them.
    """
    _, places, data = texts.buffers()
    offsets = np.frombuffer(places, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data if data else b"", np.uint8), offsets


class Triggers:
    """The triggers of many blocks, ready to be looked for together.

    Args:
        blocks: the triggers of each block, at most 64 blocks. A block without triggers is found
            in every text.

    Raises:
        ValueError: too many blocks.
    """

    def __init__(self, blocks: Sequence[Sequence[str]]) -> None:
        if len(blocks) > _MOST_BLOCKS:
            raise ValueError(f"{len(blocks)} blocks of triggers; one scan finds {_MOST_BLOCKS}")
        masks: dict[bytes, int] = {}
        words: dict[bytes, int] = {}
        for number, triggers in enumerate(blocks):
            for trigger in triggers:
                if trigger[0] == WORD:
                    word = trigger[1:].encode()
                    words[word] = words.get(word, 0) | 1 << number
                    continue
                needle = trigger.encode()
                for end, byte in _ENDS.items():
                    needle = needle.replace(end, byte)
                masks[needle] = masks.get(needle, 0) | 1 << number
        always = sum(1 << n for n, triggers in enumerate(blocks) if not triggers)
        self._tables = (
            *(_FOLD_TABLE, _WORD_TABLE, np.uint64(always)),
            *(*_pairs(masks), *_heads(masks), *_words(words)),
        )

    def find(self, texts: pa.LargeStringArray) -> npt.NDArray[np.uint64]:
        """For each text a number whose bit `k` says whether a trigger of block `k` occurs.

        Args:
            texts: `n` texts, none of them null.
        """
        found: npt.NDArray[np.uint64] = _scan(*buffers(texts), *self._tables)
        return found


def _pairs(masks: dict[bytes, int]) -> tuple[Any, Any]:
    """Two tables over all pairs of neighbouring bytes.

    The first says what a pair may mean: 0 nothing, 1 a trigger of one or two bytes, 2 the second
    and third byte of a longer one, 3 both. The second holds the blocks of the short triggers.
    """
    blocks = np.zeros(1 << 16, np.uint64)
    meaning = np.zeros(1 << 16, np.uint8)
    for needle, mask in masks.items():
        if len(needle) == 1:
            blocks[needle[0] :: 256] |= np.uint64(mask)
        elif len(needle) == 2:
            blocks[int.from_bytes(needle)] |= np.uint64(mask)
        else:
            meaning[int.from_bytes(needle[1:3])] = 2
    meaning[blocks > 0] |= 1
    return meaning, blocks


def _heads(masks: dict[bytes, int]) -> tuple[Any, Any, Any, Any, Any]:
    """Longer triggers: where those start whose first three, then four bytes have the same hash.

    Those of three bytes stand in the first half of the rows. The others have the fourth byte as
    well, since thousands of first names begin with the same few letters.
    """
    needles = [n for n in masks if len(n) > 2]
    slots = {n: _slot(n[:3]) for n in needles}
    rows = {n: slots[n] if len(n) == 3 else (1 << 16) + _slot(n[:4]) for n in needles}
    needles.sort(key=lambda n: (rows[n], n))
    hot = np.zeros(1 << 16, np.uint8)
    hot[list(slots.values())] = 1
    first = np.searchsorted([rows[n] for n in needles], np.arange((1 << 17) + 1))
    places = np.cumsum([0, *map(len, needles)])
    return (
        hot,
        first.astype(np.int64),
        np.frombuffer(b"".join(needles), np.uint8),
        places.astype(np.int64),
        np.array([masks[n] for n in needles], np.uint64),
    )


def _slot(head: bytes) -> int:
    return (int.from_bytes(head) * _MULTIPLIER >> 16) & 0xFFFF


def _words(masks: dict[bytes, int]) -> tuple[Any, Any, Any, Any]:
    """Words: where those start that have the same hash, their bytes, their places, their blocks."""
    slots = {}
    for word in masks:
        key = 0
        for byte in word:
            key = (key * 31 + byte) & 0xFFFFFFFF
        slots[word] = (key * _MULTIPLIER >> 16) & 0xFFFF
    words = sorted(masks, key=lambda w: (slots[w], w))
    return (
        np.searchsorted([slots[w] for w in words], np.arange((1 << 16) + 1)).astype(np.int64),
        np.frombuffer(b"".join(words), np.uint8),
        np.cumsum([0, *map(len, words)]).astype(np.int64),
        np.array([masks[w] for w in words], np.uint64),
    )


@numba.njit(nogil=True, cache=True)
def _word(data, position, end, kinds, first, words, places, masks):  # type: ignore[no-untyped-def]
    """The blocks of the word that begins here, if a blank or a hyphen follows it."""
    key, last = np.uint32(0), position
    while last < end and kinds[data[last]] > 0:
        key = np.uint32(np.uint32(key * np.uint32(31)) + np.uint32(data[last]))
        last += 1
    if last == end or kinds[data[last]] == 0:
        return np.uint64(0)
    slot = np.uint32(np.uint32(key * np.uint32(2654435761)) >> np.uint32(16))
    for word in range(first[slot], first[slot + 1]):
        if places[word + 1] - places[word] == last - position:
            same = True
            for place in range(last - position):
                if words[places[word] + place] != data[position + place]:
                    same = False
                    break
            if same:
                return masks[word]
    return np.uint64(0)


@numba.njit(nogil=True, cache=True)
def _scan(  # type: ignore[no-untyped-def]
    data,
    offsets,
    folded,
    kinds,
    always,
    meaning,
    short,
    hot,
    first,
    needles,
    places,
    masks,
    firsts,
    words,
    ends,
    blocks,
):
    result = np.empty(len(offsets) - 1, np.uint64)
    for text in range(len(result)):
        start, end = offsets[text], offsets[text + 1]
        found = always
        key = np.uint32(0xFE)
        for position in range(start, end + 1):
            byte = folded[data[position]] if position < end else np.uint8(0xFF)
            if position < end and kinds[data[position]] == 2:
                before = folded[data[position - 1]] if position > start else np.uint8(0)
                if before != 48 and not 97 <= before <= 122:
                    found |= _word(data, position, end, kinds, firsts, words, ends, blocks)
            key = np.uint32(key << np.uint32(8)) | np.uint32(byte)
            pair = key & np.uint32(0xFFFF)
            kind = meaning[pair]
            if kind == 0:
                continue
            if kind & 1:
                found |= short[pair]
            if kind == 1:
                continue
            head = np.uint32(key & np.uint32(0xFFFFFF))
            slot = np.uint32(np.uint32(head * np.uint32(2654435761)) >> np.uint32(16))
            if not hot[slot]:
                continue
            byte = folded[data[position + 1]] if position + 1 < end else np.uint8(0xFF)
            head = np.uint32(np.uint32(head << np.uint32(8)) | np.uint32(byte))
            longer = np.uint32(np.uint32(head * np.uint32(2654435761)) >> np.uint32(16))
            for row in (np.int64(slot), np.int64(longer) + 65536):
                for needle in range(first[row], first[row + 1]):
                    if masks[needle] & ~found == 0:
                        continue
                    at, same = position - 2, True
                    for place in range(places[needle], places[needle + 1]):
                        if at > end:
                            same = False
                            break
                        if at < start:
                            here = np.uint8(0xFE)
                        elif at == end:
                            here = np.uint8(0xFF)
                        else:
                            here = folded[data[at]]
                        if here != needles[place]:
                            same = False
                            break
                        at += 1
                    if same:
                        found |= masks[needle]
        result[text] = found
    return result

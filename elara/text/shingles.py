"""Count, hash and compare texts by their words and shingles, in compiled code.

One pass over the characters reads the words of a text as `elara.text.words` defines them. Importing
this module imports numba, so it is imported where it is used. numba looks at this file alone to
tell whether the machine code that it keeps is out of date: whoever changes a number that is
imported here touches this file too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np

from elara.machine.caches import can_write, writable_cache
from elara.text import words as column
from elara.text.words import ALONE, DASH, DIGIT, LETTER, ODD, SPACE, Array, Strings, Tables, Texts

P = ParamSpec("P")
R = TypeVar("R")

_U = np.uint64
# FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/, and the last step of MurmurHash3.
_START, _PRIME, _SPREAD = _U(0xCBF29CE484222325), _U(0x100000001B3), _U(0xFF51AFD7ED558CCD)
# Odd constants keep the order of the words in a shingle's hash: (a, b, c) is not (c, b, a).
_FIRST, _SECOND = _U(0x9E3779B97F4A7C15), _U(0xC2B2AE3D27D4EB4F)
_THIRD = _U(0x165667B19E3779F9)
_S29, _S32, _0, _1 = _U(29), _U(32), _U(0), _U(1)
_FLAGS = _U(column.FLAGS)
_NEWLINE, _FULL_STOP, _EXCLAMATION, _QUESTION = 10, 46, 33, 63

# The hash functions of MinHash: an odd factor and a shift each.
_HASHES = column.BANDS * column.ROWS
_random = np.random.default_rng(42)
_FACTOR = _random.integers(0, 1 << 31, _HASHES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
_SHIFT = _random.integers(0, 1 << 32, _HASHES, dtype=np.uint32)


# Machine code is kept in `__pycache__` beside the source, and in Elara's cache where that cannot be
# written: https://numba.readthedocs.io/en/stable/developer/caching.html
if not numba.config.CACHE_DIR and not can_write(Path(__file__).parent / "__pycache__"):
    numba.config.CACHE_DIR = str(writable_cache() / "numba")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first call, or load what an earlier process compiled.

    It runs without the GIL.

    Args:
        function: what numba can compile.
    """
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True)(function))


@compiled
def _word(data: Array, i: int, end: int, kinds: Array, lower: Array) -> Any:
    """Read a word from place `i` on: its hash so far, its letters, where it ends."""
    h = _START
    letters = 0
    first = i
    while i < end:
        code = data[i]
        kind = kinds[code]
        if kind < LETTER or (kind == ALONE and i > first):
            break
        h = (h ^ _U(lower[code])) * _PRIME
        letters += kind != DIGIT
        i += 1
        if kind == ALONE:
            break
    return h, letters, i


@compiled
def _mixed(h: Any) -> Any:
    h ^= h >> _S32
    h *= _SPREAD
    return h ^ (h >> _S29)


@compiled
def word_hashes(strings: Strings, kinds: Array, lower: Array) -> Any:
    """Hash the words of many strings.

    Args:
        strings: the strings.
        kinds: of characters, see `elara.text.words.characters`.
        lower: the lower-case form of characters, likewise.

    Returns:
        The hashes (u64), one string after the other, and how many words each string has (i64).
    """
    offsets, data = strings
    hashes = np.empty(data.shape[0], dtype=np.uint64)
    lengths = np.zeros(offsets.shape[0] - 1, dtype=np.int64)
    found = 0
    for which in range(lengths.shape[0]):
        i, end = offsets[which], offsets[which + 1]
        while i < end:
            h, _, after = _word(data, i, end, kinds, lower)
            if after == i:
                i += 1
                continue
            i = after
            hashes[found] = _mixed(h)
            lengths[which] += 1
            found += 1
    return hashes[:found].copy(), lengths


@compiled
def _meaning(sign: Any, in_token: bool, after: Any) -> Any:
    """What a sign says between two words, 0 for nothing; `after` is the character behind it."""
    if sign >= 0:
        return sign
    if 48 <= after <= 57:
        return -sign
    # The minus behind a name, as in "HER2-": a hyphen has a letter behind it.
    letter = after >= 128 or 65 <= after <= 90 or 97 <= after <= 122
    return DASH if sign == -DASH and in_token and not letter else 0


@compiled
def _has_ending(data: Array, at: int, length: int, endings: Array) -> Any:
    """Whether the word of so many letters before place `at` ends as medical words do."""
    node = np.int64(0)
    for back in range(1, length - 3):
        letter = np.int64(data[at - back] | 32) - 97
        if letter < 0 or letter > 25:
            return False
        node = np.int64(endings[column.LETTERS * node + letter])
        if node <= 0:
            return node < 0
    return False


@compiled
def _segment(
    strings: Strings, which: int, tables: Tables, counts: Array, state: Array, found: Any
) -> Any:
    """Scan one string of a document; returns its white-space separated tokens.

    `state` carries what goes on over the strings of a document: the last two words' hashes, the
    hash of all words so far, and how many words and distinct shingles there were.
    """
    offsets, data = strings
    kinds, lower, known, endings = tables
    seen, unique, mask = found
    before, last, digest = state[0], state[1], state[2]
    words, distinct = np.int64(state[3]), np.int64(state[4])
    medical = english = sentences = ordinary = odd = tokens = 0
    tokens_before = 0  # where the sentence began
    in_token = stopped = lettered = False
    slots = _U(known.shape[0] - 1)
    i, end = offsets[which], offsets[which + 1]
    counts[column.CHARACTERS] += end - i
    while i < end:
        code = data[i]
        kind = kinds[code]
        if kind == SPACE:
            i += 1
            in_token = False
            if stopped or code == _NEWLINE:
                sentences += lettered
                ordinary += lettered and 5 <= tokens - tokens_before <= 60
                lettered = False
                tokens_before = tokens
            stopped = False
            continue
        tokens += not in_token
        if kind < LETTER:
            i += 1
            after = np.int64(data[i]) if i < end else 0
            sign = _meaning(np.int64(lower[code]), in_token, after)
            if sign:
                digest = (digest ^ _U(sign)) * _SPREAD
                digest ^= digest >> _S32
            in_token = True
            stopped = code in (_FULL_STOP, _QUESTION, _EXCLAMATION)
            odd += kind == ODD
            continue

        h, letters, after = _word(data, i, end, kinds, lower)
        h = _mixed(h)
        lettered |= letters > 0
        stopped = False
        in_token = True

        slot = h & slots
        # `&` and no `if`: the processor cannot guess which words are known.
        there = known[slot]
        while (there != _0) & (there ^ h > _FLAGS):
            slot = (slot + _1) & slots
            there = known[slot]
        flags = np.int64(there & _FLAGS) * (there ^ h <= _FLAGS)
        is_medical = letters == after - i and _has_ending(data, after, letters, endings)
        i = after
        medical += (flags & column.MEDICAL) | is_medical
        english += (flags & column.ENGLISH) >> 1

        words += 1
        digest = (digest ^ h) * _SPREAD
        digest ^= digest >> _S32
        if words > 2:
            shingle = _mixed(before * _FIRST + last * _SECOND + h * _THIRD)
            shingle |= _1  # 0 marks a free place
            at = (shingle >> _S32) & mask
            while (seen[at] != _0) & (seen[at] != shingle):
                at = (at + _1) & mask
            if seen[at] == _0:
                seen[at] = shingle
                unique[distinct] = shingle
                distinct += 1
        before = last
        last = h
    sentences += lettered
    ordinary += lettered and 5 <= tokens - tokens_before <= 60
    state[0], state[1], state[2] = before, last, digest
    state[3], state[4] = _U(words), _U(distinct)
    counts[column.MEDICAL_WORDS] += medical
    counts[column.ENGLISH_WORDS] += english
    counts[column.SENTENCES] += sentences
    counts[column.ORDINARY_SENTENCES] += ordinary
    counts[column.ODD_SIGNS] += odd
    return tokens


@compiled
def _document(
    texts: Texts, i: int, tables: Tables, counts: Array, state: Array, seen: Array, unique: Array
) -> None:
    """Scan title, abstract and body texts of document `i`."""
    titles, abstracts, bodies, parts = texts
    room = _room(_size(texts, i))
    seen[:room] = _0
    state[:] = _0
    counts[:] = 0
    found = seen, unique, _U(room - 1)
    _segment(titles, i, tables, counts, state, found)
    counts[column.ABSTRACT_TOKENS] = _segment(abstracts, i, tables, counts, state, found)
    for part in range(parts[i], parts[i + 1]):
        counts[column.BODY_TOKENS] += _segment(bodies, part, tables, counts, state, found)
    counts[column.WORDS] = np.int64(state[3])
    counts[column.DISTINCT_SHINGLES] = np.int64(state[4])


@compiled
def _size(texts: Texts, i: int) -> Any:
    """Characters of document `i`."""
    titles, abstracts, bodies, parts = texts
    size = titles[0][i + 1] - titles[0][i] + abstracts[0][i + 1] - abstracts[0][i]
    return size + bodies[0][parts[i + 1]] - bodies[0][parts[i]]


@compiled
def _room(size: int) -> Any:
    """A power of two that leaves half of a table free, whatever words so many characters hold."""
    room = 256
    while room < size:
        room *= 2
    return room


@compiled
def measure(texts: Texts, tables: Tables) -> Any:
    """Count, hash and sketch every document in one pass over its text.

    Args:
        texts: the documents.
        tables: what `elara.inspection.lexicon.tables` returns.

    Returns:
        Counts (i64, documents x COUNTS); a hash of all words in their order (u64); the MinHash
        band keys (u32, BANDS x documents), 0 for documents of fewer than SHORTEST words.

    Source: Broder 1997, https://doi.org/10.1109/SEQUEN.1997.666900
    """
    n = texts[3].shape[0] - 1
    counts = np.empty((n, column.COUNTS), dtype=np.int64)
    digests = np.empty(n, dtype=np.uint64)
    keys = np.zeros((column.BANDS, n), dtype=np.uint32)
    largest = 0
    for i in range(n):
        largest = max(largest, _size(texts, i))
    room = _room(largest)
    seen, unique = np.empty(room, dtype=np.uint64), np.empty(room, dtype=np.uint64)
    state, halves = np.empty(5, dtype=np.uint64), np.empty(room, dtype=np.uint32)
    sketch = np.empty(_HASHES, dtype=np.uint32)
    for i in range(n):
        _document(texts, i, tables, counts[i], state, seen, unique)
        digests[i] = state[2]
        if counts[i, column.WORDS] < column.SHORTEST:
            continue
        distinct = counts[i, column.DISTINCT_SHINGLES]
        for s in range(distinct):
            halves[s] = np.uint32(unique[s] >> _S32)
        # Repeats fill the last step of the vectorised loop, so that no rest is left to do singly.
        filled = (distinct + 63) & ~63
        for s in range(distinct, filled):
            halves[s] = halves[0]
        for j in range(_HASHES):
            a, b, least = _FACTOR[j], _SHIFT[j], np.uint32(0xFFFFFFFF)
            for s in range(filled):
                least = min(least, np.uint32(np.uint32(a * halves[s]) + b))
            sketch[j] = least
        for band in range(column.BANDS):
            key = _START
            for row in range(column.ROWS):
                key = (key ^ _U(sketch[band * column.ROWS + row])) * _SPREAD
                key ^= key >> _S29
            keys[band, i] = np.uint32(key >> _S32)
    return counts, digests, keys


@compiled
def shingle_sets(texts: Texts, tables: Tables) -> Any:
    """The distinct shingles of documents, one document after the other.

    Args:
        texts: the documents.
        tables: what `elara.inspection.lexicon.tables` returns.

    Returns:
        Where each one's shingles begin and end (i64, documents + 1), and their hashes (u64),
        ascending in each document.
    """
    n = texts[3].shape[0] - 1
    largest = total = 0
    for i in range(n):
        largest = max(largest, _size(texts, i))
        total += _size(texts, i)
    starts = np.zeros(n + 1, dtype=np.int64)
    counts, state = np.empty(column.COUNTS, dtype=np.int64), np.empty(5, dtype=np.uint64)
    # Only what is filled takes memory.
    sets, seen = np.empty(total, dtype=np.uint64), np.empty(_room(largest), dtype=np.uint64)
    for i in range(n):
        _document(texts, i, tables, counts, state, seen, sets[starts[i] :])
        starts[i + 1] = starts[i] + np.int64(state[4])
        sets[starts[i] : starts[i + 1]].sort()
    return starts, sets[: starts[-1]].copy()


@compiled
def jaccard(starts: Array, shingles: Array, left: Array, right: Array) -> Any:
    """Exact Jaccard similarity of pairs of documents.

    Args:
        starts: where the shingles of each document begin and end, see `shingle_sets`.
        shingles: their hashes, ascending in each document.
        left: positions of documents (i64), pair by pair.
        right: those of the others.

    Returns:
        Shared shingles over all shingles, f64; 1 where both have none.
    """
    found = np.ones(left.shape[0], dtype=np.float64)
    for p in range(left.shape[0]):
        a, a_end = starts[left[p]], starts[left[p] + 1]
        b, b_end = starts[right[p]], starts[right[p] + 1]
        together = a_end - a + b_end - b
        shared = 0
        while a < a_end and b < b_end:
            one, other = shingles[a], shingles[b]
            shared += one == other
            a += one <= other
            b += other <= one
        if together > 0:
            found[p] = shared / (together - shared)
    return found

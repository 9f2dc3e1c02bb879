"""Count, hash and compare texts by their words and shingles, in compiled code.

One pass over the bytes reads the words of a text as `elara.text.words` defines them. Importing
this module imports numba, so it is imported where it is used. numba looks at this file alone to
tell whether the machine code that it keeps is out of date: whoever changes a number that is
imported here touches this file too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elara.machine.jit import compiled
from elara.text import words as column
from elara.text.words import ALONE, BANDS, COUNTS, DASH, LETTER, ODD, ROWS, SPACE, Array, Tables

# Offsets (i64) and bytes (u8) of many strings, as Arrow lays them out.
Strings = tuple[Array, Array]
# Titles, abstracts, all body texts, and which of these belong to a document: document `i` has
# those from `parts[i]` up to `parts[i + 1]`.
Texts = tuple[Strings, Strings, Strings, Array]

_U = np.uint64
# FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/, and the last step of MurmurHash3.
_START, _PRIME, _SPREAD = _U(0xCBF29CE484222325), _U(0x100000001B3), _U(0xFF51AFD7ED558CCD)
# Odd constants keep the order of the words in a shingle's hash: (a, b, c) is not (c, b, a).
_FIRST, _SECOND = _U(0x9E3779B97F4A7C15), _U(0xC2B2AE3D27D4EB4F)
_THIRD = _U(0x165667B19E3779F9)
_S29, _S32, _0, _1, _LOWER_A = _U(29), _U(32), _U(0), _U(1), _U(97)
_FLAGS = _U(column.FLAGS)
_NEWLINE, _FULL_STOP, _EXCLAMATION, _QUESTION = 10, 46, 33, 63

# The hash functions of MinHash: an odd factor and a shift each.
_HASHES = BANDS * ROWS
_random = np.random.default_rng(42)
_FACTOR = _random.integers(0, 1 << 31, _HASHES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
_SHIFT = _random.integers(0, 1 << 32, _HASHES, dtype=np.uint32)


@compiled
def _character(data: Array, i: int) -> Any:
    """The code point that begins at byte `i` of UTF-8, and its number of bytes."""
    first = np.int64(data[i])
    if first < 0x80:
        return first, 1
    second = np.int64(data[i + 1]) & 63
    if first < 0xE0:
        return ((first & 31) << 6) | second, 2
    third = np.int64(data[i + 2]) & 63
    if first < 0xF0:
        return ((first & 15) << 12) | (second << 6) | third, 3
    fourth = np.int64(data[i + 3]) & 63
    return ((first & 7) << 18) | (second << 12) | (third << 6) | fourth, 4


@compiled
def _word(data: Array, i: int, end: int, kinds: Array, lower: Array) -> Any:
    """Read a word from byte `i` on: its hash so far, its characters, its letters, where it ends."""
    h = _START
    length = letters = 0
    while i < end:
        code, step = _character(data, i)
        kind = kinds[code] if code < kinds.shape[0] else ODD
        if kind < LETTER or (kind == ALONE and length > 0):
            break
        h = (h ^ _U(lower[code])) * _PRIME
        letters += kind != column.DIGIT
        length += 1
        i += step
        if kind == ALONE:
            break
    return h, length, letters, i


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
            h, length, _, after = _word(data, i, end, kinds, lower)
            if length == 0:
                i += _character(data, i)[1]
                continue
            i = after
            hashes[found] = _mixed(h)
            lengths[which] += 1
            found += 1
    return hashes[:found].copy(), lengths


@compiled
def _meaning(sign: Any, in_token: bool, after: Any) -> Any:
    """What a sign says between two words, 0 for nothing; `after` is the byte behind it."""
    if sign >= 0:
        return sign
    if 48 <= after <= 57:
        return -sign
    # The minus behind a name, as in "HER2-": a hyphen has a letter behind it.
    letter = after >= 128 or 65 <= after <= 90 or 97 <= after <= 122
    return DASH if sign == -DASH and in_token and not letter else 0


@compiled
def _has_ending(data: Array, at: int, length: int, endings: Array) -> Any:
    """Whether the word of so many letters before byte `at` ends as medical words do."""
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
    """Scan one string of a document, byte by byte; returns its white-space separated tokens.

    `state` carries what goes on over the strings of a document: the last two words' hashes, the
    hash of all words so far, and how many words and distinct shingles there were.
    """
    offsets, data = strings
    kinds, lower, quick, known, endings = tables
    seen, unique, mask = found
    before, last, digest = state[0], state[1], state[2]
    words, distinct = np.int64(state[3]), np.int64(state[4])
    medical = english = sentences = ordinary = characters = odd = tokens = 0
    tokens_before = 0  # where the sentence began
    in_token = stopped = lettered = False
    slots = _U(known.shape[0] - 1)
    i, end = offsets[which], offsets[which + 1]
    stop = _U(end)
    while i < end:
        if quick[data[i]] == 0:
            code, step = _character(data, i)
            kind = kinds[code] if code < kinds.shape[0] else ODD
            if kind < LETTER:
                characters += 1
                i += step
                if kind == SPACE:
                    in_token = False
                    if stopped or code == _NEWLINE:
                        if lettered:
                            sentences += 1
                            ordinary += 5 <= tokens - tokens_before <= 60
                        lettered = False
                        tokens_before = tokens
                    stopped = False
                else:
                    sign = np.int64(lower[code]) if code < kinds.shape[0] else code
                    sign = _meaning(sign, in_token, np.int64(data[i]) if i < end else 0)
                    if sign:
                        digest = (digest ^ _U(sign)) * _SPREAD
                        digest ^= digest >> _S32
                    tokens += not in_token
                    in_token = True
                    stopped = code in (_FULL_STOP, _QUESTION, _EXCLAMATION)
                    odd += kind == ODD
                continue

        # A word. Most are plain ASCII, which one table reads; others begin again, slowly.
        first = i
        h: Any = _START
        smallest, largest = _LOWER_A, _0
        p = _U(first)  # an unsigned index needs no look whether it is negative
        while p < stop and quick[data[p]] != 0:
            small = _U(quick[data[p]])
            h = (h ^ small) * _PRIME
            smallest, largest = min(smallest, small), max(largest, small)
            p += _1
        length = np.int64(p) - first
        i = first + length
        pure = smallest == _LOWER_A
        if i < end and data[i] >= 128:
            h, length, letters, i = _word(data, first, end, kinds, lower)
            pure = letters == length
            lettered |= letters > 0
        else:
            lettered |= bool(largest >= _LOWER_A)
        h = _mixed(h)
        characters += length
        stopped = False
        tokens += not in_token
        in_token = True

        slot = h & slots
        # `&` and no `if`: the processor cannot guess which words are known.
        there = known[slot]
        while (there != _0) & (there ^ h > _FLAGS):
            slot = (slot + _1) & slots
            there = known[slot]
        flags = np.int64(there & _FLAGS) * (there ^ h <= _FLAGS)
        is_medical = pure and _has_ending(data, i, length, endings)
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
    if lettered:
        sentences += 1
        ordinary += 5 <= tokens - tokens_before <= 60
    state[0], state[1], state[2] = before, last, digest
    state[3], state[4] = _U(words), _U(distinct)
    counts[column.MEDICAL_WORDS] += medical
    counts[column.ENGLISH_WORDS] += english
    counts[column.SENTENCES] += sentences
    counts[column.ORDINARY_SENTENCES] += ordinary
    counts[column.CHARACTERS] += characters
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
    """Bytes of document `i`."""
    titles, abstracts, bodies, parts = texts
    size = titles[0][i + 1] - titles[0][i] + abstracts[0][i + 1] - abstracts[0][i]
    return size + bodies[0][parts[i + 1]] - bodies[0][parts[i]]


@compiled
def _room(size: int) -> Any:
    """A power of two that leaves half of a table free, whatever words so many bytes hold."""
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
    counts = np.empty((n, COUNTS), dtype=np.int64)
    digests = np.empty(n, dtype=np.uint64)
    keys = np.zeros((BANDS, n), dtype=np.uint32)
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
        for band in range(BANDS):
            key = _START
            for row in range(ROWS):
                key = (key ^ _U(sketch[band * ROWS + row])) * _SPREAD
                key ^= key >> _S29
            keys[band, i] = np.uint32(key >> _S32)
    return counts, digests, keys


@compiled
def shingle_sets(texts: Texts, tables: Tables, rows: Array) -> Any:
    """The distinct shingles of some documents, one document after the other.

    Args:
        texts: the documents.
        tables: what `elara.inspection.lexicon.tables` returns.
        rows: positions of those that are asked for (i64).

    Returns:
        Where each one's shingles begin and end (i64, rows + 1), and their hashes (u64).
    """
    largest = total = 0
    for row in rows:
        largest = max(largest, _size(texts, row))
        total += _size(texts, row)
    starts = np.zeros(rows.shape[0] + 1, dtype=np.int64)
    counts, state = np.empty(COUNTS, dtype=np.int64), np.empty(5, dtype=np.uint64)
    # Only what is filled takes memory.
    sets, seen = np.empty(total, dtype=np.uint64), np.empty(_room(largest), dtype=np.uint64)
    for k in range(rows.shape[0]):
        _document(texts, rows[k], tables, counts, state, seen, sets[starts[k] :])
        starts[k + 1] = starts[k] + np.int64(state[4])
    return starts, sets[: starts[-1]].copy()


@compiled
def jaccard(starts: Array, shingles: Array, left: Array, right: Array) -> Any:
    """Exact Jaccard similarity of pairs of documents.

    Args:
        starts: where the shingles of each document begin and end, see `shingle_sets`.
        shingles: their hashes.
        left: positions of documents (i64), pair by pair.
        right: those of the others.

    Returns:
        Shared shingles over all shingles, f64; 1 where both have none.
    """
    found = np.empty(left.shape[0], dtype=np.float64)
    largest = 0
    for k in range(starts.shape[0] - 1):
        largest = max(largest, starts[k + 1] - starts[k])
    seen = np.empty(_room(2 * largest), dtype=np.uint64)
    for p in range(left.shape[0]):
        a = shingles[starts[left[p]] : starts[left[p] + 1]]
        b = shingles[starts[right[p]] : starts[right[p] + 1]]
        room = _room(2 * a.shape[0])
        mask = _U(room - 1)
        seen[:room] = _0  # which no shingle is
        for shingle in a:
            at = (shingle >> _S32) & mask
            while seen[at] != _0:
                at = (at + _1) & mask
            seen[at] = shingle
        shared = 0
        for shingle in b:
            at = (shingle >> _S32) & mask
            while (seen[at] != _0) & (seen[at] != shingle):
                at = (at + _1) & mask
            shared += seen[at] == shingle
        together = a.shape[0] + b.shape[0] - shared
        found[p] = shared / together if together > 0 else 1.0
    return found

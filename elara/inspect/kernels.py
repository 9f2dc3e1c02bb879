"""The one pass over the text, compiled: Arrow buffers in, columns out.

Each function is pure: it reads the buffers and tables that it is given and fills the arrays that
it returns. None holds the GIL, so that threads can work on different parts of a collection.

Importing this module imports numba, so it is imported where it is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elara.inspect import compiled as fixed
from elara.inspect import measures as column
from elara.inspect.compiled import S29, S32, U, compiled
from elara.inspect.lexicon import ENGLISH, MEDICAL, Tables
from elara.inspect.text import LETTER, ODD, SPACE, Array

# Offsets (i64) and bytes (u8) of many strings, as Arrow lays them out.
Strings = tuple[Array, Array]
# Titles, abstracts, all body texts, and which of these belong to a document: document `i` has
# those from `parts[i]` up to `parts[i + 1]`.
Texts = tuple[Strings, Strings, Strings, Array]


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
def _word(data: Array, i: int, end: int, tables: Tables, tail: Array) -> Any:
    """Read any word from byte `i` on: its hash, its characters, its letters, where it ends.

    The end of the word, lower-cased, is left in the ring `tail`.
    """
    kinds, lower = tables[0], tables[1]
    h = fixed.START
    length = letters = 0
    while i < end:
        code, step = _character(data, i)
        kind = kinds[code] if code < kinds.shape[0] else ODD
        if kind < LETTER:
            break
        letters += kind == LETTER
        small = lower[code]
        h = (h ^ U(small)) * fixed.PRIME
        tail[length & (fixed.TAIL - 1)] = small if small < 128 else 0
        length += 1
        i += step
    return h, length, letters, i


@compiled
def _has_ending(letters: Array, at: int, ring: int, length: int, endings: Array) -> Any:
    """Whether the word of so many letters before `at` ends as medical words do."""
    node = np.int64(0)
    for back in range(1, length - 3):
        letter = np.int64(letters[(at - back) & ring] | 32) - 97
        if letter < 0 or letter > 25:
            return False
        node = np.int64(endings[node, letter])
        if node <= 0:
            return node < 0
    return False


@compiled
def _segment(
    strings: Strings,
    which: int,
    tables: Tables,
    counts: Array,
    state: Array,
    found: Array,
    mask: Any,
) -> int:
    """Scan one string of a document, byte by byte; returns its white-space separated tokens.

    `state` carries what goes on over the strings of a document: the last two words' hashes, the
    hash of all words so far, and how many words and distinct shingles there were.
    """
    offsets, data = strings
    kinds, _, quick, known, known_as, endings = tables
    seen, unique = found[0], found[1]
    tail = np.zeros(fixed.TAIL, dtype=np.uint8)
    before, last, digest = state[0], state[1], state[2]
    words, distinct = np.int64(state[3]), np.int64(state[4])
    medical = english = sentences = ordinary = characters = odd = tokens = 0
    tokens_before = 0  # where the sentence began
    in_token = stopped = lettered = False
    slots = U(known.shape[0] - 1)
    i, end = offsets[which], offsets[which + 1]
    stop = U(end)
    while i < end:
        if quick[data[i]] == 0:
            code, step = _character(data, i)
            kind = kinds[code] if code < kinds.shape[0] else ODD
            if kind < LETTER:
                characters += 1
                i += step
                if kind == SPACE:
                    in_token = False
                    if stopped or code == fixed.NEWLINE:
                        if lettered:
                            sentences += 1
                            ordinary += 5 <= tokens - tokens_before <= 60
                        lettered = False
                        tokens_before = tokens
                    stopped = False
                else:
                    tokens += not in_token
                    in_token = True
                    stopped = code in (fixed.FULL_STOP, fixed.QUESTION, fixed.EXCLAMATION)
                    odd += kind == ODD
                continue

        # A word. Most are plain ASCII, which one table reads; others begin again, slowly.
        first = i
        h: Any = fixed.START
        smallest, largest = fixed.LOWER_A, fixed.ZERO
        p = U(first)  # an unsigned index needs no look whether it is negative
        while p < stop and quick[data[p]] != 0:
            small = U(quick[data[p]])
            h = (h ^ small) * fixed.PRIME
            smallest, largest = min(smallest, small), max(largest, small)
            p += fixed.ONE
        length = np.int64(p) - first
        i = first + length
        if i < end and data[i] >= 128:
            h, length, letters, i = _word(data, first, end, tables, tail)
            pure = letters == length
            is_medical: Any = pure and _has_ending(tail, length, fixed.TAIL - 1, length, endings)
            lettered |= letters > 0
        else:
            is_medical = smallest == fixed.LOWER_A and _has_ending(data, i, -1, length, endings)
            lettered |= bool(largest >= fixed.LOWER_A)
        h ^= h >> S32
        h *= fixed.SPREAD
        h ^= h >> S29
        characters += length
        stopped = False
        tokens += not in_token
        in_token = True

        slot = h & slots
        # `&` and no `if`: the processor cannot guess which words are known.
        while (known[slot] != fixed.ZERO) & (known[slot] != h):
            slot = (slot + fixed.ONE) & slots
        flags = np.int64(known_as[slot]) * (known[slot] == h)
        medical += (flags & MEDICAL) | is_medical
        english += (flags & ENGLISH) >> 1

        words += 1
        digest = (digest ^ h) * fixed.SPREAD
        digest ^= digest >> S32
        if words > 2:
            shingle = before * fixed.FIRST + last * fixed.SECOND + h * fixed.THIRD
            shingle ^= shingle >> S32
            shingle *= fixed.SPREAD
            shingle ^= shingle >> S29
            shingle |= fixed.ONE  # 0 marks a free place
            at = (shingle >> S32) & mask
            while (seen[at] != fixed.ZERO) & (seen[at] != shingle):
                at = (at + fixed.ONE) & mask
            if seen[at] == fixed.ZERO:
                seen[at] = shingle
                unique[distinct] = shingle
                distinct += 1
        before = last
        last = h
    if lettered:
        sentences += 1
        ordinary += 5 <= tokens - tokens_before <= 60
    state[0], state[1], state[2] = before, last, digest
    state[3], state[4] = U(words), U(distinct)
    counts[column.MEDICAL_WORDS] += medical
    counts[column.ENGLISH_WORDS] += english
    counts[column.SENTENCES] += sentences
    counts[column.ORDINARY_SENTENCES] += ordinary
    counts[column.CHARACTERS] += characters
    counts[column.ODD_SIGNS] += odd
    return tokens


@compiled
def _document(
    texts: Texts, i: int, tables: Tables, counts: Array, state: Array, found: Array
) -> None:
    """Scan title, abstract and body texts of document `i`."""
    titles, abstracts, bodies, parts = texts
    found[0][: _room(texts, i)] = fixed.ZERO
    state[:] = fixed.ZERO
    mask = U(_room(texts, i) - 1)
    _segment(titles, i, tables, counts, state, found, mask)
    counts[column.ABSTRACT_TOKENS] = _segment(abstracts, i, tables, counts, state, found, mask)
    for part in range(parts[i], parts[i + 1]):
        counts[column.BODY_TOKENS] += _segment(bodies, part, tables, counts, state, found, mask)
    counts[column.WORDS] = np.int64(state[3])
    counts[column.DISTINCT_SHINGLES] = np.int64(state[4])


@compiled
def _room(texts: Texts, i: int) -> int:
    """A power of two that leaves half of a table free, whatever words document `i` holds."""
    titles, abstracts, bodies, parts = texts
    size = titles[0][i + 1] - titles[0][i] + abstracts[0][i + 1] - abstracts[0][i]
    size += bodies[0][parts[i + 1]] - bodies[0][parts[i]]
    room = 256
    while room < size:
        room *= 2
    return room


@compiled
def measure(texts: Texts, tables: Tables) -> tuple[Array, Array, Array]:
    """Count, hash and sketch every document in one pass over its text.

    Args:
        texts: the documents.
        tables: what `elara.inspect.lexicon.tables` returns.

    Returns:
        Counts (i64, documents x 10); a hash of all words in their order (u64); the MinHash
        band keys (u32, BANDS x documents), 0 for documents of fewer than SHORTEST words.

    Source: Broder 1997, https://doi.org/10.1109/SEQUEN.1997.666900
    """
    n = texts[3].shape[0] - 1
    counts = np.zeros((n, fixed.COUNTS), dtype=np.int64)
    digests = np.empty(n, dtype=np.uint64)
    keys = np.zeros((column.BANDS, n), dtype=np.uint32)
    state = np.zeros(5, dtype=np.uint64)
    sketch = np.empty(fixed.HASHES, dtype=np.uint32)
    found = np.empty((2, 1024), dtype=np.uint64)
    for i in range(n):
        if _room(texts, i) > found.shape[1]:
            found = np.empty((2, _room(texts, i)), dtype=np.uint64)
        _document(texts, i, tables, counts[i], state, found)
        digests[i] = state[2]
        if counts[i, column.WORDS] < column.SHORTEST:
            continue
        sketch[:] = np.uint32(0xFFFFFFFF)
        for s in range(counts[i, column.DISTINCT_SHINGLES]):
            shingle = np.uint32(found[1][s] >> S32)
            for j in range(fixed.HASHES):
                value = np.uint32(np.uint32(fixed.FACTOR[j] * shingle) + fixed.SHIFT[j])
                sketch[j] = min(sketch[j], value)
        for band in range(column.BANDS):
            key = fixed.START
            for row in range(column.ROWS):
                key = (key ^ U(sketch[band * column.ROWS + row])) * fixed.SPREAD
                key ^= key >> S29
            keys[band, i] = np.uint32(key >> S32)
    return counts, digests, keys


@compiled
def shingle_sets(texts: Texts, tables: Tables, rows: Array) -> tuple[Array, Array]:
    """The distinct shingles of some documents, sorted, one document after the other.

    Args:
        texts: the documents.
        tables: what `elara.inspect.lexicon.tables` returns.
        rows: positions of those that are asked for.

    Returns:
        Where each one's shingles begin and end (i64, rows + 1), and their hashes (u64).
    """
    starts = np.zeros(rows.shape[0] + 1, dtype=np.int64)
    sets = np.empty(1024, dtype=np.uint64)
    counts = np.zeros(fixed.COUNTS, dtype=np.int64)
    state = np.zeros(5, dtype=np.uint64)
    found = np.empty((2, 1024), dtype=np.uint64)
    for k in range(rows.shape[0]):
        if _room(texts, rows[k]) > found.shape[1]:
            found = np.empty((2, _room(texts, rows[k])), dtype=np.uint64)
        _document(texts, rows[k], tables, counts, state, found)
        first, stop = starts[k], starts[k] + np.int64(state[4])
        if stop > sets.shape[0]:
            more = np.empty(2 * stop, dtype=np.uint64)
            more[:first] = sets[:first]
            sets = more
        sets[first:stop] = np.sort(found[1][: np.int64(state[4])])
        starts[k + 1] = stop
    return starts, sets[: starts[rows.shape[0]]].copy()

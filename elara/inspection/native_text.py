"""The one pass over the text, for numba: `elara.inspection.kernels` calls what is made of it.

Importing this module imports numba, so it is imported where machine code is made.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elara.inspection import compiled as fixed
from elara.inspection import measures as column
from elara.inspection.compiled import S29, S32, U, compiled
from elara.inspection.kernels import Strings, Texts
from elara.inspection.lexicon import ENGLISH, LETTERS, MEDICAL, Tables
from elara.inspection.text import ALONE, DASH, LETTER, ODD, SPACE, Array


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
        if kind < LETTER or (kind == ALONE and length > 0):
            break
        letters += kind == LETTER
        small = lower[code]
        h = (h ^ U(small)) * fixed.PRIME
        tail[length & (fixed.TAIL - 1)] = small if small < 128 else 0
        length += 1
        i += step
        if kind == ALONE:
            letters += 1
            break
    return h, length, letters, i


@compiled
def _said(sign: Any, in_token: bool, after: Any) -> Any:
    """What a sign says between two words, 0 for nothing; `after` is the byte behind it."""
    if sign >= 0:
        return sign
    if 48 <= after <= 57:
        return -sign
    # The minus behind a name, as in "HER2-": a hyphen has a letter behind it.
    letter = after >= 128 or 65 <= after <= 90 or 97 <= after <= 122
    return DASH if sign == -DASH and in_token and not letter else 0


@compiled
def _has_ending(letters: Array, at: int, ring: int, length: int, endings: Array) -> Any:
    """Whether the word of so many letters before `at` ends as medical words do."""
    node = np.int64(0)
    for back in range(1, length - 3):
        letter = np.int64(letters[(at - back) & ring] | 32) - 97
        if letter < 0 or letter > 25:
            return False
        node = np.int64(endings[LETTERS * node + letter])
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
    found: tuple[Array, Array],
    mask: Any,
) -> int:
    """Scan one string of a document, byte by byte; returns its white-space separated tokens.

    `state` carries what goes on over the strings of a document: the last two words' hashes, the
    hash of all words so far, how many words and distinct shingles there were, and a ring for
    the end of a word.
    """
    offsets, data = strings
    kinds, lower, quick, known, endings = tables
    seen, unique = found
    tail = state[5:]
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
                    sign = np.int64(lower[code]) if code < kinds.shape[0] else code
                    sign = _said(sign, in_token, np.int64(data[i]) if i < end else 0)
                    if sign:
                        digest = (digest ^ U(sign)) * fixed.SPREAD
                        digest ^= digest >> S32
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
        there = known[slot]
        while (there != fixed.ZERO) & (there ^ h > fixed.FLAGS):
            slot = (slot + fixed.ONE) & slots
            there = known[slot]
        flags = np.int64(there & fixed.FLAGS) * (there ^ h <= fixed.FLAGS)
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
    texts: Texts, i: int, tables: Tables, counts: Array, state: Array, found: tuple[Array, Array]
) -> None:
    """Scan title, abstract and body texts of document `i`."""
    titles, abstracts, bodies, parts = texts
    room = _room(texts, i)
    found[0][:room] = fixed.ZERO
    state[:5] = fixed.ZERO
    counts[:] = 0
    mask = U(room - 1)
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
def measure(
    texts: Texts,
    tables: Tables,
    factor: Array,
    shift: Array,
    counts: Array,
    digests: Array,
    keys: Array,
    seen: Array,
    unique: Array,
    state: Array,
    sketch: Array,
    halves: Array,
) -> Any:
    """Count, hash and sketch every document, see `elara.inspection.kernels.measure`."""
    n = texts[3].shape[0] - 1
    for i in range(n):
        own = counts[i * fixed.COUNTS : (i + 1) * fixed.COUNTS]
        _document(texts, i, tables, own, state, (seen, unique))
        digests[i] = state[2]
        if own[column.WORDS] < column.SHORTEST:
            continue
        distinct = own[column.DISTINCT_SHINGLES]
        for s in range(distinct):
            halves[s] = np.uint32(unique[s] >> S32)
        # Repeats fill the last step of the vectorised loop, so that no rest is left to do singly.
        filled = (distinct + 63) & ~63
        for s in range(distinct, filled):
            halves[s] = halves[0]
        for j in range(fixed.HASHES):
            a, b, least = factor[j], shift[j], np.uint32(0xFFFFFFFF)
            for s in range(filled):
                least = min(least, np.uint32(np.uint32(a * halves[s]) + b))
            sketch[j] = least
        for band in range(column.BANDS):
            key = fixed.START
            for row in range(column.ROWS):
                key = (key ^ U(sketch[band * column.ROWS + row])) * fixed.SPREAD
                key ^= key >> S29
            keys[band * n + i] = np.uint32(key >> S32)
    return n


@compiled
def shingle_sets(
    texts: Texts,
    tables: Tables,
    rows: Array,
    starts: Array,
    counts: Array,
    sets: Array,
    seen: Array,
    state: Array,
) -> Any:
    """The distinct shingles of some documents, see `elara.inspection.kernels.shingle_sets`."""
    starts[0] = 0
    for k in range(rows.shape[0]):
        _document(texts, rows[k], tables, counts, state, (seen, sets[starts[k] :]))
        starts[k + 1] = starts[k] + np.int64(state[4])
    return starts[rows.shape[0]]


@compiled
def hash_words(starts: Array, code_points: Array, hashes: Array) -> Any:
    """The 64-bit hashes of words, given as lower-cased code points."""
    for k in range(hashes.shape[0]):
        h = fixed.START
        for code in code_points[starts[k] : starts[k + 1]]:
            h = (h ^ U(code)) * fixed.PRIME
        h ^= h >> S32
        h *= fixed.SPREAD
        hashes[k] = h ^ (h >> S29)
    return hashes.shape[0]

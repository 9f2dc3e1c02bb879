"""Lay out the known words in tables for the compiled pass over the texts."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from elara.text.wordlist import SUFFIXES
from elara.text.words import (
    ENGLISH,
    FLAGS,
    LETTERS,
    MEDICAL,
    Array,
    Tables,
    characters,
    strings,
)

_FUNCTION_WORDS = """
    the of and in to was with were for is that by are from this at be which than we has have
    been or may not these had its it you your can who their more as an
"""

ENGLISH_WORDS = frozenset(_FUNCTION_WORDS.split())


def tables(vocabulary: Iterable[str]) -> Tables:
    """The tables that `elara.text.shingles` reads.

    Args:
        vocabulary: lower-cased medical words, see `elara.inspection.terms.medical_words`.

    Returns:
        Kinds and lower-case forms of characters; a hash table of known words (u64: the hash, its
        last two bits replaced by what the word is known as; 0 for a free place); the medical
        endings as a tree that is read from the last letter on (i16, per node LETTERS numbers: next
        node, -1 at the end of an ending, 0 for none).
    """
    return *characters(), _known(dict.fromkeys(vocabulary, MEDICAL)), _endings()


def _known(medical: dict[str, int]) -> Array:
    from elara.text.shingles import word_hashes

    meaning = medical | {w: ENGLISH | medical.get(w, 0) for w in ENGLISH_WORDS}
    # Small, because it is looked at for every word: it is to stay in the processor's cache.
    room = 1 << (2 * len(meaning)).bit_length()
    known = np.zeros(room, dtype=np.uint64)
    words = sorted(meaning)
    hashes, lengths = word_hashes(strings(pl.Series(words, dtype=pl.String)), *characters())
    single = lengths == 1  # in Chinese a heading's word is several
    hashes = hashes[np.repeat(single, lengths)]
    for word, hashed in zip(np.array(words)[single].tolist(), hashes.tolist(), strict=True):
        slot = hashed & (room - 1)
        while known[slot]:
            slot = (slot + 1) & (room - 1)
        known[slot] = hashed & ~FLAGS | meaning[word]
    return known


def _endings() -> Array:
    nodes = [[0] * LETTERS]
    for ending in SUFFIXES.split("|"):
        node = 0
        for letter in reversed(ending[1:]):
            column = ord(letter) - ord("a")
            if nodes[node][column] == 0:
                nodes.append([0] * LETTERS)
                nodes[node][column] = len(nodes) - 1
            node = nodes[node][column]
            if node < 0:  # a shorter ending says it already
                break
        else:
            nodes[node][ord(ending[0]) - ord("a")] = -1
    return np.array(nodes, dtype=np.int16).ravel()

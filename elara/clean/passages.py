"""Sentences and paragraphs of running text: found in one pass, taken out again by name."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elara.clean.ledger import PROTECTED
from elara.clean.triggers import buffers

FEWEST_WORDS = 5
SHORT_PARAGRAPH = 40  # characters; a shorter line is a heading or a label
SHARED_PARAGRAPH = 200  # characters; across articles only what cannot be there by chance
# A sentence ends before a capital: "S. aureus" and "vs. placebo" are not cut in two.
_BREAK = re.compile(r"((?<=[.!?])[ \t]+(?=[A-ZÀ-ÖØ-Þ])|\n)")
_PROTECTED = re.compile(
    "|".join(f"(?:{p.pattern})" for p in PROTECTED if p.kind not in ("hyphenated", "negation"))
    + "|"
    + next(p.pattern for p in PROTECTED if p.kind == "negation").replace("(?i)", "(?i:")
    + ")"
)
_LOWER = {c: c + 32 for c in range(65, 91)}
_LOWER_TABLE = np.array([_LOWER.get(c, c) for c in range(256)], np.uint8)


def sentences(text: str) -> list[str]:
    """Split running text at the ends of sentences and lines; separators stand in between."""
    return _BREAK.split(text)


def is_boilerplate(sentence: str) -> bool:
    """Whether a sentence that many articles share may go.

    A sentence with a digit, unit, comparison, gene name, negation or any other protected term is
    never boilerplate, however often it occurs: "No adverse events occurred." is a finding.
    Sentences of fewer than five words are headings or labels and stay too.

    Args:
        sentence: a sentence without blanks around it.
    """
    return (
        sentence[:1].isupper()
        and sentence[-1] in ".!?"
        and len(sentence.split()) >= FEWEST_WORDS
        and not any(c.isdigit() for c in sentence)
        and _PROTECTED.search(sentence) is None
    )


def paragraph_key(line: str) -> str:
    """What two equal paragraphs have in common: all but the case of ASCII letters."""
    return line.translate(_LOWER)


@dataclass(frozen=True)
class Found:
    """The sentences and lines of a batch that are long enough to count.

    Args:
        text: the position of the text.
        line: whether it is a line; else a sentence.
        start: first byte, in the text.
        end: the byte after the last.
        ordinal: which line of the text it is (or is in), from 0.
        characters: how long it is.
        hash: of the bytes, ASCII letters of a line in lower case.
    """

    text: npt.NDArray[np.int64]
    line: npt.NDArray[np.bool_]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    ordinal: npt.NDArray[np.int64]
    characters: npt.NDArray[np.int64]
    hash: npt.NDArray[np.uint64]


def find(values: pa.LargeStringArray, wanted: npt.NDArray[np.bool_]) -> Found:
    """Find the sentences and lines of texts.

    Args:
        values: `n` texts.
        wanted: which of them to search; `n` booleans.
    """
    data, offsets = buffers(values)
    # A counted sentence has at least ten bytes, a counted line forty.
    room = int(offsets[-1] - offsets[0]) // 10 + 1
    table = np.empty((6, room), np.int64)
    hashes = np.empty(room, np.uint64)
    used = _parts(data, offsets, wanted, _LOWER_TABLE, SHORT_PARAGRAPH, table, hashes)
    text, line, start, end, ordinal, characters = table[:, :used].copy()
    return Found(text, line > 0, start, end, ordinal, characters, hashes[:used].copy())


@numba.njit(nogil=True, cache=True)
def _parts(data, offsets, wanted, lower, short, table, hashes):  # type: ignore[no-untyped-def]
    used = 0
    basis, prime = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
    for text in range(len(offsets) - 1):
        if not wanted[text]:
            continue
        start, end = offsets[text], offsets[text + 1]
        sentence, line, ordinal = start, start, 0
        blanks, digits, characters = 0, False, 0
        sentence_hash, line_hash = basis, basis
        position = start
        while position <= end:
            byte = data[position] if position < end else np.uint8(10)
            after = position + 1
            cut = byte == 10
            if (byte == 32 or byte == 9) and position > sentence:
                last = data[position - 1]
                if last == 46 or last == 33 or last == 63:
                    while after < end and (data[after] == 32 or data[after] == 9):
                        after += 1
                    if after < end:
                        a = data[after]
                        b = data[after + 1] if after + 1 < end else np.uint8(0)
                        cut = (65 <= a <= 90) or (a == 0xC3 and 0x80 <= b <= 0x9E and b != 0x97)
                    if not cut:
                        after = position + 1
            if cut:
                if position > sentence and blanks >= 4 and not digits:
                    first, last = data[sentence], data[position - 1]
                    if ((65 <= first <= 90) or first >= 0xC3) and (
                        last == 46 or last == 33 or last == 63
                    ):
                        table[0, used], table[1, used] = text, 0
                        table[2, used], table[3, used] = sentence - start, position - start
                        table[4, used], table[5, used] = ordinal, 0
                        hashes[used] = _mix(sentence_hash)
                        used += 1
                sentence, blanks, digits, sentence_hash = after, 0, False, basis
            if byte == 10:
                if characters >= short:
                    table[0, used], table[1, used] = text, 1
                    table[2, used], table[3, used] = line - start, position - start
                    table[4, used], table[5, used] = ordinal, characters
                    hashes[used] = _mix(line_hash)
                    used += 1
                line, characters, line_hash = after, 0, basis
                ordinal += 1
            else:
                for place in range(position, after):
                    here = data[place]
                    characters += (here & 0xC0) != 0x80
                    line_hash = (line_hash ^ np.uint64(lower[here])) * prime
                if not cut:
                    sentence_hash = (sentence_hash ^ np.uint64(byte)) * prime
                    blanks += byte == 32 or byte == 9
                    digits = digits or bool(48 <= byte <= 57)
            position = after
    return used


@numba.njit(nogil=True, cache=True)
def _mix(value):  # type: ignore[no-untyped-def]
    """Spread the bits, as MurmurHash3 ends."""
    value = np.uint64(value)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


def without_lines(text: str, gone: set[int]) -> tuple[str, list[str]]:
    """Take lines out of a text.

    Args:
        text: the text.
        gone: which lines, from 0.

    Returns:
        The rest, and the lines.
    """
    lines = text.split("\n")
    kept = "\n".join(line for number, line in enumerate(lines) if number not in gone)
    return kept, [lines[number] for number in sorted(gone)]


def without_sentences(text: str, gone: set[str]) -> tuple[str, list[str]]:
    """Take sentences out of a text.

    Args:
        text: the text.
        gone: the sentences.

    Returns:
        The rest, and the sentences, as often as they stood there.
    """
    parts = sentences(text)
    return "".join(p for p in parts if p not in gone), [p for p in parts if p in gone]

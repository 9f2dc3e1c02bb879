"""Sentences and paragraphs of running text: found in one pass, taken out again by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elara.clean.ledger import PROTECTED
from elara.clean.triggers import buffers
from elara.text.sentences import sentences as whole_sentences

FEWEST_WORDS = 5
PARAGRAPH = 200  # characters; what is shorter is a heading, a label, a turn or part of a line
# A sentence may end before a capital: "S. aureus" and "vs. placebo" are not cut in two.
_BREAK = re.compile(r"((?<=[.!?])[ \t]+(?=[A-ZÀ-ÖØ-Þ])|\n)")
# Rows, items and turns say something only beside their neighbours.
_ROW_OR_ITEM = re.compile(
    r"(?m)\s\|\s|^\|| \|$|^\s*(?:[-–—•·*▪◦‣○●]\s|\(?(?:\d{1,2}|[A-Za-z]|[ivxIVX]{2,4})[.)]\s)"
)
_TURN = re.compile(r"(?m)^\s*(\[[^\]\n]{1,40}\]|[^\W\d_][\w .'’()-]{0,30}\s?:)\s")
_PROTECTED = re.compile("|".join(f"(?:{p.pattern})".replace("(?:(?i)", "(?i:") for p in PROTECTED))
_LOWER = {c: c + 32 for c in range(65, 91)}
_LOWER_TABLE = np.array([_LOWER.get(c, c) for c in range(256)], np.uint8)


def sentences(text: str) -> list[str]:
    """Split running text where sentences and lines may end; separators stand in between.

    This is what the kernel sees, millions of times: it knows no abbreviations, and takes "by Prof."
    for an end. What it finds is only counted; before any of it goes, `is_whole` asks for more.
    """
    return _BREAK.split(text)


def may_go(passage: str) -> bool:
    """Whether a sentence or paragraph that stands in several places may go at all.

    One with a digit, unit, comparison, gene name, negation or any other protected term stays,
    however often it occurs: "No adverse events occurred." is a finding. So does a question, which
    its answer needs, and a sentence of fewer than five words, which is a heading or a label.

    Args:
        passage: a sentence or a paragraph, without blanks around it.
    """
    return (
        passage[:1].isupper()
        and passage[-1] in ".!"
        and len(passage.split()) >= FEWEST_WORDS
        and "|" not in passage
        and not any(c.isdigit() for c in passage)
        and _PROTECTED.search(passage) is None
    )


def in_structure(text: bytes, start: int, end: int) -> bool:
    """Whether a passage stands in a table, a list or a dialogue, whose lines belong together.

    Args:
        text: the text, in UTF-8.
        start: the first byte of the passage.
        end: the byte after its last.
    """
    first = text.rfind(b"\n\n", 0, start) + 1
    last = text.find(b"\n\n", end)
    if _ROW_OR_ITEM.search(text[first : last if last >= 0 else len(text)].decode()):
        return True
    labels = [label.lower() for label in _TURN.findall(text.decode())]
    return len(set(labels)) < len(labels)


def is_whole(text: bytes, start: int, end: int) -> bool:
    """Whether a passage is a sentence for `elara.text.sentences`, too, and no half of one.

    Args:
        text: the text, in UTF-8.
        start: the first byte of the passage, which stands in one line.
        end: the byte after its last.
    """
    first = text.rfind(b"\n", 0, start) + 1
    last = text.find(b"\n", end)
    line = text[first : last if last >= 0 else len(text)].decode()
    after = len(text[first:end].decode())
    after += len(line[after:]) - len(line[after:].lstrip())
    borders = {0, *accumulate(map(len, whole_sentences(line)))}
    return {len(text[first:start].decode()), after} <= borders


def paragraph_key(line: str) -> str:
    """What two equal paragraphs have in common: all but the case of ASCII letters."""
    return line.translate(_LOWER)


@dataclass(frozen=True)
class Found:
    """The sentences and lines of a batch that are long enough to count.

    Args:
        text: the position of the text.
        line: whether it is a line, which is a paragraph; else a sentence.
        start: first byte, in the text.
        end: the byte after the last.
        ordinal: which line of the text it is (or is in), from 0.
        hash: of the bytes, ASCII letters of a line in lower case.
    """

    text: npt.NDArray[np.int64]
    line: npt.NDArray[np.bool_]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    ordinal: npt.NDArray[np.int64]
    hash: npt.NDArray[np.uint64]


def find(values: pa.LargeStringArray, wanted: npt.NDArray[np.bool_]) -> Found:
    """Find the sentences and lines of texts.

    Args:
        values: `n` texts.
        wanted: which of them to search; `n` booleans.
    """
    data, offsets = buffers(values)
    # A counted sentence has at least ten bytes, a counted line two hundred.
    room = int(offsets[-1] - offsets[0]) // 10 + 1
    table = np.empty((5, room), np.int64)
    hashes = np.empty(room, np.uint64)
    used = _parts(data, offsets, wanted, _LOWER_TABLE, PARAGRAPH, table, hashes)
    text, line, start, end, ordinal = table[:, :used].copy()
    return Found(text, line > 0, start, end, ordinal, hashes[:used].copy())


@numba.njit(nogil=True, cache=True)
def _parts(data, offsets, wanted, lower, short, table, hashes):  # type: ignore[no-untyped-def]
    used = 0
    basis, prime = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
    for text in range(len(offsets) - 1):
        if not wanted[text]:
            continue
        start, end = offsets[text], offsets[text + 1]
        sentence, line, ordinal = start, start, 0
        blanks, digits, characters, line_digits = 0, False, 0, False
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
                    if ((65 <= first <= 90) or first >= 0xC3) and (last == 46 or last == 33):
                        table[0, used], table[1, used] = text, 0
                        table[2, used], table[3, used] = sentence - start, position - start
                        table[4, used] = ordinal
                        hashes[used] = _mix(sentence_hash)
                        used += 1
                sentence, blanks, digits, sentence_hash = after, 0, False, basis
            if byte == 10:
                if characters >= short and not line_digits and position > line:
                    first, last = data[line], data[position - 1]
                    counted = ((65 <= first <= 90) or first >= 0xC3) and (last == 46 or last == 33)
                else:
                    counted = False
                if counted:
                    table[0, used], table[1, used] = text, 1
                    table[2, used], table[3, used] = line - start, position - start
                    table[4, used] = ordinal
                    hashes[used] = _mix(line_hash)
                    used += 1
                line, characters, line_hash, line_digits = after, 0, basis, False
                ordinal += 1
            else:
                for place in range(position, after):
                    here = data[place]
                    characters += (here & 0xC0) != 0x80
                    line_hash = (line_hash ^ np.uint64(lower[here])) * prime
                    line_digits = line_digits or bool(48 <= here <= 57)
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


def without_sentences(text: str, gone: set[int]) -> tuple[str, list[str]]:
    """Take sentences out of a text.

    Args:
        text: the text.
        gone: where they start, in bytes.

    Returns:
        The rest, and the sentences.
    """
    kept: list[str] = []
    taken: list[str] = []
    at = 0
    for part in sentences(text):
        (taken if at in gone else kept).append(part)
        at += len(part.encode())
    return "".join(kept), taken

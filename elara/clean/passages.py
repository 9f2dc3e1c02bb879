"""Find sentences and paragraphs in running text, decide whether they may go, take them out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from elara.clean.ledger import PROTECTED
from elara.clean.triggers import LOWER
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
# The same for polars: the capital is no part of the end. Then what a counted passage looks like.
_ENDS = r"([.!?])[ \t]+([A-ZÀ-ÖØ-Þ])"
_COUNTED = r"^[A-Z\x{C0}-\x{10FFFF}][^0-9]*[.!]$"


def sentences(text: str) -> list[str]:
    """Split running text where sentences and lines may end: sentence, separator, sentence, …

    This is how `find` counts, millions of times: it knows no abbreviations, and takes "by Prof."
    for an end. What it finds is only counted; before any of it goes, `is_whole` asks for more.
    """
    return _BREAK.split(text)


def span(text: str, line: bool, number: int) -> tuple[int, int]:
    """Where a line or sentence starts and ends.

    Args:
        text: the text.
        line: whether it is a line, else a sentence.
        number: which one it is, from 0.
    """
    parts = re.split("(\n)", text) if line else sentences(text)
    start = sum(map(len, parts[: 2 * number]))
    return start, start + len(parts[2 * number])


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


def in_structure(text: str, start: int, end: int) -> bool:
    """Whether a passage stands in a table, a list or a dialogue, whose lines belong together.

    Args:
        text: the text.
        start: the first character of the passage.
        end: the character after its last.
    """
    first = text.rfind("\n\n", 0, start) + 1
    last = text.find("\n\n", end)
    if _ROW_OR_ITEM.search(text[first : last if last >= 0 else len(text)]):
        return True
    labels = [label.lower() for label in _TURN.findall(text)]
    return len(set(labels)) < len(labels)


def is_whole(text: str, start: int, end: int) -> bool:
    """Whether a passage is a sentence for `elara.text.sentences`, too, and no half of one.

    Args:
        text: the text.
        start: the first character of the passage, which stands in one line.
        end: the character after its last.
    """
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", end)
    line = text[first : last if last >= 0 else len(text)]
    after = end - first
    after += len(line[after:]) - len(line[after:].lstrip())
    return {start - first, after} <= {0, *accumulate(map(len, whole_sentences(line)))}


def paragraph_key(line: str) -> str:
    """What two equal paragraphs have in common: all but the case of ASCII letters."""
    return line.translate(LOWER)


@dataclass(frozen=True)
class Found:
    """The sentences and lines of a batch that are long enough to count.

    Args:
        text: the position of the text.
        line: whether it is a line, which is a paragraph; else a sentence.
        number: which line or sentence of the text it is, from 0.
        hash: of the passage, ASCII letters of a line in lower case.
        passage: the passage.
    """

    text: npt.NDArray[np.int64]
    line: npt.NDArray[np.bool_]
    number: npt.NDArray[np.int64]
    hash: npt.NDArray[np.uint64]
    passage: pl.Series


def find(values: pa.LargeStringArray, wanted: npt.NDArray[np.bool_]) -> Found:
    """Find the sentences and lines of texts that begin and end like one and hold no digit.

    Args:
        values: `n` texts.
        wanted: which of them to search; `n` booleans.
    """
    texts = pl.DataFrame({"text": np.arange(len(values)), "passage": pl.Series(values)})
    texts = texts.filter(pl.Series(wanted))
    passage = pl.col("passage")
    blanks = passage.str.count_matches(r"[ \t]")
    lines = _counted(texts, passage).filter(passage.str.len_chars() >= PARAGRAPH)
    parts = _counted(texts, passage.str.replace_all(_ENDS, "${1}\n${2}"))
    parts = parts.filter(blanks >= FEWEST_WORDS - 1)
    keys = pl.Series("passage", map(paragraph_key, lines["passage"]), pl.String)
    both = pl.concat([lines, parts])
    return Found(
        text=both["text"].to_numpy(),
        line=np.arange(both.height) < lines.height,
        number=both["number"].to_numpy(),
        hash=pl.concat([keys, parts["passage"]]).hash().to_numpy(),
        passage=both["passage"],
    )


def _counted(texts: pl.DataFrame, split: pl.Expr) -> pl.DataFrame:
    """The lines that count, and which line of its text each is."""
    lines = texts.select("text", passage=split.str.split("\n"))
    numbers = pl.int_ranges(pl.col("passage").list.len(), dtype=pl.Int64)
    lines = lines.with_columns(number=numbers).explode("passage", "number")
    return lines.filter(pl.col("passage").str.contains(_COUNTED))


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
        gone: which sentences, from 0.

    Returns:
        The rest, and the sentences.
    """
    parts = sentences(text)
    kept = [part for place, part in enumerate(parts) if place % 2 or place // 2 not in gone]
    return "".join(kept), [parts[2 * number] for number in sorted(gone)]

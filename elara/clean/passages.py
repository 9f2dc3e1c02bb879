"""Find sentences and paragraphs in running text, decide whether they may go, take them out."""

from __future__ import annotations

import re
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from elara.clean.ledger import PROTECTED
from elara.clean.texts import TEXT, Texts
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


def _split(text: str, line: bool) -> list[str]:
    return re.split("(\n)", text) if line else sentences(text)


def span(text: str, line: bool, number: int) -> tuple[int, int]:
    """Where a line or sentence starts and ends.

    Args:
        text: the text.
        line: whether it is a line, else a sentence.
        number: which one it is, from 0.
    """
    parts = _split(text, line)
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


def find(texts: Texts, values: pa.LargeStringArray, wanted: npt.NDArray[np.bool_]) -> pl.DataFrame:
    """Find the sentences and lines of texts that begin and end like one and hold no digit.

    Args:
        texts: the texts of a batch.
        values: these texts as they stand now.
        wanted: which of them to search; `n` booleans.

    Returns:
        `text` and `article` (positions in the batch), `body` (whether it is a body text), `line`
        (a line, which is a paragraph; else a sentence), `number` (which one of the text, from 0),
        `passage`, and its `hash`, ASCII letters of a line in lower case.
    """
    places = {"text": np.arange(len(values)), "article": texts.row, "body": texts.field == TEXT}
    table = pl.DataFrame(places | {"passage": pl.Series(values)}).filter(pl.Series(wanted))
    passage = pl.col("passage")
    lines = _counted(table, passage).filter(passage.str.len_chars() >= PARAGRAPH)
    keys = pl.Series(map(paragraph_key, lines["passage"]), dtype=pl.String)
    parts = _counted(table, passage.str.replace_all(_ENDS, "${1}\n${2}"))
    parts = parts.filter(passage.str.count_matches(r"[ \t]") >= FEWEST_WORDS - 1)
    return pl.concat(
        [
            lines.with_columns(hash=keys.hash(), line=True),
            parts.with_columns(hash=parts["passage"].hash(), line=False),
        ]
    )


def _counted(texts: pl.DataFrame, split: pl.Expr) -> pl.DataFrame:
    """The lines that count, and which line of its text each is."""
    lines = texts.with_columns(passage=split.str.split("\n"))
    numbers = pl.int_ranges(pl.col("passage").list.len(), dtype=pl.Int64)
    lines = lines.with_columns(number=numbers).explode("passage", "number")
    return lines.filter(pl.col("passage").str.contains(_COUNTED))


def without(text: str, line: bool, gone: set[int]) -> tuple[str, list[str]]:
    """Take lines or sentences out of a text.

    Args:
        text: the text.
        line: whether to take lines, else sentences.
        gone: which, from 0.

    Returns:
        The rest, and what was taken.
    """
    parts = _split(text, line)
    taken = [parts[2 * number] for number in sorted(gone)]
    if line:
        return "\n".join(p for number, p in enumerate(parts[::2]) if number not in gone), taken
    kept = (part for place, part in enumerate(parts) if place % 2 or place // 2 not in gone)
    return "".join(kept), taken

"""Find the sentences and paragraphs that stand in several articles, and take them out.

Counting needs the whole collection, removing needs one batch at a time. So each pass writes the
hashes of all sentences and paragraphs to files, one per range of hashes; each file is then small
enough to group in memory. A hash has 64 bits: among 20 million sentences two share one with a
probability of about 1 in 100,000.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from elara.clean.ledger import PROTECTED
from elara.clean.parameters import check
from elara.clean.tables import TEXT, Texts
from elara.text.folding import LOWER
from elara.text.sentences import sentences

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
_PARTS = 32
_PLACE = np.dtype([("line", bool), ("hash", np.uint64), ("article", np.int64)])
_AGAIN = pl.col("line") & ~pl.struct("line", "article", "hash").is_first_distinct()

# By rule: text to the numbers of its lines, or for `boilerplate` of its sentences.
Removals = dict[str, dict[int, set[int]]]


def split(text: str, line: bool = False) -> list[str]:
    """Split running text where sentences and lines may end: sentence, separator, sentence, …

    This is how `find` counts, millions of times: it knows no abbreviations, and takes "by Prof."
    for an end. What it finds is only counted; before any of it goes, `is_whole` asks for more.

    Args:
        text: the text.
        line: whether to split it at the ends of lines only.
    """
    return re.split("(\n)", text) if line else _BREAK.split(text)


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
    return {start - first, after} <= {0, *accumulate(map(len, sentences(line)))}


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
    lines = lines.with_columns(hash=keys.hash(), line=True)
    return pl.concat([lines, parts.with_columns(hash=parts["passage"].hash(), line=False)])


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
    parts = split(text, line)
    taken = [parts[2 * number] for number in sorted(gone)]
    if line:
        return "\n".join(p for number, p in enumerate(parts[::2]) if number not in gone), taken
    kept = (part for place, part in enumerate(parts) if place % 2 or place // 2 not in gone)
    return "".join(kept), taken


@dataclass
class Repeats:
    """What stands in several articles, or twice in one.

    Args:
        several: sentences in at least as many articles as asked for, and paragraphs of bodies in
            at least two: `line`, `hash`, and `first`, the first article that holds it.
        twice: hashes of the paragraphs that an article repeats.
        verdicts: whether a passage may go at all, by its hash; learned as they are met.
    """

    several: pl.DataFrame
    twice: set[int]
    verdicts: dict[int, bool] = field(default_factory=dict)

    def work_left(self) -> bool:
        """Whether a passage may still have to go."""
        hashes = {*self.several["hash"], *self.twice}
        return any(self.verdicts.get(value, True) for value in hashes)

    def to_remove(self, texts: Texts, offset: int) -> Removals:
        """Decide which passages of a batch go.

        Args:
            texts: the texts of the batch.
            offset: the number of articles in earlier batches.
        """
        found = find(texts, texts.values, texts.prose).with_columns(again=_AGAIN)
        found = found.join(self.several, on=["line", "hash"], how="left", maintain_order="left")
        elsewhere = pl.col("body") & (pl.col("first") != pl.col("article") + offset)
        rule = (
            pl.when(~pl.col("line"))
            .then(pl.when(pl.col("first").is_not_null()).then(pl.lit("boilerplate")))
            .when(elsewhere)
            .then(pl.lit("shared_paragraphs"))
            .when("again")
            .then(pl.lit("repeated_paragraphs"))
        )
        # Sentences first: taking them leaves the numbers of lines as they are.
        rules = ("boilerplate", "repeated_paragraphs", "shared_paragraphs")
        removals: Removals = {name: {} for name in rules}
        for row in found.with_columns(rule=rule).drop_nulls("rule").iter_rows(named=True):
            if self._may_go(texts, row):
                removals[row["rule"]].setdefault(row["text"], set()).add(row["number"])
        return removals

    def learn(self, texts: Texts, values: pa.LargeStringArray, changed: list[int]) -> None:
        """Judge the paragraphs of texts that have changed, which may now be like others.

        Args:
            texts: the texts of the batch.
            values: these texts as they stand now.
            changed: which of them. Most of their paragraphs stay, and to know it saves a pass.
        """
        found = find(texts, values, np.isin(np.arange(len(values)), changed)).filter("line")
        for value, passage in found.select("hash", "passage").iter_rows():
            self.verdicts[value] = may_go(passage)

    def _may_go(self, texts: Texts, place: dict[str, Any]) -> bool:
        value = place["hash"]
        if value not in self.verdicts:
            self.verdicts[value] = may_go(place["passage"])
        if not self.verdicts[value]:
            return False
        text: str = texts.values[place["text"]].as_py()
        parts = split(text, place["line"])
        start = sum(map(len, parts[: 2 * place["number"]]))
        end = start + len(parts[2 * place["number"]])
        return not in_structure(text, start, end) and (place["line"] or is_whole(text, start, end))


class Counter:
    """Counts, on disk, in how many articles each sentence and each long paragraph stands.

    Args:
        folder: an empty folder for its files.
        repeats: in how many articles a sentence has to be found, at least 2.

    Raises:
        ParameterError: `repeats` is below 2: every sentence would be boilerplate.
    """

    def __init__(self, folder: Path, repeats: int) -> None:
        check({"boilerplate_repeats": repeats})
        self._repeats = repeats
        self._twice: set[int] = set()
        folder.mkdir()
        self._files = [(folder / f"{part}").open("w+b") for part in range(_PARTS)]

    def add(self, found: pl.DataFrame, offset: int) -> None:
        """Count what was found in a batch.

        Args:
            found: what `find` says about the prose of the batch.
            offset: the number of articles in earlier batches.
        """
        self._twice |= {*found.filter(_AGAIN)["hash"]}
        counted = found.filter(~pl.col("line") | pl.col("body"))
        article = pl.col("article") + offset
        places = counted.select("line", "hash", article=article).unique()
        for (part,), rows in places.group_by(pl.col("hash") // 2**59):
            self._files[part].write(rows.to_numpy(structured=True).astype(_PLACE).tobytes())

    def repeats(self, verdicts: dict[int, bool]) -> Repeats:
        """What stands in several articles.

        Args:
            verdicts: of earlier passes.
        """
        several = []
        least = pl.when("line").then(2).otherwise(self._repeats)
        for file in self._files:
            file.seek(0)
            places = pl.DataFrame(np.frombuffer(file.read(), _PLACE))
            file.close()
            counts = places.group_by("line", "hash").agg(first=pl.col("article").min(), n=pl.len())
            several.append(counts.filter(pl.col("n") >= least).drop("n"))
        return Repeats(pl.concat(several), self._twice, verdicts)

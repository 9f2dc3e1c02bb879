"""Count on disk which passages stand in several articles, and decide which go from a batch.

Counting needs the whole collection, removing needs one batch at a time. So each pass writes the
hashes of all sentences and paragraphs to files, one per range of hashes; each file is then small
enough to group in memory. A hash has 64 bits: among 20 million sentences two share one with a
probability of about 1 in 100,000.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from elara.clean.passages import Found, find, in_structure, is_whole, may_go, span
from elara.clean.texts import TEXT, Texts

_PARTS = 32
_PLACE = np.dtype([("hash", np.uint64), ("row", np.int64)])

# By rule: text to the numbers of its lines, or for `boilerplate` of its sentences.
Removals = dict[str, dict[int, set[int]]]


@dataclass
class Repeats:
    """What stands in several articles, or twice in one.

    Args:
        sentences: hashes of the sentences in at least as many articles as asked for, sorted.
        paragraphs: hashes of the paragraphs of bodies in at least two articles, sorted.
        keepers: for each of these, the first article that holds it.
        twice: hashes of the paragraphs that an article repeats.
        verdicts: whether a passage may go at all, by its hash; learned as they are met.
    """

    sentences: npt.NDArray[np.uint64]
    paragraphs: npt.NDArray[np.uint64]
    keepers: npt.NDArray[np.int64]
    twice: set[int]
    verdicts: dict[int, bool] = field(default_factory=dict)

    def work_left(self) -> bool:
        """Whether a passage may still have to go."""
        hashes = {*self.sentences.tolist(), *self.paragraphs.tolist(), *self.twice}
        return any(self.verdicts.get(value, True) for value in hashes)

    def to_remove(self, texts: Texts, found: Found, offset: int) -> Removals:
        """Decide which passages of a batch go.

        Args:
            texts: the texts of the batch.
            found: what `find` says about their prose.
            offset: the number of articles in earlier batches.
        """
        row = texts.row[found.text]
        lines = np.flatnonzero(found.line)
        again = lines[_later(row[lines], found.hash[lines])]
        body = found.line & (texts.field[found.text] == TEXT)
        elsewhere = np.flatnonzero(body & np.isin(found.hash, self.paragraphs))
        place = np.searchsorted(self.paragraphs, found.hash[elsewhere])
        elsewhere = elsewhere[self.keepers[place] != row[elsewhere] + offset]
        often = np.flatnonzero(~found.line & np.isin(found.hash, self.sentences))
        removals: Removals = {}
        # Sentences first: taking them leaves the numbers of lines as they are.
        for rule, places in (
            ("boilerplate", often),
            ("repeated_paragraphs", np.setdiff1d(again, elsewhere)),
            ("shared_paragraphs", elsewhere),
        ):
            gone = removals.setdefault(rule, {})
            for i in places.tolist():
                if self._may_go(texts, found, i):
                    gone.setdefault(int(found.text[i]), set()).add(int(found.number[i]))
        return removals

    def learn(self, values: pa.LargeStringArray) -> None:
        """Judge the paragraphs of texts that have changed, which may now be like others.

        Args:
            values: the texts. Most of their paragraphs stay, and to know it saves a pass.
        """
        found = find(values, np.ones(len(values), bool))
        for place in np.flatnonzero(found.line).tolist():
            self.verdicts[int(found.hash[place])] = may_go(found.passage[place])

    def _may_go(self, texts: Texts, found: Found, place: int) -> bool:
        value, line = int(found.hash[place]), bool(found.line[place])
        if value not in self.verdicts:
            self.verdicts[value] = may_go(found.passage[place])
        if not self.verdicts[value]:
            return False
        text: str = texts.values[int(found.text[place])].as_py()
        start, end = span(text, line, int(found.number[place]))
        return not in_structure(text, start, end) and (line or is_whole(text, start, end))


def _later(row: npt.NDArray[np.int64], hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which entries repeat an earlier one with the same row and hash."""
    places = pl.DataFrame({"row": row, "hash": hashes})
    return ~places.to_struct().is_first_distinct().to_numpy()


def check_repeats(repeats: int) -> None:
    """Raise ValueError if even a sentence that stands once would be called repeated."""
    if repeats < 2:
        raise ValueError(f"boilerplate_repeats is {repeats}; a sentence repeats from 2 on")


class Counter:
    """Counts, on disk, in how many articles each sentence and each long paragraph stands.

    Args:
        folder: an empty folder for its files.
        repeats: in how many articles a sentence has to be found, at least 2.

    Raises:
        ValueError: `repeats` is below 2: every sentence would be boilerplate.
    """

    def __init__(self, folder: Path, repeats: int) -> None:
        check_repeats(repeats)
        self._least = {"sentences": repeats, "lines": 2}
        self._twice: set[int] = set()
        folder.mkdir()
        names = [(kind, part) for kind in self._least for part in range(_PARTS)]
        self._files = {name: (folder / f"{name[0]}-{name[1]}").open("w+b") for name in names}

    def add(self, texts: Texts, found: Found, offset: int) -> None:
        """Count what was found in a batch.

        Args:
            texts: the texts of the batch.
            found: what `find` says about their prose.
            offset: the number of articles in earlier batches.
        """
        row = texts.row[found.text]
        line = found.line
        self._twice |= {*found.hash[line][_later(row[line], found.hash[line])].tolist()}
        body = line & (texts.field[found.text] == TEXT)
        for kind, chosen in (("sentences", ~line), ("lines", body)):
            table = pl.DataFrame({"hash": found.hash[chosen], "row": row[chosen] + offset})
            places = table.unique().sort("hash", "row").to_numpy(structured=True)
            cuts = np.searchsorted(places["hash"] >> np.uint64(59), np.arange(_PARTS + 1))
            for part in range(_PARTS):
                self._files[kind, part].write(places[cuts[part] : cuts[part + 1]].tobytes())

    def repeats(self, verdicts: dict[int, bool]) -> Repeats:
        """What stands in several articles.

        Args:
            verdicts: of earlier passes.
        """
        found: dict[str, list[npt.NDArray[Any]]] = {kind: [] for kind in self._least}
        for (kind, _), file in self._files.items():
            file.seek(0)
            places = np.frombuffer(file.read(), _PLACE)
            file.close()
            # The first of equal hashes is of the first article: files grow article by article.
            _, first, counts = np.unique(places["hash"], return_index=True, return_counts=True)
            found[kind].append(places[first[counts >= self._least[kind]]])
        sentences, lines = (np.concatenate(places) for places in found.values())
        return Repeats(sentences["hash"], lines["hash"], lines["row"], self._twice, verdicts)

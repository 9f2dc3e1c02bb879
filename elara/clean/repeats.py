"""What stands in several articles: counted on disk, then removed batch by batch.

Counting needs the whole collection, removing needs one batch at a time. So a first pass writes the
hashes of all sentences and paragraphs to files, one per range of hashes; each file is then small
enough to sort in memory. A hash has 64 bits: among 20 million sentences two share one with a
probability of about 1 in 100,000.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elara.clean.fields import TEXT, Texts
from elara.clean.passages import Found, find, in_structure, is_whole, may_go

_PARTS = 32
_PLACE = np.dtype([("hash", np.uint64), ("row", np.int64)])


@dataclass
class Shared:
    """What stands in several articles, or twice in one.

    Args:
        sentences: hashes of the sentences in at least as many articles as asked for, sorted.
        paragraphs: hashes of the paragraphs of bodies in at least two articles, sorted.
        keepers: for each of these, the first article that holds it.
        repeated: hashes of the paragraphs that an article repeats.
        verdicts: whether a passage may go at all, by its hash; learned as they are met.
    """

    sentences: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    paragraphs: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    keepers: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    repeated: set[int] = field(default_factory=set)
    verdicts: dict[int, bool] = field(default_factory=dict)

    def work_left(self) -> bool:
        """Whether a passage may still have to go."""
        hashes = {*self.sentences.tolist(), *self.paragraphs.tolist(), *self.repeated}
        return any(self.verdicts.get(value, True) for value in hashes)

    def to_remove(self, texts: Texts, found: Found, offset: int) -> Removals:
        """Decide which passages of a batch go.

        Args:
            texts: the texts of the batch.
            found: what `find` says about their prose.
            offset: the number of articles in earlier batches.
        """
        line = found.line
        row = texts.row[found.text]
        again = np.flatnonzero(line)
        again = again[_later(row[again], found.hash[again])]
        body = line & (texts.field[found.text] == TEXT)
        elsewhere = np.flatnonzero(body & _in(found.hash, self.paragraphs))
        place = np.searchsorted(self.paragraphs, found.hash[elsewhere])
        elsewhere = elsewhere[self.keepers[place] != row[elsewhere] + offset]
        sentence = np.flatnonzero(~found.line & _in(found.hash, self.sentences))
        result = Removals()
        for gone, places, number in (
            (result.boilerplate, sentence, found.start),
            (result.repeated, np.setdiff1d(again, elsewhere), found.ordinal),
            (result.shared, elsewhere, found.ordinal),
        ):
            for i in places.tolist():
                if self._may_go(texts, found, i):
                    gone.setdefault(int(found.text[i]), set()).add(int(number[i]))
        return result

    def learn(self, values: pa.LargeStringArray) -> None:
        """Judge the paragraphs of texts that have changed, which may now be like others.

        Args:
            values: the texts. Most of their paragraphs stay, and to know it spares a round.
        """
        found = find(values, np.ones(len(values), bool))
        for place in np.flatnonzero(found.line).tolist():
            text = values[int(found.text[place])].as_py().encode()
            words = text[int(found.start[place]) : int(found.end[place])].decode()
            self.verdicts[int(found.hash[place])] = may_go(words)

    def _may_go(self, texts: Texts, found: Found, place: int) -> bool:
        value = int(found.hash[place])
        if not self.verdicts.get(value, True):
            return False
        text = texts.values[int(found.text[place])].as_py().encode()
        start, end = int(found.start[place]), int(found.end[place])
        if value not in self.verdicts:
            self.verdicts[value] = may_go(text[start:end].decode())
        if not self.verdicts[value] or in_structure(text, start, end):
            return False
        return bool(found.line[place]) or is_whole(text, start, end)


@dataclass
class Removals:
    """What is to go from a batch: text to numbers of lines, or to where sentences start."""

    repeated: dict[int, set[int]] = field(default_factory=dict)
    shared: dict[int, set[int]] = field(default_factory=dict)
    boilerplate: dict[int, set[int]] = field(default_factory=dict)


def _in(hashes: npt.NDArray[np.uint64], known: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    if not len(known):
        return np.zeros(len(hashes), bool)
    place = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    same: npt.NDArray[np.bool_] = known[place] == hashes
    return same


def _later(row: npt.NDArray[np.int64], hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Which entries repeat an earlier one with the same row and hash."""
    order = np.lexsort((hashes, row))
    same = (row[order][1:] == row[order][:-1]) & (hashes[order][1:] == hashes[order][:-1])
    return np.sort(order[1:][same])


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
        self.repeats = repeats
        self._repeated: set[int] = set()
        folder.mkdir()
        names = [(kind, part) for kind in ("sentences", "lines") for part in range(_PARTS)]
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
        again = found.hash[line][_later(row[line], found.hash[line])]
        self._repeated |= set(again.tolist())
        body = line & (texts.field[found.text] == TEXT)
        for kind, chosen in (("sentences", ~line), ("lines", body)):
            places = np.empty(int(chosen.sum()), _PLACE)
            places["hash"], places["row"] = found.hash[chosen], row[chosen] + offset
            order = np.lexsort((places["row"], places["hash"]))
            places = places[order]
            new = np.ones(len(places), bool)
            new[1:] = places[1:] != places[:-1]
            places = places[new]
            cuts = np.searchsorted(places["hash"] >> np.uint64(59), np.arange(_PARTS + 1))
            for part in range(_PARTS):
                chunk = places[cuts[part] : cuts[part + 1]]
                self._files[kind, part].write(
                    (chunk["hash"] if kind == "sentences" else chunk).tobytes()
                )

    def shared(self, verdicts: dict[int, bool]) -> Shared:
        """What stands in several articles, and whether nothing does.

        Args:
            verdicts: of earlier rounds.
        """
        often, twice, keepers = [], [], []
        for (kind, _), file in self._files.items():
            file.seek(0)
            if kind == "sentences":
                values, counts = np.unique(
                    np.frombuffer(file.read(), np.uint64), return_counts=True
                )
                often.append(values[counts >= self.repeats])
            else:
                places = np.sort(np.frombuffer(file.read(), _PLACE), order=["hash", "row"])
                values, first, counts = np.unique(
                    places["hash"], return_index=True, return_counts=True
                )
                twice.append(values[counts > 1])
                keepers.append(places["row"][first[counts > 1]])
            file.close()
        return Shared(
            np.concatenate(often),
            np.concatenate(twice),
            np.concatenate(keepers),
            self._repeated,
            verdicts,
        )

"""Tell which rules may apply to a text, by searching it once for short strings.

Each rule lists its triggers: strings of which a text holds at least one if the rule has anything to
do there. Most texts hold none, so one Aho–Corasick search (polars) saves nearly all the regular
expressions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

# Characters that stand for the two ends of a text inside a trigger; Unicode reserves both.
START, END = "\ufffe", "\uffff"
# Before a trigger that must stand in the text as it is written, with its capitals and digits.
AS_WRITTEN = "\ufdd0"
LOWER = {c: c + 32 for c in range(65, 91)}  # ASCII letters, for `str.translate`
_FOLD = {**LOWER, **dict.fromkeys(range(48, 58), 48)}
_MOST_BLOCKS = 64


def fold(text: str) -> str:
    """Text as triggers see it: ASCII letters in lower case, every ASCII digit a 0."""
    return text.translate(_FOLD)


def touches(triggers: Sequence[str], text: str) -> bool:
    """Whether a text holds one of the triggers.

    Args:
        triggers: folded strings, and others after `AS_WRITTEN`; with none, every text is touched.
        text: any text.
    """
    folded = fold(f"{START}{text}{END}")
    return not triggers or any(
        t[1:] in text if t[0] == AS_WRITTEN else t in folded for t in triggers
    )


def translate(texts: pa.LargeStringArray, table: Mapping[int, int]) -> pl.Series:
    """Replace ASCII characters in many texts at once.

    Args:
        texts: `n` texts, none of them null.
        table: ASCII characters and what replaces them, as for `str.translate`.
    """
    if not len(texts):
        return pl.Series(dtype=pl.String)
    _, places, data = texts.buffers()
    offsets = np.frombuffer(places, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    signs = bytes(table.get(sign, sign) for sign in range(256))
    folded = data[offsets[0] : offsets[-1]].to_pybytes().translate(signs) if data else b""
    starts = pa.py_buffer(offsets - offsets[0])
    array = pa.LargeStringArray.from_buffers(len(texts), starts, pa.py_buffer(folded))
    return pl.Series(pl.from_arrow(array))


class Triggers:
    """The triggers of many blocks, searched for together.

    Args:
        blocks: the triggers of each block, at most 64 blocks. A block without triggers is found
            in every text.

    Raises:
        ValueError: too many blocks.
    """

    def __init__(self, blocks: Sequence[Sequence[str]]) -> None:
        if len(blocks) > _MOST_BLOCKS:
            raise ValueError(f"{len(blocks)} blocks of triggers; one search finds {_MOST_BLOCKS}")
        self._always = np.uint64(sum(1 << n for n, triggers in enumerate(blocks) if not triggers))
        self._folded: dict[str, int] = {}
        self._written: dict[str, int] = {}
        for number, triggers in enumerate(blocks):
            for trigger in triggers:
                written = trigger[0] == AS_WRITTEN
                masks, string = (self._written, trigger[1:]) if written else (self._folded, trigger)
                masks[string] = masks.get(string, 0) | 1 << number

    def find(self, texts: pa.LargeStringArray) -> npt.NDArray[np.uint64]:
        """For each text a number whose bit `k` says whether a trigger of block `k` occurs.

        Args:
            texts: `n` texts, none of them null.
        """
        found = np.full(len(texts), self._always)
        folded = START + translate(texts, _FOLD) + END
        for values, masks in ((folded, self._folded), (pl.Series(texts), self._written)):
            if not masks:
                continue
            hits = values.str.extract_many([*masks], overlapping=True).to_arrow()
            rows = np.repeat(np.arange(len(texts)), pc.list_value_length(hits).to_numpy())
            bits = [masks[hit] for hit in hits.flatten().to_pylist()]
            np.bitwise_or.at(found, rows, np.array(bits, np.uint64))
        return found

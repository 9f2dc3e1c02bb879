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
LOWER = {c: c + 32 for c in range(65, 91)}  # ASCII letters, for `str.translate`
_FOLD = {**LOWER, **dict.fromkeys(range(48, 58), 48)}
_MOST_BLOCKS = 64


def fold(text: str) -> str:
    """Text as triggers see it: ASCII letters in lower case, every ASCII digit a 0."""
    return text.translate(_FOLD)


def touches(triggers: Sequence[str], text: str) -> bool:
    """Whether a text holds one of the triggers.

    Args:
        triggers: folded strings; with none, every text is touched.
        text: any text.
    """
    folded = fold(f"{START}{text}{END}")
    return not triggers or any(trigger in folded for trigger in triggers)


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
        self._masks: dict[str, int] = {}
        for number, triggers in enumerate(blocks):
            for trigger in triggers:
                self._masks[trigger] = self._masks.get(trigger, 0) | 1 << number

    def find(self, texts: pa.LargeStringArray) -> npt.NDArray[np.uint64]:
        """For each text a number whose bit `k` says whether a trigger of block `k` occurs.

        Args:
            texts: `n` texts, none of them null.
        """
        found = np.full(len(texts), self._always)
        if self._masks:
            folded = START + translate(texts, _FOLD) + END
            hits = folded.str.extract_many([*self._masks], overlapping=True).to_arrow()
            rows = np.repeat(np.arange(len(texts)), pc.list_value_length(hits).to_numpy())
            bits = [self._masks[hit] for hit in hits.flatten().to_pylist()]
            np.bitwise_or.at(found, rows, np.array(bits, np.uint64))
        return found

"""Look up columns and rows of a collection that lies on disk in parts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from elara.display.progress import track
from elara.inspection.cluster import Nodes
from elara.inspection.differences import differences
from elara.inspection.evidence import Kind
from elara.inspection.measures import similarities
from elara.inspection.parts import Part, measure_part, rows_at, sets_of, texts_at
from elara.machine import memory
from elara.machine.cores import usable_cores
from elara.text.words import Array

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = usable_cores()


class Threads:
    """A few threads of this process. The kernels, the parser and polars let go of the GIL.

    Args:
        pool: of `THREADS` threads.
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def each(
        self, function: Callable[[Item], Result], items: Iterable[Item], label: str
    ) -> Iterator[Result]:
        """Apply a function to all items, few of them at once; results come in their order."""
        waiting: deque[Future[Result]] = deque()
        for item in track(items, label=label):
            waiting.append(self._pool.submit(function, item))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


# Where the parts are worked on: the threads of one machine, or the nodes of a cluster.
Workers = Threads | Nodes


@dataclass(frozen=True)
class Collection:
    """The measured parts of a collection, in order; a row is a place in all of it.

    Args:
        workers: who reads the parts.
        parts: at least one.
        lexicon: the tables of `elara.inspection.lexicon`, saved by numpy.
    """

    workers: Workers
    parts: list[Part]
    lexicon: Path

    def measured(self, by_citation: bool) -> pl.DataFrame:
        """Measure all parts; one narrow row per article, see `elara.inspection.parts`."""
        give_back()
        work = partial(measure_part, lexicon=self.lexicon, by_citation=by_citation)
        return pl.concat(self.workers.each(work, self.parts, "measure parts"))

    def column(self, kind: str, number: int, dtype: type) -> Array:
        """One number per article, see `elara.inspection.parts.Part.row`."""
        found: Array = np.empty(self.parts[-1].first + self.parts[-1].rows, dtype=dtype)
        for part in self.parts:
            found[part.first : part.first + part.rows] = part.row(kind, number, dtype)
        return found

    def similar(self, left: Array, right: Array, words: Array) -> Array:
        """The exact Jaccard similarities of pairs of rows, see `similarities`."""

        def sets(rows: Array) -> tuple[Array, Array]:
            found = self._each(partial(sets_of, lexicon=self.lexicon), rows, "compare texts")
            lengths = np.concatenate([np.diff(starts) for starts, _ in found])
            return np.concatenate([[0], np.cumsum(lengths)]), np.concatenate([s for _, s in found])

        return similarities(left, right, words, sets)

    def differ(self, left: Array, right: Array) -> list[str]:
        """What keeps texts from standing for others, see `differences`."""

        def texts(rows: Array) -> list[str]:
            return [text for found in self._each(texts_at, rows, "compare words") for text in found]

        return differences(left, right, texts)

    def rows(self, kind: Kind, rows: Array) -> pl.DataFrame:
        """What `Part.read` gives of rows, which come in ascending order."""
        return pl.concat(self._each(partial(rows_at, kind=kind), rows, "compare citations"))

    def _each(
        self, function: Callable[[tuple[Part, Array]], Result], rows: Array, label: str
    ) -> list[Result]:
        """Apply a function to each part with the rows that lie in it."""
        memory.give_back()
        ends = np.array([part.first + part.rows for part in self.parts])
        split = np.split(rows, np.searchsorted(rows, ends[:-1]))
        jobs = [(p, some) for p, some in zip(self.parts, split, strict=True) if len(some)]
        return list(self.workers.each(function, jobs or [(self.parts[0], rows)], label))


def give_back() -> None:
    """Return memory that is free to the system: a pass needs other pieces than the one before."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    memory.give_back()

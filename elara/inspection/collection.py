"""Lay down a collection in parts on disk, and look up columns and rows of it.

It makes no difference to what comes out whether threads or the nodes of a cluster do the work.
"""

from __future__ import annotations

import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from elara.display.progress import track
from elara.inspection.bibliographic import Kind, block_keys
from elara.inspection.citation import citations
from elara.inspection.differences import differences, plain_texts
from elara.inspection.features import TEXT_COLUMNS, judge, measure, texts_of
from elara.inspection.matching import identities, narrow
from elara.inspection.pairs import similarities
from elara.inspection.reading import Notes, Piece, read
from elara.machine.cores import usable_cores
from elara.machine.memory import give_back
from elara.text.words import BANDS, Array, Tables

Result = TypeVar("Result")

THREADS = usable_cores()
_COLUMNS = {"abstracts": ["id", "abstract"], "texts": [*TEXT_COLUMNS], "scores": ["id", "source"]}
# NumPy reads a file's header with Python's parser, which two threads may not use at once in some
# releases of Python 3.11: https://github.com/python/cpython/issues/106905
_READING_HEADERS = threading.Lock()


@dataclass(frozen=True)
class Part:
    """Some consecutive articles, laid down so that they can be mapped into memory.

    Args:
        path: the articles, uncompressed Arrow; beside them lie their features and keys.
        first: row of the first one in the collection.
        rows: how many there are.
    """

    path: Path
    first: int
    rows: int

    def read(self, kind: Kind) -> pl.DataFrame:
        """One row per article, mapped and not read: only what is used comes into memory.

        Args:
            kind: `articles`; of their columns `abstracts` or `texts`; of a measured part
                `citations`, `scores` (what `score` adds, with `id` and `source`), and `scored` (the
                articles with what it adds).
        """
        if kind == "citations":
            return pl.read_ipc(self.path.with_suffix(".citations"))
        found = pl.read_ipc(self.path, columns=_COLUMNS.get(kind))
        if kind in ("scores", "scored"):
            features = pl.read_ipc(self.path.with_suffix(".features"))
            found = pl.concat([found, features], how="horizontal")
        return found

    def some(self, rows: Array, kind: Kind) -> pl.DataFrame:
        """What `read` gives of rows of the collection that lie in the part, ascending (i64)."""
        return self.read(kind)[rows - self.first]

    def row(self, kind: str, number: int) -> Array:
        """One number per article, of those that `measure_part` laid down.

        Args:
            kind: `keys` (MinHash bands, u32), `hashes` (of what makes articles identical, u64) or
                `blocks` (of what citations have in common, u32).
            number: which of them.
        """
        with _READING_HEADERS:
            found: Array = np.load(self.path.with_suffix(f".{kind}.npy"), mmap_mode="r")[number]
        return found

    def lexicon(self) -> Tables:
        """The tables of `elara.inspection.lexicon`, which lie beside the parts."""
        path = self.path.with_name("lexicon.npz")
        return _tables(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _tables(path: Path, changed: int) -> Tables:
    with np.load(path) as found:
        return tuple(found.values())


def store(piece: Piece, base: Path) -> tuple[list[tuple[Path, int]], frozenset[str], Notes]:
    """Parse a piece of the input and lay it down as one part or more.

    Args:
        piece: from `elara.inspection.reading.pieces`.
        base: where the parts are to lie: this path with a number appended.

    Returns:
        Path and number of rows of each part, the subject headings that occur, and what is left
        out.
    """
    stored: list[tuple[Path, int]] = []
    headings: frozenset[str] = frozenset()
    notes = Notes()
    for number, articles in enumerate(read(piece, notes)):
        if articles.height:
            path = base.with_name(f"{base.name}-{number:04d}.arrow")
            articles.write_ipc(path)
            stored.append((path, articles.height))
            headings |= frozenset(articles["mesh"].explode().drop_nulls().unique())
    return stored, headings, notes


def measure_part(part: Part, by_citation: bool) -> pl.DataFrame:
    """Measure a part; its features, keys and citations go to disk.

    Args:
        part: from `store`.
        by_citation: whether citations are to be compared.

    Returns:
        One narrow row per article: what `narrow` gives.
    """
    articles = part.read("articles")
    measures = measure(articles, part.lexicon())
    assert measures.keys.shape == (BANDS, part.rows)
    np.save(part.path.with_suffix(".keys"), measures.keys)
    np.save(part.path.with_suffix(".hashes"), identities(articles, measures))
    judged = judge(articles, measures.counts)
    judged.write_ipc(part.path.with_suffix(".features"))
    if by_citation:
        cited = citations(articles)
        cited.write_ipc(part.path.with_suffix(".citations"))
        np.save(part.path.with_suffix(".blocks"), block_keys(cited, articles))
    # Copies: columns as they are would hold the whole mapped part in memory.
    copies = (pl.Series(c, articles[c].to_list()) for c in ("id", "retracted", "redistributable"))
    scored = pl.concat([articles.with_columns(copies), judged], how="horizontal")
    return narrow(scored, measures)


def sets_of(part: Part, rows: Array) -> tuple[Array, Array]:
    """The shingles of rows that lie in a part, as `elara.text.shingles.shingle_sets` gives them."""
    from elara.text.shingles import shingle_sets

    starts, shingles = shingle_sets(texts_of(part.some(rows, "texts")), part.lexicon())
    return starts, shingles


def texts_at(part: Part, rows: Array) -> list[str]:
    """The texts of rows that lie in a part."""
    return plain_texts(part.some(rows, "texts"))


class Threads(ThreadPoolExecutor):
    """A few threads of this process. The kernels, the parser and polars let go of the GIL."""

    def each(
        self, function: Callable[..., Result], items: Iterable[tuple[Any, ...]], label: str
    ) -> Iterator[Result]:
        """Call a function with all items, few of them at once; results come in their order."""
        waiting: deque[Future[Result]] = deque()
        for item in track(items, label=label):
            waiting.append(self.submit(function, *item))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Nodes:
    """The nodes of a Ray cluster; Daft decides which of them does what.

    It needs the packages of the group `cluster` where it is called, Elara on every node, and files
    and workspace on storage that all nodes see under one path.

    Args:
        address: of the cluster's head, e.g. `ray://head:10001` or `auto`.

    Source: Daft on Ray, https://docs.daft.ai/en/stable/distributed/ray/
    """

    def __init__(self, address: str) -> None:
        import daft

        daft.set_runner_ray(address, noop_if_initialized=True)

    def each(
        self, function: Callable[..., Result], items: Iterable[tuple[Any, ...]], label: str
    ) -> Iterator[Result]:
        """Call a function with all items on the nodes; results come in the order of the items."""
        import daft

        tasks = [pickle.dumps((function, item)) for item in items]
        numbered = daft.from_pydict({"number": list(range(len(tasks))), "task": tasks})
        work = daft.func(_call, return_dtype=daft.DataType.binary())
        spread = numbered.into_partitions(len(tasks))
        done = spread.select("number", work(daft.col("task")).alias("done")).to_pydict()
        for _, result in sorted(zip(done["number"], done["done"], strict=True)):
            found = pickle.loads(result)
            if isinstance(found, Exception):
                raise found
            yield found


def _call(task: bytes) -> bytes:
    """On a node: do one task. An exception is a result too, so that its message arrives whole."""
    function, item = pickle.loads(task)
    try:
        return pickle.dumps(function(*item))
    except (ValueError, OSError) as error:
        return pickle.dumps(error)


# Where the parts are worked on: the threads of one machine, or the nodes of a cluster.
Workers = Threads | Nodes


@dataclass(frozen=True)
class Collection:
    """The measured parts of a collection, in order; a row is a place in all of it.

    Args:
        workers: who reads the parts.
        parts: at least one.
    """

    workers: Workers
    parts: list[Part]

    def measured(self, by_citation: bool) -> pl.DataFrame:
        """Measure all parts; one narrow row per article."""
        give_back()
        jobs = [(part, by_citation) for part in self.parts]
        return pl.concat(self.workers.each(measure_part, jobs, "measure parts"), rechunk=True)

    def judged(self) -> pl.DataFrame:
        """What a report needs of each article, and matching does not."""
        give_back()
        wanted = (
            pl.col("source").cast(pl.Categorical),
            pl.col("bucket").cast(pl.Enum(["high", "medium", "low"])),
            "flags",
        )
        return pl.concat([part.read("scores").select(wanted) for part in self.parts], rechunk=True)

    def column(self, kind: str, number: int) -> Array:
        """One number per article, see `Part.row`."""
        return np.concatenate([part.row(kind, number) for part in self.parts])

    def similar(self, left: Array, right: Array, words: Array) -> Array:
        """The exact Jaccard similarities of pairs of rows, see `similarities`."""

        def sets(rows: Array) -> tuple[Array, Array]:
            found = self._each(sets_of, rows, "compare texts")
            lengths = np.concatenate([np.diff(starts) for starts, _ in found])
            return np.concatenate([[0], np.cumsum(lengths)]), np.concatenate([s for _, s in found])

        return similarities(left, right, words, sets)

    def differ(self, left: Array, right: Array) -> list[str]:
        """What keeps texts from standing for others, see `differences`."""

        def texts(rows: Array) -> list[str]:
            return [*chain.from_iterable(self._each(texts_at, rows, "compare words"))]

        return differences(left, right, texts)

    def rows(self, kind: Kind, rows: Array) -> pl.DataFrame:
        """What `Part.read` gives of rows, which come in ascending order."""
        return pl.concat(self._each(Part.some, rows, "compare citations", kind))

    def _each(
        self, function: Callable[..., Result], rows: Array, label: str, *more: Any
    ) -> list[Result]:
        """Call a function with each part and the rows that lie in it."""
        give_back()
        ends = np.array([part.first + part.rows for part in self.parts])
        split = np.split(rows, np.searchsorted(rows, ends[:-1]))
        jobs = [(p, some, *more) for p, some in zip(self.parts, split, strict=True) if len(some)]
        return list(self.workers.each(function, jobs or [(self.parts[0], rows, *more)], label))

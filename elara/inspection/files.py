"""Inspect a collection that is larger than memory: three passes over its files, part by part.

1. Read: every part is parsed once and laid down as Arrow, uncompressed, so that the later passes
   can map it into memory; the medical words of the collection's headings are gathered.
2. Measure: the compiled pass over each text. Features and MinHash keys go to disk, one narrow row
   per article stays in memory. Matching reads one band of keys at a time, and of the texts only
   those that were proposed as pairs.
3. Write: the parts again, without what was removed, into one Parquet file.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import polars as pl

from elara.display.progress import track
from elara.inspection.differences import differences
from elara.inspection.duplicates import check_threshold
from elara.inspection.features import MEDIUM
from elara.inspection.foreign import Notes
from elara.inspection.lexicon import tables
from elara.inspection.matching import match
from elara.inspection.measures import similarities
from elara.inspection.parts import (
    Part,
    measure_part,
    save_lexicon,
    selected,
    sets_of,
    store,
    texts_at,
)
from elara.inspection.reading import InputError, Piece, name_repeats, pieces
from elara.inspection.report import report, report_html
from elara.inspection.selection import Selection, removals, repeated_ids, reviewed
from elara.inspection.terms import medical_words
from elara.machine import memory
from elara.machine.cores import usable_cores
from elara.text.words import Array
from elara.workspace.formats import write_file

Item = TypeVar("Item")
Result = TypeVar("Result")
Origins = list[tuple[int, Piece]]  # the first row of each piece of the input

_DRAFT = ".inspecting"
_TABLES = ("removed.parquet", "review.parquet", "skipped.parquet")
_OUTPUTS = (*_TABLES, "report.html", "report.json")
_NAMED = 50  # fields that are not read and are named
THREADS = usable_cores()


def inspect_files(
    paths: Path | Iterable[Path],
    into: Path,
    *,
    minimum: float = MEDIUM,
    threshold: float = 0.8,
    keep_non_english: bool = False,
) -> dict[str, Any]:
    """Score, match and select the articles of many files, in bounded memory.

    It does what `score`, `near_duplicates` and `select` do, in this order, and leaves the same
    tables. While it works it needs free disk space of about the size of the input.

    Args:
        paths: `.jsonl` or `.parquet` files with the fields of `Article`, one such file, or a
            folder of `.jsonl` files. Fields that a record does not have are empty. JSON Lines that
            others wrote are read as they are: a number is taken as text where text is expected, a
            single author as a list of one, `AbstractText` as the abstract, parts with headings as
            its lines; a record without `id` gets one from its place.
        into: folder for `articles.parquet` (kept), `removed.parquet`, `review.parquet` (nearly
            the same as another, and kept), `skipped.parquet` (the lines that cannot be records,
            and the records whose id an earlier one has, with `file`, `line` and `reason`),
            `report.json` and `report.html`. They appear there when all of them are finished.
        minimum: smallest quality that is kept, in [0, 1].
        threshold: smallest Jaccard similarity of a near duplicate, in (0, 1].
        keep_non_english: whether records in other languages stay.

    Returns:
        The report, see `elara.inspection.report.report`, and `input`: how many lines were skipped,
        and of the fields that no `Article` has how many records hold something there.

    Raises:
        InputError: a file cannot be read, or none holds an article; the message says which.
        ValueError: a limit is out of range.
        OSError: the disk is full or the folder cannot be written. Whatever failed, what an
            earlier run left in `into` is untouched.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        warm = pool.submit(tables, ())  # loads the kernels; the first time it compiles them
        limits = Limits(minimum, threshold, keep_non_english)
        found = inspect_parts(paths, into, limits, Threads(pool))
        warm.result()
    return found


@dataclass(frozen=True)
class Limits:
    """What decides about a record, see `inspect_files`."""

    minimum: float = MEDIUM
    threshold: float = 0.8
    keep_non_english: bool = False


class Workers(Protocol):
    """Where the parts are worked on: the one thing in which the two drivers differ."""

    def each(
        self, function: Callable[[Item], Result], items: Iterable[Item], label: str
    ) -> Iterator[Result]:
        """Apply a function to all items; results come in the order of the items."""

    def write(self, parts: list[Part], kept: Array, folder: Path) -> str:
        """Write the articles that are kept into a folder; returns the name of what was written."""


class Threads:
    """A few threads of this process. The kernels, the parser and polars let go of the GIL."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def each(
        self, function: Callable[[Item], Result], items: Iterable[Item], label: str
    ) -> Iterator[Result]:
        waiting: deque[Future[Result]] = deque()  # few items are under way at once
        for item in track(items, label=label):
            waiting.append(self._pool.submit(function, item))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def write(self, parts: list[Part], kept: Array, folder: Path) -> str:
        """One Parquet file; polars compresses on all cores while parts come in."""
        from polars.io.plugins import register_io_source

        def frames(*_: object) -> Iterator[pl.DataFrame]:
            for part in track(parts, label="write parts"):
                yield selected(part, kept[part.first : part.first + part.rows])

        schema = selected(parts[0], np.zeros(parts[0].rows, dtype=bool)).schema
        lazy = register_io_source(frames, schema=schema)
        path = folder / "articles.parquet"
        lazy.sink_parquet(path, compression="snappy", statistics=False, row_group_size=8192)
        return path.name


def inspect_parts(
    paths: Path | Iterable[Path], into: Path, limits: Limits, workers: Workers
) -> dict[str, Any]:
    """What `inspect_files` does, with the work on parts done by whoever is given."""
    check_threshold(limits.threshold)
    if isinstance(paths, Path):
        files = [paths] if paths.is_file() else sorted(paths.glob("*.jsonl"))
    else:
        files = list(paths)
    draft = into / _DRAFT
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was interrupted
    draft.mkdir(parents=True)
    try:
        parts, lexicon, notes, origins = _read(workers, files, draft)
        measured = workers.each(partial(measure_part, lexicon=lexicon), parts, "measure parts")
        records = pl.concat(measured)
        again = repeated_ids(records["id"])
        _name_repeats(records["id"].gather(again), again, origins, notes)
        kept, selection, found = _decide(workers, parts, lexicon, limits, records, again)
        _give_back()
        articles = workers.write(parts, kept, draft)
        write_file(draft / "removed.parquet", selection.removed)
        write_file(draft / "review.parquet", selection.review)
        write_file(draft / "skipped.parquet", skipped := notes.table())
        unknown = dict(sorted(notes.unknown.items(), key=lambda n: (-n[1], n[0]))[:_NAMED])
        found["input"] = {"lines_skipped": skipped.height, "fields_not_read": unknown}
        write_file(draft / "report.html", report_html(found, {}))
        write_file(draft / "report.json", found)
        for name in (articles, *_OUTPUTS):
            if (into / name).is_dir():
                shutil.rmtree(into / name)
            (draft / name).replace(into / name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return found


def _read(
    workers: Workers, files: list[Path], draft: Path
) -> tuple[list[Part], Path, Notes, Origins]:
    """Lay down the parts, and beside them the lexicon."""
    origins: Origins = []
    every = list(pieces(files))
    jobs = ((p, draft / f"{number:06d}") for number, p in enumerate(every))
    parts: list[Part] = []
    headings: set[str] = set()
    notes = Notes()
    rows = 0
    read = workers.each(store, jobs, "read parts")
    for piece, (stored, found, left_out) in zip(every, read, strict=True):
        origins.append((rows, piece))
        for path, count in stored:
            parts.append(Part(path, rows, count))
            rows += count
        headings |= found
        notes.add(left_out)
    if not rows:
        first = "".join(f"; {r[0]}, line {r[1]}: {r[2]}" for r in notes.table().head(1).rows())
        raise InputError(
            f"there is no article to inspect: name .jsonl or .parquet files with some{first}"
        )
    _give_back()
    mesh = pl.Series([sorted(headings)], dtype=pl.List(pl.String))
    return parts, save_lexicon(tables(medical_words(mesh)), draft), notes, origins


def _name_repeats(ids: pl.Series, rows: Array, origins: Origins, notes: Notes) -> None:
    """Tell where the records are whose ids earlier ones have."""
    of_piece = np.searchsorted([first for first, _ in origins], rows, side="right") - 1
    for number in np.unique(of_piece).tolist():
        first, piece = origins[number]
        mine = of_piece == number
        repeats = zip((rows[mine] - first).tolist(), ids.filter(pl.Series(mine)), strict=True)
        name_repeats(piece, dict(repeats), notes)


def _decide(
    workers: Workers,
    parts: list[Part],
    lexicon: Path,
    limits: Limits,
    records: pl.DataFrame,
    again: Array,
) -> tuple[Array, Selection, dict[str, Any]]:
    """Whether each row is kept, what is removed and why, and the report; rows whose ids are there
    `again` are no part of any of it."""
    _give_back()

    def hashes(number: int) -> Array:
        found = _column(parts, partial(Part.hashes, number=number), np.uint64)
        found[again] = 0
        return found

    words = records["words"].scatter(again, 0)
    similar = _similar(workers, parts, lexicon, words.to_numpy())
    clusters = match(
        records.with_columns(words),
        hashes,
        lambda band: _column(parts, partial(Part.band, band=band), np.uint32),
        similar,
        _differ(workers, parts),
        limits.threshold,
    )
    _give_back()
    single = np.ones(records.height, dtype=bool)
    single[again] = False
    records = records.select("id", "source", "quality", "bucket", "flags").filter(pl.Series(single))
    removed = removals(records, clusters, limits.minimum, limits.keep_non_english)
    stays = ~records["id"].is_in(removed["id"].implode())
    review = reviewed(clusters, removed)
    selection = Selection(records.select("quality").filter(stays), removed, review)
    kept = single.copy()
    kept[single] = stays.to_numpy()
    return kept, selection, report(records, clusters, selection)


def _column(parts: list[Part], read: Callable[[Part], Array], dtype: type) -> Array:
    """One value per article of the collection, read part by part."""
    found: Array = np.empty(parts[-1].first + parts[-1].rows, dtype=dtype)
    for part in parts:
        found[part.first : part.first + part.rows] = read(part)
    return found


def _give_back() -> None:
    """Return memory that is free to the system: a pass needs other pieces than the one before."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    memory.give_back()


def _by_part(parts: list[Part], rows: Array) -> Iterator[tuple[Part, Array]]:
    """Each part with the rows, of those in ascending order, that lie in it."""
    ends = np.array([part.first + part.rows for part in parts])
    return zip(parts, np.split(rows, np.searchsorted(rows, ends[:-1])), strict=True)


def _similar(
    workers: Workers, parts: list[Part], lexicon: Path, words: Array
) -> Callable[[Array, Array], Array]:
    """The function that compares pairs of rows; it reads their texts from the parts."""

    def sets(rows: Array) -> tuple[Array, Array]:
        _give_back()
        work = partial(sets_of, lexicon=lexicon)
        found = list(workers.each(work, _by_part(parts, rows), "compare texts"))
        lengths = np.concatenate([np.diff(starts) for starts, _ in found])
        return np.concatenate([[0], np.cumsum(lengths)]), np.concatenate([s for _, s in found])

    return lambda left, right: similarities(left, right, words, sets)


def _differ(workers: Workers, parts: list[Part]) -> Callable[[Array, Array], list[str]]:
    """The function that says what pairs of rows differ in; it reads their texts likewise."""

    def texts(rows: Array) -> list[str]:
        jobs = ((part, some) for part, some in _by_part(parts, rows) if len(some))
        return [text for found in workers.each(texts_at, jobs, "compare words") for text in found]

    return lambda left, right: differences(left, right, texts)

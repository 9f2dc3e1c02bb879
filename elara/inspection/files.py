"""Inspect collections of any size: three passes over their files, part by part.

1. Read: every part is parsed once and laid down as Arrow, uncompressed, so that the later passes
   can map it into memory; the medical words of the collection's headings are gathered.
2. Measure: the compiled pass over each text. Features, MinHash keys and citations go to disk, one
   narrow row per article stays in memory. Matching reads one band of keys at a time, and of the
   texts only those that were proposed as pairs.
3. Write: the parts again, without what was removed, into one Parquet file.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from elara.display.progress import track
from elara.inspection.bibliographic import add_citations, cited_alike
from elara.inspection.collection import Collection, Workers, give_back
from elara.inspection.duplicates import check_threshold
from elara.inspection.features import MEDIUM
from elara.inspection.foreign import Notes
from elara.inspection.lexicon import tables
from elara.inspection.matching import Clusters, match
from elara.inspection.parts import Part, measure_part, save_lexicon, scores_of, selected, store
from elara.inspection.reading import InputError, Piece, name_repeats, pieces
from elara.inspection.report import report, report_html
from elara.inspection.selection import Selection, repeated_ids, select
from elara.inspection.terms import medical_words
from elara.machine.cores import usable_cores
from elara.text.words import Array
from elara.workspace.formats import write_file

Item = TypeVar("Item")
Result = TypeVar("Result")
Origins = list[tuple[int, Piece]]  # the first row of each piece of the input

_DRAFT = ".inspecting"
_NAMED = 50  # fields that are not read and are named
THREADS = usable_cores()


@dataclass(frozen=True)
class Limits:
    """What decides about a record, see `inspect_files`."""

    minimum: float = MEDIUM
    threshold: float = 0.8
    keep_non_english: bool = False
    by_citation: bool = True


@dataclass(frozen=True)
class Inspected:
    """What inspection left in a folder, and an account of how it came to be.

    Args:
        folder: where the tables are.
        report: see `elara.inspection.report.report`, and `input`: how many lines were skipped, and
            of the fields that no `Article` has how many records hold something there.
        clusters: the groups of records that stand for one article.
        selection: what was kept and removed; of `kept` the `quality` only.
    """

    folder: Path
    report: dict[str, Any]
    clusters: Clusters
    selection: Selection

    @property
    def scores(self) -> pl.LazyFrame:
        """What `score` adds, for every article that came in, with its `id` and `source`."""
        return pl.scan_parquet(self.folder / "scores.parquet")


def inspect_files(
    paths: Path | Iterable[Path],
    into: Path,
    *,
    minimum: float = MEDIUM,
    threshold: float = 0.8,
    keep_non_english: bool = False,
    by_citation: bool = True,
    cluster: str = "",
) -> Inspected:
    """Score articles, find duplicates and select what is kept, in bounded memory.

    It does what `score`, `near_duplicates`, `bibliographic_duplicates` and `select` do, in this
    order. While it works it needs free disk space of about the size of the input.

    Args:
        paths: `.jsonl` or `.parquet` files with the fields of `Article`, one such file, or a
            folder of `.jsonl` files. Fields that a record does not have are empty. JSON Lines that
            others wrote are read as they are: a number is taken as text where text is expected, a
            single author as a list of one, `AbstractText` as the abstract, parts with headings as
            its lines; a record without `id` gets one from its place.
        into: folder for `articles.parquet` (kept), `scores.parquet` (of all articles),
            `removed.parquet`, `review.parquet` (nearly the same as another, and kept),
            `skipped.parquet` (the lines that cannot be records, and the records whose id an
            earlier one has, with `file`, `line` and `reason`), `report.json` and `report.html`.
            They appear there when all of them are finished.
        minimum: smallest quality that is kept, in [0, 1].
        threshold: smallest Jaccard similarity of a near duplicate, in (0, 1].
        keep_non_english: whether records in other languages stay.
        by_citation: whether records are the same article that two databases cite differently.
        cluster: address of a Ray cluster that works on the parts, e.g. `ray://head:10001` or
            `auto`; "" for the threads of this process. See `elara.inspection.cluster`.

    Returns:
        Where the tables are, and what was done.

    Raises:
        InputError: a file cannot be read, or none holds an article; the message says which.
        ValueError: a limit is out of range.
        OSError: the disk is full or the folder cannot be written. Whatever failed, what an
            earlier run left in `into` is untouched.
    """
    limits = Limits(minimum, threshold, keep_non_english, by_citation)
    if cluster:
        from elara.inspection.cluster import Nodes

        return inspect_parts(paths, into.resolve(), limits, Nodes(cluster))
    with ThreadPoolExecutor(THREADS) as pool:
        warm = pool.submit(tables, ())  # loads the kernels; the first time it compiles them
        found = inspect_parts(paths, into, limits, Threads(pool))
        warm.result()
    return found


class Threads:
    """A few threads of this process. The kernels, the parser and polars let go of the GIL."""

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


def inspect_parts(
    paths: Path | Iterable[Path], into: Path, limits: Limits, workers: Workers
) -> Inspected:
    """What `inspect_files` does, with the work on parts done by whoever is given."""
    check_threshold(limits.threshold)
    if isinstance(paths, Path):
        files = [paths] if paths.is_file() else sorted(paths.glob("*.jsonl"))
    else:
        files = list(paths)
    draft = into / _DRAFT
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was interrupted
    (draft / "out").mkdir(parents=True)
    try:
        found = _inspect(files, draft, limits, workers)
        for path in (draft / "out").iterdir():
            path.replace(into / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Inspected(into, *found)


def _inspect(
    files: list[Path], draft: Path, limits: Limits, workers: Workers
) -> tuple[dict[str, Any], Clusters, Selection]:
    """Lay down parts in a folder, and the finished tables in `out` below it."""
    parts, lexicon, notes, origins = _read(workers, files, draft)
    work = partial(measure_part, lexicon=lexicon, by_citation=limits.by_citation)
    records = pl.concat(workers.each(work, parts, "measure parts"))
    again = repeated_ids(records["id"])
    _name_repeats(records["id"].gather(again), again, origins, notes)
    single = np.ones(records.height, dtype=bool)
    single[again] = False
    collection = Collection(workers, parts, lexicon)
    clusters = _clusters(collection, records, single, limits)
    give_back()
    records = records.select("id", "source", "quality", "bucket", "flags").filter(pl.Series(single))
    selection = select(records, clusters, limits.minimum, limits.keep_non_english)
    found = report(records, clusters, selection)
    kept = single.copy()
    kept[single] = ~records["id"].is_in(selection.removed["id"].implode()).to_numpy()
    del records
    selection = dataclasses.replace(selection, kept=selection.kept.select("quality"))
    give_back()
    out = draft / "out"
    written = track(parts, label="write parts")
    _sink(
        (selected(p, kept[p.first : p.first + p.rows]) for p in written), out / "articles.parquet"
    )
    scores = (scores_of(p).filter(single[p.first : p.first + p.rows]) for p in parts)
    _sink(scores, out / "scores.parquet")
    write_file(out / "removed.parquet", selection.removed)
    write_file(out / "review.parquet", selection.review)
    write_file(out / "skipped.parquet", skipped := notes.table())
    unknown = dict(sorted(notes.unknown.items(), key=lambda n: (-n[1], n[0]))[:_NAMED])
    found["input"] = {"lines_skipped": skipped.height, "fields_not_read": unknown}
    write_file(out / "report.html", report_html(found, {}))
    write_file(out / "report.json", found)
    return found, clusters, selection


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
    give_back()
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


def _clusters(
    collection: Collection, records: pl.DataFrame, single: Array, limits: Limits
) -> Clusters:
    """Which records stand for one article; those that are not `single` are no part of it."""
    give_back()
    words = records["words"].to_numpy() * single
    clusters = match(
        records.with_columns(words=words),
        lambda number: collection.column("hashes", number, np.uint64) * single,
        lambda band: collection.column("keys", band, np.uint32),
        partial(collection.similar, words=words),
        collection.differ,
        limits.threshold,
    )
    if not limits.by_citation:
        return clusters
    left = single & ~records["id"].is_in(clusters.removed["id"].implode()).to_numpy()
    found = cited_alike(
        lambda number: collection.column("blocks", number, np.uint32) * left,
        collection.citations,
        collection.abstracts,
        collection.records,
    )
    retracted = records.filter(pl.col("retracted") & pl.Series(single))["id"]
    return add_citations(clusters, found, retracted)


def _sink(frames: Iterator[pl.DataFrame], path: Path) -> None:
    """Write one Parquet file; polars compresses on all cores while parts come in."""
    from polars.io.plugins import register_io_source

    first = next(frames)

    def every(*_: object) -> Iterator[pl.DataFrame]:
        yield first
        yield from frames

    lazy = register_io_source(every, schema=first.schema)
    lazy.sink_parquet(path, compression="snappy", statistics=False, row_group_size=8192)

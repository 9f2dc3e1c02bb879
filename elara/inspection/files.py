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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from elara.display.progress import track
from elara.inspection.bibliographic import add_citations, cited_alike
from elara.inspection.collection import THREADS, Collection, Nodes, Part, Threads, Workers, store
from elara.inspection.features import MEDIUM
from elara.inspection.lexicon import medical_words, tables
from elara.inspection.matching import check_threshold, match
from elara.inspection.reading import SKIPPED, InputError, Notes, pieces
from elara.inspection.selection import Clusters, Selection, check_ids, report, report_html, select
from elara.machine.memory import give_back
from elara.workspace.formats import write_file
from elara.workspace.retractions import NAMES, SCHEMA, listed

_DRAFT = ".inspecting"
_NAMED = 50  # fields that are not read and are named


@dataclass(frozen=True)
class Inspected:
    """What inspection left in a folder, and an account of how it came to be.

    Args:
        folder: where the tables are.
        report: see `elara.inspection.selection.report`, and `input`: how many lines were skipped,
            and of the fields that no `Article` has how many records hold something there.
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
    retractions: pl.DataFrame | None = None,
) -> Inspected:
    """Score articles, find duplicates and select what is kept, in bounded memory.

    It does what `score`, `near_duplicates`, `bibliographic_duplicates` and `select` do, in this
    order. While it works it needs free disk space of about the size of the input.

    Args:
        paths: `.jsonl` or `.parquet` files with the fields of `Article`, one such file, or a
            folder of `.jsonl` files. Fields that a record does not have are empty. A number is
            taken as text where text is expected, and a single text as a list of one.
        into: folder for `articles.parquet` (kept), `scores.parquet` (of all articles),
            `removed.parquet`, `review.parquet` (nearly the same as another, and kept),
            `skipped.parquet` (the lines that cannot be records, with `file`, `line` and `reason`),
            `report.json` and `report.html`. They appear there when all of them are finished.
        minimum: smallest quality that is kept, in [0, 1].
        threshold: smallest Jaccard similarity of a near duplicate, in (0, 1].
        keep_non_english: whether records in other languages stay.
        by_citation: whether records are the same article that two databases cite differently.
        cluster: address of a Ray cluster that works on the parts, e.g. `ray://head:10001` or
            `auto`; "" for the threads of this process. See `elara.inspection.collection.Nodes`.
        retractions: the list of `elara.workspace.retractions.read_list`. What it names counts as
            retracted, whatever its record says; `retracted.parquet` then gives the reasons.

    Returns:
        Where the tables are, and what was done.

    Raises:
        InputError: a file cannot be read, or none holds an article; the message says which.
        ValueError: a limit is out of range, or two records have one id.
        OSError: the disk is full or the folder cannot be written. Whatever failed, what an
            earlier run left in `into` is untouched.
    """
    check_threshold(threshold)
    if isinstance(paths, Path):
        paths = [paths] if paths.is_file() else sorted(paths.glob("*.jsonl"))
    draft = into.resolve() / _DRAFT
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was interrupted
    (draft / "out").mkdir(parents=True)
    try:
        with Threads(THREADS) as pool:
            pool.submit(tables, ())  # loads the kernels meanwhile; the first time it compiles them
            workers = Nodes(cluster) if cluster else pool
            collection, notes = _read(workers, paths, draft)
            records = collection.measured(by_citation)
            check_ids(records["id"])
            told = _told(collection.parts, retractions)
            new = records["id"].is_in(told["id"].implode()) & ~records["retracted"]
            records = records.with_columns(pl.col("retracted") | new)
            clusters = _clusters(collection, records, threshold, by_citation)
        records = records.select("id", "quality").hstack(collection.judged())
        more = pl.when(new).then(pl.concat_list("flags", pl.lit("retracted")))
        records = records.with_columns(more.otherwise("flags").alias("flags"))
        selection = select(records, clusters, minimum, keep_non_english)
        found = report(records, clusters, selection)
        unknown = dict(sorted(notes.unknown.items(), key=lambda n: (-n[1], n[0]))[:_NAMED])
        found["input"] = {"lines_skipped": len(notes.skipped), "fields_not_read": unknown}
        kept = ~records["id"].is_in(selection.removed["id"].implode())
        del records
        selection = dataclasses.replace(selection, kept=selection.kept.select("quality"))
        _write(draft / "out", collection.parts, kept)
        for name, content in {
            "removed.parquet": selection.removed,
            "review.parquet": selection.review,
            "skipped.parquet": pl.DataFrame(notes.skipped, SKIPPED, orient="row"),
            "report.html": report_html(found, {}),
            "report.json": found,
        }.items():
            write_file(draft / "out" / name, content)
        if told.height:
            write_file(draft / "out" / "retracted.parquet", told)
        (into / "retracted.parquet").unlink(missing_ok=True)  # there only where it has rows
        for path in (draft / "out").iterdir():
            path.replace(into / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Inspected(into, found, clusters, selection)


def _read(workers: Workers, paths: Iterable[Path], draft: Path) -> tuple[Collection, Notes]:
    """Lay down the parts, and beside them the lexicon."""
    import pyarrow as pa

    jobs = [(piece, draft / f"{n:06d}") for n, piece in enumerate(pieces(paths))]
    parts: list[Part] = []
    headings: set[str] = set()
    notes = Notes()
    rows = 0
    for stored, found, left_out in workers.each(store, jobs, "read parts"):
        for path, count in stored:
            parts.append(Part(path, rows, count))
            rows += count
        headings |= found
        notes.skipped += left_out.skipped
        notes.unknown += left_out.unknown
    if not rows:
        first = "".join(f"; {file}, line {n}: {why}" for file, n, why in notes.skipped[:1])
        raise InputError(
            f"there is no article to inspect: name .jsonl or .parquet files with some{first}"
        )
    mesh = pl.Series([sorted(headings)], dtype=pl.List(pl.String))
    pa.default_memory_pool().release_unused()
    np.savez(draft / "lexicon.npz", *tables(medical_words(mesh)))
    return Collection(workers, parts), notes


def _told(parts: Sequence[Part], retractions: pl.DataFrame | None) -> pl.DataFrame:
    """The articles that a list of retractions names, with what it says of each."""
    rows = pl.DataFrame(schema=SCHEMA) if retractions is None else retractions
    tables = [pl.DataFrame(schema=NAMES)]
    tables += [part.read("articles").select(*NAMES) for part in parts if rows.height]
    found = pl.concat([listed(rows, table) for table in tables])
    return found.unique("id", keep="first", maintain_order=True)


def _clusters(
    collection: Collection, records: pl.DataFrame, threshold: float, by_citation: bool
) -> Clusters:
    """Which records stand for one article."""
    give_back()
    clusters = match(
        records,
        lambda number: collection.column("hashes", number),
        lambda band: collection.column("keys", band),
        partial(collection.similar, words=records["words"].to_numpy()),
        collection.differ,
        threshold,
    )
    if not by_citation:
        return clusters
    left = ~records["id"].is_in(clusters.removed["id"].implode()).to_numpy()
    found = cited_alike(lambda number: collection.column("blocks", number) * left, collection.rows)
    return add_citations(clusters, found, records.filter("retracted")["id"])


def _write(out: Path, parts: list[Part], kept: pl.Series) -> None:
    """Write the kept articles, and the scores of all of them."""
    give_back()
    of_part = {part: kept[part.first : part.first + part.rows] for part in parts}
    written = track(parts, label="write parts")
    _sink((part.read("scored").filter(of_part[part]) for part in written), out / "articles.parquet")
    _sink((part.read("scores") for part in parts), out / "scores.parquet")


def _sink(frames: Iterator[pl.DataFrame], path: Path) -> None:
    """Write one Parquet file; polars compresses on all cores while parts come in."""
    from polars.io.plugins import register_io_source

    first = next(frames)

    def every(*_: object) -> Iterator[pl.DataFrame]:
        yield first
        yield from frames

    lazy = register_io_source(every, schema=first.schema)
    lazy.sink_parquet(path, compression="snappy", statistics=False, row_group_size=8192)

"""A part of a large collection on disk, and what each pass does with it.

Both drivers, the threads of one machine and a cluster, call these functions and nothing else on
articles: where a part is worked on makes no difference to what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from elara.inspection.differences import plain_texts
from elara.inspection.features import judge
from elara.inspection.foreign import Notes
from elara.inspection.matching import identities, narrow
from elara.inspection.measures import TEXT_COLUMNS, measure, texts_of
from elara.inspection.reading import Piece, read
from elara.text.words import BANDS, Array, Tables

if TYPE_CHECKING:
    import pyarrow as pa


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

    def table(self) -> pa.Table:
        """The articles, mapped and not read: only what is used comes into memory."""
        import pyarrow as pa

        with pa.memory_map(str(self.path)) as file:
            return pa.ipc.open_file(file).read_all()

    def band(self, band: int) -> Array:
        """The articles' keys of a MinHash band (u32)."""
        keys = self.path.with_suffix(".keys")
        return np.fromfile(keys, np.uint32, self.rows, offset=4 * band * self.rows)

    def hashes(self, number: int) -> Array:
        """The articles' hashes of what makes them identical, see `identities` (u64)."""
        hashes = self.path.with_suffix(".hashes")
        return np.fromfile(hashes, np.uint64, self.rows, offset=8 * number * self.rows)


def save_lexicon(lexicon: Tables, folder: Path) -> Path:
    """Lay down the lexicon beside the parts, for whoever works on them."""
    path = folder / "lexicon.npz"
    np.savez(path, *lexicon)
    return path


@lru_cache(maxsize=1)
def _lexicon(path: Path, changed: int) -> Tables:
    with np.load(path) as found:
        return tuple(found.values())


def load_lexicon(path: Path) -> Tables:
    """What `save_lexicon` laid down; a process reads it once."""
    return _lexicon(path, path.stat().st_mtime_ns)


def store(job: tuple[Piece, Path]) -> tuple[list[tuple[Path, int]], frozenset[str], Notes]:
    """Parse a piece of the input and lay it down as one part or more.

    Args:
        job: a piece, from `elara.inspection.reading.pieces`, and where the parts are to lie: this
            path with a number appended.

    Returns:
        Path and number of rows of each part, the subject headings that occur, and what is left
        out.
    """
    import pyarrow as pa

    piece, base = job
    stored: list[tuple[Path, int]] = []
    headings: frozenset[str] = frozenset()
    notes = Notes()
    for number, table in enumerate(read(piece, notes)):
        if not table.num_rows:
            continue
        path = base.with_name(f"{base.name}-{number:04d}.arrow")
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        stored.append((path, table.num_rows))
        found = _frame(table.select(["mesh"])).select(pl.col("mesh").explode().unique())
        headings |= frozenset(found["mesh"].drop_nulls().to_list())
    return stored, headings, notes


def measure_part(part: Part, lexicon: Path) -> pl.DataFrame:
    """Measure a part; its features and keys go to disk.

    Args:
        part: from `store`.
        lexicon: from `save_lexicon`.

    Returns:
        One narrow row per article: what `narrow` gives, and what a report needs.
    """
    table = part.table()
    measures = measure(table, load_lexicon(lexicon))
    assert measures.keys.shape == (BANDS, part.rows)
    measures.keys.tofile(part.path.with_suffix(".keys"))
    articles = _frame(table)
    identities(articles, measures).tofile(part.path.with_suffix(".hashes"))
    judged = judge(articles, measures.counts)
    judged.write_ipc(part.path.with_suffix(".features"))
    # Copies: columns as they are would hold the whole mapped part in memory.
    copies = (pl.Series(c, articles[c].to_list()) for c in ("id", "retracted", "redistributable"))
    scored = pl.concat([articles.with_columns(copies), judged], how="horizontal")
    return narrow(scored, measures).with_columns(
        scored["source"].cast(pl.Categorical),
        scored["bucket"].cast(pl.Enum(["high", "medium", "low"])),
        scored["flags"],
    )


def sets_of(job: tuple[Part, Array], lexicon: Path) -> tuple[Array, Array]:
    """The shingles of some articles of a part.

    Args:
        job: a part, and rows of the collection that lie in it, ascending (i64).
        lexicon: from `save_lexicon`.

    Returns:
        As `elara.text.shingles.shingle_sets`.
    """
    from elara.text.shingles import shingle_sets

    part, rows = job
    texts = texts_of(part.table().select(TEXT_COLUMNS))
    starts, shingles = shingle_sets(texts, load_lexicon(lexicon), rows - part.first)
    return starts, shingles


def texts_at(job: tuple[Part, Array]) -> list[str]:
    """The texts of some articles of a part.

    Args:
        job: a part, and rows of the collection that lie in it, ascending (i64).
    """
    part, rows = job
    return plain_texts(_frame(part.table().select(TEXT_COLUMNS))[rows - part.first])


def selected(part: Part, kept: Array) -> pl.DataFrame:
    """The articles of a part that are kept, with the columns that `score` adds.

    Args:
        part: a measured part.
        kept: for every row of the part, whether it is kept.
    """
    features = pl.read_ipc(part.path.with_suffix(".features"))
    scored = pl.concat([_frame(part.table()), features], how="horizontal")
    return scored.filter(pl.Series(kept))


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame

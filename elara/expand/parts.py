"""Keep examples of any number in parts on disk, and one narrow row of each in memory."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from elara.audit.overlap import Words
from elara.records import Example, frame, schema
from elara.text.words import Array

ROWS = 5000  # examples that are read at a time, about 15 MiB
_NAMES = ("specialty", "origin", "recipe", "licence", "language")  # few different ones


@dataclass(frozen=True)
class Examples:
    """A table of examples in parts on disk; iterating over it gives it piece by piece.

    Args:
        folder: where the parts are, from `write_part`.
        index: a narrow row for each example, in order: `part`, `place` (in the part), `id`,
            `article_id`, `source` (`curated` for the project's cases), `specialty`, `origin`,
            `recipe`, `licence`, `redistributable`, `language`, `turns`, `answer_words`, `question`
            and `answer` (hashes of the last turns), `runs` (different runs of three words in the
            answer); `split` and `topic` once they are known.
    """

    folder: Path
    index: pl.DataFrame
    _held: object = None

    @classmethod
    def of(cls, examples: pl.DataFrame) -> Examples:
        """Lay down a table of `Example` rows that is in memory; they go with the result."""
        held = tempfile.TemporaryDirectory(prefix="elara-expand-")
        index = write_part(Path(held.name), 0, examples)
        return cls(Path(held.name), narrowed(index).with_columns(examples["split"]), held)

    def __len__(self) -> int:
        return self.index.height

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """`Example` rows, in order, about `ROWS` at a time."""
        waiting: list[pl.DataFrame] = []
        for rows in self._of_parts():
            waiting.append(self._read(rows))
            if sum(map(len, waiting)) >= ROWS:
                yield pl.concat(waiting)
                waiting = []
        if waiting:
            yield pl.concat(waiting)

    def _of_parts(self) -> Iterator[pl.DataFrame]:
        """The rows of the index, part by part."""
        ends = self.index["part"].rle().struct.field("len").cum_sum().to_list()
        for start, end in zip([0, *ends], ends, strict=False):
            yield self.index[start:end]

    def _read(self, rows: pl.DataFrame) -> pl.DataFrame:
        path = self.folder / f"{rows['part'][0]:06d}.examples"
        part = pl.read_parquet(path).select(pl.all().gather(rows["place"]))
        return part.with_columns(rows["split"]) if "split" in rows.columns else part

    def all(self) -> pl.DataFrame:
        """All `Example` rows in memory."""
        whole: pl.DataFrame = pl.concat([frame([], Example), *self])
        return whole

    def only(self, index: pl.DataFrame) -> Examples:
        """Some of the examples.

        Args:
            index: rows of the index, in their order; they may have further columns.
        """
        return replace(self, index=index)

    def without(self, ids: pl.Series) -> Examples:
        """The examples without those of these ids."""
        return self.only(self.index.filter(~pl.col("id").is_in(ids.implode())))

    def answers(self, rows: Array) -> list[str]:
        """The last turns of the examples in these rows of the index, which are ascending."""
        some = self.only(self.index[rows])
        last = pl.col("messages").list.last().struct.field("content")
        return [
            text for part in some._of_parts() for text in self._read(part).select(last).to_series()
        ]

    def runs(self) -> Iterator[tuple[Array, Array, Array]]:
        """The runs of three words in the answers, part by part.

        Yields:
            Rows of the index, how many runs each has, and the hashes of these runs, ascending
            within an example.
        """
        first = 0
        for rows in self._of_parts():
            path = self.folder / f"{rows['part'][0]:06d}.npz"
            with np.load(path) as stored:
                lengths, hashes = stored["lengths"], stored["hashes"]
            wanted = np.zeros(len(lengths), bool)
            wanted[rows["place"].to_numpy()] = True
            kept = hashes[np.repeat(wanted, lengths)]
            yield np.arange(first, first + rows.height), lengths[wanted], kept
            first += rows.height


def write_part(folder: Path, number: int, examples: pl.DataFrame) -> pl.DataFrame:
    """Lay down a part.

    Args:
        folder: where the parts are.
        number: of the part.
        examples: its `Example` rows.

    Returns:
        Its rows of the index.
    """
    said = {name: _turn(turn) for name, turn in (("question", -2), ("answer", -1))}
    texts = examples.select(**said).fill_null("")
    lengths, hashes = _runs(texts["answer"])
    np.savez(folder / f"{number:06d}.npz", lengths=lengths, hashes=hashes)
    path = folder / f"{number:06d}.examples"
    examples.select(*schema(Example)).write_parquet(path, compression="lz4", statistics=False)
    article = pl.col("article_ids").list.first().fill_null("")
    source = pl.when(pl.col("origin") == "curated").then(pl.lit("curated"))
    return examples.select(
        pl.lit(number, pl.UInt32).alias("part"),
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("place"),
        "id",
        article.alias("article_id"),
        source.otherwise(article.str.split(":").list.first()).alias("source"),
        *_NAMES,
        "redistributable",
        pl.col("messages").list.len().alias("turns"),
        texts["answer"].str.split(" ").list.len().alias("answer_words"),
        *(_keys(texts[name]).alias(name) for name in said),
        pl.Series("runs", lengths, pl.UInt32),
    )


def narrowed(index: pl.DataFrame) -> pl.DataFrame:
    """The rows of the index with numbers in place of the names that many of them have."""
    return index.with_columns(pl.col("source", *_NAMES).cast(pl.Categorical))


def _turn(number: int) -> pl.Expr:
    found = pl.col("messages").list.get(number, null_on_oob=True)
    return found.struct.field("content")


def _keys(texts: pl.Series) -> pl.Series:
    """A hash of each text; capitals and blanks do not count."""
    plain = texts.str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in plain)
    return pl.Series([int.from_bytes(digest, "big") for digest in digests], dtype=pl.UInt64)


def _runs(texts: pl.Series) -> tuple[Array, Array]:
    """How many different runs of three words each text has, and their hashes, ascending in each."""
    found = Words.of(texts).sequences(3).sort("text", "run")
    return np.bincount(found["text"].to_numpy(), minlength=len(texts)), found["run"].to_numpy()

"""Make examples of articles in batches, so that memory does not grow with them.

Several processes work on the batches and lay each one down as a part. A run that was interrupted
goes on with the parts that are there, as long as articles, settings and code are the same.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import elara
from elara.display.progress import Progress
from elara.expand.parts import Examples, narrowed, write_part
from elara.expand.questions import LANGUAGES
from elara.expand.recipes import (
    READ,
    Expansion,
    check_languages,
    check_licences,
    grounded_examples,
)
from elara.expand.validators import Validated, validate
from elara.machine.cores import usable_cores
from elara.machine.workers import spread
from elara.model import SYSTEM_PROMPT, load_tokenizer
from elara.records import Article, frame
from elara.workspace import WorkspaceError, file_sha256
from elara.workspace.drafts import empty_folder, write_atomically
from elara.workspace.formats import content_digest

BATCH = 1000  # articles that are worked on at once
_ALONE = 4000  # articles that one process does as fast as several, which have to start first
_GROUP = 20_000  # rows of a table that are written at once
TABLES = ("skipped", "rejected", "noted", "refused")
_PARTS = ".parts"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How examples are made and checked; see `grounded_examples` and `validate`.

    Args:
        system_prompt: the system turn of every example.
        licences: `redistributable` or `any`.
        languages: ISO 639-1 codes of the languages to use.
        max_answer_words: where answers are cut.
        base_model: whose tokens `max_tokens` counts.
        max_tokens: the longest example; 0: no limit.
        retracted: ids of articles that were retracted since they were collected.
        seed: chooses among the phrasings of a question.
    """

    system_prompt: str = SYSTEM_PROMPT
    licences: str = "redistributable"
    languages: Sequence[str] = LANGUAGES
    max_answer_words: int = 160
    base_model: str = ""
    max_tokens: int = 0
    retracted: Sequence[str] = ()
    seed: int = 0


@dataclass(frozen=True)
class Expanded:
    """What became of the articles and the curated cases.

    Args:
        examples: those that passed all validators: curated cases first, then those of the articles
            in their order.
        folder: where the tables are.
        counts: `articles` that were read, and the rows of each table.
    """

    examples: Examples
    folder: Path
    counts: dict[str, int]

    @property
    def skipped(self) -> pl.LazyFrame:
        """Every article that gave no example: article_id, reason."""
        return pl.scan_parquet(self.folder / "skipped.parquet")

    @property
    def rejected(self) -> pl.LazyFrame:
        """Every draft that a gate refused: article_id, recipe, part, rule, evidence."""
        return pl.scan_parquet(self.folder / "rejected.parquet")

    @property
    def noted(self) -> pl.LazyFrame:
        """What is not as the source has it: article_id, recipe, part, what, detail."""
        return pl.scan_parquet(self.folder / "noted.parquet")

    @property
    def refused(self) -> pl.LazyFrame:
        """Every example that a validator refused: id, article_id, source, rule, evidence."""
        return pl.scan_parquet(self.folder / "refused.parquet")


def expand_file(
    articles: Path,
    folder: Path,
    curated: pl.DataFrame,
    settings: Settings,
    *,
    workers: int | None = None,
    batch: int = BATCH,
) -> Expanded:
    """Run recipes, gates and validators on a table of articles of any size.

    What is written does not depend on the number of processes, nor on the size of a batch.

    Args:
        articles: a Parquet file with clean `Article` rows.
        folder: where to write skipped.parquet, rejected.parquet, noted.parquet and
            refused.parquet. The parts are beside it until their `Examples` are no longer used.
        curated: `Example` rows that are checked as well, and come first.
        settings: how examples are made and checked.
        workers: processes; None: one for each core, and only one for few articles.
        batch: articles that are worked on at once.

    Raises:
        ValueError: a setting cannot be used.
        WorkspaceError: the file cannot be read as a table of articles.
        WorkerError: a process failed or was killed. The parts stay for the next run.
    """
    check_licences(settings.licences)
    check_languages(settings.languages)
    if settings.max_tokens and not settings.base_model:
        raise ValueError("`max_tokens` counts tokens: name the `base_model` as well.")
    total = _rows(articles)
    parts = folder.with_name(_PARTS)
    _begin(parts, articles, settings, batch)
    numbers = range(1, -(-total // batch) + 1)
    missing = [n for n in numbers if not (parts / f"{n:06d}.index").exists()]
    few = len(missing) * batch <= _ALONE
    _expand_cases(parts, curated, settings)
    with Progress("expand articles", total) as progress:
        progress.advance(total - min(len(missing) * batch, total))
        each = spread(
            partial(_expand_batch, parts, settings),
            _batches(articles, batch, set(missing)),
            workers or (1 if few else usable_cores()),
            _name,
        )
        for done in each:
            progress.advance(done)
    counts = {"articles": total} | {t: _gather(parts, folder, t, len(numbers)) for t in TABLES}
    index = pl.concat([narrowed(_table(parts, n, "index")) for n in (0, *numbers)], rechunk=True)
    held = _Held(parts)
    return Expanded(Examples(held.folder, index, held), folder, counts)


class _Held:
    """Holds finished parts under a name of their own, as long as somebody refers to them."""

    def __init__(self, parts: Path) -> None:
        self.folder = parts.with_name(f"{parts.name}-{os.getpid()}-{uuid4().hex}")
        parts.replace(self.folder)
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


def _rows(articles: Path) -> int:
    try:
        with pq.ParquetFile(articles) as parquet:
            if lacking := {*READ} - {*parquet.schema_arrow.names}:
                raise pa.ArrowInvalid(f"it has no column {', '.join(sorted(lacking))}")
            return int(parquet.metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise WorkspaceError(
            f"{articles} cannot be read as a table of articles ({error}): run the stage that "
            "wrote it again."
        ) from error


def _begin(parts: Path, articles: Path, settings: Settings, batch: int) -> None:
    """Keep the parts of an interrupted run that had the same articles, settings and code."""
    print_of = asdict(settings) | {"articles": file_sha256(articles), "batch": batch}
    wanted = content_digest(print_of | {"code": _code()})
    for left in parts.parent.glob(f"{parts.name}-*"):  # of a process that was killed
        if left.name.split("-")[1] != str(os.getpid()):
            shutil.rmtree(left, ignore_errors=True)
    told = parts / "made_of"
    if not told.is_file() or told.read_text(encoding="utf-8") != wanted:
        empty_folder(parts)
        write_atomically(told, wanted)


@cache
def _code() -> str:
    """The hash of the package's code and tables."""
    home = Path(elara.__file__).parent
    found = sorted(p for kind in ("*.py", "expand/**/*.yaml") for p in home.rglob(kind))
    return hashlib.sha256("".join(map(file_sha256, found)).encode()).hexdigest()


def _batches(articles: Path, size: int, missing: set[int]) -> Iterator[tuple[int, pl.DataFrame]]:
    """The batches that are not there yet, with their numbers from 1 on."""
    with pq.ParquetFile(articles, pre_buffer=False) as parquet:
        read = parquet.iter_batches(batch_size=size, columns=list(READ))
        tables = (pa.Table.from_batches([rows]) for rows in read)
        for number, rows in enumerate(_exactly(tables, size), 1):
            if number in missing:
                yield number, pl.DataFrame(pl.from_arrow(rows))


def _exactly(tables: Iterator[pa.Table], size: int) -> Iterator[pa.Table]:
    """So many rows at a time, however many come at once; the last piece may be smaller."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        while sum(map(len, waiting)) >= size:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, size)
            waiting = [whole.slice(size)]
    if any(map(len, waiting)):
        yield pa.concat_tables(waiting)


def _name(task: tuple[int, pl.DataFrame]) -> str:
    number, articles = task
    return f"batch {number} of articles, from {articles['id'][0]} on"


def _expand_batch(parts: Path, settings: Settings, task: tuple[int, pl.DataFrame]) -> int:
    """Make the examples of a batch and lay them down."""
    number, articles = task
    made = _grounded(articles, settings)
    _lay_down(parts, number, made, _validated(made.examples, articles, settings))
    return articles.height


def _expand_cases(parts: Path, curated: pl.DataFrame, settings: Settings) -> None:
    """The same for the curated cases, which come from no article."""
    none = frame([], Article)
    _lay_down(parts, 0, _grounded(none, settings), _validated(curated, none, settings))


def _grounded(articles: pl.DataFrame, settings: Settings) -> Expansion:
    return grounded_examples(
        articles,
        settings.system_prompt,
        licences=settings.licences,
        languages=settings.languages,
        max_answer_words=settings.max_answer_words,
        seed=settings.seed,
    )


def _validated(examples: pl.DataFrame, articles: pl.DataFrame, settings: Settings) -> Validated:
    tokenizer = _tokenizer(settings.base_model) if settings.max_tokens else None
    return validate(
        examples,
        articles,
        licences=settings.licences,
        languages=settings.languages,
        retracted=settings.retracted,
        system_prompt=settings.system_prompt,
        tokenizer=tokenizer,
        max_tokens=settings.max_tokens,
    )


# One for each process; loading takes seconds.
_tokenizer: Callable[[str], Any] = cache(load_tokenizer)


def _lay_down(parts: Path, number: int, made: Expansion, checked: Validated) -> None:
    """Write a part; its index comes last, and says that it is whole."""
    tables = (made.skipped, made.rejected, made.noted, checked.rejected)
    for name, table in zip(TABLES, tables, strict=True):
        table.write_ipc(parts / f"{number:06d}.{name}", compression="lz4")
    draft = parts / f"{number:06d}.draft"
    write_part(parts, number, checked.examples).write_ipc(draft, compression="lz4")
    draft.replace(parts / f"{number:06d}.index")


def _table(parts: Path, number: int, name: str) -> pl.DataFrame:
    return pl.read_ipc(parts / f"{number:06d}.{name}")


def _gather(parts: Path, folder: Path, name: str, last: int) -> int:
    """Write a table from its parts, in pieces of equal size; how many rows it has."""
    tables = (_table(parts, number, name) for number in range(last + 1))
    arrow = (table.to_arrow(compat_level=pl.CompatLevel.oldest()) for table in tables)
    schema = _table(parts, 0, name).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    rows = 0
    with pq.ParquetWriter(folder / f"{name}.parquet", schema, compression="zstd") as writer:
        for piece in _exactly(arrow, _GROUP):
            writer.write_table(piece.combine_chunks(), row_group_size=_GROUP)
            rows += len(piece)
    return rows

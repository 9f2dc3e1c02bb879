"""Write training examples as a data set to pass on: three formats, a card, licences, attribution.

The stage's own files stay as they are, and may hold text that nobody may pass on. The folder that
is made here holds only what may be, and a row for everything that was left out.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl

from elara.expand.datacard import attribution, dataset_card, licence_lines
from elara.expand.parts import Examples
from elara.machine.cores import usable_cores
from elara.records import Example, frame
from elara.workspace.formats import write_file

FORMATS = {
    "messages": "`messages`: the turns of a chat, each with `role` and `content`; `spans`: the "
    "passages that its answers consist of",
    "prompt-completion": "`prompt`: everything before the last answer as one text (the system "
    "turn, then `Question:` and `Answer:` by turns); `completion`: the last answer",
    "instruction-response": "`instruction`: the question; `response`: the answer; `system`: the "
    "system turn; conversations of several questions are left out",
}
FOLDER = "dataset"
SPLITS = ("train", "validation", "test")
_ORIGIN = ("article_ids", "licence", "language", "specialty", "origin", "recipe", "article_sha256")
_LEFT_OUT = ("id", "article_id", "licence", "format", "reason")


def converted(examples: pl.DataFrame, name: str) -> pl.DataFrame:
    """The rows of examples in one format.

    The text of `prompt-completion` is what Elara's plain chat template writes for models without
    one: `completion` therefore begins with a blank.

    Args:
        examples: `Example` rows.
        name: a key of `FORMATS`.

    Returns:
        One row per example, with id, article, licence and the like; of `instruction-response`
        only examples with one question.

    Raises:
        ValueError: there is no such format.

    Source: https://huggingface.co/docs/trl/dataset_formats
    """
    messages, content = pl.col("messages"), pl.element().struct.field("content")
    answer = messages.list.last().struct.field("content")
    if name == "messages":
        return examples.select("id", "messages", *_ORIGIN, "spans")
    if name == "prompt-completion":
        role = pl.element().struct.field("role")
        turn = (
            pl.when(role == "user")
            .then(pl.lit("Question: ") + content + pl.lit("\n\nAnswer:"))
            .when(role == "assistant")
            .then(pl.lit(" ") + content + pl.lit("\n\n"))
            .otherwise(content + pl.lit("\n\n"))
        )
        before = messages.list.head(messages.list.len() - 1).list.eval(turn).list.join("")
        completion = pl.lit(" ") + answer
        return examples.select("id", *_ORIGIN, prompt=before, completion=completion)
    if name == "instruction-response":
        said = [messages.list.get(i).struct.field("content") for i in (0, 1)]
        single = examples.filter(messages.list.len() == 3)
        return single.select("id", *_ORIGIN, system=said[0], instruction=said[1], response=answer)
    raise ValueError(f"Unknown format {name!r}: there are {', '.join(FORMATS)}.")


def left_out(index: pl.DataFrame) -> pl.DataFrame:
    """What the data set does not hold, and why.

    Args:
        index: of `Examples`.

    Returns:
        Columns id, article_id, licence, format (`all` or one of them) and reason.
    """
    closed = index.filter(~pl.col("redistributable")).with_columns(
        format=pl.lit("all"), reason=pl.lit("its licence does not allow it to be passed on")
    )
    long = index.filter(pl.col("redistributable"), pl.col("turns") > 3).with_columns(
        format=pl.lit("instruction-response"),
        reason=pl.lit("a conversation of several questions, which this format cannot hold"),
    )
    named = pl.col("licence").cast(pl.String)
    return pl.concat([closed, long]).with_columns(named).select(_LEFT_OUT).sort("id")


def write_splits(examples: Examples, folder: Path) -> None:
    """Write `train.jsonl`, `validation.jsonl` and `test.jsonl`, of which some may be empty.

    Args:
        examples: the examples with their splits.
        folder: where to; it is there.
    """
    for split in SPLITS:
        (folder / f"{split}.jsonl").touch()
    _write(examples, folder, {"{split}.jsonl": lambda rows: rows})


def write_dataset(
    examples: Examples,
    articles: pl.DataFrame | pl.LazyFrame,
    folder: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    contamination: str = "",
) -> pl.DataFrame:
    """Write the files of a data set that may be passed on.

    These are the card `README.md`, `LICENSE.md` with the attribution, `left_out.parquet`, and for
    each format a file per split that has rows. Nothing but `left_out.parquet` where no example may
    be passed on.

    Args:
        examples: the examples with their splits.
        articles: the clean articles behind them, for the attribution; they may be scanned.
        folder: where to make the folder `dataset`.
        parameters: what the stage ran with, for the card.
        contamination: what the comparison with test sets found, in a sentence or two.

    Returns:
        What it leaves out, see `left_out`.
    """
    out = left_out(examples.index)
    write_file(folder / FOLDER / "left_out.parquet", out)
    open_ = examples.only(examples.index.filter("redistributable"))
    if len(open_):
        changes = {f"{FOLDER}/{name}/{{split}}.jsonl": _converter(name) for name in FORMATS}
        _write(open_, folder, changes)
        works = attribution(open_.index, articles)
        none = frame([], Example)
        card = dataset_card(
            open_.index,
            works,
            formats=FORMATS,
            features={name: _features(converted(none, name)) for name in FORMATS},
            counts=_counts(open_.index),
            left_out=out,
            parameters=parameters or {},
            contamination=contamination,
        )
        write_file(folder / FOLDER / "README.md", card)
        with (folder / FOLDER / "LICENSE.md").open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in licence_lines(open_.index, works))
    return out


def _converter(name: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: converted(rows, name)


def _counts(index: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Rows of each format by split; splits without rows are absent."""
    counts: dict[str, dict[str, int]] = {}
    for name in FORMATS:
        held = index.filter(pl.col("turns") <= 3) if name == "instruction-response" else index
        found = dict(held.group_by("split").len().iter_rows())
        counts[name] = {split: found[split] for split in SPLITS if split in found}
    return counts


def _write(
    examples: Examples, folder: Path, files: Mapping[str, Callable[[pl.DataFrame], pl.DataFrame]]
) -> None:
    """Append the rows to the file of their split, piece by piece; files without rows are not made.

    Args:
        examples: the examples with their splits.
        folder: where to.
        files: path inside it, with `{split}`, to what makes its rows.
    """
    with ExitStack() as stack:
        opened: dict[str, Any] = {}
        for lines in _lines(examples, files):
            for name, text in lines.items():
                if name not in opened:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    opened[name] = stack.enter_context((folder / name).open("wb"))
                opened[name].write(text)


def _lines(
    examples: Examples, files: Mapping[str, Callable[[pl.DataFrame], pl.DataFrame]]
) -> Iterator[dict[str, bytes]]:
    """The lines of each file, for one piece of the examples after the other."""

    def written(rows: pl.DataFrame) -> dict[str, bytes]:
        found = {}
        for (split,), some in rows.partition_by("split", as_dict=True).items():
            for name, change in files.items():
                if (table := change(some)).height:
                    file = io.BytesIO()
                    table.write_ndjson(file)
                    found[name.format(split=split)] = file.getvalue()
        return found

    waiting: deque[Future[dict[str, bytes]]] = deque()
    with ThreadPoolExecutor(usable_cores()) as threads:  # polars lets go of the GIL
        for rows in examples:
            waiting.append(threads.submit(written, rows))
            if len(waiting) > usable_cores():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _features(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Names and types of the columns as a card states them: a split may hold only empty lists.

    Source: https://huggingface.co/docs/datasets/repository_structure
    """
    return [_feature(name, dtype) for name, dtype in table.schema.items()]


def _feature(name: str, dtype: pl.DataType) -> dict[str, Any]:
    if isinstance(dtype, pl.List):
        inner = dtype.inner
        if isinstance(inner, pl.Struct):
            return {"name": name, "list": [_feature(f.name, _typed(f.dtype)) for f in inner.fields]}
        return {"name": name, "list": _feature("", _typed(inner))["dtype"]}
    return {"name": name, "dtype": "int64" if dtype.is_integer() else "string"}


def _typed(dtype: Any) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()

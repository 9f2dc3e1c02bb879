"""Write training examples as a data set to pass on: three formats, a card, licences, attribution.

The stage's own files stay as they are, and may hold text that nobody may pass on. The folder that
is made here holds only what may be, and a row for everything that was left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from elara.expand.datacard import dataset_card, licence_text

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


def left_out(examples: pl.DataFrame) -> pl.DataFrame:
    """What the data set does not hold, and why.

    Args:
        examples: `Example` rows.

    Returns:
        Columns id, article_id, licence, format (`all` or one of them) and reason.
    """
    named = examples.select(
        "id",
        "licence",
        "redistributable",
        article_id=pl.col("article_ids").list.first(),
        several=pl.col("messages").list.len() > 3,
    )
    closed = named.filter(~pl.col("redistributable")).with_columns(
        format=pl.lit("all"), reason=pl.lit("its licence does not allow it to be passed on")
    )
    long = named.filter("redistributable", "several").with_columns(
        format=pl.lit("instruction-response"),
        reason=pl.lit("a conversation of several questions, which this format cannot hold"),
    )
    return pl.concat([closed, long]).select(_LEFT_OUT).sort("id")


def dataset_files(
    examples: pl.DataFrame,
    articles: pl.DataFrame,
    *,
    parameters: Mapping[str, Any] | None = None,
    contamination: str = "",
) -> dict[str, Any]:
    """The files of a data set that may be passed on, for `Stage.write`.

    Args:
        examples: `Example` rows with their split.
        articles: the clean articles behind them, for the attribution.
        parameters: what the stage ran with, for the card.
        contamination: what the comparison with test sets found, in a sentence or two.

    Returns:
        Path inside the stage's folder to content: the card `README.md`, `LICENSE.md` with the
        attribution, `left_out.parquet`, and for each format a file per split that has rows. Nothing
        but `left_out.parquet` where no example may be passed on.
    """
    out = left_out(examples)
    files: dict[str, Any] = {f"{FOLDER}/left_out.parquet": out}
    open_ = examples.filter("redistributable")
    if open_.is_empty():
        return files
    counts: dict[str, dict[str, int]] = {name: {} for name in FORMATS}
    for name in FORMATS:
        for split in SPLITS:
            rows = converted(open_.filter(split=split), name)
            if rows.height:
                files[f"{FOLDER}/{name}/{split}.jsonl"] = rows
                counts[name][split] = rows.height
    card = dataset_card(
        open_,
        articles,
        formats=FORMATS,
        features={name: _features(converted(open_.head(0), name)) for name in FORMATS},
        counts=counts,
        left_out=out,
        parameters=parameters or {},
        contamination=contamination,
    )
    written = {
        f"{FOLDER}/README.md": card,
        f"{FOLDER}/LICENSE.md": licence_text(open_, articles),
    }
    return files | written


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

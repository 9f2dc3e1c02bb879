"""Tokenise examples, choose those that fit length and budget, and choose how they share batches."""

from __future__ import annotations

import bisect
import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from elara.model import Encoded, LanguageModel, ModelError, encode
from elara.model.chat import holds_marks
from elara.train.config import TrainingConfig, TrainingError


@dataclass(frozen=True)
class TokenData:
    """The examples of a run, tokenised.

    Args:
        train: what one epoch goes through.
        validation: what the loss is watched on.
        ids: the ids of the training examples, in the order of `train`.
        table: columns split, examples, tokens, answer_tokens, truncated, too_long,
            marks_in_text, over_budget: what was used, how many questions of it were cut, how many
            examples hold marks of the chat format, which are read as text, and what was left out.
    """

    train: list[Encoded]
    validation: list[Encoded]
    ids: list[str]
    table: pl.DataFrame


def tokenise(
    tokenizer: Any, train: pl.DataFrame, validation: pl.DataFrame, config: TrainingConfig
) -> TokenData:
    """Tokenise the splits and choose what one epoch goes through.

    Curated and other examples take turns, each in a random order fixed by the seed, until the
    token budget is used up. An answer is never cut: that would teach the model to stop in
    mid-sentence. An example that is too long is left out, or (`cut_question`) its question loses
    words from the end until it fits; both are counted.

    Args:
        tokenizer: the base model's tokenizer.
        train: `Example` rows to learn from.
        validation: `Example` rows to watch the loss on; may be empty.
        config: gives `max_length`, `long_examples`, `max_train_tokens` and `seed`.

    Raises:
        TrainingError: an example carries no loss, or none is left to train on.
    """
    kept, ids, train_row = _select(tokenizer, train, config, budget=config.max_train_tokens)
    watched, _, validation_row = _select(tokenizer, validation, config, budget=0)
    if not kept:
        raise TrainingError(
            f"No training example is left: {train_row['too_long']} are longer than max_length "
            f"{config.max_length} tokens{_AND_STILL[config.long_examples]}. Raise it, or lower "
            "max_answer_words in 04."
        )
    rows = [{"split": "train"} | train_row, {"split": "validation"} | validation_row]
    return TokenData(kept, watched, ids, pl.DataFrame(rows))


def _select(
    tokenizer: Any, examples: pl.DataFrame, config: TrainingConfig, budget: int
) -> tuple[list[Encoded], list[str], dict[str, int]]:
    rows = examples.sort("id").select("id", "origin", "messages").to_dicts()
    random.Random(config.seed).shuffle(rows)
    rows = _taking_turns(rows)
    kept: dict[str, Encoded] = {}
    truncated = too_long = tokens = marked = 0
    for row in rows:
        if budget and tokens >= budget:
            break
        try:
            encoded, cut = _fitted(tokenizer, row["messages"], config)
        except ModelError as error:
            raise TrainingError(f"Example {row['id']}: {error}") from error
        if encoded is None:
            too_long += 1
            continue
        truncated += cut
        marked += holds_marks(tokenizer, row["messages"])
        kept[row["id"]] = encoded
        tokens += len(encoded.input_ids)
    counts = {
        "examples": len(kept),
        "tokens": tokens,
        "answer_tokens": sum(t != -100 for e in kept.values() for t in e.labels),
        "truncated": truncated,
        "too_long": too_long,
        "marks_in_text": marked,
        "over_budget": len(rows) - len(kept) - too_long,
    }
    return list(kept.values()), list(kept), counts


def _taking_turns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Curated and other examples by turns: a small budget has room for both."""
    curated = [row for row in rows if row["origin"] == "curated"]
    others = [row for row in rows if row["origin"] != "curated"]
    pairs = itertools.zip_longest(curated, others)
    return [row for pair in pairs for row in pair if row is not None]


def _fitted(
    tokenizer: Any, messages: list[dict[str, str]], config: TrainingConfig
) -> tuple[Encoded | None, bool]:
    """An example within `max_length`, or None; and whether its question was cut for that."""
    encoded, limit = encode(tokenizer, messages), config.max_length
    if len(encoded.input_ids) <= limit:
        return encoded, False
    if config.long_examples == "leave_out":
        return None, False
    return _cut_question(tokenizer, messages, limit), True


_AND_STILL = {"leave_out": "", "cut_question": ", even with one word of their question"}


def _cut_question(tokenizer: Any, messages: list[dict[str, str]], limit: int) -> Encoded | None:
    """Keep as many words of the last question as fit, at least one; None where none does."""
    last = max(i for i, message in enumerate(messages) if message["role"] == "user")
    question = messages[last]["content"]
    ends = [word.end() for word in re.finditer(r"\S+", question)][:-1]  # all were too long

    def cut(end: int) -> Encoded:
        shorter = messages[last] | {"content": question[:end]}
        return encode(tokenizer, [*messages[:last], shorter, *messages[last + 1 :]])

    fit = bisect.bisect_right(ends, limit, key=lambda end: len(cut(end).input_ids))
    return cut(ends[fit - 1]) if fit else None


def choose_batching(lm: LanguageModel, config: TrainingConfig) -> tuple[str, str]:
    """Choose how examples share forward passes.

    Several examples packed into one sequence waste nothing on padding, but only an attention that
    keeps them apart may read them so: one that is told where each begins
    (`elara.train.devices.attention`), or the model's own. The model itself is asked: does what an
    example predicts change when the one before it in the sequence does?

    Args:
        lm: the base model, with or without an adapter.
        config: gives `batching` and `batch_size`.

    Returns:
        `packed`, `length_grouped` or `shuffled`, and why, in one sentence.

    Raises:
        TrainingError: `packed` is asked for, and the model's attention mixes packed examples.

    Source: https://huggingface.co/docs/trl/reducing_memory_usage#packing
    """
    from elara.train.devices import attention

    wanted, why_not = config.batching, ""
    if wanted == "packed" or (wanted == "by_attention" and lm.device == "cuda"):
        usable, why_not = attention.usable(lm)
        if usable:
            return "packed", (
                "attention that is told where each example begins keeps packed ones apart, and "
                "nothing is spent on padding"
            )
        own = str(getattr(lm.model.config, "_attn_implementation", None) or "of its own kind")
        if attention.keeps_apart(lm.causal):
            return "packed", (
                f"the model's own attention ({own}) keeps packed examples apart by a mask, which "
                f"grows with the square of the row; the one that needs none cannot be used, since "
                f"{lm.name} {why_not}"
            )
        if wanted == "packed":
            raise TrainingError(
                f"`batching` is packed, but the attention of {lm.name} "
                f"({own}) lets packed examples read each other, so the model would "
                "learn to answer one question from another's text. Use `by_attention`."
            )
        why_not = f"; packed examples would read each other, since {lm.name} {why_not}"
    if wanted != "by_attention":
        return wanted, "asked for by the `batching` parameter"
    if config.batch_size > 1:
        return "length_grouped", (
            f"examples of similar length share a batch: little padding{why_not}"
        )
    return "shuffled", f"one example per forward pass: nothing to pad{why_not}"


def packed_rows(lengths: Sequence[int], max_length: int) -> int:
    """How many rows examples make when they are packed, by the rule of TRL's own packing.

    Args:
        lengths: tokens of each example, in the order of training; those of more than
            `max_length` count as cut.
        max_length: tokens of a row.

    Source: best fit decreasing, https://arxiv.org/abs/2404.10830; `trl.pack_dataset`.
    """
    import datasets
    import numpy as np
    import pyarrow as pa
    from trl import pack_dataset

    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    tokens = np.zeros(starts[-1], np.int8)  # which ones they are decides nothing
    table = pa.table({"input_ids": pa.ListArray.from_arrays(starts, tokens)})
    return len(pack_dataset(datasets.Dataset(table), max_length, "bfd"))


def masked_html(tokenizer: Any, encoded: Encoded) -> str:
    """Show one example as the model sees it: plain tokens are read, marked ones carry loss.

    Args:
        tokenizer: decodes the ids.
        encoded: the example; its loss may be on several stretches.

    Returns:
        An HTML paragraph.
    """
    import html

    pairs = zip(encoded.input_ids, encoded.labels, strict=True)
    mark = '<mark style="background:#0072B2;color:#fff">{}</mark>'  # legible on light and dark
    spans = []
    for target, run in itertools.groupby(pairs, key=lambda pair: pair[1] != -100):
        text = html.escape(tokenizer.decode([token for token, _ in run])).replace("\n", "⏎<br>")
        spans.append(mark.format(text) if target else text)
    return f'<p style="font-family:monospace;line-height:1.5">{"".join(spans)}</p>'

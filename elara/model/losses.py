"""Measure how surprised a model is by a reference answer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import polars as pl

from elara.display.progress import track
from elara.model import Encoded, LanguageModel, encode


def batch_losses(lm: LanguageModel, batch: Sequence[Encoded], *, adapter: bool) -> list[float]:
    """The mean loss on the answer of each conversation, in nats per answer token.

    Args:
        lm: a model with a trained adapter.
        batch: conversations, which are read at once.
        adapter: whether the adapter is on; off gives the base model's loss.
    """
    import torch

    def filled(rows: list[list[int]], value: int) -> Any:
        parts = [torch.tensor(row, device=lm.device) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=value)

    tokens = filled([row.input_ids for row in batch], 0)
    read = filled([[1] * len(row.input_ids) for row in batch], 0)
    wanted = filled([row.labels[1:] for row in batch], -100)
    context: Any = contextlib.nullcontext() if adapter else lm.model.disable_adapter()
    with torch.inference_mode(), context:
        logits = lm.model(input_ids=tokens, attention_mask=read).logits[:, :-1]
    loss = torch.nn.functional.cross_entropy
    return [float(loss(row.float(), ids)) for row, ids in zip(logits, wanted, strict=True)]


def answer_losses(
    lm: LanguageModel,
    examples: pl.DataFrame,
    *,
    max_length: int,
    sides: Sequence[str] = ("base", "adapter"),
    batch_size: int = 1,
    in_order: bool = False,
) -> pl.DataFrame:
    """Measure how surprised base model and adapter are by each reference answer.

    Both read the same tokens; the base model is the same network with its adapter switched off.

    Args:
        lm: a model with a trained adapter.
        examples: held-out `Example` rows.
        max_length: examples longer than this many tokens are left out, as in training.
        sides: of `base` and `adapter`, what to measure.
        batch_size: examples read at once; a GPU is faster with more than one.
        in_order: read them in the order given, and not the longest first.

    Returns:
        Columns id, source (the article), tokens (of the answer), and each of `sides`: mean loss
        in nats per answer token, stop token included. Ordered by id.

    Raises:
        ModelError: an example carries no loss.
    """
    parts = examples.select("id", "article_ids", "messages").rows()
    read = [(name, of[0], encode(lm.tokenizer, messages)) for name, of, messages in parts]
    read = [row for row in read if len(row[2].input_ids) <= max_length]
    read = read if in_order else sorted(read, key=lambda row: -len(row[2].input_ids))
    rows: list[tuple[Any, ...]] = []
    for start in track(range(0, len(read), batch_size), label="answer loss"):
        names, sources, batch = zip(*read[start : start + batch_size], strict=True)
        tokens = [sum(label != -100 for label in one.labels) for one in batch]
        losses = [batch_losses(lm, batch, adapter=side == "adapter") for side in sides]
        rows += zip(names, sources, tokens, *losses, strict=True)
    schema = {"id": pl.String, "source": pl.String, "tokens": pl.Int64}
    schema |= dict.fromkeys(sides, pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row").sort("id")

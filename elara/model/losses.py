"""Measure the answer loss: how surprised a model is by a reference answer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import polars as pl

from elara.display.progress import track
from elara.model import LanguageModel, encode


def answer_loss(
    lm: LanguageModel, input_ids: Sequence[int], labels: Sequence[int], *, adapter: bool
) -> float:
    """The mean loss on an example's answer.

    Args:
        lm: a model with a trained adapter.
        input_ids: token ids of the whole conversation.
        labels: the same ids where loss is taken, -100 elsewhere.
        adapter: whether the adapter is on; off gives the base model's loss.

    Returns:
        Nats per answer token.
    """
    import torch

    tokens = torch.tensor([list(input_ids)], device=lm.device)
    wanted = torch.tensor(list(labels[1:]), device=lm.device)
    context: Any = contextlib.nullcontext() if adapter else lm.model.disable_adapter()
    with torch.inference_mode(), context:
        logits = lm.model(input_ids=tokens).logits[0, :-1].float()
    return float(torch.nn.functional.cross_entropy(logits, wanted, ignore_index=-100))


def answer_losses(
    lm: LanguageModel,
    examples: pl.DataFrame,
    *,
    max_length: int,
    sides: Sequence[str] = ("base", "adapter"),
) -> pl.DataFrame:
    """Measure how surprised base model and adapter are by each reference answer.

    Both read exactly the same tokens; the base model is the same network with its adapter
    switched off.

    Args:
        lm: a model with a trained adapter.
        examples: held-out `Example` rows.
        max_length: examples longer than this many tokens are left out, as in training.
        sides: of `base` and `adapter`, what to measure.

    Returns:
        Columns id, source (the article), tokens (of the answer), and each of `sides`: mean loss
        in nats per answer token, stop token included. Ordered by id.

    Raises:
        ModelError: an example carries no loss.
    """
    rows = []
    parts = examples.sort("id").select("id", "article_ids", "messages").to_dicts()
    for example in track(parts, label="answer loss"):
        encoded = encode(lm.tokenizer, example["messages"])
        if len(encoded.input_ids) > max_length:
            continue
        row = {
            "id": example["id"],
            "source": example["article_ids"][0],
            "tokens": sum(label != -100 for label in encoded.labels),
        }
        for side in sides:
            row[side] = answer_loss(
                lm, encoded.input_ids, encoded.labels, adapter=side == "adapter"
            )
        rows.append(row)
    schema = {"id": pl.String, "source": pl.String, "tokens": pl.Int64}
    return pl.DataFrame(rows, schema=schema | dict.fromkeys(sides, pl.Float64))

"""The answer loss of base model and adapter on the same held-out examples."""

from __future__ import annotations

import polars as pl

from elara.model import LanguageModel, answer_loss, encode
from elara.progress import track


def answer_losses(lm: LanguageModel, examples: pl.DataFrame, *, max_length: int) -> pl.DataFrame:
    """Measure how surprised base model and adapter are by each reference answer.

    Both read exactly the same tokens; the base model is the same network with its adapter
    switched off.

    Args:
        lm: a model with a trained adapter.
        examples: held-out `Example` rows.
        max_length: examples longer than this many tokens are left out, as in training.

    Returns:
        Columns id, source (the article), tokens (of the answer), base and adapter: mean loss in
        nats per answer token, stop token included. Ordered by id.

    Raises:
        ModelError: an example carries no loss.
    """
    rows = []
    parts = examples.sort("id").select("id", "article_ids", "messages").to_dicts()
    for example in track(parts, label="answer loss"):
        encoded = encode(lm.tokenizer, example["messages"])
        if len(encoded.input_ids) > max_length:
            continue
        rows.append(
            {
                "id": example["id"],
                "source": example["article_ids"][0],
                "tokens": sum(label != -100 for label in encoded.labels),
                "base": answer_loss(lm, encoded.input_ids, encoded.labels, adapter=False),
                "adapter": answer_loss(lm, encoded.input_ids, encoded.labels, adapter=True),
            }
        )
    schema = {"id": pl.String, "source": pl.String, "tokens": pl.Int64}
    return pl.DataFrame(rows, schema=schema | {"base": pl.Float64, "adapter": pl.Float64})

"""Examples as tokens: what fits, what the budget allows, and which tokens carry loss."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import polars as pl

from elara.model import Encoded, ModelError, encode
from elara.train.config import TrainingConfig, TrainingError


@dataclass(frozen=True)
class TokenData:
    """The examples of a run, tokenised.

    Args:
        train: what one epoch goes through.
        validation: what the loss is watched on.
        ids: the ids of the training examples, in the order of `train`.
        table: columns split, examples, tokens, answer_tokens, too_long, over_budget: what was
            used and what was left out.
    """

    train: list[Encoded]
    validation: list[Encoded]
    ids: list[str]
    table: pl.DataFrame


def tokenise(
    tokenizer: Any, train: pl.DataFrame, validation: pl.DataFrame, config: TrainingConfig
) -> TokenData:
    """Tokenise the splits and choose what one epoch goes through.

    Curated examples come first and the others follow in a random order fixed by the seed, until
    the token budget is used up. Nothing is truncated: an answer cut in the middle would teach the
    model to stop in mid-sentence, so an example that is too long is left out and counted.

    Args:
        tokenizer: the base model's tokenizer.
        train: `Example` rows to learn from.
        validation: `Example` rows to watch the loss on; may be empty.
        config: gives `max_length`, `max_train_tokens` and `seed`.

    Raises:
        TrainingError: an example carries no loss, or none is left to train on.
    """
    kept, ids, train_row = _select(tokenizer, train, config, budget=config.max_train_tokens)
    watched, _, validation_row = _select(tokenizer, validation, config, budget=0)
    if not kept:
        raise TrainingError(
            f"No training example is left: {train_row['too_long']} are longer than max_length "
            f"{config.max_length} tokens. Raise it, or lower max_answer_words in 04."
        )
    rows = [{"split": "train"} | train_row, {"split": "validation"} | validation_row]
    return TokenData(kept, watched, ids, pl.DataFrame(rows))


def _select(
    tokenizer: Any, examples: pl.DataFrame, config: TrainingConfig, budget: int
) -> tuple[list[Encoded], list[str], dict[str, int]]:
    rows = examples.sort("id").select("id", "origin", "messages").to_dicts()
    random.Random(config.seed).shuffle(rows)
    rows.sort(key=lambda row: row["origin"] != "curated")
    kept: list[Encoded] = []
    ids: list[str] = []
    too_long = tokens = 0
    for row in rows:
        if budget and tokens >= budget:
            break
        try:
            encoded = encode(tokenizer, row["messages"])
        except ModelError as error:
            raise TrainingError(f"Example {row['id']}: {error}") from error
        if len(encoded.input_ids) > config.max_length:
            too_long += 1
            continue
        kept.append(encoded)
        ids.append(row["id"])
        tokens += len(encoded.input_ids)
    return (
        kept,
        ids,
        {
            "examples": len(kept),
            "tokens": tokens,
            "answer_tokens": sum(t != -100 for e in kept for t in e.labels),
            "too_long": too_long,
            "over_budget": len(rows) - len(kept) - too_long,
        },
    )


def masked_html(tokenizer: Any, encoded: Encoded) -> str:
    """Show one example as the model sees it: grey tokens are read, blue ones carry loss.

    Args:
        tokenizer: decodes the ids.
        encoded: the example.

    Returns:
        An HTML paragraph.
    """
    import html

    start = next(i for i, label in enumerate(encoded.labels) if label != -100)
    asked = html.escape(tokenizer.decode(encoded.input_ids[:start])).replace("\n", "⏎<br>")
    answer = html.escape(tokenizer.decode(encoded.input_ids[start:])).replace("\n", "⏎<br>")
    return (
        '<p style="font-family:monospace;line-height:1.5">'
        f'<span style="color:#767676">{asked}</span>'
        f'<span style="color:#0072B2;font-weight:bold">{answer}</span></p>'
    )

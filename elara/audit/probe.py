"""Record the losses of a few examples in an adapter folder, and measure them again later."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import polars as pl

from elara.model import LanguageModel, encode
from elara.model.losses import answer_loss

PROBE_FILE = "probe.json"
SIZE = 8  # examples: enough to notice another model, few enough for a laptop's patience
LONGEST = 512  # tokens of an example in the slice
SIDES = ("base", "adapter")
UNIT = "nats per answer token"
BOUND = 1e-3  # nats per answer token: how close a loss measured again must come


def record_probe(
    lm: LanguageModel, validation: pl.DataFrame, train: pl.DataFrame, *, max_length: int
) -> dict[str, Any]:
    """Choose the slice and measure it with adapter and base model.

    Only examples that may be passed on are taken, since their tokens travel with the adapter:
    held-out ones first, training examples where those are too few. The choice depends on the
    examples' ids alone.

    Args:
        lm: the model with its trained adapter.
        validation: `Example` rows that were not trained on.
        train: `Example` rows that were.
        max_length: longest example of the run, in tokens.

    Returns:
        The content of `probe.json`; `examples` is empty where no example may be passed on.
    """
    chosen: list[dict[str, Any]] = []
    for split, table in (("validation", validation), ("train", train)):
        rows = table.filter("redistributable").select("id", "licence", "messages").to_dicts()
        rows.sort(key=lambda row: hashlib.sha256(row["id"].encode()).digest())
        for row in rows:
            if len(chosen) == SIZE:
                break
            encoded = encode(lm.tokenizer, row["messages"])
            if len(encoded.input_ids) > min(max_length, LONGEST):
                continue
            tokens = {"input_ids": list(encoded.input_ids), "labels": list(encoded.labels)}
            digest = hashlib.sha256(repr([*tokens.values()]).encode()).hexdigest()
            named = {"id": row["id"], "split": split, "licence": row["licence"], "sha256": digest}
            chosen.append(measured(lm, named | tokens))
    return {
        "bound": BOUND,
        "unit": UNIT,
        "precision": dataclasses.asdict(lm.precision),
        "examples": chosen,
    }


def measured(lm: LanguageModel, row: dict[str, Any]) -> dict[str, Any]:
    """An example of the slice with its losses.

    Args:
        lm: the model with its adapter.
        row: its `input_ids` and `labels`, and what else is known of it.
    """
    losses = {
        side: answer_loss(lm, row["input_ids"], row["labels"], adapter=side == "adapter")
        for side in SIDES
    }
    return row | losses


def mean_losses(probe: dict[str, Any]) -> dict[str, float]:
    """The slice's mean losses as recorded.

    Args:
        probe: the content of `probe.json`.

    Returns:
        `base` and `adapter`; nothing where the slice is empty.
    """
    rows = probe["examples"]
    return {s: sum(r[s] for r in rows) / len(rows) for s in SIDES if rows}


def measure_again(lm: LanguageModel, probe: dict[str, Any]) -> pl.DataFrame:
    """Measure the slice's losses again.

    Args:
        lm: the adapter as it was loaded, on its base model.
        probe: the content of `probe.json`.

    Returns:
        Columns id, side (`base` or `adapter`), recorded, measured and difference (absolute), in
        nats per answer token: two rows per example.
    """
    rows = []
    for row in probe["examples"]:
        again = measured(lm, row)
        for side in SIDES:
            off = abs(again[side] - row[side])
            rows.append((row["id"], side, row[side], again[side], off))
    names = ["id", "side", "recorded", "measured", "difference"]
    types = [pl.String, pl.String, pl.Float64, pl.Float64, pl.Float64]
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")

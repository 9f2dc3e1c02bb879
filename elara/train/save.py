"""Leave an adapter that others can load, check and judge."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import elara
from elara.model import PACKAGED, TRAINING_FILE
from elara.train.config import TrainingConfig
from elara.train.data import TokenData
from elara.train.fit import Training

# The packaged weights are a quantised copy of this model; PEFT records the name in the adapter.
_HUB_NAME = {PACKAGED: "HuggingFaceTB/SmolLM2-135M-Instruct"}


def save_adapter(
    training: Training,
    config: TrainingConfig,
    data: TokenData,
    licences: dict[str, int],
    folder: Path,
) -> dict[str, Any]:
    """Save adapter, tokenizer, settings and model card.

    Args:
        training: the finished run.
        config: its settings.
        data: what it was trained on.
        licences: training examples per licence.
        folder: where to; made when needed.

    Returns:
        The content of `training.json`.
    """
    model = training.model.model
    model.peft_config["default"].base_model_name_or_path = _HUB_NAME.get(
        config.base_model, config.base_model
    )
    # The vocabulary is the base model's; without this, PEFT asks the hub whether it is.
    model.save_pretrained(folder, save_embedding_layers=False)
    training.model.tokenizer.save_pretrained(folder)
    record = {
        "elara": elara.__version__,
        "base_model": config.base_model,
        "quantisation": config.quantisation,
        "config": dataclasses.asdict(config),
        "precision": dataclasses.asdict(training.model.precision),
        "trainable_parameters": training.trainable,
        "total_parameters": training.total,
        "steps": training.steps,
        "resumed_at_step": training.resumed_at,
        "tokens": training.tokens,
        "seconds": round(training.seconds, 1),
        "licences": licences,
        "examples": data.ids,
        "data": data.table.to_dicts(),
    }
    text = json.dumps(record, indent=2, ensure_ascii=False)
    (folder / TRAINING_FILE).write_text(text + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(record), encoding="utf-8")
    return record


def model_card(record: dict[str, Any]) -> str:
    """The model card that travels with an adapter.

    Args:
        record: the content of `training.json`.

    Returns:
        Markdown with the metadata block that model hubs read.

    Source: https://huggingface.co/docs/hub/model-cards
    """
    config = record["config"]
    base = _HUB_NAME.get(record["base_model"], record["base_model"])
    share = 100 * record["trainable_parameters"] / record["total_parameters"]
    licences = "\n".join(f"| {name} | {n} |" for name, n in sorted(record["licences"].items()))
    splits = "\n".join(
        f"| {row['split']} | {row['examples']} | {row['tokens']} | {row['answer_tokens']} |"
        for row in record["data"]
    )
    return f"""---
base_model: {base}
library_name: peft
pipeline_tag: text-generation
tags: [lora, medical, education]
---

# Medical LoRA adapter, made with Elara {record["elara"]}

## Intended use
Research and teaching on how open medical text changes a language model. It is **not** a medical
device and must not be used for diagnosis, treatment or any decision about a person's care. Its
answers are fluent and often wrong. Read the evaluation that was made with it before any use.

## Training
LoRA of rank {config["lora_r"]} (alpha {config["lora_alpha"]}, dropout {config["lora_dropout"]}) on
all linear layers of `{base}`: {record["trainable_parameters"]:,} trainable parameters,
{share:.2f} % of the model. {record["steps"]} optimiser steps at learning rate
{config["learning_rate"]} (cosine), base weights in {record["precision"]["dtype"]}
(quantisation: {record["quantisation"]}). The loss is taken on the answers alone.

| split | examples | tokens | answer tokens |
|---|---:|---:|---:|
{splits}

`training.json` lists every training example by id; an id begins with the article it came from.

## Licences of the training text
| licence | examples |
|---|---:|
{licences}

## Limits
English only, few examples per specialty, no check of facts, no safety tuning.
"""

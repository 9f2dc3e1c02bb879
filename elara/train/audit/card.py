"""The model card: what a person reads first who receives an adapter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from elara.model import PACKAGED, split_revision

# The packaged weights are a quantised copy of this model; PEFT records the name in the adapter.
_HUB_NAME = {PACKAGED: "HuggingFaceTB/SmolLM2-135M-Instruct"}
INTENDED_USE = (
    "Research and teaching on how open medical text changes a language model. It is not a medical "
    "device and must not be used for diagnosis, treatment or any decision about a person's care. "
    "Its answers are fluent and often wrong."
)


def hub_name(base_model: str) -> str:
    """The name under which other tools find a base model.

    Args:
        base_model: as `load_base` takes it.
    """
    name = split_revision(base_model)[0]  # the revision stands apart, in PEFT's own settings
    return _HUB_NAME.get(name, name)


def shown_name(base_model: str) -> str:
    """A base model's name for readers: of a local folder the last part, not the whole path.

    Args:
        base_model: as `load_base` takes it.
    """
    path = Path(base_model).expanduser()
    return path.name if path.is_absolute() or path.is_dir() else hub_name(base_model)


def model_card(record: dict[str, Any]) -> str:
    """The model card that travels with an adapter.

    Args:
        record: the content of `training.json`.

    Returns:
        Markdown with the metadata block that model hubs read.

    Source: https://huggingface.co/docs/hub/model-cards
    """
    config = record["config"]
    base = shown_name(record["base_model"])
    share = 100 * record["trainable_parameters"] / record["total_parameters"]
    licences = "\n".join(f"| {name} | {n} |" for name, n in sorted(record["licences"].items()))
    splits = "\n".join(
        f"| {row['split']} | {row['examples']} | {row['tokens']} | {row['answer_tokens']} |"
        for row in record["data"]
    )
    variant = {"rslora": "rank-stabilised LoRA", "dora": "DoRA"}.get(
        config.get("lora_variant", "lora"), "LoRA"
    )
    return f"""---
base_model: {base}
library_name: peft
pipeline_tag: text-generation
language: en
tags: [lora, medical, education]
---

# Medical LoRA adapter, made with Elara {record["elara"]}

## Intended use
Research and teaching on how open medical text changes a language model. It is **not** a medical
device and must not be used for diagnosis, treatment or any decision about a person's care. Its
answers are fluent and often wrong. Read the evaluation that was made with it before any use.

## Training
{variant} of rank {config["lora_r"]} (alpha {config["lora_alpha"]}, dropout
{config["lora_dropout"]}) on all linear layers of `{base}`: {record["trainable_parameters"]:,}
trainable parameters, {share:.2f} % of the model. {record["steps"]} optimiser steps at learning
rate {config["learning_rate"]} (cosine), base weights in {record["precision"]["dtype"]}
(quantisation: {record["quantisation"]}). The loss is taken on the answers alone.

| split | examples | tokens | answer tokens |
|---|---:|---:|---:|
{splits}

`training.json` lists every training example by id; an id begins with the article it came from.

## Licences of the training text
| licence | examples |
|---|---:|
{licences}

## Passport
Where this folder holds `passport.html`, it states in full what the adapter was made from and how:
every example with its licence, the comparison with held-out data, the losses, and the hash of
every file. `elara verify --adapter .` checks it, and measures recorded losses again.

## Limits
English only, few examples per specialty, no check of facts, no safety tuning.
"""


def embedded_card(record: dict[str, Any]) -> str:
    """The model card as a part of a page that has headings of its own.

    Args:
        record: the content of `training.json`.

    Returns:
        Markdown without the metadata block, its headings two levels lower.
    """
    text = model_card(record).split("---", 2)[2]
    return re.sub(r"^#", "###", text.strip(), flags=re.MULTILINE)

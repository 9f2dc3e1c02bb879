"""Write the model card and the licences that travel with an adapter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from elara.model import PACKAGED, split_revision
from elara.records import PRIVATE

# The packaged weights are a quantised copy of this model; PEFT records the name in the adapter.
_HUB_NAME = {PACKAGED: "HuggingFaceTB/SmolLM2-135M-Instruct"}
# Licences of the base models that Elara offers by name, as their model cards state them.
_BASE_LICENCES = {"HuggingFaceTB/": "Apache-2.0", "mistralai/Mistral-7B": "Apache-2.0"}
# Whoever passes on what was made from such text owes nothing.
_NO_CONDITIONS = ("CC0-1.0", "public-domain")
LICENCE_FILE = "LICENSE.md"  # the one name in a folder that a hub's `license_link` may give

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
    return Path(base_model).name if _local(base_model) else hub_name(base_model)


def _local(base_model: str) -> bool:
    path = Path(base_model).expanduser()
    return path.is_absolute() or path.is_dir()


def base_licence(base_model: str) -> str:
    """SPDX id of a base model's licence, or "" where Elara does not know it.

    Args:
        base_model: as `load_base` takes it.
    """
    title = shown_name(base_model)
    return next((spdx for start, spdx in _BASE_LICENCES.items() if title.startswith(start)), "")


def _licences(record: dict[str, Any]) -> list[str]:
    """SPDX ids of what a user has to keep to; `unknown` among them where a part is not known."""
    names = {base_licence(record["base_model"]) or "unknown", *record["licences"]}
    if record.get("continues") or "preference" in record:
        names.add("unknown")  # the record does not count the earlier text, nor that of judgements
    return sorted(names.difference(_NO_CONDITIONS))


def licence_expression(record: dict[str, Any]) -> str:
    """What the user of an adapter has to keep to: the licences of base model and training text.

    Args:
        record: the content of `training.json`.

    Returns:
        One SPDX expression, or "" where part of it is private or not known.

    Source: https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/
    """
    names = _licences(record)
    return "" if {"unknown", PRIVATE} & {*names} else " AND ".join(names)


def metadata(record: dict[str, Any], relation: str, *tags: str) -> str:
    """The block at the top of a card from which a model hub learns what it shows.

    It has no `datasets`: that key names data sets of the hub, and the text comes from elsewhere.

    Args:
        record: the content of `training.json`.
        relation: to the base model: `adapter`, `finetune` or `quantized`.
        tags: more of them.

    Returns:
        YAML between two lines of dashes.

    Source: https://huggingface.co/docs/hub/model-cards#model-card-metadata
    """
    names, base = _licences(record), record["base_model"]
    found: dict[str, Any] = {}
    if not _local(base):  # a folder has no page on the hub, and its name may be another model's
        found |= {"base_model": hub_name(base), "base_model_relation": relation}
    if len(names) == 1 and names[0] not in ("unknown", PRIVATE):
        found["license"] = names[0].lower()
    else:
        name = "partly-unknown" if "unknown" in names else "-and-".join(names).lower()
        found |= {"license": "other", "license_name": name, "license_link": LICENCE_FILE}
    found["library_name"] = "peft" if relation == "adapter" else "transformers"
    found |= {"pipeline_tag": "text-generation", "language": "en"}
    found["tags"] = [*tags, "medical", "education"]
    return f"---\n{yaml.safe_dump(found, sort_keys=False)}---\n"


def licence_text(record: dict[str, Any]) -> str:
    """What `LICENSE.md` says: which licences meet in these weights, and what that means.

    Args:
        record: the content of `training.json`.
    """
    names = _licences(record)
    unknown = (
        "\nPart of it is **unknown**: ask whoever made this adapter before you pass it on, or use "
        "it for\nmore than research of your own.\n"
        if "unknown" in names
        else ""
    )
    return f"""# Licences

These weights were made from a base model and from text by others. Elara grants no licence of its
own; whoever passes the weights on has to keep to all of these: {", ".join(names)}.
{unknown}
- Base model `{shown_name(record["base_model"])}`: {base_licence(record["base_model"]) or "unknown"}
- Training text, by example:

| licence | examples |
|---|---:|
{_rows(record) or "| unknown | 0 |"}
{private_note(record["licences"])}
Licences that begin with `CC-BY` ask for attribution: the passport's data manifest, where this
folder has one, names the article behind every example.
"""


def _rows(record: dict[str, Any]) -> str:
    return "\n".join(f"| {name} | {n} |" for name, n in sorted(record["licences"].items()))


def private_note(licences: Mapping[str, int]) -> str:
    """What a card says about training text that its owner keeps private; "" without such text.

    Args:
        licences: training examples per licence.
    """
    if not (count := licences.get(PRIVATE)):
        return ""
    return (
        f"\nThe text of {count:,} examples is private: its owner let this adapter learn from it, "
        "and it may\nnot be passed on. It is not in this folder, but a model can repeat what it "
        "learned.\n"
    )


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
    splits = "\n".join(
        f"| {row['split']} | {row['examples']} | {row['tokens']} | {row['answer_tokens']} |"
        for row in record["data"]
    )
    variants = {"rslora": "rank-stabilised LoRA", "dora": "DoRA"}
    variant = variants.get(config.get("lora_variant"), "LoRA")
    return f"""{metadata(record, "adapter", "lora")}
# Medical LoRA adapter, made with Elara {record["elara"]}

## Intended use
{INTENDED_USE} Read the evaluation that was made with it before any use.

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
{_rows(record)}
{private_note(record["licences"])}
`LICENSE.md` says what follows for whoever passes this adapter on.

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

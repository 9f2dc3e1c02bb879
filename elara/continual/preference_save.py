"""Leave a preference-tuned adapter that loads like any other and says what it was tuned on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from elara.audit.card import hub_name, metadata
from elara.continual.preference import PreferenceConfig, Preferred
from elara.model import TRAINING_FILE
from elara.train.config import REFERENCE, TrainingConfig
from elara.train.save import adapter_record, save_files


def save_preferred(
    preferred: Preferred,
    config: PreferenceConfig,
    folder: Path,
    *,
    earlier: Path | None = None,
    lora: TrainingConfig = REFERENCE,
) -> dict[str, Any]:
    """Save adapter, tokenizer, settings and a short card.

    Args:
        preferred: the tuned model.
        config: the settings of `prefer`.
        folder: where to; made when needed. Not the earlier adapter's folder.
        earlier: the folder of the adapter that was tuned; its record goes on in the new one.
        lora: the settings of a new adapter, as given to `prefer`; not used with `earlier`.

    Returns:
        The content of `training.json`: that of the earlier adapter, if any, with `preference`.
    """
    lm = preferred.model
    told: dict[str, Any] = {"licences": {}, "examples": []}
    if earlier is not None:
        told = json.loads((earlier / TRAINING_FILE).read_text(encoding="utf-8"))
        # What the earlier run was set to stays, where the adapter does not say it itself.
        lora = TrainingConfig(**told["config"])
    own = adapter_record(lm, lora, preferred.adapter_dtype, earlier=earlier)
    record = told | {name: own[name] for name in own if name != "earlier_examples"}
    judged = preferred.rewards.filter(split="train")["id"].unique().sort()
    record["preference"] = {
        "method": preferred.method,
        "config": dataclasses.asdict(config),
        "feedback": judged.to_list(),
        "left_out": preferred.left_out,
        "margins": preferred.margins.to_dicts(),
    }
    save_files(lm, preferred.adapter_dtype, record, _card(record, lm.name), folder)
    return record


def _card(record: dict[str, Any], base: str) -> str:
    preference = record["preference"]
    rows = "\n".join(
        f"| {row['split']} | {row['questions']} | {row['margin']:.3f} | {row['accuracy']:.2f} |"
        for row in preference["margins"]
    )
    start = f"{len(record['examples'])} examples" if record["examples"] else "no examples"
    return f"""{metadata(record, "adapter", "lora", preference["method"])}
# LoRA adapter tuned on preferences, made with Elara {record["elara"]}

## Intended use
Research and teaching on how feedback changes a language model. It is **not** a medical device and
must not be used for diagnosis, treatment or any decision about a person's care. Feedback says what
people liked to read, not what is true. Read the evaluation that was made with it before any use.

## Training
`{hub_name(base)}` with an adapter that had seen {start}, tuned with {preference["method"].upper()}
(beta {preference["config"]["beta"]}, learning rate {preference["config"]["learning_rate"]}) on
{len(preference["feedback"])} judgements, listed by id in `training.json`.

| split | questions | reward margin | accuracy |
|---|---:|---:|---:|
{rows}

Before tuning every margin is 0. A margin on held-out questions above 0 says that the model favours
the kind of answer that was preferred; it says nothing about whether that answer is correct.
"""

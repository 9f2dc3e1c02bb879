"""Save an adapter with its tokenizer, its record, its model card and its licences."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import elara
from elara.audit.card import LICENCE_FILE, hub_name, licence_text, model_card
from elara.model import TRAINING_FILE, WEIGHTS_FILE, LanguageModel
from elara.model.chat import template_name
from elara.train.config import TrainingConfig
from elara.train.data import TokenData
from elara.train.lora import of_adapter
from elara.train.sft import Training
from elara.workspace import file_sha256
from elara.workspace.formats import write_file


def save_adapter(
    training: Training,
    config: TrainingConfig,
    data: TokenData,
    licences: dict[str, int],
    folder: Path,
) -> dict[str, Any]:
    """Save adapter, tokenizer, settings and model card. `write_passport` completes the folder.

    Args:
        training: the finished run.
        config: its settings; of rank, alpha, dropout and variant the adapter's own are recorded.
        data: what it was trained on.
        licences: training examples per licence.
        folder: where to; made when needed.

    Returns:
        The content of `training.json`.
    """
    lm = training.model
    record = adapter_record(lm, config, training.adapter_dtype, earlier=training.earlier) | {
        "steps": training.steps,
        "best_step": training.best_step,
        "resumed_at_step": training.resumed_at,
        "tokens": training.tokens,
        "seconds": round(training.seconds, 1),
        "licences": licences,
        "examples": data.ids,
        "data": data.table.to_dicts(),
    }
    save_files(lm, training.adapter_dtype, record, model_card(record), folder)
    return record


def adapter_record(
    lm: LanguageModel, config: TrainingConfig, adapter_dtype: str, *, earlier: Path | None
) -> dict[str, Any]:
    """What `training.json` says of every adapter, read off the adapter itself.

    Args:
        lm: the model with its adapter.
        config: settings of the run, or of a new adapter.
        adapter_dtype: the number format in which the adapter was trained.
        earlier: the folder of the adapter that was trained on, if any.

    Returns:
        `continues` names the earlier adapter by the hashes of its weights and its
        `training.json`; `earlier_examples` are all that it had learned from, by id.
    """
    trainable, total = lm.model.get_nb_trainable_parameters()
    settings = dataclasses.asdict(of_adapter(config, lm.model))
    record: dict[str, Any] = {
        "elara": elara.__version__,
        "base_model": lm.name,
        "quantisation": lm.quantisation,
        "chat_template": template_name(lm.tokenizer),
        "config": settings | {"trackers": list(config.trackers)},  # as JSON reads it
        "precision": dataclasses.asdict(lm.precision),
        "adapter_dtype": adapter_dtype,
        "trainable_parameters": trainable,
        "total_parameters": total,
        "continues": None,
        "earlier_examples": [],
    }
    if earlier is not None:
        told = json.loads((earlier / TRAINING_FILE).read_text(encoding="utf-8"))
        record["continues"] = {
            "training_sha256": file_sha256(earlier / TRAINING_FILE),
            "weights_sha256": file_sha256(earlier / WEIGHTS_FILE),
        }
        record["earlier_examples"] = sorted({*told["examples"], *told.get("earlier_examples", ())})
    return record


def save_files(
    lm: LanguageModel, adapter_dtype: str, record: dict[str, Any], card: str, folder: Path
) -> None:
    """Write weights, tokenizer, `training.json`, model card and licences.

    Args:
        lm: the model with its adapter.
        adapter_dtype: the number format of A and B in the file: that in which they were trained,
            so nothing is lost.
        record: the content of `training.json`.
        card: the content of `README.md`.
        folder: where to; made when needed.
    """
    import torch

    model = lm.model
    model.peft_config["default"].base_model_name_or_path = hub_name(lm.name)
    stored = [p for n, p in model.named_parameters() if "lora_A" in n or "lora_B" in n]
    loaded = [parameter.data for parameter in stored]
    try:
        for parameter in stored:
            parameter.data = parameter.data.to(getattr(torch, adapter_dtype))
        # The vocabulary is the base model's; without this, PEFT asks the hub whether it is.
        model.save_pretrained(folder, save_embedding_layers=False)
    finally:
        for parameter, data in zip(stored, loaded, strict=True):
            parameter.data = data
    lm.tokenizer.save_pretrained(folder)
    write_file(folder / TRAINING_FILE, record)
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / LICENCE_FILE).write_text(licence_text(record), encoding="utf-8")

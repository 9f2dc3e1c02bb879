"""Leave an adapter that others can load, check and judge."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import elara
from elara.formats import write_file
from elara.model import TRAINING_FILE
from elara.train.audit.card import hub_name, model_card
from elara.train.config import TrainingConfig
from elara.train.data import TokenData
from elara.train.fit import Training


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
        config: its settings.
        data: what it was trained on.
        licences: training examples per licence.
        folder: where to; made when needed.

    Returns:
        The content of `training.json`.
    """
    model = training.model.model
    model.peft_config["default"].base_model_name_or_path = hub_name(config.base_model)
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
        "best_step": training.best_step,
        "resumed_at_step": training.resumed_at,
        "tokens": training.tokens,
        "seconds": round(training.seconds, 1),
        "licences": licences,
        "examples": data.ids,
        "data": data.table.to_dicts(),
    }
    write_file(folder / TRAINING_FILE, record)
    (folder / "README.md").write_text(model_card(record), encoding="utf-8")
    return record

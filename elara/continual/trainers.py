"""Set up the trainers that learn from preferences, so that they learn what Elara measures."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl

from elara.continual.feedback import answers
from elara.display.progress import watched
from elara.model import LanguageModel, quiet_libraries
from elara.model.chat import as_data
from elara.train.config import TrainingError

_POSITIVE = (
    *("beta", "learning_rate", "epochs", "batch_size", "gradient_accumulation"),
    *("max_length", "save_steps"),
)


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig:
    """Settings of preference tuning.

    Args:
        method: `dpo` learns from pairs of answers; `kto` learns from single answers that were
            liked or not, and takes a pair as one of each; `by_label` is `dpo` if all feedback is
            pairs and `kto` otherwise.
        beta: how dear it is to move away from the model at the start; lower moves further.
        learning_rate: peak step size of AdamW; a tenth of what training on examples takes or less.
        epochs: passes over the feedback.
        batch_size: pairs (`dpo`) or answers (`kto`, at least 2) per forward pass.
        gradient_accumulation: forward passes per optimiser step.
        max_length: longest question with answer in tokens; longer ones are left out and counted.
        warmup_share: share of the steps over which the learning rate rises from 0.
        save_steps: optimiser steps between checkpoints.
        held_out_share: part of the questions that is only measured on, in (0, 1).
        seed: fixes the split, the order and a new adapter's start.

    Raises:
        TrainingError: a value makes no sense.

    Source: DPO, https://arxiv.org/abs/2305.18290; KTO, https://arxiv.org/abs/2402.01306.
    """

    method: str = "by_label"
    beta: float = 0.1
    learning_rate: float = 1e-5
    epochs: float = 1.0
    batch_size: int = 2
    gradient_accumulation: int = 4
    max_length: int = 1024
    warmup_share: float = 0.1
    save_steps: int = 50
    held_out_share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in ("by_label", "dpo", "kto"):
            raise TrainingError(f"`method` is {self.method!r}: use `by_label`, `dpo` or `kto`.")
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise TrainingError(f"`{name}` is {getattr(self, name)}: it must be above 0.")
        if not 0 < self.held_out_share < 1:
            raise TrainingError("`held_out_share` must be between 0 and 1.")
        if not 0 <= self.warmup_share < 1:
            raise TrainingError("`warmup_share` must be in [0, 1).")


# The columns in which the trainers keep the token ids of answers.
_ANSWERS = ("chosen_ids", "rejected_ids", "completion_ids", "KL_completion_ids")


def make_trainer(
    lm: LanguageModel,
    method: str,
    train: pl.DataFrame,
    held_out: pl.DataFrame,
    config: PreferenceConfig,
    folder: Path,
) -> Any:
    """Make the trainer of a method, with the reference's log-probabilities already computed.

    Args:
        lm: the model, its adapter trainable.
        method: `dpo` or `kto`.
        train: `Preference` rows to learn from.
        held_out: `Preference` rows to measure on after every epoch.
        config: settings.
        folder: where checkpoints go.

    Returns:
        A TRL trainer.
    """
    import datasets
    import transformers
    import trl
    from trl.trainer import dpo_trainer, kto_trainer

    from elara.train.callbacks import Reporter
    from elara.train.trainer import KeepsFormats, on_one_device, say_nothing

    say_nothing()
    # TRL reads this variable before it draws a bar for the reference's log-probabilities.
    quiet = {} if watched() else {"TQDM_DISABLE": "1"}
    with quiet_libraries(), mock.patch.dict(os.environ, quiet):
        settings = _arguments(lm, config, folder)
        padding = {"pad_token_id": lm.tokenizer.pad_token_id}
        if method == "dpo":
            maker, arguments = trl.DPOTrainer, trl.DPOConfig(**settings)
            inner, rows = dpo_trainer.DataCollatorForPreference(**padding), _pairs
        else:
            maker, arguments = trl.KTOTrainer, trl.KTOConfig(**settings, **_class_weights(train))
            inner, rows = kto_trainer.DataCollatorForUnpairedPreference(**padding), _singles
        # TRL puts the class's name into its own names.
        trainer = type(maker.__name__, (KeepsFormats, maker), {})(
            model=lm.model,
            args=on_one_device(arguments),
            data_collator=_to_the_stop(inner, lm.tokenizer.eos_token_id),
            train_dataset=datasets.Dataset.from_list(rows(train, lm.tokenizer, config.seed)),
            eval_dataset=datasets.Dataset.from_list(rows(held_out, lm.tokenizer, config.seed)),
            processing_class=lm.tokenizer,
            callbacks=[Reporter()],
        )
    trainer.remove_callback(transformers.PrinterCallback)  # prints every entry of the log
    # The trainer copied the adapter as its reference, and needs the copy no longer.
    lm.model.delete_adapter("ref")
    return trainer


def _to_the_stop(collator: Any, stop: int) -> Any:
    """End every answer with its stop token, as `encode` does.

    Templates put a line break after the stop token, and the trainer would count it as part of the
    answer: the margin would then include a token that nobody ever sees.
    """

    def collate(rows: list[dict[str, Any]]) -> Any:
        return collator([{name: shorter(name, value) for name, value in r.items()} for r in rows])

    def shorter(name: str, value: Any) -> Any:
        if name not in _ANSWERS or stop not in value:
            return value
        return value[: len(value) - value[::-1].index(stop)]

    return collate


def _arguments(lm: LanguageModel, config: PreferenceConfig, folder: Path) -> dict[str, Any]:
    from elara.train.trainer import common_arguments

    return common_arguments(lm, config, folder) | {
        "beta": config.beta,
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation,
        "max_length": None,  # what is too long was left out; nothing is to be cut
        "precompute_ref_log_probs": True,
        "activation_checkpointing": lm.device == "cuda",  # a fifth slower, and much smaller
        "eval_strategy": "epoch",
        "eval_on_start": True,
        "logging_steps": 1,
        "disable_tqdm": not watched(),
    }


def _pairs(preferences: pl.DataFrame, tokenizer: Any, seed: int) -> list[dict[str, Any]]:
    def turns(row: dict[str, Any], name: str) -> list[dict[str, str]]:
        said = row[name] if name == "prompt" else [{"role": "assistant", "content": row[name]}]
        return as_data(tokenizer, said)

    rows = preferences.iter_rows(named=True)
    return [{name: turns(row, name) for name in ("prompt", "chosen", "rejected")} for row in rows]


def _singles(preferences: pl.DataFrame, tokenizer: Any, seed: int) -> list[dict[str, Any]]:
    rows = [
        {
            "prompt": as_data(tokenizer, row["messages"][:-1]),
            "completion": as_data(tokenizer, row["messages"][-1:]),
            "label": row["desirable"],
        }
        for row in answers(preferences).iter_rows(named=True)
    ]
    # KTO goes through its data in the order given and compares neighbours: mix them.
    random.Random(seed).shuffle(rows)
    return rows


def _class_weights(preferences: pl.DataFrame) -> dict[str, float]:
    """Weights that make up for unequal numbers of liked and disliked answers in KTO.

    Weight times number of the liked answers should be 1 to 4/3 times that of the disliked ones;
    the rarer kind is weighted up to the middle of that span and the other keeps weight 1.

    Source: equation 8 of https://arxiv.org/abs/2402.01306
    """
    liked = answers(preferences)["desirable"]
    good, bad = int(liked.sum()), int((~liked).sum())
    return {
        "desirable_weight": 7 / 6 * bad / good if good < bad else 1.0,
        "undesirable_weight": 6 / 7 * good / bad if good > bad else 1.0,
    }

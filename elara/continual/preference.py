"""Tune a model on what readers preferred: DPO on pairs of answers, KTO on single judgements."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from elara.continual.feedback import answers, check, split_by_prompt
from elara.continual.margins import log_probabilities, margins, steps_table
from elara.continual.preference_trainer import make_trainer
from elara.model import LanguageModel, ModelError, encode, load_adapter, quiet_libraries
from elara.train.checkpoints import last_checkpoint, remove_others
from elara.train.config import REFERENCE, TrainingConfig, TrainingError
from elara.train.estimate import is_out_of_memory
from elara.train.lora import add_lora
from elara.train.model_state import adapter_dtype, check_number_format, restoring

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


@dataclass(frozen=True)
class Preferred:
    """A model after preference tuning, and what the tuning did.

    A reward is `beta` times the change of an answer's log-probability, so at the start every
    reward and margin is 0. The margin is the reward of a chosen answer minus that of the rejected
    one of its pair; without pairs, the mean of the liked minus the mean of the disliked answers.

    Args:
        model: the model with its tuned adapter, in evaluation mode; it computes what a reader
            gets who loads the saved adapter.
        method: `dpo` or `kto`.
        steps: columns step, split (train or held_out), loss, margin (the trainer's, without a
            value where a batch of single answers holds only one kind) and learning_rate.
        rewards: one row per judged answer: id, question, split, desirable, tokens, before and
            after (log-probability in nats), reward.
        margins: one row per split: split, questions, answers, margin after tuning with the 95 %
            interval low to high, accuracy (share of chosen/rejected comparisons with a positive
            margin), gap_before and gap_after (mean log-probability per token of the good answers
            minus that of the bad ones, in nats) and good_change (mean change of a good answer's
            log-probability, in nats: below 0 the good answers became less likely too).
        left_out: judgements with an answer longer than `max_length`.
        resumed_at: the step that this run continued from, 0 for a fresh start.
        seconds: wall time of training, in seconds.
        adapter_dtype: the number format in which the adapter was trained.
    """

    model: LanguageModel
    method: str
    steps: pl.DataFrame
    rewards: pl.DataFrame
    margins: pl.DataFrame
    left_out: int
    resumed_at: int
    seconds: float
    adapter_dtype: str = "float32"


def prefer(
    model: LanguageModel | Path,
    preferences: pl.DataFrame,
    config: PreferenceConfig,
    checkpoints: Path,
    *,
    lora: TrainingConfig = REFERENCE,
) -> Preferred:
    """Tune an adapter so that it favours the answers that readers preferred.

    The reference that tuning must stay close to is the model as it is at the start: the base
    model where the adapter is new, the base model with the earlier adapter where that is tuned
    further. (Taking the bare base model as the reference of an earlier adapter would count all
    that the adapter had learned before as a reward.) The reference's log-probabilities are
    computed once before the first step, so no second model is kept in memory.

    A killed run continues from its last checkpoint when it is called again with the same model,
    feedback and settings. Other runs' checkpoints in the folder are removed.

    Args:
        model: a base model, which gets a new adapter; a model with an adapter, or an adapter's
            folder, whose adapter is tuned further. A model is changed; a folder is not.
        preferences: `Preference` rows.
        config: settings.
        checkpoints: folder for checkpoints, used for nothing else.
        lora: rank, alpha, variant and targets of a new adapter; not used for an earlier one.

    Raises:
        TrainingError: the feedback does not fit the method or is too little, the loss is not a
            finite number, memory ran out (the message says what to change), or the base model was
            loaded in another number format than `lora` says.

    Source: https://huggingface.co/docs/trl/dpo_trainer, https://huggingface.co/docs/trl/kto_trainer
    """
    check(preferences)
    method = _method(preferences, config)
    lm = load_adapter(model) if isinstance(model, Path) else model
    fitting, left_out = _that_fit(lm.tokenizer, preferences, config.max_length)
    parts = split_by_prompt(fitting, share=config.held_out_share, seed=config.seed)
    train, held_out = parts
    _both_kinds(train, held_out)
    lm = _with_adapter(lm, lora)
    folder = checkpoints / _run_name(lm, fitting, config)
    remove_others(checkpoints, folder)
    before = log_probabilities(lm, train, held_out)
    last = last_checkpoint(folder)
    try:
        with restoring(lm.model):
            trainer = make_trainer(lm, method, train, held_out, config, folder)
            trained_in = adapter_dtype(lm.model)
            started = time.perf_counter()
            with quiet_libraries():
                trainer.train(resume_from_checkpoint=str(last) if last else None)
            seconds = time.perf_counter() - started
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"Memory ran out. Lower `batch_size` (it is {config.batch_size}; kto needs 2), or "
            f"`max_length` ({config.max_length}; longer judgements are left out and counted), or "
            "load the base model with `quantisation` nf4."
        ) from error
    steps = steps_table(trainer.state.log_history)
    if not steps["loss"].is_finite().all():
        raise TrainingError("The loss is not a finite number: lower `learning_rate`.")
    after = log_probabilities(lm, train, held_out)["log_probability"]
    rewards = before.rename({"log_probability": "before"}).with_columns(
        after=after, reward=config.beta * (after - before["log_probability"])
    )
    shutil.rmtree(folder, ignore_errors=True)
    return Preferred(
        model=lm,
        method=method,
        steps=steps,
        rewards=rewards,
        margins=margins(rewards),
        left_out=left_out,
        resumed_at=int(last.name.split("-")[1]) if last else 0,
        seconds=seconds,
        adapter_dtype=trained_in,
    )


def _method(preferences: pl.DataFrame, config: PreferenceConfig) -> str:
    single = preferences.filter(pl.col("label") != "pair").height
    method = config.method
    if method == "by_label":
        method = "kto" if single else "dpo"
    if method == "dpo" and single:
        raise TrainingError(
            f"`method` is dpo, but {single} of {len(preferences)} judgements are about a single "
            "answer: use `kto`, which takes pairs too, or leave the single ones out."
        )
    if method == "kto" and config.batch_size < 2:
        raise TrainingError(
            "`batch_size` is 1: kto compares answers within a batch, use 2 or more."
        )
    return method


def _that_fit(
    tokenizer: Any, preferences: pl.DataFrame, max_length: int
) -> tuple[pl.DataFrame, int]:
    """Leave out judgements with an answer too long; check that every answer carries loss."""
    long = set()
    for row in answers(preferences).iter_rows(named=True):
        try:
            encoded = encode(tokenizer, row["messages"])
        except ModelError as error:
            raise TrainingError(f"Preference {row['id']!r}: {error}") from error
        if len(encoded.input_ids) > max_length:
            long.add(row["id"])
    kept = preferences.filter(~pl.col("id").is_in(list(long)))
    if kept.is_empty():
        raise TrainingError(
            f"All {len(long)} judgements exceed `max_length` {max_length} tokens: raise it."
        )
    return kept, len(long)


def _both_kinds(*parts: pl.DataFrame) -> None:
    for part, name in zip(parts, ("training", "held-out"), strict=True):
        kinds = set(answers(part)["desirable"])
        if len(kinds) < 2:
            which = "good" if kinds == {True} else "bad"
            raise TrainingError(
                f"The {name} feedback holds only {which} answers, so there is no margin between "
                "good and bad: collect both kinds, on two questions each at least."
            )


def _with_adapter(lm: LanguageModel, lora: TrainingConfig) -> LanguageModel:
    with quiet_libraries():
        import peft

    if not isinstance(lm.model, peft.PeftModel):
        with quiet_libraries():
            check_number_format(lm, lora)
            adapted = add_lora(lm, lora)
        adapted.eval()
        return LanguageModel(adapted, lm.tokenizer, lm.name, lm.precision)
    lm.model.set_adapter("default")  # makes its matrices trainable
    lm.model.eval()
    return lm


def _run_name(lm: LanguageModel, preferences: pl.DataFrame, config: PreferenceConfig) -> str:
    content = hashlib.sha256(json.dumps(dataclasses.asdict(config), sort_keys=True).encode())
    content.update(f"{lm.name} {lm.dtype}\n{preferences.write_ndjson()}".encode())
    for name, values in lm.model.named_parameters():
        if values.requires_grad:
            content.update(name.encode())
            content.update(values.detach().float().cpu().numpy().tobytes())
    return content.hexdigest()[:16]

"""One training run with TRL's SFTTrainer: LoRA on a base model, checkpoints, resume."""

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

from elara.model import Encoded, LanguageModel, quiet_libraries
from elara.progress import progress_line, watched
from elara.train.config import TARGETS, TrainingConfig, TrainingError
from elara.train.data import TokenData


@dataclass(frozen=True)
class Training:
    """A finished run.

    Args:
        model: the base model with its trained adapter, in evaluation mode.
        losses: columns step, epoch, split, loss (nats per answer token) and learning_rate.
        steps: optimiser steps in all.
        resumed_at: the step that this run continued from, 0 for a fresh start.
        trainable: parameters that were trained.
        total: parameters of base model and adapter.
        tokens: tokens gone through by this run.
        seconds: wall time of this run, in seconds.
    """

    model: LanguageModel
    losses: pl.DataFrame
    steps: int
    resumed_at: int
    trainable: int
    total: int
    tokens: int
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Question and answer tokens per second; the sequences hold no padding."""
        return self.tokens / self.seconds


def add_lora(lm: LanguageModel, config: TrainingConfig) -> Any:
    """Put untrained LoRA matrices on all linear layers of a base model.

    Args:
        lm: the base model; it is changed.
        config: rank, alpha and dropout.

    Returns:
        The PEFT model; only the LoRA matrices are trainable.

    Source: https://huggingface.co/docs/peft/package_reference/lora
    """
    import peft
    import torch

    torch.manual_seed(config.seed)
    if config.quantisation == "nf4":
        lm.model = peft.prepare_model_for_kbit_training(lm.model)
    lora = peft.LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=list(TARGETS),
        bias="none",
        task_type="CAUSAL_LM",
    )
    return peft.get_peft_model(lm.model, lora)


def fit(lm: LanguageModel, data: TokenData, config: TrainingConfig, checkpoints: Path) -> Training:
    """Train an adapter; continue from the last checkpoint of the same run if there is one.

    A checkpoint belongs to a run when configuration and training tokens are the same; others in
    the folder are removed. So are this run's own, once it has finished.

    Args:
        lm: the base model; it is changed.
        data: tokenised examples.
        config: settings.
        checkpoints: folder for checkpoints, on the disk that keeps the result.

    Raises:
        TrainingError: the loss is not a finite number.

    Source: https://huggingface.co/docs/trl/sft_trainer
    """
    import datasets
    import huggingface_hub.constants
    import transformers
    import trl

    # The trainer would tell its hub that it was used; a run of Elara tells nobody.
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    if not watched():
        datasets.disable_progress_bars()
    folder = checkpoints / _run_name(data, config)
    if checkpoints.exists():
        for other in checkpoints.iterdir():
            if other != folder:
                shutil.rmtree(other)
    with quiet_libraries():
        model = add_lora(lm, config)
        trainer = trl.SFTTrainer(
            model=model,
            args=_arguments(lm, config, folder, watch=bool(data.validation)),
            train_dataset=_dataset(data.train),
            eval_dataset=_dataset(data.validation) if data.validation else None,
            processing_class=lm.tokenizer,
            callbacks=[_reporter()],
        )
    trainable, total = model.get_nb_trainable_parameters()
    trainer.remove_callback(transformers.PrinterCallback)  # it prints every log entry as a dict
    last = _last_checkpoint(folder)
    started = time.perf_counter()
    try:
        with quiet_libraries():
            trainer.train(resume_from_checkpoint=str(last) if last else None)
    except (OSError, ValueError, RuntimeError) as error:
        if last is None or "checkpoint" not in str(error).lower():
            raise
        raise TrainingError(f"{last} cannot be read ({error}): remove it and rerun.") from error
    seconds = time.perf_counter() - started
    resumed_at = int(last.name.split("-")[1]) if last else 0
    losses = _losses(trainer.state.log_history)
    if not losses["loss"].is_finite().all():
        raise TrainingError("The loss is not a finite number: lower `learning_rate`.")
    steps = int(trainer.state.global_step)
    per_epoch = sum(len(e.input_ids) for e in data.train)
    tokens = round(per_epoch * config.epochs * (steps - resumed_at) / max(steps, 1))
    shutil.rmtree(folder, ignore_errors=True)
    model.eval()
    adapted = LanguageModel(model, lm.tokenizer, lm.name, lm.precision)
    return Training(adapted, losses, steps, resumed_at, trainable, total, tokens, seconds)


def _run_name(data: TokenData, config: TrainingConfig) -> str:
    content = [dataclasses.asdict(config), [e.input_ids for e in data.train]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _last_checkpoint(folder: Path) -> Path | None:
    # The trainer's state is the last thing that it writes into a checkpoint.
    whole = [p.parent for p in folder.glob("checkpoint-*/trainer_state.json")]
    return max(whole, key=lambda p: int(p.name.split("-")[1]), default=None)


def _dataset(examples: list[Encoded]) -> Any:
    from datasets import Dataset

    return Dataset.from_list([dataclasses.asdict(e) for e in examples])


def _arguments(lm: LanguageModel, config: TrainingConfig, folder: Path, *, watch: bool) -> Any:
    import trl

    on_gpu = lm.device == "cuda"
    return trl.SFTConfig(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup_share,
        max_length=config.max_length,
        packing=False,  # without FlashAttention packed examples would read each other
        loss_type="nll",
        eos_token=lm.tokenizer.eos_token,
        bf16=lm.dtype == "bfloat16",
        fp16=False,  # the adapter's bf16 gradients break the fp16 gradient scaler
        use_cpu=not on_gpu,
        activation_checkpointing=on_gpu,  # saves memory for a fifth of the speed
        eval_strategy="epoch" if watch else "no",
        eval_on_start=watch,
        logging_steps=5,
        logging_first_step=True,
        save_strategy="steps",
        save_steps=config.save_steps,
        save_total_limit=2,
        seed=config.seed,
        data_seed=config.seed,
        report_to="none",
        disable_tqdm=not watched(),
        dataloader_pin_memory=on_gpu,
    )


def _reporter() -> Any:
    """Headless: one line every half minute. In JupyterLab the trainer's own bar shows."""
    import transformers

    class Reporter(transformers.TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.begin = self.reported = time.monotonic()
            self.first = state.global_step

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            now = time.monotonic()
            if watched() or now - self.reported < 30:
                return
            self.reported = now
            done, total = state.global_step - self.first, state.max_steps - self.first
            print(progress_line("train: step", done, total, now - self.begin), flush=True)

    return Reporter()


def _losses(history: list[dict[str, Any]]) -> pl.DataFrame:
    rows = [
        {
            "step": entry["step"],
            "epoch": float(entry["epoch"]),
            "split": "train" if "loss" in entry else "validation",
            "loss": float(entry["loss"] if "loss" in entry else entry["eval_loss"]),
            "learning_rate": entry.get("learning_rate"),
        }
        for entry in history
        if "loss" in entry or "eval_loss" in entry
    ]
    return pl.DataFrame(
        rows,
        schema={
            "step": pl.Int64,
            "epoch": pl.Float64,
            "split": pl.String,
            "loss": pl.Float64,
            "learning_rate": pl.Float64,
        },
    )

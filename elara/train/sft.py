"""Fine-tune a base model with LoRA by TRL's SFTTrainer, with checkpoints from which it resumes."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import polars as pl

from elara.display.progress import watched
from elara.model import LanguageModel, quiet_libraries
from elara.train import checkpoints as kept
from elara.train.config import TrainingConfig, TrainingError
from elara.train.data import TokenData, choose_batching
from elara.train.estimate import is_out_of_memory, out_of_memory, run_tokens
from elara.train.lora import (
    adapter_dtype,
    add_lora,
    check_number_format,
    of_adapter,
    optimiser,
    restoring,
)

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from elara.train.devices.gpu import GpuPlan


@dataclass(frozen=True)
class Training:
    """A finished run.

    Args:
        model: the base model with its trained adapter, in evaluation mode; it computes what a
            reader gets who loads the saved adapter.
        losses: columns step, epoch, split, loss (nats per answer token) and learning_rate.
        steps: optimiser steps in all.
        resumed_at: the step that this run continued from, 0 for a fresh start.
        tokens: tokens gone through by this run.
        seconds: wall time of this run, in seconds.
        best_step: the step whose weights were kept, where early stopping chose; else the last.
        adapter_dtype: the number format in which the adapter was trained.
        earlier: the folder of the adapter that the run went on from, if any.
    """

    model: LanguageModel
    losses: pl.DataFrame
    steps: int
    resumed_at: int
    tokens: int
    seconds: float
    best_step: int = -1
    adapter_dtype: str = "float32"
    earlier: Path | None = None

    @property
    def tokens_per_second(self) -> float:
        """Question and answer tokens per second; padding is not counted."""
        return self.tokens / self.seconds


def fine_tune(
    lm: LanguageModel,
    data: TokenData,
    config: TrainingConfig,
    checkpoints: Path,
    *,
    start_from: Path | None = None,
    logs: Path | None = None,
    watchers: Sequence[TrainerCallback] = (),
) -> Training:
    """Train an adapter; continue from the last checkpoint of the same run if there is one.

    A checkpoint belongs to a run when settings, tokens and starting adapter are the same; others
    in the folder are removed. So are this run's own, once it has finished. With `patience` above
    0 the weights of the lowest held-out loss are the result, else those of the last step.

    Args:
        lm: the base model; it is changed.
        data: tokenised examples.
        config: settings.
        checkpoints: folder for checkpoints, on the disk that keeps the result.
        start_from: folder of an earlier adapter to go on from; its rank, alpha, dropout and
            variant hold, not those of `config`.
        logs: folder for the trackers' files; None keeps no curves but `Training.losses`.
        watchers: callbacks of the trainer's, to measure a run; they decide none of its weights.

    Raises:
        TrainingError: the loss is not a finite number, memory ran out (the message says what to
            change), early stopping has nothing to watch, the model was loaded in another number
            format than `config` says, or the earlier adapter does not fit.

    Source: https://huggingface.co/docs/trl/sft_trainer
    """
    import accelerate

    with quiet_libraries():
        from elara.train import callbacks
        from elara.train.cpu_kernels import fused_lora, replace_forwards
        from elara.train.devices import attention, gpu

    processes = accelerate.PartialState()
    if config.patience and not data.validation:
        raise TrainingError("`patience` needs validation examples to watch; set it to 0 without.")
    check_number_format(lm, config)
    folder = checkpoints / kept.run_name(data, config, start_from)
    if processes.is_main_process:
        kept.remove_others(checkpoints, folder)
    processes.wait_for_everyone()
    last = kept.last_checkpoint(folder)
    with quiet_libraries():
        model = _adapter(lm, config, start_from)
    history = kept.history(last) if last else []
    done = bool(config.patience) and kept.best_evaluation(history)[1] >= config.patience
    with restoring(model), contextlib.ExitStack() as stack:
        batching, _ = choose_batching(lm, config)
        flat = _flat(lm, batching)
        if flat:
            attention.use(lm.causal)
        with quiet_libraries():
            plan = None
            if lm.device == "cuda":
                plan = _gpu_plan(lm, model, of_adapter(config, model), data)
            how: dict[str, Any] = {"batching": batching, "flat": flat, "plan": plan}
            trainer = _trainer(lm, model, data, config, folder, fresh=last is None, **how)
        for watcher in watchers:
            trainer.add_callback(watcher)
        trained_in = adapter_dtype(model)
        if logs is not None:
            told = callbacks.environment(logs, folder.name)
            stack.enter_context(mock.patch.dict(os.environ, told))
            for name in config.trackers:
                trainer.add_callback(callbacks.Tracker(name))
        if plan:
            gpu.apply(model, plan)
        else:
            replace_forwards(model, fused_lora)
        started = time.perf_counter()
        with quiet_libraries(), _explained(config, last):
            if not done:  # else it was killed between its last checkpoint and the end
                trainer.train(resume_from_checkpoint=str(last) if last else None)
                history = trainer.state.log_history
        seconds = time.perf_counter() - started
    resumed_at = kept.step_of(last)
    losses = callbacks.losses_table(history)
    steps = resumed_at if done else int(trainer.state.global_step)
    best = steps
    processes.wait_for_everyone()
    if config.patience:
        best = kept.best_evaluation(history)[0]
        kept.load_best(model, folder)
    processes.wait_for_everyone()
    if processes.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
    per_epoch = sum(len(e.input_ids) for e in data.train)
    share = (steps - resumed_at) / max(trainer.state.max_steps, steps, 1)
    tokens = round(per_epoch * config.epochs * share)
    trained = dataclasses.replace(lm, model=model)
    counts = steps, resumed_at, tokens, seconds, best
    return Training(trained, losses, *counts, trained_in, start_from)


def _flat(lm: LanguageModel, batching: str) -> bool:
    """Whether batches become one row each: packed ones, and on a GPU all, where padding and the
    mask that goes with it would cost more."""
    from elara.train.devices import attention

    return (batching == "packed" or lm.device == "cuda") and attention.usable(lm)[0]


def _gpu_plan(lm: LanguageModel, model: Any, config: TrainingConfig, data: TokenData) -> GpuPlan:
    from elara.train.devices import gpu

    shape, tokens = model.config.get_text_config(), run_tokens(data, config)
    plan = gpu.plan_for(lm, shape, config, fixed=gpu.fixed_bytes(model), tokens=tokens)
    print(f"GPU: {plan}", flush=True)
    quantised = lm.quantisation != "none"
    if said := gpu.shortfall(plan, config, gpu.device_memory(), quantised=quantised):
        print(said, flush=True)
    return plan


def _adapter(lm: LanguageModel, config: TrainingConfig, start_from: Path | None) -> Any:
    if start_from is None:
        return add_lora(lm, config)
    if not (start_from / "adapter_config.json").exists():  # or PEFT would ask its hub for it
        raise TrainingError(f"{start_from} contains no adapter to continue from: train one first.")
    import peft
    import torch

    torch.manual_seed(config.seed)
    try:
        model = peft.PeftModel.from_pretrained(lm.model, start_from, is_trainable=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(
            f"The adapter in {start_from} cannot be trained on: {reason}. Name the folder of an "
            f"adapter that was trained on {lm.name}."
        ) from error
    # By the name in the file, PEFT would ask its hub about the base model at every checkpoint.
    model.peft_config["default"].base_model_name_or_path = lm.model.name_or_path
    return model


def _trainer(
    lm: LanguageModel,
    model: Any,
    data: TokenData,
    config: TrainingConfig,
    folder: Path,
    *,
    batching: str,
    flat: bool,
    plan: GpuPlan | None,
    fresh: bool,
) -> Any:
    import datasets
    import transformers

    from elara.train import callbacks
    from elara.train.devices.attention import FlatRows
    from elara.train.trainer import Trainer, say_nothing

    say_nothing()
    own: list[Any] = [callbacks.Reporter(), callbacks.Finite()]
    if data.validation:
        own.append(callbacks.Evaluations(config.eval_steps, config.patience, folder))
    train, validation = (
        datasets.Dataset.from_list([dataclasses.asdict(e) for e in part]) if part else None
        for part in (data.train, data.validation)
    )
    first = fresh and validation is not None
    packed = batching == "packed"
    tokens = lm.tokenizer
    padding = tokens.eos_token_id if tokens.pad_token_id is None else tokens.pad_token_id
    trainer = Trainer(
        model=model,
        args=_arguments(lm, config, folder, plan, packed=packed, evaluate_first=first),
        train_dataset=train,
        eval_dataset=validation,
        processing_class=lm.tokenizer,
        callbacks=own,
        optimizers=(optimiser(model, config), None),
        grouped=batching == "length_grouped",
        rows=FlatRows(padding, config.max_length) if flat else None,
    )
    trainer.remove_callback(transformers.PrinterCallback)  # prints every entry of the log
    return trainer


@contextlib.contextmanager
def _explained(config: TrainingConfig, last: Path | None) -> Iterator[None]:
    """Turn what the libraries raise into what can be done about it."""
    try:
        yield
    except KeyboardInterrupt:
        print("Interrupted: run again to continue from the last checkpoint.", flush=True)
        raise
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise out_of_memory(config) from error
        if last is None or "checkpoint" not in str(error).lower():
            raise
        raise TrainingError(f"{last} cannot be read ({error}): remove it and rerun.") from error


def _arguments(
    lm: LanguageModel,
    config: TrainingConfig,
    folder: Path,
    plan: GpuPlan | None,
    *,
    packed: bool,
    evaluate_first: bool,
) -> Any:
    import trl

    from elara.train.trainer import common_arguments, on_one_device

    arguments = trl.SFTConfig(
        **common_arguments(lm, config, folder),
        **_loading(lm.device),
        per_device_train_batch_size=plan.batch if plan else config.batch_size,
        gradient_accumulation_steps=plan.accumulation if plan else config.gradient_accumulation,
        max_length=config.max_length,
        packing=packed,
        eval_packing=False,
        loss_type="nll",
        eos_token=lm.tokenizer.eos_token,
        activation_checkpointing=False,  # the plan sets it for as many layers as memory demands
        tf32=True if lm.device == "cuda" else None,
        project="elara",  # for the trackers
        run_name=folder.name,
        eval_strategy="no",  # see `callbacks.Evaluations`
        eval_on_start=evaluate_first,
        # A logged loss is the mean since the last one: never across a checkpoint, so that a run
        # that continues logs the same numbers.
        logging_steps=math.gcd(5, config.save_steps),
        logging_first_step=True,
        logging_nan_inf_filter=False,  # see `callbacks.Finite`
        disable_tqdm=not watched(),
    )
    return on_one_device(arguments)


def _loading(device: str) -> dict[str, Any]:
    """How batches are made: on a GPU by a process beside, so that it waits for none.

    The process is given the tokens and the collator, and nothing of the model. The order of
    examples is decided here, so it is the same as without.
    """
    if device != "cuda":
        return {}
    beside = {"num_workers": 1, "prefetch_factor": 4, "persistent_workers": True}
    arguments: dict[str, Any] = {f"dataloader_{name}": value for name, value in beside.items()}
    return arguments | {"accelerator_config": {"non_blocking": True}}

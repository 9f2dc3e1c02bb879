"""Adapt TRL's trainers: a faster loss, rows laid flat, and an order of examples to resume.

It needs the libraries of training, so it is imported where a run starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import torch
import trl
from transformers.trainer_pt_utils import LengthGroupedSampler

from elara.display.progress import watched
from elara.model import LanguageModel
from elara.train.cpu_kernels import add_answer_loss, target_positions


def say_nothing() -> None:
    """Keep the libraries from drawing bars and from telling their hub that they were used."""
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    if not watched():
        datasets.disable_progress_bars()


def common_arguments(lm: LanguageModel, config: Any, folder: Path) -> dict[str, Any]:
    """The arguments that training on examples and on preferences have in common.

    Args:
        lm: the model.
        config: a `TrainingConfig` or `PreferenceConfig`.
        folder: where checkpoints go.
    """
    on_gpu = lm.device == "cuda"
    return {
        "output_dir": str(folder),
        "num_train_epochs": config.epochs,
        "per_device_eval_batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": config.warmup_share,
        "bf16": lm.dtype == "bfloat16",
        "fp16": False,  # the adapter's bf16 gradients break the fp16 gradient scaler
        "use_cpu": not on_gpu,
        "save_strategy": "steps",
        "save_steps": config.save_steps,
        "save_total_limit": 2,
        "optim": "adamw_torch_fused",
        "seed": config.seed,
        "data_seed": config.seed,
        "report_to": "none",
        "dataloader_pin_memory": on_gpu,
    }


def on_one_device(arguments: Any) -> Any:
    """Keep a trainer from spreading one process over all GPUs of a machine.

    By default it would cut every batch into parts, rows laid flat between their tokens. Several
    GPUs take several processes (`elara.train.devices.launch`).

    Args:
        arguments: transformers' `TrainingArguments`; they are changed.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


class LengthOrder(LengthGroupedSampler):  # type: ignore[misc]
    """An order of examples in which those of one batch are of similar length.

    Each epoch's order depends on nothing but the seed and the epoch's number, so a run that
    continues in the middle of an epoch sees the same batches.
    """

    seed = epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return iter(super().__iter__())


@dataclass(frozen=True)
class WithTargets:
    """A collator that says which tokens carry loss, so that the device need not be asked.

    Args:
        own: the collator that makes the batch.
    """

    own: Callable[[list[dict[str, Any]]], dict[str, Any]]

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Make a batch, with `target_positions`."""
        batch = self.own(rows)
        return batch | {"target_positions": target_positions(batch["labels"])}


class KeepsFormats:
    """Lets one of TRL's trainers go on from a checkpoint with the parameters its optimiser holds.

    When PEFT reads the bfloat16 adapter of a 4-bit model from a checkpoint, it puts new parameters
    in float32 in the place of the old ones. The optimiser goes on with the old ones, so that the
    rest of an interrupted run would train nothing, without a word.
    """

    model: Any

    def _load_from_checkpoint(self, *args: Any, **named: Any) -> None:
        before = {n: (p, p.dtype) for n, p in self.model.named_parameters() if p.requires_grad}
        super()._load_from_checkpoint(*args, **named)  # type: ignore[misc]
        read = dict(self.model.named_parameters())
        for name, (parameter, dtype) in before.items():
            parameter.data = read[name].data.to(dtype)
            place, _, last = name.rpartition(".")
            setattr(self.model.get_submodule(place), last, parameter)


class Trainer(KeepsFormats, trl.SFTTrainer):  # type: ignore[misc]
    """The trainer of a run.

    Args:
        args: as `trl.SFTTrainer` takes them.
        grouped: whether the examples of a batch are of similar length.
        rows: the collator, where it is not to be TRL's.
        named: as `trl.SFTTrainer` takes them.

    Source: https://huggingface.co/docs/trl/sft_trainer
    """

    def __init__(self, *args: Any, grouped: bool = False, rows: Any = None, **named: Any) -> None:
        self.grouped = grouped
        super().__init__(*args, **named)
        if rows is not None:  # TRL takes none where it packs
            self.data_collator = rows
        # TRL's own loss asks the device for its metrics in every pass. It serves models that ours
        # does not.
        causal = self.accelerator.unwrap_model(self.model).get_base_model()
        self.answers_only = add_answer_loss(causal)
        if self.answers_only:
            self.data_collator = WithTargets(self.data_collator)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = self.train_dataset if train_dataset is None else train_dataset
        if not self.grouped:
            return super()._get_train_sampler(rows)
        lengths = [len(ids) for ids in rows["input_ids"]]
        order = LengthOrder(self.args.train_batch_size, lengths=lengths)
        order.seed = self.args.seed
        return order

    def create_model_card(self, *args: Any, **named: Any) -> None:
        """A checkpoint is read by no one: it needs no page of its own."""

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss on the answers, without scores for the questions."""
        if not model.training:  # else a share of the tokens that all processes evaluate at once
            num_items_in_batch = None
        if not self.answers_only or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        found = model(**inputs, answers_only=True)
        tokens = found["target_tokens"] if num_items_in_batch is None else num_items_in_batch
        loss = found["loss_sum"] / torch.as_tensor(tokens).clamp(min=1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # gradients are averaged over them
        return loss

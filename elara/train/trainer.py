"""Adapt TRL's SFTTrainer: a faster loss on CPUs, and an order of examples that can be resumed."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Sequence
from typing import Any

from elara.train.cpu_kernels import add_answer_loss


class LengthOrder:
    """An order of examples in which those of one batch are of similar length.

    Each epoch's order depends on nothing but the seed and the epoch's number, so a run that
    continues in the middle of an epoch sees the same batches.

    Args:
        lengths: tokens per example.
        batch_size: examples per forward pass.
        seed: fixes the order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        chance = random.Random(f"{self.seed}/{self.epoch}")
        # A little noise, so that the same examples do not always share a batch.
        near = {i: n * chance.uniform(0.95, 1.05) for i, n in enumerate(self.lengths)}
        ordered = sorted(near, key=lambda i: near[i])
        batches = [
            ordered[i : i + self.batch_size] for i in range(0, len(ordered), self.batch_size)
        ]
        short = batches.pop() if len(batches[-1]) < self.batch_size else []
        chance.shuffle(batches)
        yield from (i for batch in [*batches, short] for i in batch)


@functools.cache
def keeping_formats(trainer: Any) -> Any:
    """A trainer that goes on from a checkpoint with the parameters that its optimiser holds.

    When PEFT reads the bfloat16 adapter of a 4-bit model from a checkpoint, it puts new parameters
    in float32 in the place of the old ones. The optimiser goes on with the old ones, so that the
    rest of an interrupted run would train nothing, without a word.

    Args:
        trainer: one of TRL's trainers.
    """

    class Keeping(trainer):  # type: ignore[misc]
        def _load_from_checkpoint(self, *args: Any, **named: Any) -> None:
            before = {n: (p, p.dtype) for n, p in self.model.named_parameters() if p.requires_grad}
            super()._load_from_checkpoint(*args, **named)
            read = dict(self.model.named_parameters())
            for name, (parameter, dtype) in before.items():
                parameter.data = read[name].data.to(dtype)
                place, _, last = name.rpartition(".")
                setattr(self.model.get_submodule(place), last, parameter)

    Keeping.__name__ = trainer.__name__  # TRL puts it into its names
    return Keeping


@functools.cache
def trainer_class() -> Any:
    """The trainer of a run.

    Source: https://huggingface.co/docs/trl/sft_trainer
    """
    import torch
    import trl

    class Trainer(keeping_formats(trl.SFTTrainer)):  # type: ignore[misc]
        def __init__(self, *args: Any, grouped: bool = False, **named: Any) -> None:
            self.grouped = grouped
            super().__init__(*args, **named)
            # TRL's own loss skips question tokens too, but only with GPU kernels.
            causal = self.accelerator.unwrap_model(self.model).get_base_model()
            self.answers_only = self.args.device.type == "cpu" and add_answer_loss(causal)

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            rows = self.train_dataset if train_dataset is None else train_dataset
            if not self.grouped:
                return super()._get_train_sampler(rows)
            lengths = [len(ids) for ids in rows["input_ids"]]
            return LengthOrder(lengths, self.args.train_batch_size, self.args.seed)

        def create_model_card(self, *args: Any, **named: Any) -> None:
            """A checkpoint is read by no one: it needs no page of its own."""

        def compute_loss(
            self,
            model: Any,
            inputs: Any,
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
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

    return Trainer

"""What a training run is set to."""

from __future__ import annotations

from dataclasses import dataclass

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

_POSITIVE = (
    *("lora_r", "lora_alpha", "learning_rate", "epochs", "batch_size"),
    *("gradient_accumulation", "max_length", "save_steps"),
)


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says which setting or example is the reason."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """LoRA and optimiser settings. The defaults are the reference configuration.

    Args:
        base_model: `smollm2-135m-instruct` (packaged), a hub id, or a local folder.
        quantisation: `none`, or `nf4`: 4-bit base weights with double quantisation (QLoRA).
        lora_r: rank of the update matrices; more ranks, more capacity and memory.
        lora_alpha: the update is scaled by `lora_alpha / lora_r`.
        lora_dropout: share of the adapter's inputs set to zero while training.
        learning_rate: peak step size of AdamW.
        epochs: passes over the training examples.
        batch_size: examples per forward pass.
        gradient_accumulation: forward passes per optimiser step.
        max_length: longest example in tokens; longer ones are left out and counted.
        max_train_tokens: budget per epoch, in tokens of question and answer; 0 means all.
        warmup_share: share of the steps over which the learning rate rises from 0.
        save_steps: optimiser steps between checkpoints.
        seed: fixes the adapter's start, the order of examples and dropout.

    Source: LoRA, https://arxiv.org/abs/2106.09685; QLoRA, https://arxiv.org/abs/2305.14314.
    """

    base_model: str = "mistralai/Mistral-7B-Instruct-v0.3"
    quantisation: str = "nf4"
    lora_r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.1
    learning_rate: float = 2e-4
    epochs: float = 3.0
    batch_size: int = 1
    gradient_accumulation: int = 4
    max_length: int = 2048
    max_train_tokens: int = 0
    warmup_share: float = 0.05
    save_steps: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise TrainingError(f"`{name}` is {getattr(self, name)}: it must be above 0.")
        if not 0 <= self.lora_dropout < 1 or not 0 <= self.warmup_share < 1:
            raise TrainingError("`lora_dropout` and `warmup_share` must lie in [0, 1).")
        if self.quantisation not in ("none", "nf4"):
            raise TrainingError(f"`quantisation` is {self.quantisation!r}: use `none` or `nf4`.")


REFERENCE = TrainingConfig()

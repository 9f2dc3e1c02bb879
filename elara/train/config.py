"""Set a training run, check the settings, and say how they differ from the reference."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import polars as pl

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

_POSITIVE = (
    *("lora_r", "lora_alpha", "learning_rate", "epochs", "batch_size"),
    *("gradient_accumulation", "max_length", "save_steps"),
)
_NOT_NEGATIVE = ("loraplus_ratio", "max_train_tokens", "eval_steps", "patience")
_CHOICES = {
    "quantisation": ("none", "nf4"),
    "precision": ("by_hardware", "bfloat16", "float32"),
    "lora_variant": ("lora", "rslora", "dora"),
    "long_examples": ("leave_out", "cut_question"),
    "batching": ("by_attention", "packed", "length_grouped", "shuffled"),
}
_TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says which setting or example is the reason."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """LoRA and optimiser settings. The defaults are the reference configuration.

    What the reference sets and no run here changes: the adapter has no bias terms, the task is
    causal language modelling, the schedule is cosine, and LoRA sits on all linear layers.

    Args:
        base_model: `smollm2-135m-instruct` (packaged), a hub id, a hub id with a revision
            (`owner/name@revision`), or a local folder.
        quantisation: `none`, or `nf4`: 4-bit base weights with double quantisation (QLoRA).
        precision: number format of weights and arithmetic: `by_hardware`, `bfloat16` or
            `float32`. `float16` is refused with the reason.
        lora_r: rank of the update matrices; more ranks, more capacity and memory.
        lora_alpha: the update is scaled by `lora_alpha / lora_r`.
        lora_dropout: share of the adapter's inputs set to zero while training.
        lora_variant: `lora`; `rslora` scales by `lora_alpha / sqrt(lora_r)`, for high ranks;
            `dora` trains the length of each weight column apart from its direction.
        loraplus_ratio: learning rate of the B matrices over that of the A matrices (LoRA+);
            0 gives both the same.
        learning_rate: peak step size of AdamW.
        epochs: passes over the training examples.
        batch_size: examples per forward pass; rows of up to `max_length` tokens where `batching`
            packs examples.
        gradient_accumulation: forward passes per optimiser step.
        max_length: longest example in tokens.
        long_examples: what happens to longer ones: `leave_out`, or `cut_question`: the end of the
            user's text is cut until the example fits; an answer is never cut. Both are counted.
        max_train_tokens: budget per epoch, in tokens of question and answer; 0 means all.
        batching: `by_attention` chooses; `packed` puts several examples into one sequence,
            `length_grouped` puts examples of similar length into a batch, `shuffled` does neither.
        warmup_share: share of the steps over which the learning rate rises from 0.
        save_steps: optimiser steps between checkpoints.
        eval_steps: optimiser steps between evaluations; 0 evaluates once an epoch.
        patience: evaluations without a lower held-out loss before the run stops; 0 means never.
        trackers: where the curves are logged: `tensorboard` (a local folder), `wandb`, `mlflow`,
            `trackio`.
        seed: fixes the adapter's start, the order of examples and dropout.

    Raises:
        TrainingError: a value makes no sense, or would train something that does not work.

    Source: LoRA, https://arxiv.org/abs/2106.09685; QLoRA, https://arxiv.org/abs/2305.14314;
        rsLoRA, https://arxiv.org/abs/2312.03732; DoRA, https://arxiv.org/abs/2402.09353;
        LoRA+, https://arxiv.org/abs/2402.12354.
    """

    base_model: str = "mistralai/Mistral-7B-Instruct-v0.3"
    quantisation: str = "nf4"
    precision: str = "by_hardware"
    lora_r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.1
    lora_variant: str = "lora"
    loraplus_ratio: float = 0.0
    learning_rate: float = 2e-4
    epochs: float = 3.0
    batch_size: int = 1
    gradient_accumulation: int = 4
    max_length: int = 2048
    long_examples: str = "leave_out"
    max_train_tokens: int = 0
    batching: str = "by_attention"
    warmup_share: float = 0.05
    save_steps: int = 50
    eval_steps: int = 0
    patience: int = 0
    trackers: tuple[str, ...] = ("tensorboard",)
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "trackers", tuple(self.trackers))  # JSON and YAML give lists
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise TrainingError(f"`{name}` is {getattr(self, name)}: it must be above 0.")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise TrainingError(f"`{name}` is {getattr(self, name)}: it must not be negative.")
        if not 0 <= self.lora_dropout < 1 or not 0 <= self.warmup_share < 1:
            raise TrainingError("`lora_dropout` and `warmup_share` must lie in [0, 1).")
        if not 0 <= self.seed < 2**32:
            raise TrainingError(
                f"`seed` is {self.seed}: NumPy's random numbers start from 0 to 4294967295."
            )
        if self.precision == "float16":
            raise TrainingError(_NO_FLOAT16)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise TrainingError(f"`{name}` is {getattr(self, name)!r}: use {_or(choices)}.")
        for tracker in self.trackers:
            if tracker not in _TRACKERS:
                raise TrainingError(f"Unknown tracker {tracker!r}: use {_or(_TRACKERS)}.")
        if 0 < self.loraplus_ratio < 1:
            raise TrainingError(
                f"`loraplus_ratio` is {self.loraplus_ratio}: LoRA+ gives the B matrices the larger "
                "learning rate, so use 1 or more (the paper uses 16), or 0 to switch it off."
            )

    def beside_reference(self) -> list[dict[str, Any]]:
        """Every setting beside its value in the reference configuration.

        Returns:
            One row per setting: `setting`, `value`, `reference` and `reason`: why they differ, ""
            where they do not. A value that is nobody's default was `chosen for this run`.
        """
        rows = []
        for field in dataclasses.fields(self):
            name, value, reference = field.name, getattr(self, field.name), field.default
            reason = "" if value == reference else REASONS.get((name, value), "chosen for this run")
            rows.append({"setting": name, "value": value, "reference": reference, "reason": reason})
        return rows


_NO_FLOAT16 = (
    "`precision` float16 is not offered for training: an adapter's gradients overflow or vanish in "
    "it, and the gradient scaler against that cannot unscale the bfloat16 gradients of a QLoRA "
    "adapter. bfloat16 is as fast and has float32's range; on older hardware float32 is the safe "
    "choice. Use `by_hardware`."
)


def _or(choices: tuple[str, ...]) -> str:
    *first, last = [f"`{choice}`" for choice in choices]
    return f"{', '.join(first)} or {last}"


REFERENCE = TrainingConfig()

# Why a default of the notebook (the laptop profile) or of a profile is not the reference's value.
REASONS: dict[tuple[str, Any], str] = {
    ("base_model", "smollm2-135m-instruct"): (
        "comes inside a package, so nothing is downloaded, and trains on two CPU cores in minutes"
    ),
    ("quantisation", "none"): (
        "a small model or a large card needs no 4-bit weights, and unpacking them takes time"
    ),
    ("lora_dropout", 0.0): (
        "a few passes leave little to overfit; without dropout, a step is faster and keeps less"
    ),
    ("learning_rate", 1e-3): (
        "a small model that makes few steps needs larger ones to move at all"
    ),
    ("epochs", 1.0): "one pass fits into minutes; three take three times as long",
    ("max_length", 1024): "less memory and time; examples that do not fit are counted",
    ("max_train_tokens", 40000): "a budget that two CPU cores go through in some minutes",
    ("save_steps", 10): "a laptop is closed at any time; a checkpoint of a small adapter is cheap",
}


def differences(config: TrainingConfig) -> pl.DataFrame:
    """Compare a run's settings with the reference.

    Args:
        config: the run's settings.

    Returns:
        Columns setting, reference, this_run, reason; one row per setting that differs. A value
        that is nobody's default has the reason `chosen for this run`.
    """
    columns = ("setting", "reference", "value", "reason")
    rows = [{name: str(row[name]) for name in columns} for row in config.beside_reference()]
    table = pl.DataFrame(rows).rename({"value": "this_run"})
    return table.filter(pl.col("reason") != "")

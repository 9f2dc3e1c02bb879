"""What a run will need, before it starts: memory by counting, time by a few timed steps."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from elara.model import Encoded, LanguageModel, quiet_libraries
from elara.train.config import TrainingConfig
from elara.train.data import TokenData
from elara.train.fast import fused_lora, judge_answers_only, replaced
from elara.train.form import check_form, own_form
from elara.train.lora import add_lora, summary
from elara.train.memory import count_memory

_MIB = 2**20
_TRIALS, _TRIAL_SECONDS = 8, 8.0
_SPREAD = (3, 6, 1, 4, 7, 0, 5, 2)  # an order in which any few trials are of spread lengths


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to need.

    Args:
        trainable: parameters that will be trained.
        total: parameters of base model and adapter.
        base_bytes: the base model's weights in memory.
        adapter_bytes: the adapter's weights, gradients and both AdamW states.
        activation_bytes: what the largest forward pass keeps for the backward pass, with scores.
        other_bytes: the process besides (CPU only: Python, libraries, data).
        peak_bytes: the highest use of memory: of the process on a CPU, of the device on a GPU.
        steps: optimiser steps.
        tokens: tokens that all epochs go through.
        seconds: wall time of `fit`, evaluations included.
    """

    trainable: int
    total: int
    base_bytes: int
    adapter_bytes: int
    activation_bytes: int
    other_bytes: int
    peak_bytes: int
    steps: int
    tokens: int
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Training tokens per second of wall time."""
        return self.tokens / self.seconds

    def __str__(self) -> str:
        return (
            f"{self.steps} steps over {self.tokens:,} tokens: about {self.seconds / 60:.1f} "
            f"minutes ({self.tokens_per_second:.0f} tokens/s), {self.peak_bytes / _MIB:,.0f} MiB "
            f"(weights {self.base_bytes / _MIB:,.0f}, adapter and optimiser "
            f"{self.adapter_bytes / _MIB:,.0f}, activations {self.activation_bytes / _MIB:,.0f}); "
            f"{100 * self.trainable / self.total:.2f} % of {self.total:,} parameters are trained"
        )


def estimate(lm: LanguageModel, data: TokenData, config: TrainingConfig) -> Estimate:
    """Say what a run will need. The model is left as it was.

    Memory is counted from the model's shape and the longest batch. Time comes from a few timed
    training steps (about ten seconds) on examples spread over the lengths that occur.

    Args:
        lm: the base model, without an adapter.
        data: tokenised examples.
        config: settings.

    Raises:
        TrainingError: the model was loaded in another number format than `config` says.
    """
    check_form(lm, config)
    facts = summary(lm.model, config)
    tokens = round(sum(len(e.input_ids) for e in data.train) * config.epochs)
    batches = math.ceil(len(data.train) / config.batch_size)
    per_epoch = math.ceil(batches / config.gradient_accumulation)
    steps = max(1, math.ceil(per_epoch * config.epochs))
    memory = count_memory(lm, data, config)  # first: trials leave the allocator full
    train_seconds, read_seconds, update_seconds = _timed(lm, data, config)
    held = sum(len(e.input_ids) for e in data.validation)
    evaluations = 0
    if data.validation:
        evaluations = 1 + (
            steps // config.eval_steps if config.eval_steps else round(config.epochs)
        )
    seconds = tokens * train_seconds + held * evaluations * read_seconds + steps * update_seconds
    return Estimate(
        trainable=facts.trainable,
        total=facts.total,
        base_bytes=memory.base,
        adapter_bytes=memory.adapter,
        activation_bytes=memory.activations,
        other_bytes=memory.other,
        peak_bytes=memory.peak,
        steps=steps,
        tokens=tokens,
        seconds=seconds,
    )


def _timed(
    lm: LanguageModel, data: TokenData, config: TrainingConfig
) -> tuple[float, float, float]:
    """Seconds per token trained, per token only read, and per optimiser step."""
    import torch

    random_state = torch.get_rng_state()
    trainable = [p for p in lm.model.parameters() if p.requires_grad]
    with quiet_libraries():
        model = add_lora(lm, config)
    try:
        return _trials(lm, model, data)
    finally:
        lm.model = model.unload()
        lm.model.eval()
        for parameter in trainable:
            parameter.requires_grad_(True)
        torch.set_rng_state(random_state)


def _trials(lm: LanguageModel, model: Any, data: TokenData) -> tuple[float, float, float]:
    """Time a few steps as `fit` makes them."""
    import torch

    half = torch.autocast(lm.device, torch.bfloat16, enabled=lm.dtype == "bfloat16")
    with own_form(model), replaced(model, fused_lora):
        model.train()
        short = judge_answers_only(model.get_base_model())
        ordered = sorted(data.train, key=lambda e: len(e.input_ids))
        chosen = [ordered[(2 * i + 1) * len(ordered) // (2 * _TRIALS)] for i in range(_TRIALS)]
        chosen = [chosen[i] for i in _SPREAD]

        def loss(example: Encoded) -> Any:
            ids = torch.tensor([example.input_ids], device=lm.model.device)
            labels = torch.tensor([example.labels], device=lm.model.device)
            with half:
                if short:
                    return model(input_ids=ids, labels=labels, answers_only=True)["loss_sum"]
                return model(input_ids=ids, labels=labels, use_cache=False).loss

        def timed(work: Any) -> float:
            started = time.perf_counter()
            work()
            if lm.device == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter() - started

        timed(lambda: loss(ordered[0]).backward())  # the first pass is slower than the others
        begun, seconds, tokens = time.perf_counter(), 0.0, 0
        for example in chosen:
            seconds += timed(lambda example=example: loss(example).backward())
            tokens += len(example.input_ids)
            if time.perf_counter() - begun > _TRIAL_SECONDS:
                break
        middle = ordered[len(ordered) // 2]
        with torch.no_grad():
            reading = timed(lambda: loss(middle)) / len(middle.input_ids)
        adam = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=0.0)
        timed(adam.step)
        return seconds / tokens, reading, timed(adam.step)

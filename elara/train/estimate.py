"""Estimate what a run needs before it starts: memory by counting, time by a few timed steps."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from elara.model import Encoded, LanguageModel, quiet_libraries
from elara.train.config import TrainingConfig, TrainingError
from elara.train.data import TokenData, choose_batching
from elara.train.lora import add_lora, check_number_format, restoring, summary

_MIB = 2**20
# Times what is counted on a CPU: the allocator's holes and the kernels' working memory.
_SLACK = 1.15
_TRIAL_SECONDS = 8.0
# Trials by length, ordered so that any first few are of spread lengths.
_SPREAD = (3, 6, 1, 4, 7, 0, 5, 2)


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak of a run, by what they hold.

    Args:
        base: the base model's weights.
        adapter: the adapter's weights, gradients and both AdamW states.
        activations: what the largest forward pass keeps for the backward pass, with scores.
        other: the process besides (CPU only: Python, libraries, data).
    """

    base: int
    adapter: int
    activations: int
    other: int

    @property
    def peak(self) -> int:
        """The highest use of memory: of the process on a CPU, of the device on a GPU."""
        return self.base + self.adapter + self.activations + self.other


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to need.

    Args:
        trainable: parameters that will be trained.
        total: parameters of base model and adapter.
        memory: bytes at its peak.
        steps: optimiser steps.
        tokens: tokens that all epochs go through.
        seconds: wall time of `fine_tune`, evaluations included.
    """

    trainable: int
    total: int
    memory: Memory
    steps: int
    tokens: int
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Training tokens per second of wall time."""
        return self.tokens / self.seconds

    def __str__(self) -> str:
        memory = self.memory
        return (
            f"{self.steps} steps over {self.tokens:,} tokens: about {self.seconds / 60:.1f} "
            f"minutes ({self.tokens_per_second:.0f} tokens/s), {memory.peak / _MIB:,.0f} MiB "
            f"(weights {memory.base / _MIB:,.0f}, adapter and optimiser "
            f"{memory.adapter / _MIB:,.0f}, activations {memory.activations / _MIB:,.0f}); "
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
    check_number_format(lm, config)
    facts = summary(lm.model, config)
    tokens = round(sum(len(e.input_ids) for e in data.train) * config.epochs)
    batches = math.ceil(len(data.train) / config.batch_size)
    per_epoch = math.ceil(batches / config.gradient_accumulation)
    steps = max(1, math.ceil(per_epoch * config.epochs))
    memory = count_memory(lm, data, config)  # first: trials leave the allocator full
    train_seconds, read_seconds, update_seconds = _timed(lm, data, config)
    every = config.eval_steps
    evaluations = 1 + (steps // every if every else round(config.epochs))
    held = sum(len(e.input_ids) for e in data.validation)
    seconds = tokens * train_seconds + held * evaluations * read_seconds + steps * update_seconds
    return Estimate(facts.trainable, facts.total, memory, steps, tokens, seconds)


def _timed(
    lm: LanguageModel, data: TokenData, config: TrainingConfig
) -> tuple[float, float, float]:
    """Seconds per token trained, per token only read, and per optimiser step."""
    import torch

    from elara.train.cpu_kernels import fused_lora, replace_forwards

    random_state = torch.get_rng_state()
    trainable = [p for p in lm.model.parameters() if p.requires_grad]
    with quiet_libraries():
        model = add_lora(lm, config)
    try:
        with restoring(model):
            replace_forwards(model, fused_lora)
            return _trials(lm, model, data)
    finally:
        lm.model = model.unload()
        lm.model.eval()
        for parameter in trainable:
            parameter.requires_grad_(True)
        torch.set_rng_state(random_state)


def _trials(lm: LanguageModel, model: Any, data: TokenData) -> tuple[float, float, float]:
    """Time a few steps as `fine_tune` makes them."""
    import torch

    from elara.train.cpu_kernels import add_answer_loss

    half = torch.autocast(lm.device, torch.bfloat16, enabled=lm.dtype == "bfloat16")
    model.train()
    answers_only = add_answer_loss(model.get_base_model())
    ordered = sorted(data.train, key=lambda e: len(e.input_ids))

    def loss(example: Encoded) -> Any:
        ids = torch.tensor([example.input_ids], device=lm.model.device)
        labels = torch.tensor([example.labels], device=lm.model.device)
        with half:
            if answers_only:
                return model(input_ids=ids, labels=labels, answers_only=True)["loss_sum"]
            return model(input_ids=ids, labels=labels, use_cache=False).loss

    def timed(step: Callable[..., Any], *given: Any) -> float:
        started = time.perf_counter()
        step(*given)
        if lm.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def backward(example: Encoded) -> None:
        loss(example).backward()

    timed(backward, ordered[0])  # the first pass is slower than the others
    begun, seconds, tokens = time.perf_counter(), 0.0, 0
    for i in _SPREAD:
        example = ordered[(2 * i + 1) * len(ordered) // (2 * len(_SPREAD))]
        seconds += timed(backward, example)
        tokens += len(example.input_ids)
        if time.perf_counter() - begun > _TRIAL_SECONDS:
            break
    middle = ordered[len(ordered) // 2]
    with torch.no_grad():
        reading = timed(loss, middle) / len(middle.input_ids)
    adam = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=0.0)
    timed(adam.step)
    return seconds / tokens, reading, timed(adam.step)


def count_memory(lm: LanguageModel, data: TokenData, config: TrainingConfig) -> Memory:
    """Count the memory at a run's peak.

    On a GPU `fine_tune` keeps as many activations as there is room for, so that the count depends
    on its memory: it is that of the plan that `fine_tune` will choose.

    Args:
        lm: the base model, with or without an adapter.
        data: tokenised examples.
        config: settings.
    """
    model = lm.causal
    facts = summary(model, config)
    weights = (p for n, p in model.named_parameters() if "lora_" not in n)
    base = sum(p.numel() * p.element_size() for p in weights)
    adapter = 4 * facts.adapter_bytes  # weights, gradients, two AdamW states, all of one format
    if lm.device == "cpu":
        activations = round(_SLACK * _activation_bytes(lm, model, data, config))
        return Memory(base, adapter, activations, _process_bytes(base))
    from elara.train.devices import gpu

    shape, sizes = model.config.get_text_config(), {"memory": gpu.device_memory()}
    sizes |= {"fixed": base + adapter, "itemsize": lm.bytes_each}
    plan = gpu.choose_plan(shape, config, **sizes)
    return Memory(base, adapter, plan.bytes - base - adapter, 0)


def _activation_bytes(
    lm: LanguageModel, model: Any, data: TokenData, config: TrainingConfig
) -> int:
    """What a pass on a CPU keeps, which computes nothing again."""
    from elara.train.cpu_kernels import ROWS

    shape = model.config.get_text_config()
    width, layers = shape.hidden_size, shape.num_hidden_layers
    inner = getattr(shape, "intermediate_size", None) or 4 * width
    itemsize = lm.bytes_each
    packed = choose_batching(lm, config)[0] == "packed"
    tokens, targets = _largest_batch(data.train, config, packed=packed)
    # Per token and layer, kept for the backward pass: the two residual streams and their norms
    # (4 widths), queries, keys, values, what attention gives, its copy in order (5), and gate,
    # its silu, up, and their product (4 inner widths). Dropout keeps its own copy of the inputs
    # of all seven projections.
    floats = 9 * width + 4 * inner + 7 * config.lora_r
    if config.lora_dropout:
        floats += (6 * width + inner) * 5 // 4
    if config.lora_variant == "dora":
        floats += 2 * (5 * width + 2 * inner)
    # Scores of the answer tokens, a block at a time, with one working copy.
    scores = 2 * 4 * min(targets, ROWS) * shape.vocab_size + 3 * itemsize * targets * width
    return int(layers * floats * itemsize * tokens + scores)


def _largest_batch(
    examples: list[Encoded], config: TrainingConfig, *, packed: bool
) -> tuple[int, int]:
    """Tokens (padding included) and answer tokens of the largest forward pass to be expected."""
    longest = min(max(len(e.input_ids) for e in examples), config.max_length)
    tokens = (config.max_length if packed else longest) * config.batch_size
    share = max(sum(t != -100 for t in e.labels) / len(e.labels) for e in examples)
    return tokens, round(tokens * share)


def _process_bytes(loaded: int) -> int:
    """What the process holds besides the weights, the trainer's libraries included."""
    import psutil

    with quiet_libraries():
        import trl.trainer.sft_trainer  # noqa: F401 - so that it is counted

    gc.collect()
    return max(0, int(psutil.Process().memory_info().rss) - loaded)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or a CPU.

    Args:
        error: what a library raised.
    """
    import torch

    text = str(error).lower()
    said = ("can't allocate memory", "defaultcpuallocator", "not enough memory", "out of memory")
    told = isinstance(error, RuntimeError) and any(words in text for words in said)
    return told or isinstance(error, MemoryError | torch.OutOfMemoryError)


def out_of_memory(config: Any) -> TrainingError:
    """The error that says which parameters lower a run's memory.

    Args:
        config: the settings that did not fit: a `TrainingConfig` or `PreferenceConfig`.
    """
    return TrainingError(
        f"Memory ran out. Lower `batch_size` (it is {config.batch_size}; more "
        f"`gradient_accumulation` makes up for it) or `max_length` ({config.max_length}; what is "
        "longer is left out and counted), or load the base model with `quantisation` nf4."
    )

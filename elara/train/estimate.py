"""Estimate what a run needs before it starts: memory by counting, time by a few timed steps."""

from __future__ import annotations

import gc
import math
from dataclasses import dataclass
from typing import Any

from elara.model import Encoded, LanguageModel, quiet_libraries
from elara.train.config import TrainingConfig, TrainingError
from elara.train.data import TokenData, choose_batching, packed_rows
from elara.train.devices.plan import GpuPlan, stored_bytes
from elara.train.lora import check_number_format, summary
from elara.train.trials import timed

_MIB = 2**20
# Times what is counted on a CPU: the allocator's holes and the kernels' working memory.
_SLACK = 1.15


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
    training steps (about ten seconds): on a CPU of examples spread over the lengths that occur, on
    a GPU of what will run there, by its plan. Layers that are compiled for that, which is
    announced, are compiled for a run in the same process too.

    Args:
        lm: the base model, without an adapter.
        data: tokenised examples.
        config: settings.

    Raises:
        TrainingError: the model was loaded in another number format than `config` says.
    """
    check_number_format(lm, config)
    facts = summary(lm.model, config)
    tokens = run_tokens(data, config)
    packed = choose_batching(lm, config)[0] == "packed"
    plan = _plan(lm, data, config)
    how = plan or GpuPlan(batch=config.batch_size, accumulation=config.gradient_accumulation)
    lengths = [len(e.input_ids) for e in data.train]
    rows = packed_rows(lengths, config.max_length) if packed else len(lengths)
    per_epoch = math.ceil(math.ceil(rows / how.batch) / how.accumulation)
    steps = max(1, math.ceil(per_epoch * config.epochs))
    memory = count_memory(lm, data, config)  # first: trials leave the allocator full
    timing = timed(lm, data, config, packed=packed, plan=plan)
    train_seconds, read_seconds, update_seconds = timing
    every = config.eval_steps
    evaluations = 1 + (steps // every if every else round(config.epochs))
    held = sum(len(e.input_ids) for e in data.validation)
    seconds = tokens * train_seconds + held * evaluations * read_seconds + steps * update_seconds
    return Estimate(facts.trainable, facts.total, memory, steps, tokens, seconds)


def run_tokens(data: TokenData, config: TrainingConfig) -> int:
    """Tokens that a run trains on, padding not counted.

    Args:
        data: tokenised examples.
        config: gives `epochs`.
    """
    return round(sum(len(e.input_ids) for e in data.train) * config.epochs)


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
    base, adapter = _fixed(model, config)
    if plan := _plan(lm, data, config):
        return Memory(base, adapter, plan.bytes - base - adapter, 0)
    activations = round(_SLACK * _activation_bytes(lm, model, data, config))
    return Memory(base, adapter, activations, _process_bytes(base))


def _fixed(model: Any, config: TrainingConfig) -> tuple[int, int]:
    """Bytes of the base model's weights; and of the adapter's, its gradients and AdamW states."""
    base = sum(stored_bytes(p) for n, p in model.named_parameters() if "lora_" not in n)
    return base, 4 * summary(model, config).adapter_bytes  # four of one format


def _plan(lm: LanguageModel, data: TokenData, config: TrainingConfig) -> GpuPlan | None:
    """The plan that `fine_tune` will choose; None on a CPU."""
    if lm.device == "cpu":
        return None
    with quiet_libraries():
        from elara.train.devices import gpu

    fixed, tokens = sum(_fixed(lm.causal, config)), run_tokens(data, config)
    return gpu.plan_for(lm, lm.causal.config.get_text_config(), config, fixed=fixed, tokens=tokens)


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

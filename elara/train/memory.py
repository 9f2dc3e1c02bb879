"""The memory that a run takes at its peak, counted; and what to change when there is not enough."""

from __future__ import annotations

import dataclasses
import gc
from dataclasses import dataclass
from functools import partial
from typing import Any

from elara.model import Encoded, LanguageModel, quiet_libraries
from elara.train.config import TrainingConfig
from elara.train.data import TokenData, choose_batching
from elara.train.devices import gpu
from elara.train.fast import ROWS
from elara.train.lora import summary

_MIB = 2**20
# Times what is counted on a CPU: the allocator's holes and the kernels' working memory.
_SLACK = 1.15


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak of a run, by what they hold (see `Estimate`)."""

    base: int
    adapter: int
    activations: int
    other: int

    @property
    def peak(self) -> int:
        """All of it."""
        return self.base + self.adapter + self.activations + self.other


def count_memory(
    lm: LanguageModel, data: TokenData, config: TrainingConfig, *, available: int | None = None
) -> Memory:
    """Count the memory at a run's peak.

    On a GPU `fit` keeps as many activations as fit into it, so that there the count depends on
    its memory: it is that of the plan that `fit` will choose.

    Args:
        lm: the base model, with or without an adapter.
        data: tokenised examples.
        config: settings.
        available: bytes of the GPU's memory; None for those of the GPU that is there. 0 counts
            the least that will do.
    """
    model = _base(lm)
    facts = summary(model, config)
    wide = lm.bytes_each
    loaded = sum(
        p.numel() * p.element_size() for n, p in model.named_parameters() if "lora_" not in n
    )
    base = loaded
    quantised = lm.quantisation == "nf4"
    if config.quantisation == "nf4" and not quantised:
        base = facts.linear_nf4_bytes + facts.other_bytes * wide // 2
    if config.quantisation == "none" and quantised:
        base = (facts.linear_bytes + facts.other_bytes) * wide // 2
    adapter = 4 * facts.adapter_bytes  # weights, gradients, two AdamW states, all of one format
    if lm.device == "cpu":
        activations = round(_SLACK * _activation_bytes(lm, model, data, config))
        return Memory(base, adapter, activations, _process_bytes(loaded))
    plan = gpu.choose(
        model.config.get_text_config(),
        config,
        fixed=base + adapter,
        memory=gpu.device_memory() if available is None else available,
        wide=wide,
    )
    return Memory(base, adapter, plan.bytes - base - adapter, 0)


def _activation_bytes(
    lm: LanguageModel, model: Any, data: TokenData, config: TrainingConfig
) -> int:
    """What a pass on a CPU keeps, where nothing is recomputed."""
    shape = model.config.get_text_config()
    width, layers = shape.hidden_size, shape.num_hidden_layers
    inner = getattr(shape, "intermediate_size", None) or 4 * width
    wide = lm.bytes_each
    packed = choose_batching(lm, config)[0] == "packed"
    tokens, judged = _largest_batch(data.train, config, packed=packed)
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
    scores = 2 * 4 * min(judged, ROWS) * shape.vocab_size + 3 * wide * judged * width
    return int(layers * floats * wide * tokens + scores)


def _largest_batch(
    examples: list[Encoded], config: TrainingConfig, *, packed: bool
) -> tuple[int, int]:
    """Tokens (padding included) and answer tokens of the largest forward pass to be expected."""
    longest = sorted((min(len(e.input_ids), config.max_length) for e in examples), reverse=True)
    tokens = longest[0] * config.batch_size
    if packed:
        tokens = config.max_length * config.batch_size
    share = max(sum(t != -100 for t in e.labels) / len(e.labels) for e in examples)
    return tokens, round(tokens * share)


def _process_bytes(loaded: int) -> int:
    """What the process holds besides the weights, the trainer's libraries included."""
    import psutil

    with quiet_libraries():
        import trl.trainer.sft_trainer  # noqa: F401 - so that it is counted

    gc.collect()
    return max(0, int(psutil.Process().memory_info().rss) - loaded)


def _base(lm: LanguageModel) -> Any:
    get_base = getattr(lm.model, "get_base_model", None)
    return get_base() if get_base else lm.model


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or a CPU.

    Args:
        error: what a library raised.
    """
    import torch

    text = str(error).lower()
    said = ("can't allocate memory", "defaultcpuallocator", "not enough memory", "out of memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in said)
    )


def what_to_change(lm: LanguageModel, data: TokenData, config: TrainingConfig) -> str:
    """Name the (at most three) parameters that would lower a run's memory most, and to what.

    Args:
        lm: the model, with or without its adapter.
        data: tokenised examples.
        config: the settings that did not fit.
    """
    needs = partial(count_memory, lm, data, available=0)
    now = needs(config).peak
    longest = max(len(e.input_ids) for e in data.train)
    changes: dict[str, tuple[Any, TrainingConfig]] = {}

    def offer(name: str, value: Any) -> None:
        changes[name] = (value, dataclasses.replace(config, **{name: value}))

    if config.batch_size > 1:
        offer("batch_size", config.batch_size // 2)
    offer("max_length", max(1, min(longest, config.max_length) // 2))
    if config.quantisation == "none":
        offer("quantisation", "nf4")
    if config.lora_dropout:
        offer("lora_dropout", 0.0)
    if config.lora_r > 1:
        offer("lora_r", max(1, config.lora_r // 2))
    predicted = {n: (v, needs(c).peak) for n, (v, c) in changes.items()}
    lower = [item for item in predicted.items() if item[1][1] < now]
    best = sorted(lower, key=lambda item: item[1][1])[:3]
    told = "; ".join(
        f"`{name}` {value} instead of {getattr(config, name)}: {peak / _MIB:,.0f} MiB"
        for name, (value, peak) in best
    )
    return (
        f"Memory ran out: these settings need about {now / _MIB:,.0f} MiB. Change one of these, "
        f"with the memory that it is predicted to need: {told}."
    )

"""Time a few training steps as a run will make them: its rows, its layers, compiled or not."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from elara.model import Encoded, LanguageModel, quiet_libraries
from elara.train.config import TrainingConfig
from elara.train.data import TokenData
from elara.train.lora import add_lora, restoring

if TYPE_CHECKING:
    from elara.train.devices.gpu import GpuPlan

_TRIAL_SECONDS = 8.0
# Trials by length, ordered so that any first few are of spread lengths.
_SPREAD = (3, 6, 1, 4, 7, 0, 5, 2)
# Passes before the clock starts: the first one is slower than the others, and compiled layers are
# compiled for one length, then for all.
_WARM, _WARM_COMPILED = 1, 2


def passes(
    examples: list[Encoded], config: TrainingConfig, *, batch: int, packed: bool
) -> list[list[Encoded]]:
    """The examples of a few forward passes such as a run makes, of spread lengths.

    Args:
        examples: of one epoch.
        config: gives `max_length`.
        batch: rows per forward pass.
        packed: whether a row is filled with examples up to `max_length`.

    Returns:
        Eight passes: packed ones hold as many tokens as there is room for, others `batch` examples
        of similar length.
    """
    ordered = sorted(examples, key=lambda e: len(e.input_ids))
    starts = [(2 * i + 1) * len(ordered) // (2 * len(_SPREAD)) for i in _SPREAD]
    if not packed:
        firsts = (min(start, max(0, len(ordered) - batch)) for start in starts)
        return [ordered[first : first + batch] for first in firsts]
    every = itertools.cycle(examples)
    return [list(_filled(every, batch * config.max_length)) for _ in _SPREAD]


def _filled(examples: Iterator[Encoded], room: int) -> Iterator[Encoded]:
    for example in examples:
        room -= len(example.input_ids)
        if room < 0:
            return
        yield example


def timed(
    lm: LanguageModel,
    data: TokenData,
    config: TrainingConfig,
    *,
    packed: bool = False,
    plan: GpuPlan | None = None,
) -> tuple[float, float, float]:
    """Time training for some ten seconds. The model is left as it was.

    A plan that compiles does so here, which it announces; the run in the same process finds it
    compiled.

    Args:
        lm: the base model, without an adapter.
        data: tokenised examples.
        config: settings.
        packed: whether rows are packed.
        plan: how a GPU is used; None on a CPU, where single examples are timed.

    Returns:
        Seconds per token trained, per token only read, and per optimiser step.
    """
    import torch

    with quiet_libraries():
        from transformers.utils.import_utils import enable_tf32, is_torch_tf32_available

        from elara.train.cpu_kernels import fused_lora, replace_forwards
        from elara.train.devices import attention, gpu

    random_state = torch.get_rng_state()
    trainable = [p for p in lm.model.parameters() if p.requires_grad]
    flat = plan is not None and attention.usable(lm)[0]
    with quiet_libraries():
        model = add_lora(lm, config)
    try:
        with restoring(model):
            if flat:
                attention.use(lm.causal)
            if lm.device == "cuda" and is_torch_tf32_available():
                enable_tf32(True)  # as the trainer does, or nothing compiled here would serve it
            model.train()
            if lm.quantisation != "none":  # as the trainer has it
                for parameter in (p for p in model.parameters() if p.requires_grad):
                    parameter.data = parameter.data.to(torch.bfloat16)
            if plan:
                gpu.apply(model, plan)
            else:
                replace_forwards(model, fused_lora)
            batch = plan.batch if plan else 1
            groups = passes(data.train, config, batch=batch, packed=packed and plan is not None)
            warm = _WARM_COMPILED if plan and plan.compiled else _WARM
            batches = [_batch(group, config, flat=flat) for group in groups]
            tokens = [sum(len(e.input_ids) for e in group) for group in groups]
            if warm > 1:
                _second_of_another_length(batches, tokens)
            return _trials(lm, model, batches, tokens, warm)
    finally:
        lm.model = model.unload()
        lm.model.eval()
        for parameter in trainable:
            parameter.requires_grad_(True)
        torch.set_rng_state(random_state)


def _second_of_another_length(batches: list[dict[str, Any]], tokens: list[int]) -> None:
    """Let the second pass differ in length from the first, where any does.

    Layers are compiled for the first length, and for all others when a second one comes: that has
    to be before the clock starts.
    """
    lengths = [batch["input_ids"].shape[1] for batch in batches]
    other = next((i for i, length in enumerate(lengths) if length != lengths[0]), 1)
    batches[1], batches[other] = batches[other], batches[1]
    tokens[1], tokens[other] = tokens[other], tokens[1]


def _batch(examples: list[Encoded], config: TrainingConfig, *, flat: bool) -> dict[str, Any]:
    """One forward pass's input, laid flat or padded."""
    from torch import tensor

    from elara.train.devices.attention import FlatRows

    if flat:
        rows = [{"input_ids": e.input_ids, "labels": e.labels} for e in examples]
        return FlatRows(0, config.max_length)(rows)
    longest = max(len(e.input_ids) for e in examples)

    def padded(rows: list[list[int]], value: int) -> Any:
        return tensor([row + [value] * (longest - len(row)) for row in rows])

    ids, labels = [e.input_ids for e in examples], [e.labels for e in examples]
    found = {"input_ids": padded(ids, 0), "labels": padded(labels, -100)}
    if len(examples) > 1:
        found["attention_mask"] = padded([[1] * len(row) for row in ids], 0)
    return found


def _trials(
    lm: LanguageModel, model: Any, batches: list[dict[str, Any]], tokens: list[int], warm: int
) -> tuple[float, float, float]:
    """Time a few steps as `fine_tune` makes them; `tokens` of each batch without its padding."""
    import torch

    from elara.train.cpu_kernels import add_answer_loss, target_positions

    half = torch.autocast(lm.device, torch.bfloat16, enabled=lm.dtype == "bfloat16")
    answers_only = add_answer_loss(model.get_base_model())
    for batch in batches:
        if answers_only:  # known, as in a run, before the batch is on the device
            batch["target_positions"] = target_positions(batch["labels"])
        for name, value in batch.items():
            if isinstance(value, torch.Tensor):
                batch[name] = value.to(model.device)

    def loss(batch: dict[str, Any]) -> Any:
        with half:
            if answers_only:
                return model(**batch, answers_only=True)["loss_sum"]
            return model(**batch, use_cache=False).loss

    def seconds_of(step: Callable[..., Any], *given: Any) -> float:
        started = time.perf_counter()
        step(*given)
        if lm.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def backward(batch: dict[str, Any]) -> None:
        loss(batch).backward()

    for batch in batches[:warm]:
        seconds_of(backward, batch)
    begun, seconds, trained = time.perf_counter(), 0.0, 0
    for batch, count in zip(batches, tokens, strict=True):
        seconds += seconds_of(backward, batch)
        trained += count
        if time.perf_counter() - begun > _TRIAL_SECONDS:
            break
    with torch.no_grad():
        reading = seconds_of(loss, batches[0]) / tokens[0]
    adam = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=0.0)
    seconds_of(adam.step)
    return seconds / trained, reading, seconds_of(adam.step)

"""Restore a model after training has changed it, and check the number format it was loaded in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from elara.model import LanguageModel
from elara.model.precision import choose_precision
from elara.train.config import TrainingConfig, TrainingError


@contextlib.contextmanager
def restoring(model: Any) -> Iterator[None]:
    """Give a model back in the state it came in, whatever is done to it inside.

    Trainers leave things on a model that change what it computes: a wrapper that puts it under
    autocast, a loss of its own, a 4-bit model's adapter in bfloat16. What is measured on such a
    model is not what a reader gets who loads the adapter. Afterwards every module has the
    `forward` it had, the trained parameters have the number format they had (with their new
    values), and the model is in evaluation mode.

    Args:
        model: a PEFT model.

    Source: accelerate's `prepare_model` and TRL's trainers, which do these things.
    """
    before = [(m, m.__dict__.get("forward")) for m in model.modules()]
    formats = [(p, p.dtype) for p in model.parameters() if p.requires_grad]
    try:
        yield
    finally:
        for module, forward in before:
            module.__dict__.pop("forward", None)
            module.__dict__.pop("_original_forward", None)  # accelerate's note of what it wrapped
            if forward is not None:
                module.forward = forward
        for parameter, dtype in formats:
            if parameter.dtype != dtype:
                parameter.data, parameter.grad = parameter.data.to(dtype), None
        base = model.get_base_model()
        if base.is_activation_checkpointing:
            base.activation_checkpointing_disable()
            base.disable_input_require_grads()
        model.eval()


def adapter_dtype(model: Any) -> str:
    """The number format in which an adapter's matrices are stored, by torch's name for it.

    Args:
        model: a PEFT model.
    """
    weight = next(p for n, p in model.named_parameters() if "lora_A" in n)
    return str(weight.dtype).removeprefix("torch.")


def check_number_format(lm: LanguageModel, config: TrainingConfig) -> None:
    """Refuse a model that was loaded in another number format than the settings say.

    Args:
        lm: the base model, with or without an adapter.
        config: `precision` and `quantisation`.

    Raises:
        TrainingError: they contradict each other, so a record of the run would be wrong.
    """
    load = "load it with `load_base(name, quantisation=…, precision=…)` as the settings say"
    dtype = choose_precision(config.precision).dtype
    if dtype != lm.dtype:
        raise TrainingError(
            f"The model was loaded in {lm.dtype}, but `precision` {config.precision} means {dtype} "
            f"on this machine: {load}."
        )
    if lm.quantisation != config.quantisation:
        raise TrainingError(
            f"The model was loaded with quantisation {lm.quantisation}, but `quantisation` is "
            f"{config.quantisation}: {load}."
        )

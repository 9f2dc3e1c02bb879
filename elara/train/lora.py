"""Put LoRA matrices on a model, count what they add, and restore the model after training."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elara.model import LanguageModel, choose_precision, split_revision
from elara.train.config import TARGETS, TrainingConfig, TrainingError

if TYPE_CHECKING:
    import torch

# NF4 stores a number in 4 bits, and one 8-bit scale for every 64 numbers; double quantisation
# stores one 32-bit scale for every 256 of those. Source: QLoRA, sections 2 and 3.
NF4_BYTES = 1 / 2 + 1 / 64 + 4 / (64 * 256)

# Bytes of an adapter's number: TRL trains the adapter of a 4-bit model in bfloat16, as QLoRA does.
ADAPTER_BYTES = {"none": 4, "nf4": 2}


@dataclass(frozen=True)
class Summary:
    """What an adapter adds to a base model, and what 4-bit weights save.

    Args:
        trainable: parameters that LoRA trains.
        total: parameters of base model and adapter.
        adapter_bytes: size of the adapter's weights on disk.
        linear_bytes: the base model's linear layers in bfloat16, in bytes.
        linear_nf4_bytes: the same layers in NF4, scales included.
    """

    trainable: int
    total: int
    adapter_bytes: int
    linear_bytes: int
    linear_nf4_bytes: int

    @property
    def trainable_share(self) -> float:
        """Trained part of all parameters, from 0 to 1."""
        return self.trainable / self.total

    @property
    def saved_share(self) -> float:
        """What NF4 saves of the linear layers' bfloat16 memory, from 0 to 1."""
        return 1 - self.linear_nf4_bytes / self.linear_bytes


def target_modules(model: Any) -> list[str]:
    """Name the linear layers that LoRA goes on: all but the output layer.

    Args:
        model: a transformers model for causal language modelling, without an adapter.

    Returns:
        For Llama-like models the reference's seven projections; for others (BLOOM's
        `query_key_value`, Phi's `fc1`, …) what their architecture calls them, in model order.

    Raises:
        TrainingError: the model has no linear layer that can be told by its name.

    Source: QLoRA (all linear layers), https://arxiv.org/abs/2305.14314.
    """
    names = list(dict.fromkeys(name.rsplit(".", 1)[-1] for name, _ in _linear_layers(model)))
    if not names:
        raise TrainingError(
            f"{type(model).__name__} has no linear layers to which LoRA applies: use a causal "
            "language model made of ordinary linear layers."
        )
    return list(TARGETS) if set(names) == set(TARGETS) else names


def add_lora(lm: LanguageModel, config: TrainingConfig) -> Any:
    """Put untrained LoRA matrices on all linear layers of a base model.

    The base stays as it was loaded. (PEFT's `prepare_model_for_kbit_training` would copy the
    embeddings of a 4-bit model to float32, which costs a gigabyte on a 7B model and gains
    nothing where bfloat16 is computed.)

    Args:
        lm: the base model; it is changed.
        config: rank, alpha, dropout, variant and seed.

    Returns:
        The PEFT model; only the LoRA matrices are trainable.

    Source: https://huggingface.co/docs/peft/package_reference/lora
    """
    import peft
    import torch

    torch.manual_seed(config.seed)
    lora = peft.LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        use_rslora=config.lora_variant == "rslora",
        use_dora=config.lora_variant == "dora",
        target_modules=target_modules(lm.model),
        exclude_modules=_outside_the_text_model(lm.model),
        bias="none",
        task_type="CAUSAL_LM",
    )
    return peft.get_peft_model(lm.model, lora, revision=split_revision(config.base_model)[1])


def of_adapter(config: TrainingConfig, model: Any) -> TrainingConfig:
    """The settings of a run with rank, alpha, dropout and variant as its adapter really has them.

    An adapter that is trained on keeps its own, whatever the settings of the new run say.

    Args:
        config: the run's settings.
        model: the PEFT model.
    """
    lora = model.peft_config["default"]
    variant = "rslora" if lora.use_rslora else "dora" if lora.use_dora else "lora"
    own = {"lora_r": lora.r, "lora_alpha": lora.lora_alpha, "lora_dropout": lora.lora_dropout}
    return dataclasses.replace(config, **own, lora_variant=variant)


def optimiser(model: Any, config: TrainingConfig) -> torch.optim.Optimizer | None:
    """Make the optimiser that LoRA+ needs; every other run uses the trainer's own AdamW.

    Args:
        model: a PEFT model.
        config: `loraplus_ratio` and `learning_rate`.

    Returns:
        AdamW whose B matrices learn `loraplus_ratio` times as fast as the A matrices, or None
        where the ratio is 0. Schedules multiply both rates and so keep the ratio.

    Source: LoRA+, https://arxiv.org/abs/2402.12354.
    """
    if not config.loraplus_ratio:
        return None
    import torch
    from peft.optimizers import create_loraplus_optimizer

    rates = {"lr": config.learning_rate, "loraplus_lr_ratio": config.loraplus_ratio}
    kind = torch.optim.AdamW
    made: torch.optim.Optimizer = create_loraplus_optimizer(model, kind, fused=True, **rates)
    return made


def summary(model: Any, config: TrainingConfig) -> Summary:
    """Count what LoRA would train on a base model, and what 4-bit weights would save.

    Args:
        model: a base model without an adapter, loaded in any way; one on torch's `meta` device,
            which takes no memory, does.
        config: `lora_r` and `lora_variant`.

    Source: NF4 and double quantisation, https://arxiv.org/abs/2305.14314.
    """
    trainable = linear = 0
    for _, layer in _linear_layers(model):
        linear += layer.in_features * layer.out_features
        trainable += config.lora_r * (layer.in_features + layer.out_features)
        if config.lora_variant == "dora":
            trainable += layer.out_features
    base = model.num_parameters()  # counts 4-bit weights as what they stand for
    return Summary(
        trainable=trainable,
        total=base + trainable,
        adapter_bytes=ADAPTER_BYTES[config.quantisation] * trainable,
        linear_bytes=2 * linear,
        linear_nf4_bytes=round(NF4_BYTES * linear),
    )


def _linear_layers(model: Any) -> Iterator[tuple[str, Any]]:
    import torch

    output = model.get_output_embeddings()
    outside = re.compile(_outside_the_text_model(model) or r"(?!)")
    for name, module in model.named_modules():
        linear = isinstance(module, torch.nn.Linear) and module is not output
        if linear and not outside.fullmatch(name):
            yield name, module


def _outside_the_text_model(model: Any) -> str | None:
    """Pictures and sounds are no part of the examples: a pattern for what reads them."""
    parts = {name.split(".")[-1] for name, _ in model.named_modules()}
    starts = ("vision_", "visual", "audio_", "multi_modal_", "embed_vision", "connector")
    found = sorted(part for part in parts if part.startswith(starts))
    return rf"(.*\.)?({'|'.join(found)})(\..*)?" if found else None


@contextlib.contextmanager
def restoring(model: Any) -> Iterator[None]:
    """Give a model back in the state it came in, whatever is done to it inside.

    Trainers leave things on a model that change what it computes: a wrapper that puts it under
    autocast, a loss of its own, a 4-bit model's adapter in bfloat16. What is measured on such a
    model is not what a reader gets who loads the adapter. Afterwards every module has the
    `forward` it had, the trained parameters have the number format they had (with their new
    values), the layers the attention they had, and the model is in evaluation mode.

    Args:
        model: a PEFT model.

    Source: accelerate's `prepare_model` and TRL's trainers, which do these things.
    """
    before = [(m, m.__dict__.get("forward")) for m in model.modules()]
    formats = [(p, p.dtype) for p in model.parameters() if p.requires_grad]
    base = model.get_base_model()
    shape = base.config.get_text_config()
    attention = shape._attn_implementation
    try:
        yield
    finally:
        if shape._attn_implementation != attention:
            shape._attn_implementation = attention
        for module, forward in before:
            module.__dict__.pop("forward", None)
            module.__dict__.pop("_original_forward", None)  # accelerate's note of what it wrapped
            module.__dict__.pop("_compiled_call_impl", None)
            if forward is not None:
                module.forward = forward
        for parameter, dtype in formats:
            if parameter.dtype != dtype:
                parameter.data, parameter.grad = parameter.data.to(dtype), None
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

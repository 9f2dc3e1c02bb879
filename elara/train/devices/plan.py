"""Plan how training steps use a GPU's memory and time, from a model's shape alone.

What is computed again, how many examples share a pass, and whether layers are compiled change no
result beyond rounding. The plan is the one that takes least time of those that fit.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elara.train.config import TrainingError
from elara.train.devices import cards
from elara.train.lora import ADAPTER_BYTES, NF4_BYTES

if TYPE_CHECKING:
    from elara.train.config import TrainingConfig

# Of the device's memory; the rest is for fragments between tensors and for the driver.
USABLE = 0.92
_SCORES = 384 * 2**20  # the scores of one chunk of target tokens, in 32 and in 16 bits
_WORKSPACE = 64 * 2**20  # kernels' buffers
_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class GpuPlan:
    """How a training step runs on a GPU.

    Args:
        batch: examples, or rows of packed examples, per forward pass.
        accumulation: forward passes per optimiser step.
        checkpointed_layers: layers, counted from the first, whose activations are computed again
            in the backward pass instead of kept.
        lean: whether norms, MLPs and LoRA layers run in their lean form.
        compiled: whether the decoder layers are compiled; the first steps take longer.
        bytes: predicted peak memory, in bytes.
        tokens: tokens of a forward pass at most, padding included.
        compile_seconds: what compiling is expected to take; 0 where nothing is compiled.
        seconds: predicted seconds of the whole run, compiling included; 0 where the card is not
            known.
    """

    batch: int
    accumulation: int
    checkpointed_layers: int = 0
    lean: bool = True
    compiled: bool = False
    bytes: int = 0
    tokens: int = 0
    compile_seconds: float = 0
    seconds: float = 0

    def __str__(self) -> str:
        time = f", about {self.seconds / 60:.0f} minutes" if self.seconds else ""
        return (
            f"{self.tokens:,} tokens per forward pass, {self.accumulation} of them per step, "
            f"{self.checkpointed_layers} layers computed again, "
            f"{'compiled' if self.compiled else 'not compiled'}; predicted: "
            f"{self.bytes / _GIB:.1f} GiB{time}"
        )


def stored_bytes(parameter: Any) -> int:
    """Bytes of a frozen parameter as it is stored, the scales of 4-bit weights included.

    Args:
        parameter: torch's, or bitsandbytes' own.
    """
    stored = int(parameter.numel() * parameter.element_size())
    state = getattr(parameter, "quant_state", None)
    while state is not None:
        stored += int(state.absmax.numel() * state.absmax.element_size())
        state = state.state2
    return stored


def choose_plan(
    shape: Any,
    config: TrainingConfig,
    *,
    fixed: int,
    memory: int,
    itemsize: int = 2,
    tokens: int = 0,
    card: str = "",
    quantised: bool = False,
) -> GpuPlan:
    """Choose forward batch and recomputation by what fits, and compiling by what it saves.

    The product of `batch_size` and `gradient_accumulation` is kept, and with it the gradient: the
    loss is a mean over the tokens of an optimiser step, however they are grouped.

    Args:
        shape: the model's (text) configuration.
        config: gives batch size, accumulation, dropout and longest example.
        fixed: bytes of weights and optimiser, see `fixed_bytes`.
        memory: the device's memory in bytes.
        itemsize: bytes of one activation.
        tokens: that the whole run trains on; 0, not known, compiles nothing.
        card: what the driver calls the device.
        quantised: whether the weights are in 4 bits.

    Returns:
        The plan with the least work per token among those that fit; if none fits, the one that
        needs least memory (`shortfall` says so).
    """
    layers: int = shape.num_hidden_layers
    together = config.batch_size * config.gradient_accumulation
    sizes: dict[str, Any] = {"itemsize": itemsize, "quantised": quantised}
    plans = [
        GpuPlan(
            batch=batch,
            accumulation=together // batch,
            checkpointed_layers=layer,
            bytes=fixed + activation_bytes(shape, config, batch, layer, **sizes),
            tokens=batch * config.max_length,
        )
        for batch in range(1, together + 1)
        if together % batch == 0
        for layer in range(layers + 1)
    ]

    def cost(plan: GpuPlan) -> float:
        return cards.work(plan.tokens, plan.checkpointed_layers / layers)

    fitting = [plan for plan in plans if plan.bytes <= USABLE * memory]
    plan = min(fitting, key=cost) if fitting else min(plans, key=lambda plan: plan.bytes)
    return _timed(plan, shape, tokens, card, quantised)


def _timed(plan: GpuPlan, shape: Any, tokens: int, card: str, quantised: bool) -> GpuPlan:
    """Compile exactly where that saves more than it costs, and predict the seconds.

    A card that is not in the table is taken for the fastest one, which saves the fewest seconds.
    """
    known, _ = cards.peak_flops(card)
    given: dict[str, Any] = {
        "peak": known or max(peak for _, peak, _ in cards.PEAKS),
        "quantised": quantised,
        "together": plan.tokens,
        "recomputed": plan.checkpointed_layers / shape.num_hidden_layers,
    }
    plain, quick = (
        cards.train_seconds(shape, tokens, compiled=way, **given) for way in (False, True)
    )
    once = cards.COMPILE_SECONDS
    compiled = plain - quick > once
    return dataclasses.replace(
        plan,
        compiled=compiled,
        compile_seconds=once if compiled else 0,
        seconds=min(plain, quick + once) if known else 0,
    )


def predict(
    shape: Any, config: TrainingConfig, *, memory: int, card: str, quantised: bool, tokens: int
) -> GpuPlan:
    """Say from a model's shape alone how it would train on a card: no weights are needed.

    Args:
        shape: the model's (text) configuration, such as `transformers.MistralConfig(…)`.
        config: the run's settings.
        memory: the card's memory in bytes.
        card: what the driver calls it; "" predicts no seconds.
        quantised: whether the linear layers are held in NF4.
        tokens: that the whole run trains on.

    Raises:
        TrainingError: it does not fit; the message says what to lower.
    """
    hidden, *_ = cards.widths(shape)
    table = hidden * shape.vocab_size
    linear = cards.multiplied_parameters(shape) - table
    tables = table if getattr(shape, "tie_word_embeddings", False) else 2 * table
    others = tables + hidden * (2 * shape.num_hidden_layers + 1)  # in 16 bits, as norms are
    fixed = round(linear * (NF4_BYTES if quantised else 2) + 2 * others)
    fixed += 4 * ADAPTER_BYTES["nf4" if quantised else "none"] * _adapter_size(shape, config)
    named: dict[str, Any] = {"tokens": tokens, "card": card, "quantised": quantised}
    plan = choose_plan(shape, config, fixed=fixed, memory=memory, **named)
    if said := shortfall(plan, config, memory, quantised=quantised):
        raise TrainingError(said)
    return plan


def shortfall(plan: GpuPlan, config: TrainingConfig, memory: int, *, quantised: bool) -> str:
    """What to lower where even the smallest plan does not fit; "" where the plan fits.

    Args:
        plan: what `choose_plan` chose.
        config: the run's settings.
        memory: the device's memory in bytes.
        quantised: whether the weights are in 4 bits.
    """
    if plan.bytes <= USABLE * memory:
        return ""
    advice = "" if quantised else "load the base model with `quantisation` nf4, "
    return (
        f"The smallest plan, {plan.batch} x {config.max_length:,} tokens with every layer computed "
        f"again, needs {plan.bytes / _GIB:.1f} GiB by prediction, and of the card's "
        f"{memory / _GIB:.1f} GiB {USABLE * memory / _GIB:.1f} can be used: {advice}lower "
        f"`max_length` (what is longer is left out and counted) or `lora_r` ({config.lora_r}), or "
        "use a smaller base model."
    )


def _adapter_size(shape: Any, config: TrainingConfig) -> int:
    """Trained parameters of a model of the Llama family."""
    hidden, inner, queries, keys = cards.widths(shape)
    ends = 2 * (hidden + queries) + 2 * (hidden + keys) + 3 * (hidden + inner)
    lengths = 2 * hidden + queries + 2 * keys + 2 * inner if config.lora_variant == "dora" else 0
    return int(shape.num_hidden_layers * (config.lora_r * ends + lengths))


def activation_bytes(
    shape: Any,
    config: TrainingConfig,
    batch: int,
    checkpointed: int,
    *,
    itemsize: int = 2,
    quantised: bool = False,
) -> int:
    """Predict what lean training steps hold besides weights and optimiser at their peak.

    That is at the loss, or when the backward pass begins, in the MLP of the last layer. Layers that
    are computed again come first, so when it is their turn the others have let go of what they
    kept: only where all are computed again does the one at work add to what is kept. Compiled
    layers are counted alike: the checkpoint is outside of them, and the compiler keeps what the
    products of the backward pass read, as the lean layers do.

    Args:
        shape: the model's (text) configuration.
        config: gives rank, dropout, variant and longest example.
        batch: examples per forward pass.
        checkpointed: layers that keep their input alone.
        itemsize: bytes of one activation.
        quantised: whether the weights are in 4 bits.
    """
    hidden, inner, *_ = cards.widths(shape)
    layers: int = shape.num_hidden_layers
    layer = _layer_bytes(shape, config, itemsize)
    kept = kept_bytes(shape, config, batch, checkpointed, itemsize=itemsize)
    tokens = batch * config.max_length
    at_loss = _SCORES + 2 * tokens * itemsize * hidden  # hidden states and their gradient
    behind = tokens * itemsize * (2 * inner + 2 * hidden)  # gradients on their way through the MLP
    if checkpointed == layers:
        behind += tokens * layer
    if quantised:  # the weights of one product
        behind += itemsize * hidden * inner
    copies = 0
    if itemsize < 4 and not quantised:  # 16-bit copies of a 32-bit adapter, kept as the rest is
        copies = itemsize * _adapter_size(shape, config) * (layers - checkpointed) // layers
    return int(kept + copies + max(at_loss, behind) + _WORKSPACE)


def kept_bytes(
    shape: Any, config: TrainingConfig, batch: int, checkpointed: int, *, itemsize: int = 2
) -> int:
    """Predict what lean layers keep between forward and backward pass, the last norm included.

    Args:
        shape: the model's (text) configuration.
        config: gives rank, dropout, variant and longest example.
        batch: examples per forward pass.
        checkpointed: layers that keep their input alone.
        itemsize: bytes of one activation.
    """
    hidden: int = shape.hidden_size
    layers: int = shape.num_hidden_layers
    each = _layer_bytes(shape, config, itemsize) * (layers - checkpointed)
    each += itemsize * hidden * (checkpointed + 2)  # the last norm's in- and output
    return int(batch * config.max_length * each)


def _layer_bytes(shape: Any, config: TrainingConfig, itemsize: int) -> int:
    """What a layer keeps of a token."""
    hidden, inner, queries, keys = cards.widths(shape)
    # Both norms' in- and outputs, queries and attention's output, keys and values, three of MLP,
    # and the narrow side of seven adapters; besides a 32-bit number per norm and per head.
    each = 4 * hidden + 2 * queries + 2 * keys + 3 * inner + 7 * config.lora_r
    layer = itemsize * each + 4 * (2 + shape.num_attention_heads)
    if config.lora_dropout:  # each LoRA input anew, and its mask of one byte
        layer += (itemsize + 1) * (5 * hidden + queries + inner)
    if config.lora_variant == "dora":  # what each projection gives, twice
        layer += 2 * itemsize * (2 * hidden + queries + 2 * keys + 2 * inner)
    return int(layer)

"""Plan how training steps use a GPU: what is kept in memory, and layers that touch it less often.

A large model on a GPU waits for memory more than for arithmetic. Three things help, and none of
them changes what is computed beyond rounding:

- Nothing that fits in memory is computed again. Recomputing every layer in the backward pass, the
  usual default, costs half as much again as the whole forward pass.
- The gradient of several small batches is that of one large batch, and a GPU prefers the latter.
- Lean layers: the norm in one kernel, the LoRA update added by the matrix product itself, and an
  MLP that keeps two large tensors instead of four.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import rms_norm, silu
from transformers.modeling_layers import GradientCheckpointingLayer

from elara.train.cpu_kernels import fused_lora, replace_forwards
from elara.train.lora import ADAPTER_BYTES

if TYPE_CHECKING:
    from elara.train.config import TrainingConfig

# Of the device's memory; the rest is for fragments between tensors and for the driver.
USABLE = 0.92
_WORKSPACE = 768 * 2**20  # logits of one chunk, kernels' buffers


@dataclass(frozen=True, kw_only=True)
class GpuPlan:
    """How a training step runs on a GPU.

    Args:
        batch: examples per forward pass.
        accumulation: forward passes per optimiser step.
        checkpointed_layers: layers, counted from the first, whose activations are computed again
            in the backward pass instead of kept.
        lean: whether norms, MLPs and LoRA layers run in their lean form.
        compiled: whether each decoder layer is compiled; the first steps take minutes.
        bytes: predicted peak memory, in bytes.
    """

    batch: int
    accumulation: int
    checkpointed_layers: int = 0
    lean: bool = True
    compiled: bool = False
    bytes: int = 0


def device_memory() -> int:
    """Memory of the GPU in bytes, what others use of it included; 0 without one."""
    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0


def fixed_bytes(model: Any) -> int:
    """Bytes of a PEFT model's weights as they are stored, and for each trained parameter of its
    value, its gradient and two moments."""
    quantised = getattr(model, "is_loaded_in_4bit", False)
    each = 4 * ADAPTER_BYTES["nf4" if quantised else "none"]
    fixed = 0
    for p in model.parameters():
        fixed += each * p.numel() if p.requires_grad else p.numel() * p.element_size()
    return fixed


def choose_plan(
    shape: Any, config: TrainingConfig, *, fixed: int, memory: int, itemsize: int = 2
) -> GpuPlan:
    """Choose forward batch and recomputation by what fits.

    The product of `batch_size` and `gradient_accumulation` is kept, and with it the gradient: the
    loss is a mean over the tokens of an optimiser step, however they are grouped.

    Args:
        shape: the model's (text) configuration.
        config: gives batch size, accumulation, dropout and longest example.
        fixed: bytes of weights and optimiser, see `fixed_bytes`.
        memory: the device's memory in bytes.
        itemsize: bytes of one activation.

    Returns:
        The plan with the least work per token among those that fit; if none fits, the one that
        needs least memory.
    """
    layers: int = shape.num_hidden_layers
    together = config.batch_size * config.gradient_accumulation
    plans = []
    for batch in (n for n in range(1, together + 1) if together % n == 0):
        for layer in range(layers + 1):
            size = fixed + activation_bytes(shape, config, batch, layer, itemsize=itemsize)
            turns = together // batch
            plan = GpuPlan(batch=batch, accumulation=turns, checkpointed_layers=layer, bytes=size)
            plans.append(plan)

    def cost(plan: GpuPlan) -> float:
        # Forward and backward cost 4 units, recomputing everything 2 more. Matrix products over
        # less than some 4,000 rows leave part of a large GPU idle.
        recomputing = 2 * plan.checkpointed_layers / layers
        return (4 + recomputing) * (1 + 512 / (plan.batch * config.max_length))

    fitting = [plan for plan in plans if plan.bytes <= USABLE * memory]
    return min(fitting, key=cost) if fitting else min(plans, key=lambda plan: plan.bytes)


def activation_bytes(
    shape: Any, config: TrainingConfig, batch: int, checkpointed: int, *, itemsize: int = 2
) -> int:
    """Predict what lean training steps hold besides weights and optimiser at their peak.

    Counts what each layer keeps for the backward pass, and the working set of one layer.

    Args:
        shape: the model's (text) configuration.
        config: gives dropout, variant and longest example.
        batch: examples per forward pass.
        checkpointed: layers that keep their input alone.
        itemsize: bytes of one activation.
    """
    hidden: int = shape.hidden_size
    inner: int = getattr(shape, "intermediate_size", None) or 4 * hidden
    heads: int = shape.num_attention_heads
    head = getattr(shape, "head_dim", None) or hidden // heads
    queries = heads * head
    keys = (getattr(shape, "num_key_value_heads", None) or heads) * head
    # Both norms' in- and outputs, queries and attention's output, keys and values, three of MLP.
    layer = itemsize * (4 * hidden + 2 * queries + 2 * keys + 3 * inner)
    if config.lora_dropout:  # each LoRA input anew, and its mask of one byte
        layer += (itemsize + 1) * (5 * hidden + queries + inner)
    if config.lora_variant == "dora":  # what each projection gives, twice
        layer += 2 * itemsize * (2 * hidden + queries + 2 * keys + 2 * inner)
    kept = layer * (shape.num_hidden_layers - checkpointed) + itemsize * hidden * checkpointed
    working = (layer if checkpointed else 0) + itemsize * (4 * hidden + 4 * inner)
    return int(batch * config.max_length * (kept + working) + _WORKSPACE)


def apply(model: Any, plan: GpuPlan) -> None:
    """Let a model train under a plan, until `elara.train.lora.restoring` takes it back.

    The trainer's own `gradient_checkpointing` has to be off: recomputation is set per layer here.

    Args:
        model: the PEFT model.
        plan: what `choose_plan` returned, or another.
    """
    layers = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    if plan.checkpointed_layers:
        model.activation_checkpointing_enable({"use_reentrant": False})
        for layer in layers[plan.checkpointed_layers :]:
            layer.gradient_checkpointing = False
    if plan.compiled:
        for layer in layers:
            layer.compile()
    if plan.lean:
        replace_forwards(model, _lean_form)


def _lean_form(module: Any) -> Any:
    """The lean forward of a module of the Llama family or of its LoRA layers; None for others."""
    kind = type(module).__name__
    # Gemma's norm looks alike and adds one to the weight; its epsilon has another name.
    if kind.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
        return _norm
    activation = type(getattr(module, "act_fn", None)).__name__
    if kind.endswith("MLP") and activation in ("SiLU", "SiLUActivation"):
        return _mlp if hasattr(module, "gate_proj") and hasattr(module, "up_proj") else None
    return fused_lora(module)


def _norm(self: Any, hidden_states: Any) -> Any:
    # Inside, PyTorch computes in 32 bits anyway; autocast would make a 32-bit copy besides.
    weight = self.weight.to(hidden_states.dtype)
    with torch.autocast(hidden_states.device.type, enabled=False):
        return rms_norm(hidden_states, weight.shape, weight, self.variance_epsilon)


def _mlp(self: Any, x: Any) -> Any:
    return self.down_proj(_SwiGLU.apply(self.gate_proj(x), self.up_proj(x)))  # type: ignore[no-untyped-call]


class _SwiGLU(torch.autograd.Function):
    """`silu(gate) * up`, whose backward pass computes `silu(gate)` again instead of keeping it."""

    @staticmethod
    def forward(ctx: Any, gate: Any, up: Any) -> Any:
        ctx.save_for_backward(gate, up)
        return silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        gate, up = ctx.saved_tensors
        to_gate = torch.ops.aten.silu_backward(gradient * up, gate)
        return to_gate, silu(gate).mul_(gradient)

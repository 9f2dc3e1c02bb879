"""Train on a GPU by a plan: what is kept in memory, and layers that touch it less often.

A large model on a GPU waits for memory more than for arithmetic. Four things help, and none of
them changes what is computed beyond rounding:

- Nothing that fits in memory is computed again. Recomputing every layer in the backward pass, the
  usual default, costs half as much again as the whole forward pass.
- The gradient of several small batches is that of one large batch, and a GPU prefers the latter.
- Lean layers: the norm in one kernel, the LoRA update added by the matrix product itself, an MLP
  that keeps two large tensors instead of four, and 4-bit weights that are never kept unpacked.
- Compiled layers, where a run is long enough to save what compiling costs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import rms_norm, silu
from transformers.modeling_layers import GradientCheckpointingLayer

from elara.train.cpu_kernels import fused_lora, replace_forwards
from elara.train.devices.plan import (
    USABLE,
    GpuPlan,
    activation_bytes,
    choose_plan,
    kept_bytes,
    predict,
    shortfall,
    stored_bytes,
)
from elara.train.lora import ADAPTER_BYTES

if TYPE_CHECKING:
    from elara.model import LanguageModel
    from elara.train.config import TrainingConfig

# What others ask of a plan, by one name.
__all__ = [
    "USABLE",
    "GpuPlan",
    "activation_bytes",
    "apply",
    "choose_plan",
    "device_memory",
    "device_name",
    "fixed_bytes",
    "kept_bytes",
    "plan_for",
    "predict",
    "shortfall",
]


def device_memory() -> int:
    """Memory of the GPU that this process has or can get, in bytes; 0 without one.

    What a screen or another program uses is left out.
    """
    if not torch.cuda.is_available():
        return 0
    free, _ = torch.cuda.mem_get_info(0)
    return free + torch.cuda.memory_reserved(0)


def device_name() -> str:
    """What the driver calls the GPU; "" without one."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""


def fixed_bytes(model: Any) -> int:
    """Bytes of a PEFT model's weights as they are stored, and for each trained parameter of its
    value, its gradient and two moments."""
    quantised = getattr(model, "is_loaded_in_4bit", False)
    each = 4 * ADAPTER_BYTES["nf4" if quantised else "none"]
    fixed = 0
    for p in model.parameters():
        fixed += each * p.numel() if p.requires_grad else stored_bytes(p)
    return fixed


def plan_for(
    lm: LanguageModel, shape: Any, config: TrainingConfig, *, fixed: int, tokens: int
) -> GpuPlan:
    """Choose the plan of a run on this machine's GPU.

    Args:
        lm: the model.
        shape: its (text) configuration.
        config: the run's settings.
        fixed: bytes of weights and optimiser, see `fixed_bytes`.
        tokens: that the whole run trains on, all processes together.
    """
    import accelerate

    split = os.environ.get("ACCELERATE_USE_FSDP") == "true"  # compiling a split model is untried
    return choose_plan(
        shape,
        config,
        fixed=fixed,
        memory=device_memory(),
        itemsize=lm.bytes_each,
        tokens=0 if split else tokens // accelerate.PartialState().num_processes,
        card=device_name(),
        quantised=lm.quantisation != "none",
    )


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
    if plan.lean:
        replace_forwards(model, _lean_form)
    if plan.compiled:
        from elara.train.devices.compiling import compile_layers

        compile_layers(model, plan)


def _lean_form(module: Any) -> Any:
    """The lean forward of a module of the Llama family or of its LoRA layers; None for others."""
    kind = type(module).__name__
    # Gemma's norm looks alike and adds one to the weight; its epsilon has another name.
    if kind.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
        return _norm
    activation = type(getattr(module, "act_fn", None)).__name__
    if kind.endswith("MLP") and activation in ("SiLU", "SiLUActivation"):
        return _mlp if hasattr(module, "gate_proj") and hasattr(module, "up_proj") else None
    if kind == "Linear4bit" and type(module).__module__.startswith("bitsandbytes."):
        from elara.train.devices import nf4

        return nf4.linear
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

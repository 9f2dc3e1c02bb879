"""Compile a model's decoder layers: one function for all of them, inside of what computes again.

The layers of one model differ in their weights alone, so one compiled function serves them all,
with the layer as an argument. A layer whose activations are computed again calls it from inside the
checkpoint, so that between the passes nothing is kept but the layer's input, as without compiling.
(`layer.compile()` would put the checkpoint inside the compiled graph, where the compiler decides.)

The first length that comes is compiled for itself, the second for all lengths; how many examples a
row holds makes no difference. Only training is compiled: evaluations run the layers as they are.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch._dynamo
import torch._functorch.config
from torch._dynamo import exc, maybe_mark_dynamic
from transformers.modeling_layers import GradientCheckpointingLayer

from elara.train.devices import cards

if TYPE_CHECKING:
    from elara.train.devices.plan import GpuPlan

# What a compiler raises when it, and not the layer, is at fault.
_FAILURES = (exc.TorchDynamoException, exc.FailOnRecompileLimitHit)
# Where the examples of a packed row begin, as transformers names it.
_STARTS = {"cu_seq_lens_q", "cu_seq_lens_k"}


@functools.cache  # what is compiled for an estimate serves the run after it
def _compiled(forward: Callable[..., Any], backend: Any) -> Callable[..., Any]:
    print(f"Compiling the layers: about {cards.COMPILE_SECONDS:.0f} seconds once …", flush=True)
    # The backward pass is compiled together with the forward pass: where that fails, it fails
    # here, and not in the middle of a step.
    torch._functorch.config.force_non_lazy_backward_lowering = True
    # Gradients of all processes are averaged outside of the layers, which need not be cut for it.
    torch._dynamo.config.optimize_ddp = False
    # In one graph or not at all: a graph that breaks, or is compiled again for every layer, would
    # cost what compiling should save, without a word.
    made: Callable[..., Any] = torch.compile(forward, backend=backend, fullgraph=True)
    return made


class _Layers:
    """What the decoder layers of a model share: the compiled function, and whether it works."""

    def __init__(self, plan: GpuPlan, quantised: bool, backend: Any) -> None:
        self.plan, self.quantised, self.backend = plan, quantised, backend

    def forward(self, layer: Any, hidden: Any, *args: Any, **named: Any) -> Any:
        """The forward of a decoder layer."""
        learning = layer.training and torch.is_grad_enabled()
        if not learning or named.get("past_key_values") is not None or not self.plan.compiled:
            return type(layer).forward(layer, hidden, *args, **named)
        if not hidden.requires_grad:  # else the first layer would be a second graph
            hidden = hidden.detach().requires_grad_()
        for name in _STARTS & named.keys():
            if named[name] is not None:
                maybe_mark_dynamic(named[name], 0)
        if layer.gradient_checkpointing:
            run = functools.partial(self._run, layer, **named)
            return layer._gradient_checkpointing_func(run, hidden, *args)
        return self._run(layer, hidden, *args, **named)

    def _run(self, layer: Any, *args: Any, **named: Any) -> Any:
        plain = type(layer).forward.__wrapped__  # without the library's own checkpoint
        if not self.plan.compiled:
            return plain(layer, *args, **named)
        try:
            return _compiled(plain, self.backend)(layer, *args, **named)
        except _FAILURES as error:
            self._go_on(error)
            return plain(layer, *args, **named)

    def _go_on(self, error: Exception) -> None:
        """Say that compiling failed, and put the plan right."""
        shares = cards.SHARE
        longer = shares[self.quantised, True] / shares[self.quantised, False]
        running = max(0.0, self.plan.seconds - self.plan.compile_seconds)
        self.plan = dataclasses.replace(
            self.plan, compiled=False, compile_seconds=0, seconds=longer * running
        )
        said = " ".join(str(error).strip().splitlines()[:2])
        print(
            f"The layers cannot be compiled ({type(error).__name__}: {said}). The run continues "
            f"with the same result and takes about {longer:.1f} times as long: {self.plan}. To "
            "have them compiled, install a C++ compiler and the Triton of this PyTorch.",
            flush=True,
        )


def compile_layers(model: Any, plan: GpuPlan, *, backend: Any = "inductor") -> None:
    """Compile the decoder layers, until `elara.train.lora.restoring` takes it back.

    What compiling takes is said when it begins, with the first training step. Where it fails, that
    is said once, and the layers run as they are.

    Args:
        model: the PEFT model, its layers' other forms already set.
        plan: says what compiling is expected to take.
        backend: of `torch.compile`.

    Source: https://docs.pytorch.org/docs/stable/torch.compiler.html
    """
    layers = _Layers(plan, bool(getattr(model, "is_loaded_in_4bit", False)), backend)
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.forward = types.MethodType(functools.partial(_Layers.forward, layers), module)


def running_plan(model: Any) -> GpuPlan | None:
    """The plan by which a model's layers run now: not compiled where the compiler has failed.

    Args:
        model: the PEFT model.

    Returns:
        None where `compile_layers` was not asked for.
    """
    for module in model.modules():
        own = getattr(module.__dict__.get("forward"), "__func__", None)
        if isinstance(own, functools.partial) and own.func is _Layers.forward:
            layers: _Layers = own.args[0]
            return layers.plan
    return None

"""Compute the answer loss and LoRA layers faster, on CPUs and GPUs, with the same result.

Two things are computed differently from the libraries, with the same result up to rounding:

- the vocabulary: scores for 49,152 words are only needed where a token is a target, and their
  gradient is known as soon as they are, so question tokens are never scored and nothing is
  computed twice;
- LoRA: the update is added into what the base layer gives, so that nothing is kept twice.

It needs torch, so it is imported where a run starts.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import torch

from elara.model import quiet_libraries

with quiet_libraries():
    from peft.tuners.lora.layer import LoraLayer

# Settings of models that transform their scores.
_TRANSFORMS = (
    *("final_logit_softcapping", "logit_scale", "logits_scaling", "output_multiplier"),
    *("lm_head_multiplier", "output_router_logits"),
)
ROWS = 256  # answer tokens scored at once on a CPU: 256 x 49,152 scores take 50 MB
# Bytes of the 32-bit scores that a GPU computes at once: as many rows as keep it busy.
SCORES = 256 * 2**20


_backend: Any = torch.backends.mkldnn
_ONEDNN = _backend.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _product(x: Any, w: Any) -> Any:
    """The fastest x W' here: oneDNN's is a fifth faster than MKL's on the CPUs measured."""
    if not _ONEDNN or x.dtype != torch.float32 or x.device.type != "cpu":
        return x @ w.T
    return torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], "")


class _AnswerLoss(torch.autograd.Function):
    """The summed loss (nats) over answer tokens.

    It takes hidden states (tokens x width), the frozen output weights (vocabulary x width) and
    the target ids (tokens).

    Source: the gradient of softmax and cross-entropy in the forward pass,
        https://arxiv.org/abs/2410.10989 (Liger Kernel). Liger's own function asks the device for
        the number of targets on each pass, which this one does not, so it takes no part here
        where it is installed.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Any, weight: Any, targets: Any) -> Any:
        # (inside `forward` gradients are always off, so the caller's wish is asked of ctx)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        total = hidden.new_zeros((), dtype=torch.float32)
        rows = _rows_at_once(weight)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            scores = _product(hidden[part].to(weight.dtype), weight).float()
            normaliser = scores.logsumexp(-1, keepdim=True)
            wanted_ids = targets[part].unsqueeze(-1)
            total += (normaliser - scores.gather(-1, wanted_ids)).sum()
            if gradient is not None:
                shares = scores.sub_(normaliser).exp_()
                shares.scatter_add_(-1, wanted_ids, -torch.ones_like(normaliser))
                gradient[part] = _product(shares.to(weight.dtype), weight.T)
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0], None, None


def _rows_at_once(weight: Any) -> int:
    return ROWS if weight.device.type == "cpu" else max(1, SCORES // (4 * len(weight)))


def replace_forwards(model: Any, forward_of: Callable[[Any], Any]) -> int:
    """Give modules another `forward`; `elara.train.lora.restoring` takes it back.

    Args:
        model: any model.
        forward_of: says for a module which function takes its place, or None.

    Returns:
        How many modules were changed.
    """
    changed = 0
    for module in model.modules():
        if forward := forward_of(module):
            module.forward = types.MethodType(forward, module)
            changed += 1
    return changed


def fused_lora(module: Any) -> Any:
    """The forward of a LoRA layer that computes `W x + s B A x` in place, for training.

    The one rule for number formats: the base layer says in which format it computes, and the
    update is computed in that one. So it is under autocast, where PEFT's own forward agrees to
    rounding; outside of it PEFT would compute the update in the format of A and B.

    Args:
        module: any module.

    Returns:
        A function that takes the module's place as its `forward`, or None for what is no plain
        LoRA layer: other modules, DoRA, an adapter with bias, several adapters. Where the
        adapter is merged or disabled, and outside of training, the function calls PEFT's own.

    Source: https://arxiv.org/abs/2106.09685, equation 3.
    """
    plain = (
        isinstance(module, LoraLayer)
        and type(module).__name__ in ("Linear", "Linear4bit")
        and not module.lora_variant
        and len(module.lora_A) == 1
        and list(module.lora_A) == list(module.active_adapters)
        and not any(module.lora_bias.values())
    )
    return _lora if plain else None


def _lora(self: Any, x: Any, *args: Any, **named: Any) -> Any:
    if args or named or not self.training or self.merged or self.disable_adapters:
        return type(self).forward(self, x, *args, **named)
    (name,) = self.active_adapters
    # As rows, so that what the base layer gives is no view: autograd copies gradients of those.
    rows = x.reshape(-1, x.shape[-1])
    result = _frozen(self.base_layer, rows)
    down = self.lora_A[name].weight.to(result.dtype)
    up = self.lora_B[name].weight.to(result.dtype)
    narrow = torch.nn.functional.linear(self.lora_dropout[name](rows).to(result.dtype), down)
    # A 4-bit layer with bias gives one all the same, which nobody may change in place.
    in_place = self.base_layer.bias is None or type(self.base_layer) is torch.nn.Linear
    add = torch.Tensor.addmm_ if in_place else torch.addmm
    with torch.autocast(result.device.type, enabled=False):
        result = add(result, narrow, up.t(), alpha=self.scaling[name])
    return result.view(*x.shape[:-1], -1)


def _frozen(layer: Any, x: Any) -> Any:
    """What a frozen layer gives: by the faster product where that computes the same."""
    quick = (
        type(layer) is torch.nn.Linear
        and x.device.type == "cpu"
        and x.dtype == layer.weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not layer.weight.requires_grad
    )
    if not quick:
        return layer(x)
    return _FrozenLinear.apply(x, layer.weight, layer.bias)  # type: ignore[no-untyped-call]


class _FrozenLinear(torch.autograd.Function):
    """A frozen linear layer: x W' + b, x being tokens x inputs."""

    @staticmethod
    def forward(ctx: Any, x: Any, w: Any, bias: Any) -> Any:
        ctx.save_for_backward(w)
        y = _product(x, w)
        return y if bias is None else y.add_(bias)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        (w,) = ctx.saved_tensors
        return _product(upstream[0], w.T), None, None


def target_positions(labels: Any) -> Any:
    """The tokens, counted through all rows, from which the next one is foretold for the loss.

    Args:
        labels: examples x tokens; -100 carries no loss.
    """
    row, column = (labels[:, 1:] != -100).nonzero(as_tuple=True)
    return row * labels.shape[1] + column


def add_answer_loss(causal: Any) -> bool:
    """Let a causal model's `forward` sum the loss over answer tokens when asked to.

    Afterwards `model(input_ids, labels=..., answers_only=True)` returns a dictionary with
    `loss_sum` (nats) and `target_tokens`. With `target_positions` as well nothing on a GPU is
    asked how many there are.

    Args:
        causal: the transformers model (not its PEFT wrapper); its `forward` is wrapped.

    Returns:
        Whether it was done: not for models that transform their scores, score with bias, or train
        the output layer. The trainer's own loss is right for those.
    """
    head = causal.get_output_embeddings()
    settings = causal.config.get_text_config()
    transformed = any(getattr(settings, name, None) for name in _TRANSFORMS)
    if transformed or head is None or head.bias is not None or head.weight.requires_grad:
        return False
    whole = causal.forward

    @functools.wraps(type(causal).forward)
    def forward(*args: Any, answers_only: bool = False, **named: Any) -> Any:
        if not answers_only:
            return whole(*args, **named)
        labels, places = named.pop("labels"), named.pop("target_positions", None)
        if places is None:
            places = target_positions(labels)
        states = causal.base_model(*args, **(named | {"use_cache": False})).last_hidden_state
        chosen = states.flatten(0, 1).index_select(0, places)
        weight = causal.get_output_embeddings().weight
        targets = labels.flatten().index_select(0, places + 1)
        loss_sum = _AnswerLoss.apply(chosen, weight, targets)  # type: ignore[no-untyped-call]
        return {"loss_sum": loss_sum, "target_tokens": len(places)}

    causal.forward = forward
    return True

"""Multiply by 4-bit weights and keep nothing but the 4-bit weights for the backward pass.

bitsandbytes keeps 4-bit weights too, but its backward pass unpacks them by operators of their own.
A compiler sees that these depend on weights alone, moves them into the forward pass, and keeps
every unpacked weight: 18 GiB instead of 7 for a 7B model. Here unpacking and product are one
operator, into which no compiler looks, once per layer and pass.

A layer that is computed again unpacks its weights three times in a step. Keeping them from the
second time for the third would save, in a 7B layer, some 0.5 GB of memory traffic: 0.2 ms at
3 TB/s, of the 9 ms that 4,096 tokens take at 40 % of 989 TFLOP/s. It would hold 0.4 GB: not worth
it.

It needs torch and bitsandbytes, so it is imported where a 4-bit model is trained on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bitsandbytes  # noqa: F401 - registers the operators that unpack
import torch
from torch import Tensor


@torch.library.custom_op("elara::nf4_linear", mutates_args=())
def nf4_linear(
    x: Tensor,
    packed: Tensor,
    scales: Tensor,
    shape: Sequence[int],
    block: int,
    kind: str,
    stored: torch.dtype,
    of_scales: Tensor | None,
    code: Tensor | None,
    offset: Tensor | None,
    block_of_scales: int,
    turned: bool,
) -> Tensor:
    """x W', or x W where `turned`, W being unpacked for this one product.

    Args:
        x: … x inputs; … x outputs where `turned`.
        packed: the weights, two to a byte.
        scales: one per `block` weights: float32, or bytes with scales of their own.
        shape: outputs, inputs.
        block: weights per scale.
        kind: `nf4` or `fp4`.
        stored: the number format that the weights were packed from and are unpacked to.
        of_scales: one float32 per `block_of_scales` scales (double quantisation), or None.
        code: with `of_scales`: the 256 numbers that a scale's byte stands for.
        offset: with `of_scales`: what is added to each scale.
        block_of_scales: scales per scale of scales; 0 without.
        turned: multiply by W instead of by its transpose, as the backward pass does.

    Returns:
        … x outputs (… x inputs where `turned`), in the format of x.

    Source: QLoRA, https://arxiv.org/abs/2305.14314, sections 2 and 3.
    """
    if of_scales is not None:
        unpack: Any = torch.ops.bitsandbytes.dequantize_blockwise.default
        scales = unpack(scales, of_scales, code, block_of_scales, torch.float32) + offset
    unpack = torch.ops.bitsandbytes.dequantize_4bit.default
    weight = unpack(packed.view(-1, 1), scales, block, kind, shape, stored).to(x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        return torch.nn.functional.linear(x, weight.t() if turned else weight)


@nf4_linear.register_fake
def _(x: Any, packed: Any, scales: Any, shape: Any, *others: Any) -> Any:
    return x.new_empty(*x.shape[:-1], shape[1 if others[-1] else 0])


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    _, packed, scales, shape, block, kind, stored, of_scales, code, offset, of_block, turned = (
        inputs
    )
    ctx.save_for_backward(packed, scales, of_scales, code, offset)
    ctx.settings = shape, block, kind, stored, of_block, turned


def _backward(ctx: Any, gradient: Any) -> tuple[Any, ...]:
    packed, scales, *nested = ctx.saved_tensors
    shape, block, kind, stored, of_block, turned = ctx.settings
    given = packed, scales, shape, block, kind, stored, *nested, of_block
    return nf4_linear(gradient, *given, not turned), *[None] * 11


nf4_linear.register_autograd(_backward, setup_context=_keep)


def linear(self: Any, x: Any) -> Any:
    """The forward of a `bitsandbytes.nn.Linear4bit`, for training; else its own one is called.

    Args:
        self: the layer, its weights quantised.
        x: … x inputs.

    Returns:
        … x outputs, in the format of x.
    """
    state = self.weight.quant_state
    # For reading alone, bitsandbytes has faster kernels, and an order of its own on a CPU.
    if not self.training or getattr(state, "packing_format_for_cpu", False):
        return type(self).forward(self, x)
    inner, nested = state.state2, (None, None, None, 0)
    if inner is not None:
        nested = inner.absmax, inner.code, state.offset, inner.blocksize
    given = state.absmax, state.shape, state.blocksize, state.quant_type, state.dtype
    y = nf4_linear(x.to(self.compute_dtype or x.dtype), self.weight, *given, *nested, False)
    if self.bias is not None:
        y = y + self.bias.to(y.dtype)
    return y.to(x.dtype)

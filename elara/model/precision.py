"""Choose device and number format for a run by what the hardware computes well."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from elara.model.chat import ModelError


@dataclass(frozen=True)
class Precision:
    """The one choice of device and number format for a run.

    Args:
        device: `cuda` or `cpu`.
        dtype: torch dtype name of the base model's weights: `bfloat16` or `float32`.
        reason: why, in one sentence.
    """

    device: str
    dtype: str
    reason: str


@functools.cache
def choose_precision(wanted: str = "by_hardware") -> Precision:
    """Choose device and number format once, by what the hardware computes fast and safely.

    Args:
        wanted: `by_hardware`, or `bfloat16`, `float32` or `float16` to insist. float16 is for
            answering on a CUDA device; `elara.train` refuses it.

    Returns:
        By hardware: bfloat16 on CUDA devices of compute capability 8 (Ampere) or newer, float32
        elsewhere. Every CPU computes float32, those with bfloat16 units (AMX) included: one
        adapter and one set of numbers, and a small model gains nothing by fewer digits.

    Raises:
        ModelError: the hardware does not compute the wanted format, or there is no such format.
    """
    import torch

    cuda = torch.cuda.is_available()
    ampere = cuda and torch.cuda.get_device_capability()[0] >= 8
    device = "cuda" if cuda else "cpu"
    if wanted == "by_hardware":
        if ampere:
            return Precision("cuda", "bfloat16", "CUDA device of the Ampere generation or newer")
        if cuda:
            return Precision("cuda", "float32", "CUDA device older than Ampere: no bfloat16 units")
        return Precision("cpu", "float32", "no CUDA device; every CPU computes the same float32")
    if wanted not in ("bfloat16", "float32", "float16"):
        raise ModelError(
            f"Unknown precision {wanted!r}: `by_hardware`, `bfloat16`, `float32` or `float16`."
        )
    if wanted == "bfloat16" and cuda and not ampere:
        raise ModelError("This CUDA device is older than Ampere and has no bfloat16: use float32.")
    if wanted == "float16" and not cuda:
        raise ModelError("float16 is slow and inexact on a CPU: use `by_hardware`.")
    return Precision(device, wanted, "asked for by the `precision` parameter")

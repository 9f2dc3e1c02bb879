"""Say what a GPU can do at most, what share of that training has reached, and so what it takes.

The shares were measured on one H200 (PyTorch 2.11, 2026-11-28), by `benchmarks/gpu.py` with a model
of Mistral 7B's shape; seconds on any other card are a prediction: the same share of its own peak.
"""

from __future__ import annotations

import re
from typing import Any

# Dense bfloat16 with 32-bit accumulation, in FLOP/s, by what the driver calls the device; the
# vendor's data sheets name twice as much "with sparsity". The first name that fits counts. Of
# GeForce cards whose sheet names no such figure it is cores x boost clock x 4, as it is of the two
# in the whitepapers.
PEAKS: list[tuple[str, float, str]] = [
    ("H100 PCIe", 756e12, "https://www.nvidia.com/en-us/data-center/h100/"),
    ("H100 NVL", 835e12, "https://www.nvidia.com/en-us/data-center/h100/"),
    ("H100", 989e12, "https://www.nvidia.com/en-us/data-center/h100/"),
    ("H200", 989e12, "https://www.nvidia.com/en-us/data-center/h200/"),
    ("A100", 312e12, "https://www.nvidia.com/en-us/data-center/a100/"),
    ("L40S", 362e12, "https://www.nvidia.com/en-us/data-center/l40s/"),
    ("L4", 121e12, "https://www.nvidia.com/en-us/data-center/l4/"),
    ("A10G", 70e12, "https://aws.amazon.com/ec2/instance-types/g5/"),
    ("RTX 4090", 165e12, "https://images.nvidia.com/aem-dam/Solutions/geforce/ada/"),
    (
        "RTX 4080",
        97.7e12,
        "9,728 x 2.51 GHz x 4: https://www.nvidia.com/en-us/geforce/graphics-cards/40-series/",
    ),
    (
        "RTX 3090",
        71e12,
        "https://www.nvidia.com/content/PDF/nvidia-ampere-ga-102-gpu-architecture-whitepaper-v2.pdf",
    ),
    (
        "RTX 3070",
        40.7e12,
        "5,888 x 1.73 GHz x 4: https://www.nvidia.com/en-us/geforce/graphics-cards/30-series/",
    ),
    (
        "RTX 3060",
        25.5e12,
        "3,584 x 1.78 GHz x 4: https://www.nvidia.com/en-us/geforce/graphics-cards/30-series/",
    ),
]
# Behind a name, these make another card of it.
_OTHER = r"(?! (?:Ti|SUPER|D|Laptop)\b)"

# Share of the peak by (4-bit weights, compiled layers), at `_TOKENS` tokens per forward pass and
# with nothing computed again. Measured, but for 4-bit weights with compiled layers: what was
# measured there, 41.6 % at 2 x 2048 with 28 of 32 layers computed again (60 % with what was done
# twice), kept unpacked weights in memory, as is no longer done; bfloat16's share is taken.
SHARE = {
    (False, False): 0.377,
    (False, True): 0.545,
    (True, False): 0.370,
    (True, True): 0.545,
}
_TOKENS = 4 * 2048

# What compiling a layer takes once, for two lengths: an assumption until a card has measured it.
COMPILE_SECONDS = 60.0


def peak_flops(device: str) -> tuple[float | None, str]:
    """Peak of a device in FLOP/s and where the figure is from; None for devices not in the table.

    Args:
        device: what the driver calls it.
    """
    for name, peak, source in PEAKS:
        if re.search(rf"\b{name}\b{_OTHER}", device):
            return peak, source
    return None, ""


def multiplied_parameters(shape: Any) -> int:
    """N: the base model's parameters that take part in matrix products.

    The input embedding is a look-up and is left out, norms' weights too; adapters and attention's
    own products are not counted either.

    Args:
        shape: the model's (text) configuration.
    """
    hidden, inner, queries, keys = widths(shape)
    layer = 2 * hidden * queries + 2 * hidden * keys + 3 * hidden * inner
    return int(shape.num_hidden_layers * layer + hidden * shape.vocab_size)


def widths(shape: Any) -> tuple[int, int, int, int]:
    """Numbers per token: of a layer's input, inside its MLP, of all queries, of all keys.

    Args:
        shape: the model's (text) configuration.
    """
    hidden: int = shape.hidden_size
    heads: int = shape.num_attention_heads
    head = getattr(shape, "head_dim", None) or hidden // heads
    inner = getattr(shape, "intermediate_size", None) or 4 * hidden
    keys = (getattr(shape, "num_key_value_heads", None) or heads) * head
    return hidden, inner, heads * head, keys


def work(together: int, recomputed: float) -> float:
    """How much longer a token takes than with nothing computed again and `_TOKENS` together.

    Forward and backward cost 4 units, computing everything again 2 more. Matrix products over less
    than some 4,000 rows leave part of a large GPU idle.

    Args:
        together: tokens of a forward pass.
        recomputed: share of the layers that are computed again, from 0 to 1.
    """
    return (1 + recomputed / 2) * (1 + 512 / together) / (1 + 512 / _TOKENS)


def train_seconds(
    shape: Any,
    tokens: int,
    *,
    peak: float,
    quantised: bool,
    compiled: bool,
    together: int,
    recomputed: float,
) -> float:
    """Predict the seconds that training takes, compiling not counted.

    Args:
        shape: the model's (text) configuration.
        tokens: how many are trained on.
        peak: the card's, in FLOP/s.
        quantised: whether the weights are in 4 bits.
        compiled: whether the layers are compiled.
        together: tokens of a forward pass.
        recomputed: share of the layers that are computed again, from 0 to 1.

    Source: 4 N operations per token, https://arxiv.org/abs/2204.02311, appendix B, without the
        gradients of frozen weights.
    """
    operations = 4 * multiplied_parameters(shape) * tokens * work(together, recomputed)
    return operations / (peak * SHARE[quantised, compiled])

"""Look up the peak of a GPU's arithmetic by the GPU's name."""

# Dense bfloat16 with 32-bit accumulation, in FLOP/s, by what the driver calls the device; the
# vendor's data sheets name twice as much "with sparsity". The first name that fits counts.
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
        "RTX 3090",
        71e12,
        "https://www.nvidia.com/content/PDF/nvidia-ampere-ga-102-gpu-architecture-whitepaper-v2.pdf",
    ),
]


def peak_flops(device: str) -> tuple[float | None, str]:
    """Peak of a device and where the figure is from; None for devices not in the table.

    Args:
        device: what the driver calls it.

    Returns:
        FLOP/s in dense bfloat16, and the address of the source.
    """
    for name, peak, source in PEAKS:
        if name in device:
            return peak, source
    return None, ""

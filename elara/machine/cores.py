"""Count the processor cores that the system allows this process."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """How many processor cores this process may use, on systems that tell; else, how many exist."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

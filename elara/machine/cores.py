"""Count the processor cores and open files that the system allows this process."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """How many processor cores this process may use, on systems that tell; else, how many exist."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_files() -> int:
    """How many files this process may hold open at once (getrlimit(2)); Windows lets 512."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 512
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft

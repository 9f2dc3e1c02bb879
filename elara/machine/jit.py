"""Compile functions with numba and keep the machine code, also where the package is read-only.

Importing this module imports numba, so it is imported where a compiled function is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

import numba

from elara.machine.caches import can_write, writable_cache

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first call, or load what an earlier process compiled.

    It runs without the GIL. Machine code is kept in `__pycache__` beside the source, and in
    Elara's cache where that cannot be written (unless `NUMBA_CACHE_DIR` names a folder).

    Args:
        function: what numba can compile.

    Source: https://numba.readthedocs.io/en/stable/developer/caching.html
    """
    _keep_code_of(Path(function.__code__.co_filename).parent)
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True)(function))


@cache
def _keep_code_of(folder: Path) -> None:
    if not numba.config.CACHE_DIR and not can_write(folder / "__pycache__"):
        numba.config.CACHE_DIR = str(writable_cache() / "numba")

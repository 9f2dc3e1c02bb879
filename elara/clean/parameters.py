"""Check the parameters of stage 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elara.workspace.parameters import ParameterError


def check(values: Mapping[str, Any]) -> None:
    """Refuse a number of repeats that would make every sentence boilerplate.

    Args:
        values: see `elara.workspace.check_parameters`.

    Raises:
        ParameterError: it is too small.
    """
    repeats = values.get("boilerplate_repeats", 2)
    if repeats < 2:
        raise ParameterError(f"boilerplate_repeats is {repeats}; a sentence repeats from 2 on")

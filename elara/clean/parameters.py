"""Refuse parameters that stage 3 cannot use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elara.clean.repeats import check_repeats
from elara.workspace.parameters import ParameterError


def check(values: Mapping[str, Any]) -> None:
    """Refuse a number of repeats that would make every sentence boilerplate.

    Args:
        values: see `elara.workspace.check_parameters`.

    Raises:
        ParameterError: it is too small.
    """
    if "boilerplate_repeats" in values:
        try:
            check_repeats(values["boilerplate_repeats"])
        except ValueError as error:
            raise ParameterError(str(error)) from error

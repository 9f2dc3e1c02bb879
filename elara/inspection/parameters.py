"""Refuse parameters that stage 2 cannot use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elara.inspection.duplicates import check_threshold
from elara.inspection.selection import check_minimum
from elara.workspace.parameters import ParameterError

_CHECKS = {"minimum_quality": check_minimum, "near_duplicate_threshold": check_threshold}


def check(values: Mapping[str, Any]) -> None:
    """Refuse limits that no article could meet, or that say nothing.

    Args:
        values: see `elara.workspace.check_parameters`.

    Raises:
        ParameterError: a limit is out of its range.
    """
    for name in values.keys() & _CHECKS:
        try:
            _CHECKS[name](values[name])
        except ValueError as error:
            raise ParameterError(f"`{name}`: {error}") from error

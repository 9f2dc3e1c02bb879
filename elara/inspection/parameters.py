"""Check the parameters of stage 2."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from elara.inspection.matching import check_threshold
from elara.inspection.selection import check_minimum
from elara.workspace.parameters import ParameterError

_CHECKS = {"minimum_quality": check_minimum, "near_duplicate_threshold": check_threshold}


def check(values: Mapping[str, Any]) -> None:
    """Refuse limits that no article could meet, or that say nothing.

    Args:
        values: see `elara.workspace.check_parameters`.

    Raises:
        ParameterError: a limit is out of its range, or a cluster is named and the packages that
            speak to it are not installed.
    """
    for name in values.keys() & _CHECKS:
        try:
            _CHECKS[name](values[name])
        except ValueError as error:
            raise ParameterError(f"`{name}`: {error}") from error
    if values.get("cluster") and not (find_spec("daft") and find_spec("ray")):
        raise ParameterError(
            f"`cluster` is {values['cluster']!r}, but daft and ray are not installed: install them "
            "with `pip install --group cluster`, or leave `cluster` empty to use this machine."
        )

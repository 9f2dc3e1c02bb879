"""Check the parameters of stage 6."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elara.workspace.parameters import require


def check(values: Mapping[str, Any]) -> None:
    """Refuse numbers with which nothing would be measured.

    Args:
        values: see `elara.workspace.check_parameters`.

    Raises:
        ParameterError: a number is too small.
    """
    whole = {"max_length": 1, "batch_size": 1, "max_new_tokens": 1, "resamples": 1}
    require(values, "it must be above 0", **whole)
    require(values, "a model has to be measured against itself on something", repeat_items=1)
    require(values, "0 leaves sources out", sources_each=0)
    require(values, "an arm with sources has to be measured on something", source_items=1)
    require(values, "NumPy's random numbers start from 0 or a positive number", seed=0)

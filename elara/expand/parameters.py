"""Check the parameters of stage 4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elara.expand.recipes import check_languages, check_licences
from elara.expand.split import check_shares
from elara.workspace.parameters import ParameterError, require


def check(values: Mapping[str, Any]) -> None:
    """Refuse shares that leave nothing to train or test on, and other impossible values.

    Args:
        values: see `elara.workspace.check_parameters`.

    Raises:
        ParameterError: a value cannot be used.
    """
    try:
        if "licences" in values:
            check_licences(values["licences"])
        if "languages" in values:
            check_languages(values["languages"])
        shares = {
            name: values[name] for name in ("test_share", "validation_share") if name in values
        }
        check_shares(**shares)
    except ValueError as error:
        raise ParameterError(str(error)) from error
    require(values, "an answer has at least one word", max_answer_words=1)
    require(values, "0 stands for any number of tokens", max_tokens=0)

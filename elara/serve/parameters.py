"""Refuse parameters that stage 7 cannot use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from elara.serve.config import Settings
from elara.serve.schemas import Message
from elara.workspace.parameters import ParameterError


def check(values: Mapping[str, Any]) -> None:
    """Refuse what the server would refuse.

    Args:
        values: see `elara.workspace.check_parameters`.

    Raises:
        ParameterError: a setting is out of its range, or the question is empty.
    """
    settings = {name: values[name] for name in values.keys() & Settings.model_fields}
    try:
        Settings(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        rule = first["msg"].replace("Input", "it")
        raise ParameterError(f"`{first['loc'][0]}` is {first['input']!r}: {rule}.") from None
    if "question" in values:
        try:
            Message(role="user", content=values["question"])
        except ValidationError as error:
            rule = str(error.errors()[0]["ctx"]["error"])
            raise ParameterError(f"`question` is {values['question']!r}: {rule}.") from None

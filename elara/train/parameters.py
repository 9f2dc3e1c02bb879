"""Check the parameters of stage 5."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elara.model.packaged import PACKAGED
from elara.train.config import TrainingConfig, TrainingError
from elara.train.devices.launch import per_process, profile_file
from elara.train.sweep import check_rates
from elara.workspace.parameters import ParameterError, require


def check(values: Mapping[str, Any]) -> None:
    """Refuse settings that cannot train.

    Args:
        values: see `elara.workspace.check_parameters`.

    Raises:
        ParameterError: a setting cannot be used, or the base model cannot be a model.
    """
    known = {field.name for field in dataclasses.fields(TrainingConfig)}
    try:
        config = TrainingConfig(**{name: values[name] for name in values.keys() & known})
        if "profile" in values:
            profile_file(values["profile"])
        require(values, "train on one process or more", processes=1)
        if values.get("processes", 1) > 1:
            per_process(config, values["processes"])
        if values.get("sweep_rates"):
            check_rates(values["sweep_rates"])
    except TrainingError as error:
        raise ParameterError(str(error)) from error
    require(values, "it must be above 0", sweep_tokens=1)
    if "base_model" in values:
        _check_model(values["base_model"])


def _check_model(name: str) -> None:
    """See that a name is the packaged model's, a folder's, or could be one of the hub's."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    from elara.model import split_revision

    if name == PACKAGED or Path(name).expanduser().is_dir():
        return
    close = difflib.get_close_matches(name, [PACKAGED], cutoff=0.8)
    with contextlib.suppress(HFValidationError):
        validate_repo_id(split_revision(name)[0])
        if not close:
            return
    hint = f"did you mean `{PACKAGED}`?" if close else "name one that exists, or a hub id."
    raise ParameterError(f"`base_model` is {name!r}, which is no folder: {hint}")

"""Check the parameters of stage 4."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elara.expand.recipes import check_languages, check_licences
from elara.expand.split import check_shares
from elara.model.embedding import PACKAGED
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
    name = str(values.get("embedding_model", ""))
    if name.startswith((".", "/", "~")) and not Path(name).expanduser().is_dir():
        raise ParameterError(
            f"`embedding_model` is {name!r}, which is no folder: name one that holds a "
            "sentence-transformers model, a hub id (owner/name), the packaged "
            f"`{PACKAGED}`, or nothing, and paraphrases are not looked for."
        )
    require(values, "an answer has at least one word", max_answer_words=1)
    require(values, "0 stands for any number of tokens", max_tokens=0)

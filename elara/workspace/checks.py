"""Checks of a stage's parameters before anything runs, the same on every road to a notebook.

What a stage can use is said in its own package, in `elara/STAGE/parameters.py`. `elara run` asks
before the first notebook starts, and every notebook when its stage begins: under papermill and in
JupyterLab nobody has asked before.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

# Rooms that are not called as their stage: a folder named as a module of Python's own library
# would take its place wherever Python starts inside the package.
ROOMS = {"inspect": "inspection"}


def check(stage: str, values: Mapping[str, Any]) -> None:
    """Refuse values that a stage cannot use.

    Args:
        stage: a key of `elara.workspace.STAGES`.
        values: parameter name to value, of the right type. Those that the stage does not have are
            not looked at, and those that are absent are not asked for.

    Raises:
        ParameterError: a value cannot be used; the message names it and says what can.
    """
    room = ROOMS.get(stage, stage)
    # Not imported by name: a change of one stage's checks is no change of the others.
    importlib.import_module(f"elara.{room}.parameters").check(values)

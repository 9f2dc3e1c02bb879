"""Name the stages: their folders in a workspace, their main tables and their Python modules."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

# Stage name to its folder in the workspace, in the order in which they run.
STAGES = {
    "collect": "raw",
    "inspect": "processed/inspect",
    "clean": "processed/clean",
    "expand": "training_data",
    "train": "lora_adapters",
    "evaluate": "evaluation",
    "serve": "logs/serve",
}
# Stage name to the table that counts what it made; serve makes none.
MAIN_TABLES = {
    "collect": "articles.parquet",
    "inspect": "articles.parquet",
    "clean": "articles.parquet",
    "expand": "train.jsonl",
    "train": "losses.parquet",
    "evaluate": "losses.parquet",
}
# A folder named `inspect` would hide Python's own module wherever Python starts inside the package.
_FOLDERS = {"inspect": "inspection"}


def stage_folder(stage: str) -> str:
    """The folder of a stage's package below `elara`, which has its name except for `inspect`."""
    return _FOLDERS.get(stage, stage)


def stage_module(stage: str, name: str) -> ModuleType:
    """Import a module of a stage's package.

    A stage is asked by its name, so that a change in one of them does not count as a change of
    the code of all the others.

    Args:
        stage: a key of `STAGES`.
        name: the module, e.g. `parameters`.
    """
    return importlib.import_module(f"elara.{stage_folder(stage)}.{name}")


def check_parameters(stage: str, values: Mapping[str, Any]) -> None:
    """Refuse values that a stage cannot use, as its own module `parameters` says.

    `elara run` checks before the first notebook starts, and every notebook when its stage begins:
    under papermill and in JupyterLab nothing else has checked before.

    Args:
        stage: a key of `STAGES`.
        values: parameter name to value, of the right type. Those that the stage does not have are
            not looked at, and those that are absent are not asked for.

    Raises:
        ParameterError: a value cannot be used; the message names it and says what can.
    """
    stage_module(stage, "parameters").check(values)

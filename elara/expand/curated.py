"""Read the 13 cases written for Elara, one per specialty, each in its own YAML file."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import polars as pl
import yaml

from elara.records import Example, Message, frame

# Key of a case file to the type that its value must have.
_KEYS: dict[str, type] = {
    "id": str,
    "specialty": str,
    "title": str,
    "instruction": str,
    "reasoning": str,
    "management": list,
    "red_flags": list,
    "safety_note": str,
    "guidelines": list,
}
LICENCE = "CC-BY-4.0"


class CuratedError(ValueError):
    """A case file is not complete; the message names the file and the key."""


def curated_examples(system_prompt: str, folder: Traversable | None = None) -> pl.DataFrame:
    """The curated cases as training examples.

    Args:
        system_prompt: the system turn of every example.
        folder: where the YAML files are; by default those that ship with Elara.

    Returns:
        One `Example` row per case, in file order, all in the `train` split.

    Raises:
        CuratedError: a file is not valid YAML, or a key is missing, empty or of the wrong type.
    """
    folder = folder or resources.files("elara.expand") / "curated"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    examples = []
    for file in files:
        case = _read(file)
        examples.append(
            Example(
                id=case["id"],
                messages=[
                    Message("system", system_prompt),
                    Message("user", case["instruction"].strip()),
                    Message("assistant", render(case)),
                ],
                specialty=case["specialty"],
                origin="curated",
                recipe="case",
                article_ids=[case["id"]],
                licence=LICENCE,
                redistributable=True,
            )
        )
    return frame(examples, Example)


def render(case: dict[str, Any]) -> str:
    """The answer of a case: reasoning, numbered management, red flags, safety note.

    Args:
        case: the content of a case file.

    Returns:
        Markdown with one heading per part.
    """
    steps = "\n".join(f"{n}. {step.strip()}" for n, step in enumerate(case["management"], start=1))
    flags = "\n".join(f"- {flag.strip()}" for flag in case["red_flags"])
    return (
        f"**Clinical reasoning**\n{case['reasoning'].strip()}\n\n"
        f"**Management**\n{steps}\n\n"
        f"**Red flags**\n{flags}\n\n"
        f"**Safety note**\n{case['safety_note'].strip()}"
    )


def _read(file: Traversable) -> dict[str, Any]:
    try:
        case: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise CuratedError(f"{file.name} is not valid YAML: {error}") from error
    for key, kind in _KEYS.items():
        value = case.get(key) if isinstance(case, dict) else None
        if not value or not isinstance(value, kind):
            raise CuratedError(f"{file.name}: `{key}` must be a {kind.__name__} that is not empty.")
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise CuratedError(f"{file.name}: every item of `{key}` must be text; quote it.")
    return case

"""Say which adapter a folder holds, and what the evaluation found about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from elara.model import WEIGHTS_FILE
from elara.serve.config import Settings, SettingsError
from elara.serve.schemas import AdapterIdentity, Evaluation
from elara.workspace import MANIFEST, file_sha256


def _manifest_beside(path: Path) -> dict[str, Any]:
    manifest = path.parent / MANIFEST
    if not manifest.exists():
        return {}
    found: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
    return found


def adapter_identity(adapter: Path) -> AdapterIdentity:
    """Say exactly which adapter a folder holds.

    Args:
        adapter: a PEFT adapter folder.

    Returns:
        The SHA-256 of its weights as they lie on disk and, where the manifest of the training
        stage lists just these weights, that manifest's identity.

    Raises:
        FileNotFoundError: the folder has no adapter weights.
    """
    weights = file_sha256(adapter / WEIGHTS_FILE)
    manifest = _manifest_beside(adapter)
    listed = manifest.get("files", {}).get(f"{adapter.name}/{WEIGHTS_FILE}", {}).get("sha256")
    return AdapterIdentity(
        weights_sha256=weights,
        training_run=manifest["identity"] if listed == weights else None,
    )


def read_evaluation(settings: Settings) -> tuple[str, Evaluation | None]:
    """What is known about whether the tuning helped.

    Args:
        settings: names the adapter and the verdict.

    Returns:
        A sentence to show with the adapter, and the figures behind it. The figures are None when
        nothing was evaluated, or when the verdict was passed on another training run.

    Raises:
        SettingsError: the verdict's file cannot be read.
    """
    if settings.adapter is None:
        return "No adapter is served, so there is nothing to judge.", None
    if settings.verdict is None:
        return (
            "This adapter has not been evaluated, so it is not known whether it answers better "
            "than its base model. Run notebook 06-evaluate.",
            None,
        )
    try:
        found = Evaluation.model_validate_json(settings.verdict.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        why = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            why = ".".join(str(part) for part in first["loc"]) + f": {first['msg']}"
        raise SettingsError(
            f"{settings.verdict} cannot be read as a verdict ({why}): run notebook 06-evaluate "
            f"again (`elara run --only evaluate --force`)."
        ) from error
    judged = _manifest_beside(settings.verdict).get("inputs", {}).get("train")
    served = _manifest_beside(settings.adapter).get("identity")
    if judged and served and judged != served:
        return (
            "The evaluation in this workspace judged another training run than the one served: "
            "run notebook 06-evaluate again.",
            None,
        )
    return found.verdict, found

"""Read the server's settings from the environment, and check the files that they name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from elara.model import WEIGHTS_FILE
from elara.serve.schemas import AdapterIdentity, Evaluation
from elara.workspace import MANIFEST, Workspace, file_sha256

PREFIX = "ELARA_SERVE_"


class SettingsError(ValueError):
    """A setting cannot be used; the message names its environment variable."""


class Settings(BaseModel):
    """Everything that changes how the server behaves; immutable.

    Args:
        adapter: folder of the trained adapter; None means simulation mode.
        adapters: folder of all adapters that may be served; None means where `adapter` lies.
        verdict: `verdict.json` of the evaluation of that adapter, if there is one.
        host: address to listen on. The default is reachable from this computer only.
        port: TCP port, 1 to 65535.
        cors_origins: origins whose pages a browser may let talk to this server.
        max_new_tokens: most tokens of an answer; a request may ask for fewer.
        temperature: 0 always takes the likeliest token; a request may name its own.
        batch_size: most chats that the model answers together.
        queue_limit: most chats that wait for it; others are told to ask again later.
        answer_seconds: longest time from a question to the end of its answer, in seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    adapter: Path | None = None
    adapters: Path | None = None
    verdict: Path | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    # Where the development server of a front end made with Vite listens.
    cors_origins: tuple[str, ...] = ("http://localhost:5173", "http://127.0.0.1:5173")
    max_new_tokens: int = Field(default=256, ge=1, le=2048)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    batch_size: int = Field(default=8, ge=1, le=256)
    queue_limit: int = Field(default=32, ge=1)
    answer_seconds: float = Field(default=300.0, gt=0.0)

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] | None = None, *, workspace: str = "", **given: Any
    ) -> Settings:
        """Settings from `ELARA_SERVE_ADAPTER`, `ELARA_SERVE_PORT` and so on, one per field.

        Without `ELARA_SERVE_ADAPTER` the adapter and the verdict are those of the workspace, as
        far as its stages have finished.

        Args:
            environ: the environment; None means this process's.
            workspace: the workspace's folder; "" means the default one.
            given: fields that a command line sets; they win over the environment. None counts
                as not given.

        Raises:
            SettingsError: a value does not fit; the message names the variable.
        """
        environ = os.environ if environ is None else environ
        names = {name: PREFIX + name.upper() for name in cls.model_fields}
        values: dict[str, Any] = {n: environ[v] for n, v in names.items() if environ.get(v)}
        if "cors_origins" in values:
            origins = values["cors_origins"].split(",")
            values["cors_origins"] = [o.strip() for o in origins if o.strip()]
        values |= {name: value for name, value in given.items() if value is not None}
        if "adapter" not in values:
            values = _of_workspace(Workspace(workspace)) | values
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            raise SettingsError(
                f"{names.get(name, name)} is {first['input']!r}: {first['msg']}."
            ) from None


def _of_workspace(workspace: Workspace) -> dict[str, Any]:
    adapter = workspace.folder("train") / "adapter"
    verdict = workspace.folder("evaluate") / "verdict.json"
    finished = (workspace.folder("train") / MANIFEST).exists() and adapter.is_dir()
    return {
        "adapter": adapter if finished else None,
        "verdict": verdict if finished and verdict.exists() else None,
    }


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

"""Log a run's curves with transformers' own trackers; nothing that goes wrong there stops the run.

TensorBoard and Trackio write local files. Weights & Biases writes local files too unless an
account is set up, and MLflow unless `MLFLOW_TRACKING_URI` names a server: a run talks to another
machine only where its user has said so. What W&B and MLflow send home about their own use is
switched off unless the user has set it.
"""

from __future__ import annotations

import netrc
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from transformers import TrainerCallback
from transformers.integrations import integration_utils

# Where W&B has its accounts, and where it had them before.
_WANDB_HOSTS = ("api.forge.coreweave.com", "api.wandb.ai")


def environment(folder: Path, run: str) -> dict[str, str]:
    """What the trackers are told by variables, apart from what the user has set.

    Args:
        folder: where they write; made when needed.
        run: the run's name.

    Source: https://huggingface.co/docs/transformers/main_classes/callback
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)  # W&B would write elsewhere otherwise
    mode = "online" if "WANDB_API_KEY" in os.environ or _in_netrc() else "offline"
    wandb = {"PROJECT": "elara", "DIR": str(folder), "MODE": mode, "INIT_TIMEOUT": "20"}
    wandb |= {"SILENT": "true", "ERROR_REPORTING": "false"}
    mlflow = {"EXPERIMENT_NAME": "elara", "DISABLE_TELEMETRY": "true"}
    mlflow |= {"TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    # By default a server that is down is asked for minutes, and training waits.
    mlflow |= {"HTTP_REQUEST_MAX_RETRIES": "4"}
    wanted = {f"WANDB_{name}": value for name, value in wandb.items()}
    wanted |= {f"MLFLOW_{name}": value for name, value in mlflow.items()}
    wanted |= {"TENSORBOARD_LOGGING_DIR": str(folder / "tensorboard" / run)}
    wanted |= {"TRACKIO_DIR": str(folder / "trackio")}
    return {name: value for name, value in wanted.items() if name not in os.environ}


def _in_netrc() -> bool:
    server = urlsplit(os.environ.get("WANDB_BASE_URL", "")).hostname
    try:
        return not {*_WANDB_HOSTS, server}.isdisjoint(netrc.netrc().hosts)
    except (OSError, netrc.NetrcParseError):
        return False


class Tracker(TrainerCallback):  # type: ignore[misc]
    """A tracker that is named once and left out from then on where it fails.

    Args:
        name: `tensorboard`, `wandb`, `mlflow` or `trackio`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.own: Any = None

    def on_train_begin(self, *args: Any, **named: Any) -> None:
        """Begin a run."""
        try:
            if find_spec(self.name) is None:
                raise ImportError(f"not installed: `pip install {self.name}` to have it")
            self.own = integration_utils.INTEGRATION_TO_CALLBACK[self.name]()
        except Exception as error:  # whatever a service's client raises
            self._leave_out(error)
        self._tell("on_train_begin", *args, **named)

    def on_log(self, *args: Any, **named: Any) -> None:
        """Pass the numbers on."""
        self._tell("on_log", *args, **named)

    def on_train_end(self, *args: Any, **named: Any) -> None:
        """Finish the run."""
        self._tell("on_train_end", *args, **named)

    def _tell(self, event: str, *args: Any, **named: Any) -> None:
        try:
            if self.own is not None:
                getattr(self.own, event)(*args, **named)
        except Exception as error:
            self._leave_out(error)

    def _leave_out(self, error: Exception) -> None:
        self.own = None
        said = str(error).strip().splitlines() or [type(error).__name__]
        print(f"{self.name}: {said[0]}. The run continues without it.", flush=True)

"""Where a run's curves are logged; nothing that goes wrong there stops a run.

TensorBoard and Trackio write local files. Weights & Biases writes local files too unless an
account is set up, and MLflow unless `MLFLOW_TRACKING_URI` names a server: a run talks to another
machine only where its user has said so. What W&B and MLflow send home about their own use is
switched off unless the user has set it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit


class Tracker(Protocol):
    """What a run asks of a tracker."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers down for a step."""

    def close(self) -> None:
        """Finish the run."""


class _TensorBoard:
    package = "tensorboard"

    def __init__(self, folder: Path, run: str, settings: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / run))
        rows = "\n".join(f"| {name} | {value} |" for name, value in settings.items())
        self.writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}")

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


# Where W&B has its accounts, and where it had them before.
_WANDB_HOSTS = ("api.forge.coreweave.com", "api.wandb.ai")


class _WeightsAndBiases:
    package = "wandb"

    def __init__(self, folder: Path, run: str, settings: Mapping[str, Any]) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        wandb: Any = importlib.import_module(self.package)
        folder.mkdir(parents=True, exist_ok=True)
        account = "WANDB_API_KEY" in os.environ or _in_netrc(_WANDB_HOSTS)
        mode = os.environ.get("WANDB_MODE", "online" if account else "offline")
        if mode == "offline" and not account:
            print("W&B: no account (`wandb login`), so the run is kept in files: `wandb sync`.")
        self.run = wandb.init(
            project="elara", name=run, dir=str(folder), config=dict(settings), mode=mode,
            settings=wandb.Settings(init_timeout=20, silent=True),
        )  # fmt: skip

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


class _MLflow:
    package = "mlflow"

    def __init__(self, folder: Path, run: str, settings: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # By default a server that is down is asked for minutes, and training waits.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
        mlflow: Any = importlib.import_module(self.package)
        folder.mkdir(parents=True, exist_ok=True)
        if "MLFLOW_TRACKING_URI" not in os.environ:
            mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').resolve()}")
        mlflow.set_experiment("elara")
        self.mlflow = mlflow
        mlflow.start_run(run_name=run)
        mlflow.log_params(dict(settings))

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        self.mlflow.end_run()


class _Trackio:
    package = "trackio"

    def __init__(self, folder: Path, run: str, settings: Mapping[str, Any]) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(folder.resolve()))  # read on import
        self.trackio: Any = importlib.import_module(self.package)
        self.trackio.init(project="elara", name=run, config=dict(settings))

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.trackio.log(dict(values), step=step)

    def close(self) -> None:
        self.trackio.finish()


_KINDS: dict[str, Any] = {
    "tensorboard": _TensorBoard,
    "wandb": _WeightsAndBiases,
    "mlflow": _MLflow,
    "trackio": _Trackio,
}


class Trackers:
    """Several trackers as one; a failing one is named once and left out from then on.

    Args:
        names: `tensorboard`, `wandb`, `mlflow`, `trackio`.
        folder: where they write; each has a folder in it.
        run: the run's name.
        settings: what is noted with the run.
    """

    def __init__(
        self, names: Sequence[str], folder: Path, run: str, settings: Mapping[str, Any]
    ) -> None:
        self.open: dict[str, Tracker] = {}
        plain = {k: v if isinstance(v, int | float) else str(v) for k, v in settings.items()}
        for name in names:
            kind = _KINDS[name]
            try:
                self.open[name] = kind(folder / name, run, plain)
            except ImportError as error:
                reason = f"`pip install {kind.package}` to have it"
                self._leave_out(name, error, reason)
            except Exception as error:  # whatever a service's client raises
                self._leave_out(name, error, "check its account and the network")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers down for a step in every tracker."""
        for name, tracker in list(self.open.items()):
            try:
                tracker.log(values, step)
            except Exception as error:
                self._leave_out(name, error, "check its account, the network and the disk")

    def close(self) -> None:
        """Finish in every tracker."""
        for name, tracker in list(self.open.items()):
            try:
                tracker.close()
            except Exception as error:
                self._leave_out(name, error, "its last numbers may be missing")

    def _leave_out(self, name: str, error: Exception, remedy: str) -> None:
        self.open.pop(name, None)
        said = str(error).strip().splitlines() or [type(error).__name__]
        print(f"{name}: {said[0]}; {remedy}. The run continues without it.", flush=True)


def _in_netrc(hosts: Sequence[str]) -> bool:
    import netrc

    try:
        known = netrc.netrc().hosts
        server = urlsplit(os.environ.get("WANDB_BASE_URL", "")).hostname
        return any(host in known for host in (*hosts, server))
    except (OSError, netrc.NetrcParseError):
        return False

"""Log a run's curves with trackers; nothing that goes wrong there stops the run.

TensorBoard and Trackio write local files. Weights & Biases writes local files too unless an
account is set up, and MLflow unless `MLFLOW_TRACKING_URI` names a server: a run talks to another
machine only where its user has said so. What W&B and MLflow send home about their own use is
switched off unless the user has set it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# Where W&B has its accounts, and where it had them before.
_WANDB_HOSTS = ("api.forge.coreweave.com", "api.wandb.ai")

# What logs numbers for a step, and what finishes the run.
_Log = Callable[[Mapping[str, float], int], Any]
_Tracker = tuple[_Log, Callable[[], Any]]


def _tensorboard(folder: Path, run: str, settings: Mapping[str, Any]) -> _Tracker:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / run))
    rows = "\n".join(f"| {name} | {value} |" for name, value in settings.items())
    writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}")

    def log(values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return log, writer.close


def _wandb(folder: Path, run: str, settings: Mapping[str, Any]) -> _Tracker:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    wandb: Any = importlib.import_module("wandb")
    folder.mkdir(parents=True, exist_ok=True)
    account = "WANDB_API_KEY" in os.environ or _in_netrc(_WANDB_HOSTS)
    mode = os.environ.get("WANDB_MODE", "online" if account else "offline")
    if mode == "offline" and not account:
        print("W&B: no account (`wandb login`), so the run is kept in files: `wandb sync`.")
    opened = wandb.init(
        project="elara", name=run, dir=str(folder), config=dict(settings), mode=mode,
        settings=wandb.Settings(init_timeout=20, silent=True),
    )  # fmt: skip
    return lambda values, step: opened.log(dict(values), step=step), lambda: opened.finish()


def _mlflow(folder: Path, run: str, settings: Mapping[str, Any]) -> _Tracker:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # By default a server that is down is asked for minutes, and training waits.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
    mlflow: Any = importlib.import_module("mlflow")
    folder.mkdir(parents=True, exist_ok=True)
    if "MLFLOW_TRACKING_URI" not in os.environ:
        mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').resolve()}")
    mlflow.set_experiment("elara")
    mlflow.start_run(run_name=run)
    mlflow.log_params(dict(settings))
    return (
        lambda values, step: mlflow.log_metrics(dict(values), step=step),
        lambda: mlflow.end_run(),
    )


def _trackio(folder: Path, run: str, settings: Mapping[str, Any]) -> _Tracker:
    os.environ.setdefault("TRACKIO_DIR", str(folder.resolve()))  # read on import
    trackio: Any = importlib.import_module("trackio")
    trackio.init(project="elara", name=run, config=dict(settings))
    return lambda values, step: trackio.log(dict(values), step=step), lambda: trackio.finish()


_KINDS = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow, "trackio": _trackio}


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
        self.open: dict[str, _Tracker] = {}
        plain = {k: v if isinstance(v, int | float) else str(v) for k, v in settings.items()}
        for name in names:
            try:
                self.open[name] = _KINDS[name](folder / name, run, plain)
            except ImportError as error:
                self._leave_out(name, error, f"`pip install {name}` to have it")
            except Exception as error:  # whatever a service's client raises
                self._leave_out(name, error, "check its account and the network")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers down for a step in every tracker."""
        for name, (log, _) in list(self.open.items()):
            try:
                log(values, step)
            except Exception as error:
                self._leave_out(name, error, "check its account, the network and the disk")

    def close(self) -> None:
        """Finish in every tracker."""
        for name, (_, close) in list(self.open.items()):
            try:
                close()
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

"""Report a run's progress, log its curves with trackers, and decide when it evaluates and stops.

TensorBoard and Trackio write local files. Weights & Biases writes local files too unless an
account is set up, and MLflow unless `MLFLOW_TRACKING_URI` names a server: a run talks to another
machine only where its user has said so. What W&B and MLflow send home about their own use is
switched off unless the user has set it. No tracker that fails stops the run.

It needs the libraries of training, so it is imported where a run starts.
"""

from __future__ import annotations

import math
import netrc
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from elara.display.progress import Progress, watched
from elara.train.checkpoints import best_evaluation, keep_best
from elara.train.config import TrainingError

# Where W&B has its accounts, and where it had them before.
_WANDB_HOSTS = ("api.forge.coreweave.com", "api.wandb.ai")


def losses_table(history: list[dict[str, Any]]) -> pl.DataFrame:
    """The trainer's log as a table.

    Args:
        history: the trainer's log entries.

    Returns:
        Columns step, epoch, split, loss (nats per answer token) and learning_rate.
    """
    rows = []
    for entry in history:
        for name, split in (("loss", "train"), ("eval_loss", "validation")):
            if name in entry:
                rate = entry.get("learning_rate")
                rows.append((entry["step"], entry["epoch"], split, entry[name], rate))
                break
    numbers = dict.fromkeys(("step", "epoch", "split", "loss", "learning_rate"), pl.Float64)
    schema: Any = numbers | {"step": pl.Int64, "split": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


class Reporter(TrainerCallback):  # type: ignore[misc]
    """One line a minute; in JupyterLab the library's own bar and table take its place."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begin to count."""
        self.progress = Progress("train: step", state.max_steps - state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Print a line when the last one is a minute old."""
        if not watched() and state.is_world_process_zero:
            self.progress.advance()


class Finite(TrainerCallback):  # type: ignore[misc]
    """End a run when a loss that it logs is not a finite number.

    The trainer would replace such a loss by the mean of the others, and ask the device in every
    pass whether it has to; with `logging_nan_inf_filter` off it does neither. A loss is logged
    before each checkpoint is written, and is a mean over every pass since the last one.
    """

    def on_log(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """Look at what was logged."""
        for name in ("loss", "eval_loss"):
            if not math.isfinite(named["logs"].get(name, 0.0)):
                raise TrainingError(
                    f"The loss is not a finite number (step {state.global_step}): lower "
                    "`learning_rate`."
                )


class Evaluations(TrainerCallback):  # type: ignore[misc]
    """Evaluate inside the step, before its checkpoint is written, and after the last step.

    The trainer's own evaluation at the end of an epoch comes after that step's checkpoint: a run
    that continued from there would lack it, and draw other random numbers. With patience, the
    weights of the lowest held-out loss are kept, and the run stops when it no longer falls. That
    follows from the trainer's log alone, which every checkpoint carries, so a run that continues
    decides like one that was never stopped.

    Args:
        every: optimiser steps between evaluations; 0 evaluates at the end of each epoch.
        patience: evaluations without a lower loss before the run stops; 0 never stops it.
        folder: the run's folder.
    """

    def __init__(self, every: int, patience: int, folder: Path) -> None:
        self.every, self.patience, self.folder = every, patience, folder

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for an evaluation when it is due."""
        ended = abs(state.epoch - round(state.epoch)) < 1e-9
        due = state.global_step % self.every == 0 if self.every else ended
        if due or state.global_step >= state.max_steps:
            control.should_evaluate = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """Keep the weights, or stop."""
        best, since = best_evaluation(state.log_history)
        if self.patience and since == 0 and state.is_world_process_zero:
            keep_best(named["model"], best, self.folder)
        if self.patience and since >= self.patience:
            control.should_training_stop = True


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

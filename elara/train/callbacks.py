"""Report a run's progress, live curve and logged values, and decide when it evaluates and stops."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl

from elara.display.figures import loss_figure
from elara.display.progress import progress_line, watched
from elara.train.checkpoints import best_evaluation, keep_best
from elara.train.trackers import Trackers

_LINE_SECONDS, _PLOT_SECONDS = 60.0, 2.0


def losses_table(history: list[dict[str, Any]]) -> pl.DataFrame:
    """The trainer's log as a table.

    Args:
        history: the trainer's log entries.

    Returns:
        Columns step, epoch, split, loss (nats per answer token) and learning_rate.
    """
    rows = [
        {
            "step": entry["step"],
            "epoch": float(entry["epoch"]),
            "split": "train" if "loss" in entry else "validation",
            "loss": float(entry["loss"] if "loss" in entry else entry["eval_loss"]),
            "learning_rate": entry.get("learning_rate"),
        }
        for entry in history
        if "loss" in entry or "eval_loss" in entry
    ]
    return pl.DataFrame(
        rows,
        schema={
            "step": pl.Int64,
            "epoch": pl.Float64,
            "split": pl.String,
            "loss": pl.Float64,
            "learning_rate": pl.Float64,
        },
    )


def reporter() -> Any:
    """Headless: one line a minute. In JupyterLab: the loss curve, redrawn in one place."""
    import transformers

    class Reporter(transformers.TrainerCallback):  # type: ignore[misc]
        place: Any = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.begin = self.reported = time.monotonic()
            self.first = state.global_step

        def line(self, state: Any) -> str:
            done, total = state.global_step - self.first, state.max_steps - self.first
            return progress_line("train: step", done, total, time.monotonic() - self.begin)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            now = time.monotonic()
            if watched() or not state.is_world_process_zero or now - self.reported < _LINE_SECONDS:
                return
            self.reported = now
            print(self.line(state), flush=True)

        def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            now = time.monotonic()
            drawn = self.place is not None and now - self.reported < _PLOT_SECONDS
            if not watched() or drawn or not state.is_world_process_zero:
                return
            self.reported = now
            self.draw(state, self.line(state))

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.place is not None:
                self.draw(state, f"{state.global_step} steps")

        def draw(self, state: Any, title: str) -> None:
            from IPython import display

            figure = loss_figure(losses_table(state.log_history))
            figure.axes[0].set_title(title)
            if self.place is None:
                show: Any = display.display
                self.place = show(figure, display_id=True)
            else:
                self.place.update(figure)

    return Reporter()


def tracking(trackers: Trackers) -> Any:
    """Send what the trainer logs to the trackers.

    Args:
        trackers: where to.
    """
    import transformers

    class Tracking(transformers.TrainerCallback):  # type: ignore[misc]
        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any
        ) -> None:
            names = {"loss": "train/loss", "eval_loss": "validation/loss"}
            names |= {name: f"train/{name}" for name in ("learning_rate", "grad_norm")}
            values = {names[k]: float(v) for k, v in logs.items() if k in names}
            if values and state.is_world_process_zero:
                trackers.log(values, state.global_step)

    return Tracking()


def early_stopping(patience: int, folder: Path) -> Any:
    """Keep the weights of the lowest held-out loss; stop when it no longer falls.

    What to do follows from the trainer's log alone, which every checkpoint carries, so a run that
    continues decides like one that was never stopped.

    Args:
        patience: evaluations without a lower loss before the run stops.
        folder: the run's folder.
    """
    import transformers

    class EarlyStopping(transformers.TrainerCallback):  # type: ignore[misc]
        def on_evaluate(
            self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
        ) -> None:
            best, since = best_evaluation(state.log_history)
            if since == 0 and state.is_world_process_zero:
                keep_best(model, best, folder)
            if since >= patience:
                control.should_training_stop = True

    return EarlyStopping()


def evaluations(every: int) -> Any:
    """Evaluate inside the step, before its checkpoint is written, and after the last step.

    The trainer's own evaluation at the end of an epoch comes after that step's checkpoint: a run
    that continued from there would lack it, and draw other random numbers.

    Args:
        every: optimiser steps between evaluations; 0 evaluates at the end of each epoch.
    """
    import transformers

    class Evaluations(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            ended = abs(state.epoch - round(state.epoch)) < 1e-9
            due = state.global_step % every == 0 if every else ended
            if due or state.global_step >= state.max_steps:
                control.should_evaluate = True

    return Evaluations()

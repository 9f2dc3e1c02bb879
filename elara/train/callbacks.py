"""Report a run's progress, live curve and logged values, and decide when it evaluates and stops.

It needs the libraries of training, so it is imported where a run starts.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl
from transformers import TrainerCallback

from elara.display.figures import loss_figure
from elara.display.progress import progress_line, watched
from elara.train.checkpoints import best_evaluation, keep_best

_LINE_SECONDS, _PLOT_SECONDS = 60.0, 2.0


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
    """Headless: one line a minute. In JupyterLab: the loss curve, redrawn in one place."""

    place: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note when the run began."""
        self.begin = self.reported = time.monotonic()
        self.first = state.global_step

    def _line(self, state: Any) -> str:
        done, total = state.global_step - self.first, state.max_steps - self.first
        return progress_line("train: step", done, total, time.monotonic() - self.begin)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Print a line when the last one is a minute old."""
        now = time.monotonic()
        if watched() or not state.is_world_process_zero or now - self.reported < _LINE_SECONDS:
            return
        self.reported = now
        print(self._line(state), flush=True)

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Draw the curve, unless it has just been drawn."""
        now = time.monotonic()
        drawn = self.place is not None and now - self.reported < _PLOT_SECONDS
        if not watched() or drawn or not state.is_world_process_zero:
            return
        self.reported = now
        self._draw(state, self._line(state))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Draw the whole curve."""
        if self.place is not None:
            self._draw(state, f"{state.global_step} steps")

    def _draw(self, state: Any, title: str) -> None:
        from IPython import display

        figure = loss_figure(losses_table(state.log_history))
        figure.axes[0].set_title(title)
        if self.place is None:
            show: Any = display.display
            self.place = show(figure, display_id=True)
        else:
            self.place.update(figure)


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

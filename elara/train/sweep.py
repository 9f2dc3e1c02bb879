"""Compare learning rates on a small budget by the held-out loss."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from elara.display.figures import BLUE, GREY, ORANGE, new_figure, plain
from elara.model import LanguageModel
from elara.train.checkpoints import run_name
from elara.train.config import TrainingConfig, TrainingError
from elara.train.data import TokenData
from elara.train.sft import fine_tune

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Sweep:
    """What each learning rate led to.

    Args:
        table: columns learning_rate, loss_before, loss (held-out, nats per answer token; null
            where the run diverged), steps, seconds and status (`finished` or `diverged`).
        best: the learning rate of the lowest held-out loss.
    """

    table: pl.DataFrame
    best: float


def check_rates(rates: Sequence[float]) -> None:
    """Raise TrainingError unless these are learning rates that can be compared."""
    if not rates:
        raise TrainingError("A sweep needs at least one learning rate.")
    for rate in rates:
        if not (isinstance(rate, int | float) and math.isfinite(rate) and rate > 0):
            raise TrainingError(f"`sweep_rates` holds {rate!r}: learning rates are above 0.")


def sweep(
    load: Callable[[], LanguageModel],
    data: TokenData,
    config: TrainingConfig,
    rates: Sequence[float],
    checkpoints: Path,
) -> Sweep:
    """Train once per learning rate, all from the same start, and compare the held-out losses.

    A rate that was interrupted continues from its last checkpoint.

    Args:
        load: loads the base model afresh.
        data: a small budget of training examples, and validation examples to compare on.
        config: settings; its learning rate is replaced by each of `rates`.
        rates: learning rates to try.
        checkpoints: folder for checkpoints.

    Raises:
        TrainingError: nothing to compare on, no rates, or every rate diverged.
    """
    if not data.validation:
        raise TrainingError("A sweep compares held-out losses: give it validation examples.")
    check_rates(rates)
    configs = [dataclasses.replace(config, learning_rate=rate) for rate in sorted(set(rates))]
    columns = ("learning_rate", "loss_before", "loss", "steps", "seconds", "status")
    schema: Any = dict.fromkeys(columns, pl.Float64) | {"steps": pl.Int64, "status": pl.String}
    table = pl.DataFrame([_one(load, data, each, checkpoints) for each in configs], schema=schema)
    finished = table.drop_nulls("loss").sort("loss", "learning_rate")
    if finished.is_empty():
        raise TrainingError(f"Every rate diverged; the lowest was {min(rates):g}: try lower ones.")
    return Sweep(table, float(finished["learning_rate"][0]))


def _one(
    load: Callable[[], LanguageModel], data: TokenData, config: TrainingConfig, checkpoints: Path
) -> dict[str, Any]:
    """The row of one rate."""
    row: dict[str, Any] = {"learning_rate": config.learning_rate, "steps": 0, "seconds": 0.0}
    try:
        training = fine_tune(load(), data, config, checkpoints / run_name(data, config, None))
    except TrainingError as error:
        if "not a finite number" not in str(error):
            raise
        row["status"] = "diverged"
    else:
        losses = training.losses.filter(split="validation")["loss"]
        lost = losses[-1] > losses[0]
        row |= {"loss_before": losses[0], "loss": None if lost else losses[-1]}
        row |= {"steps": training.steps, "seconds": round(training.seconds, 1)}
        row["status"] = "diverged" if lost else "finished"
    return row


def sweep_figure(found: Sweep) -> Figure:
    """Draw held-out loss over learning rate; diverged rates are crosses at the top.

    Args:
        found: the sweep.
    """
    figure = new_figure(6, 3.5)
    axes = figure.subplots()
    good = found.table.drop_nulls("loss")
    axes.plot(good["learning_rate"], good["loss"], "o-", color=BLUE, label="held-out loss")
    best = good.filter(pl.col("learning_rate") == found.best)
    axes.plot(best["learning_rate"], best["loss"], "o", color=ORANGE, ms=11, label="lowest")
    axes.axhline(good["loss_before"][0], color=GREY, ls="--", label="before training")
    bad = found.table.filter(status="diverged")
    if bad.height:
        top = axes.get_ylim()[1]
        axes.plot(bad["learning_rate"], [top] * bad.height, "kx", label="diverged")
    rates = found.table["learning_rate"].to_list()
    axes.set_xscale("log")
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.minorticks_off()
    axes.set(xlabel="learning rate", ylabel="loss (nats per answer token)")
    axes.set_title("Which learning rate learns most on a small budget")
    axes.legend(frameon=False)
    plain(axes)
    return figure

"""How a training run went, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from elara.display.figures import BLUE, ORANGE, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def loss_figure(losses: pl.DataFrame) -> Figure:
    """Draw the training and validation loss over the optimiser steps.

    Args:
        losses: `Training.losses`.

    Returns:
        A line for training, points for validation.
    """
    figure = new_figure(7, 3.5)
    axes = figure.subplots()
    train = losses.filter(split="train")
    axes.plot(train["step"], train["loss"], color=BLUE, label="training")
    held = losses.filter(split="validation")
    axes.plot(held["step"], held["loss"], "o-", color=ORANGE, label="validation")
    axes.set_xlabel("optimiser step")
    axes.set_ylabel("loss (nats per answer token)")
    axes.set_title("Loss while training")
    axes.legend(frameon=False)
    plain(axes)
    return figure

"""How a training run went, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def loss_figure(losses: pl.DataFrame) -> Figure:
    """Draw the training and validation loss over the optimiser steps.

    Args:
        losses: `Training.losses`.

    Returns:
        A line for training, points for validation.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    train = losses.filter(split="train")
    axes.plot(train["step"], train["loss"], color="#0072B2", label="training")
    held = losses.filter(split="validation")
    axes.plot(held["step"], held["loss"], "o-", color="#D55E00", label="validation")
    axes.set_xlabel("optimiser step")
    axes.set_ylabel("loss (nats per answer token)")
    axes.set_title("Loss while training")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure

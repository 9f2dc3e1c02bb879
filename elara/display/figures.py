"""Give all figures the same look."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers too.
# Source: https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, SKY = "#0072B2", "#D55E00", "#009E73", "#56B4E9"
GREY = "#8C8C8C"
COLOURS = (BLUE, "#E69F00", GREEN, "#CC79A7", SKY, ORANGE, "#F0E442", "#000000")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that a notebook shows once, where a cell returns it.

    Args:
        width: in inches.
        height: in inches.
    """
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(width, height), layout="constrained")
    plt.close(figure)  # or a notebook would show it a second time
    return figure


def plain(axes: Axes) -> None:
    """Take away the frame's top and right side.

    Args:
        axes: changed in place.
    """
    axes.spines[["top", "right"]].set_visible(False)


def loss_figure(losses: pl.DataFrame) -> Figure:
    """Draw the training and validation loss over the optimiser steps.

    Args:
        losses: columns split (`train` or `validation`), step and loss, as in `Training.losses`.

    Returns:
        A line for training, points for validation.
    """
    figure = new_figure(7, 3.5)
    axes = figure.subplots()
    train = losses.filter(split="train")
    axes.plot(train["step"], train["loss"], color=BLUE, label="training")
    held = losses.filter(split="validation")
    axes.plot(held["step"], held["loss"], "o-", color=ORANGE, label="validation")
    axes.set(xlabel="optimiser step", ylabel="loss (nats per answer token)")
    axes.set_title("Loss while training")
    axes.legend(frameon=False)
    plain(axes)
    return figure


def figure_svg(figure: Figure, title: str, description: str) -> str:
    """Write a figure as an SVG element to be put into a page.

    The same figure gives the same text: no date, and ids that do not change. Texts stay texts,
    whose colour the page can set, and nothing refers to another file.

    Args:
        figure: its lines are no longer cut off at the edge of the axes, and axes become grey.
        title: its short name.
        description: what it shows, for those who cannot see it.
    """
    import io
    from html import escape

    import matplotlib as mpl

    for axes in figure.axes:
        axes.spines[:].set_color(GREY)  # legible on light and on dark paper
        axes.tick_params(color=GREY)
    for artist in figure.findobj():
        artist.set_clip_on(False)  # or the element would refer to a clip path by `url(…)`
    text = io.StringIO()
    unsaid = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": "elara", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", transparent=True, metadata=unsaid)
    start, rest = text.getvalue().partition("<svg ")[2].split(">", 1)
    label = escape(f"{title}. {description}")
    told = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
    return f'<svg role="img" aria-label="{label}" {start}>{told}{rest}'

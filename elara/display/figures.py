"""Give all figures the same look."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

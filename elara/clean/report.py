"""Draw the figure of what each rule did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from elara.display.figures import BLUE, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def effects_figure(effects: pl.DataFrame) -> Figure:
    """Bars: the number of texts that each rule changed.

    Args:
        effects: what `Cleaned.effects` returns.
    """
    height = 0.35 * max(effects.height, 3) + 1
    figure = new_figure(7, height)
    axes = figure.subplots()
    bars = axes.barh(effects["rule"].to_list(), effects["texts"].to_list(), color=BLUE)
    axes.bar_label(bars, padding=3)
    axes.invert_yaxis()
    axes.set(xlabel="texts changed (titles, abstracts, sections)", ylabel="rule")
    plain(axes)
    return figure

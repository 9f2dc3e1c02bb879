"""A figure of what cleaning did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def effects_figure(effects: pl.DataFrame) -> Figure:
    """Bars: the number of texts that each rule changed.

    Args:
        effects: what `Cleaned.effects` returns.
    """
    import matplotlib.pyplot as plt

    height = 0.35 * max(effects.height, 3) + 1
    figure = plt.figure(figsize=(7, height), layout="constrained")
    plt.close(figure)  # or a notebook would show it a second time
    axes = figure.subplots()
    bars = axes.barh(effects["rule"].to_list(), effects["texts"].to_list(), color="#0072B2")
    axes.bar_label(bars, padding=3)
    axes.invert_yaxis()
    axes.set(xlabel="texts changed (titles, abstracts, sections)", ylabel="rule")
    axes.spines[["top", "right"]].set_visible(False)
    return figure

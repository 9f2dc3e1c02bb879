"""Draw the differences that a verdict rests on, and what so many topics can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from elara.display.figures import BLUE, COLOURS, GREY, ORANGE, SKY, new_figure, plain
from elara.evaluate import deciding
from elara.evaluate.deciding import POWER
from elara.evaluate.verdict import Judgement, detectable_told, interval_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def difference_figure(judgement: Judgement) -> Figure:
    """Draw every held-out topic's difference, and the mean with its interval.

    Args:
        judgement: result of `judge`.

    Returns:
        One point per topic, sorted; the bands are the interval of the mean and the margin.
    """
    from matplotlib.ticker import MaxNLocator

    verdict, values = judgement.verdict, judgement.topics["difference"].sort().to_list()
    figure = new_figure(7, 3.5)
    axes = figure.subplots()
    axes.axhspan(-verdict.margin, verdict.margin, color=GREY, alpha=0.25, label="does not matter")
    axes.axhline(0, color="black", linewidth=0.8)
    if verdict.low is not None and verdict.high is not None:
        name = interval_name(verdict)
        axes.axhspan(verdict.low, verdict.high, color=SKY, alpha=0.4, label=name)
    axes.axhline(verdict.difference, color=BLUE, label="mean")
    axes.plot(range(1, len(values) + 1), values, "o", color=ORANGE, label="one topic")
    axes.set_xlabel("held-out topics, from lowest to highest")
    axes.set_ylabel(f"adapter − base\n({verdict.unit})")
    axes.set_title(f"Difference in {verdict.endpoint}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, loc="lower right")
    plain(axes)
    return figure


def power_figure(judgement: Judgement) -> Figure:
    """Draw how likely *helped* would be, had the adapter an effect of another size.

    The line takes the spread of these topics for the true one; the detectable effect does not.

    Args:
        judgement: result of `judge`.

    Returns:
        A line over the size of the effect; with too few topics, the sentence that says so.
    """
    import numpy as np

    verdict = judgement.verdict
    figure = new_figure(7, 3)
    axes = figure.subplots()
    if verdict.detectable is None:
        axes.text(0.5, 0.5, detectable_told(verdict), ha="center", wrap=True)
        axes.set_axis_off()
        return figure
    effects = np.linspace(0, 2 * verdict.detectable, 101)
    axes.plot(effects, deciding.power(judgement.evidence, verdict.margin, effects), color=BLUE)
    axes.axvline(verdict.detectable, color=ORANGE, label="detectable effect")
    axes.axvline(verdict.margin, color=GREY, linestyle="--", label="margin")
    axes.set_xlabel(f"true gain ({verdict.unit})")
    axes.set_ylabel("chance of “helped”")
    axes.set_title(f"What {verdict.topics} topics like these can show")
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, loc="lower right")
    plain(axes)
    return figure


def simulated_power_figure(
    effects: Sequence[float], helped: Mapping[str, Sequence[float]]
) -> Figure:
    """Draw how often a simulation found effects of several sizes.

    Args:
        effects: their sizes, in nats per token.
        helped: number of topics to the share of sets that were called *helped*, for each effect.

    Returns:
        One line for each number of topics.
    """
    figure = new_figure(7, 3.5)
    axes = figure.subplots()
    for (topics, shares), colour in zip(helped.items(), COLOURS, strict=False):
        axes.plot(effects, shares, "o-", color=colour, markersize=4, label=f"{topics} topics")
    axes.axhline(POWER, color=GREY, linewidth=0.8, linestyle="--")
    axes.set_xlabel("true gain (nats per token)")
    axes.set_ylabel("share called “helped”")
    axes.set_title("What so many topics can show")
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False)
    plain(axes)
    return figure

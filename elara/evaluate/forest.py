"""Draw differences with their intervals: by specialty, between arms, and over adapter versions.

Worse, better and undecided differ in shape as well as in color.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from elara.display.figures import BLUE, GREY, ORANGE, new_figure, plain
from elara.evaluate.deciding import HELPED, HURT, TOO_FEW
from elara.evaluate.scores import ENDPOINTS, PRIMARY

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SOFT = "#555555"  # of texts beside the numbers; a contrast of 7 to 1 on white
# Marker, color and name of each word; what is not named here is neither worse nor better.
_MARKS = {HURT: ("v", ORANGE, "worse"), HELPED: ("^", BLUE, "better"), TOO_FEW: ("o", GREY, "")}
_OTHERWISE = ("s", GREY, "within the margin")


def forest_figure(comparisons: pl.DataFrame, endpoint: str = PRIMARY) -> Figure:
    """Draw an endpoint's difference over all items and in each specialty.

    Args:
        comparisons: `Judgement.comparisons`.
        endpoint: the one to draw.

    Returns:
        One row each, all items first; at the right edge, the items and clusters behind it.

    Source: forest plots: Lewis and Clarke (2001), https://doi.org/10.1136/bmj.322.7300.1479
    """
    rows = comparisons.filter(endpoint=endpoint).to_dicts()
    return _forest(rows, [row["specialty"] or "all items" for row in rows], endpoint)


def arms_figure(arms: pl.DataFrame) -> Figure:
    """Draw the differences between arms with and without sources.

    Args:
        arms: result of `compare_arms`.

    Returns:
        One row for each comparison; at the right edge, the items and clusters behind it. Where
        there is none, the sentence that says so.
    """
    rows = arms.to_dicts()
    if not rows:
        figure = new_figure(7.5, 1.5)
        axes = figure.subplots()
        axes.text(0.5, 0.5, "No arm with sources was measured.", ha="center")
        axes.set_axis_off()
        return figure
    names = [f"{row['arm']}\n− {row['against']}" for row in rows]
    return _forest(rows, names, PRIMARY, what="difference", height=0.5)


def _forest(
    rows: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    endpoint: str,
    *,
    what: str = "adapter − base",
    height: float = 0.32,
) -> Figure:
    figure = new_figure(7.5, 1.5 + height * len(rows))
    axes = figure.subplots()
    margin, unit = ENDPOINTS[endpoint].margin, ENDPOINTS[endpoint].unit
    axes.axvspan(-margin, margin, color=GREY, alpha=0.18, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlim(*difference_span(rows, margin))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), names)
    across = axes.get_yaxis_transform()
    axes.text(1.02, -0.9, "items (topics)", transform=across, va="center", fontsize=8, color=SOFT)
    for at, row in enumerate(rows):
        draw_difference(axes, at, row)
        told = f"{row['items']:,} ({row['clusters']:,})"
        axes.text(1.02, at, told, transform=across, va="center", fontsize=8)
    axes.set_xlabel(f"{what} in {endpoint} ({unit})")
    mark_legend(figure, ncols=3, loc="outside lower center")
    plain(axes)
    return figure


def versions_figure(versions: Sequence[Mapping[str, Any]], margin: float) -> Figure:
    """Draw the loss difference of several versions, in the order in which they were evaluated.

    Args:
        versions: name, difference, low, high, word, and worse: whether the version is worse than
            the one before it.
        margin: differences within ± margin do not matter.

    Returns:
        Name and difference of each version; one that is worse than the one before it is named so.
    """
    rows = list(versions)
    figure = new_figure(7.5, 1.6 + 0.4 * len(rows))
    axes = figure.subplots()
    axes.axvspan(-margin, margin, color=GREY, alpha=0.18, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlim(*difference_span(rows, margin))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    across = axes.get_yaxis_transform()
    for at, row in enumerate(rows):
        draw_difference(axes, at, row)
        if row["worse"]:
            axes.text(1.02, at, "worse than\nbefore", transform=across, va="center", fontsize=8,
                      color=ORANGE)  # fmt: skip
    axes.plot(
        [r["difference"] for r in rows], range(len(rows)), color=GREY, linewidth=0.8, zorder=0
    )
    axes.set_xlabel(f"adapter − its base model in {PRIMARY} ({ENDPOINTS[PRIMARY].unit})")
    mark_legend(figure, ncols=3, loc="outside lower center")
    plain(axes)
    return figure


def draw_difference(axes: Axes, at: float, row: Mapping[str, Any]) -> None:
    """Draw a difference with its interval, and mark what its word says.

    Args:
        axes: changed in place; its limits must stand. An interval that goes beyond them ends in
            an arrow.
        at: where on the vertical axis.
        row: difference, low, high (None where there is no interval) and word.
    """
    marker, color, _ = _MARKS.get(row["word"], _OTHERWISE)
    left, right = axes.get_xlim()
    if row["low"] is not None:
        low, high = max(row["low"], left), min(row["high"], right)
        axes.plot([low, high], [at, at], color=color, linewidth=1.5)
        for end, whole, arrow in ((low, row["low"], "<"), (high, row["high"], ">")):
            if end != whole:
                axes.plot(end, at, arrow, color=color, markersize=5)
    face = "white" if row["word"] == TOO_FEW else color
    axes.plot(row["difference"], at, marker, color=color, markerfacecolor=face, markersize=6)


def difference_span(rows: Sequence[Mapping[str, Any]], margin: float) -> tuple[float, float]:
    """The limits of an axis of differences.

    Intervals so wide that they say nothing do not squeeze the others: they are cut.

    Args:
        rows: difference, low and high, or None.
        margin: differences within ± margin do not matter.
    """
    means = [row["difference"] for row in rows if row["difference"] is not None]
    ends = [row[e] for row in rows for e in ("low", "high") if row[e] is not None]
    widest = 2.5 * max([*map(abs, means), 2 * margin])
    low = max(min([*ends, *means, -2 * margin]), -widest)
    high = min(max([*ends, *means, 2 * margin]), widest)
    return 1.08 * low, 1.08 * high


def mark_legend(place: Any, **how: Any) -> None:
    """Explain the marks of `draw_difference`.

    Args:
        place: a figure or axes, changed in place.
        how: for its method `legend`.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    named = {**_MARKS, TOO_FEW: (*_MARKS[TOO_FEW][:2], TOO_FEW), "": _OTHERWISE}
    handles: list[Any] = [
        Line2D([], [], marker=marker, color=color, label=label, markersize=6,
               markerfacecolor="white" if word == TOO_FEW else color)
        for word, (marker, color, label) in named.items()
    ]  # fmt: skip
    handles.append(Patch(color=GREY, alpha=0.18, linewidth=0, label="does not matter"))
    place.legend(handles=handles, frameon=False, fontsize=9, **how)

"""Show what the training data looks like in one table and one figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from elara.display.figures import BLUE, GREEN, ORANGE, new_figure, plain
from elara.expand.recipes import Expansion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {"curated": ORANGE, "grounded": BLUE, "qa": GREEN}


def summary(examples: pl.DataFrame) -> pl.DataFrame:
    """Count examples, sources and words per split and origin.

    Args:
        examples: `Example` rows with their split.

    Returns:
        Columns split, origin, examples, sources, and answer_words (mean, in words).
    """
    answer = pl.col("messages").list.get(-1).struct.field("content")
    order = pl.Enum(["train", "validation", "test"])
    return (
        examples.group_by(pl.col("split").cast(order), "origin")
        .agg(
            examples=pl.len(),
            sources=pl.col("article_ids").list.first().n_unique(),
            answer_words=answer.str.split(" ").list.len().mean().round(0).cast(pl.Int64),
        )
        .sort("split", "origin")
    )


def outlook(curated: pl.DataFrame, grounded: Expansion) -> str:
    """Say what training will see, and what to do where that is next to nothing.

    Args:
        curated: from `curated_examples`.
        grounded: from `grounded_examples`.
    """
    count = grounded.examples.height
    if count:
        articles = grounded.examples["article_ids"].list.first().n_unique()
        return (
            f"Training can draw on the {curated.height} curated cases and on {count:,} examples "
            f"built from {articles:,} articles."
        )
    counts = grounded.skipped["reason"].value_counts().sort("count", "reason", descending=True)
    reasons = "".join(f"\n  {n:,} × {reason}" for reason, n in counts.iter_rows())
    return (
        f"Training will see only the {curated.height} curated cases: none of the "
        f"{grounded.skipped.height:,} articles gave an example.{reasons}\n"
        f"To train privately on texts without a licence, put the word `private` into "
        f"`licence.txt` in their folder and collect again, or run with `-p licences=any`."
    )


def examples_figure(examples: pl.DataFrame) -> Figure:
    """Draw how many examples each specialty has, by origin.

    Args:
        examples: `Example` rows.

    Returns:
        A horizontal stacked bar chart.
    """
    counts = examples.group_by("specialty", "origin").len()
    totals = counts.group_by("specialty").agg(pl.col("len").sum()).sort("len", "specialty")
    specialties = totals["specialty"].to_list()
    figure = new_figure(7, 4.5)
    axes = figure.subplots()
    left = dict.fromkeys(specialties, 0)
    for origin, colour in _COLOURS.items():
        part = dict(counts.filter(origin=origin).select("specialty", "len").iter_rows())
        widths = [part.get(s, 0) for s in specialties]
        axes.barh(specialties, widths, left=list(left.values()), color=colour, label=origin)
        left = {s: left[s] + part.get(s, 0) for s in specialties}
    axes.set_xlabel("examples")
    axes.set_title("Training data by specialty and origin")
    axes.legend(title="origin", frameon=False)
    plain(axes)
    return figure


def confusion_figure(matrix: Mapping[str, Mapping[str, int]]) -> Figure:
    """Draw which specialty the classifier gave to the articles of each specialty.

    Args:
        matrix: the readers' specialty, then the classifier's, to the number of articles; as
            `benchmarks/specialties.json` holds it.

    Returns:
        A square for each pair, darker for a larger share of the row, with its number.
    """
    names = list(matrix)
    counts = [[matrix[row].get(column, 0) for column in names] for row in names]
    shares = [[n / max(sum(row), 1) for n in row] for row in counts]
    figure = new_figure(7.5, 6.5)
    axes = figure.subplots()
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1)
    axes.invert_yaxis()
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            if count:
                colour = "white" if shares[y][x] > 0.5 else "black"
                axes.text(
                    x + 0.5, y + 0.5, str(count), ha="center", va="center", color=colour, fontsize=8
                )
    middle = [place + 0.5 for place in range(len(names))]
    axes.set_xticks(middle, names, rotation=45, ha="right")
    axes.set_yticks(middle, names)
    axes.set_xlabel("specialty by the classifier")
    axes.set_ylabel("specialty by readers")
    axes.set_title("Articles by specialty")
    return figure

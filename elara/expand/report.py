"""Show what the training data looks like in one table and one figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from elara.display.figures import BLUE, GREEN, ORANGE, new_figure, plain
from elara.expand.recipes import Expansion
from elara.expand.validators import Validated, taken

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


def outlook(curated: pl.DataFrame, grounded: Expansion, checked: Validated | None = None) -> str:
    """Say what training will see, and what to do where that is next to nothing.

    Args:
        curated: from `curated_examples`.
        grounded: from `grounded_examples`.
        checked: both of them after the validators.
    """
    passed = grounded.examples if checked is None else checked.examples
    built = passed.filter(pl.col("origin") != "curated")
    cases = curated.height if checked is None else passed.height - built.height
    if built.height:
        articles = built["article_ids"].list.first().n_unique()
        return (
            f"Training can draw on the {cases} curated cases and on {built.height:,} examples "
            f"built from {articles:,} articles."
        )
    filters = {"article": grounded.skipped, "gate": grounded.rejected}
    if checked is not None:
        filters["validator"] = checked.rejected
    reasons = "".join(
        f"\n  {n:,} × {rule}" + (f" ({name})" if name != "article" else "")
        for name, rule, n in taken(**filters).iter_rows()
    )
    return (
        f"Training will see only the {cases} curated cases: none of the "
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

"""Show what the training data looks like, in tables and a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from elara.display.figures import new_figure, plain
from elara.expand.recipes import Expansion
from elara.expand.validators import Validated, taken

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


def coverage(examples: pl.DataFrame, articles: pl.DataFrame) -> pl.DataFrame:
    """Count the examples of each specialty by split, source and recipe.

    Args:
        examples: `Example` rows with their split.
        articles: the clean `Article` rows that they were built from.

    Returns:
        Columns specialty, source (`curated` for the project's cases), recipe, split, examples.
    """
    source = articles.select(pl.col("id").alias("article"), "source")
    first = examples.with_columns(article=pl.col("article_ids").list.first())
    known = first.join(source, on="article", how="left").with_columns(
        source=pl.when(origin="curated")
        .then(pl.lit("curated"))
        .otherwise(pl.col("source").fill_null("unknown"))
    )
    keys = ("specialty", "source", "recipe", "split")
    return known.group_by(keys).agg(examples=pl.len()).sort(keys)


def coverage_table(counts: pl.DataFrame, *, wanted: int = 50) -> pl.DataFrame:
    """How many examples each specialty has in each split, and how many it lacks.

    Args:
        counts: from `coverage`.
        wanted: examples that each specialty should have.

    Returns:
        A row for each specialty, the poorest first.
    """
    splits = ["train", "validation", "test"]
    wide = counts.pivot("split", index="specialty", values="examples", aggregate_function="sum")
    missing = [pl.lit(0).alias(split) for split in splits if split not in wide.columns]
    wide = wide.with_columns(*missing).with_columns(pl.col(splits).fill_null(0))
    return wide.select(
        "specialty",
        *splits,
        examples=pl.sum_horizontal(splits),
        lacking=pl.max_horizontal(pl.lit(0), wanted - pl.sum_horizontal(splits).cast(pl.Int64)),
    ).sort("examples", "specialty")


def coverage_figure(counts: pl.DataFrame) -> Figure:
    """Draw how many examples each specialty has from each source and recipe.

    Args:
        counts: from `coverage`.

    Returns:
        A map with a row for each specialty; what has no example stays white.
    """
    import numpy as np

    counts = counts.with_columns(column=pl.concat_str("source", "recipe", separator="\n"))
    counts = counts.with_columns(
        column=pl.when(source="curated").then(pl.lit("curated")).otherwise("column")
    )
    totals = (
        counts.group_by("specialty").agg(pl.col("examples").sum()).sort("examples", "specialty")
    )
    rows, columns = totals["specialty"].to_list(), sorted(set(counts["column"]))
    grid = np.zeros((len(rows), len(columns)))
    for specialty, column, number in counts.select("specialty", "column", "examples").iter_rows():
        grid[rows.index(specialty), columns.index(column)] += number
    figure = new_figure(max(7, 0.75 * len(columns) + 2.5), 0.32 * len(rows) + 1.6)
    axes = figure.subplots()
    axes.imshow(np.log1p(grid), cmap="Blues", aspect="auto", vmin=0)
    for (y, x), number in np.ndenumerate(grid):
        if number:
            dark = np.log1p(number) > 0.6 * np.log1p(grid.max())
            axes.text(x, y, f"{number:.0f}", ha="center", va="center", color="w" if dark else "k")
    axes.set_xticks(range(len(columns)), columns, fontsize=8)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_title("Examples of each specialty by source and recipe")
    plain(axes)
    return figure

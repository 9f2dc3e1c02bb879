"""Show what the training data looks like, and what was left out of it, in tables and figures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from elara.display.figures import BLUE, COLOURS, SKY, new_figure, plain
from elara.expand.streaming import Expanded
from elara.expand.validators import VALIDATORS, taken

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TOOK: Any = {"filter": pl.String, "rule": pl.String, "took": pl.Int64}


def summary(index: pl.DataFrame) -> pl.DataFrame:
    """Count examples, sources and words per split and origin.

    Args:
        index: of `Examples` with their splits.

    Returns:
        Columns split, origin, examples, sources, and answer_words (mean, in words).
    """
    order = pl.Enum(["train", "validation", "test"])
    return (
        index.group_by(pl.col("split").cast(order), "origin")
        .agg(
            examples=pl.len(),
            sources=pl.col("article_id").n_unique(),
            answer_words=pl.col("answer_words").mean().round(0).cast(pl.Int64),
        )
        .sort("split", "origin")
    )


def outlook(made: Expanded) -> str:
    """Say what training will see, and what to do where that is next to nothing.

    Args:
        made: from `expand_file`.
    """
    built = made.examples.index.filter(pl.col("origin") != "curated")
    cases = len(made.examples) - built.height
    if built.height:
        return (
            f"Training can draw on the {cases} curated cases and on {built.height:,} examples "
            f"built from {built['article_id'].n_unique():,} articles."
        )
    filters = {"article": made.skipped, "gate": made.rejected, "validator": made.refused}
    reasons = "".join(
        f"\n  {n:,} × {rule}" + (f" ({name})" if name != "article" else "")
        for name, rule, n in taken(**filters).iter_rows()
    )
    return (
        f"Training will see only the {cases} curated cases: none of the "
        f"{made.counts['articles']:,} articles gave an example.{reasons}\n"
        f"To train privately on texts without a licence, put the word `private` into "
        f"`licence.txt` in their folder and collect again, or run with `-p licences=any`."
    )


def coverage(index: pl.DataFrame) -> pl.DataFrame:
    """Count the examples of each specialty by split, source and recipe.

    Args:
        index: of `Examples` with their splits.

    Returns:
        Columns specialty, source (`curated` for the project's cases), recipe, split, examples.
    """
    keys = ("specialty", "source", "recipe", "split")
    return index.group_by(pl.col(keys).cast(pl.String)).agg(examples=pl.len()).sort(keys)


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
    figure = new_figure(max(5.2, 0.64 * len(columns) + 2), 0.32 * len(rows) + 1.6)
    axes = figure.subplots()
    axes.imshow(np.log1p(grid), cmap="Blues", aspect="auto", vmin=0)
    for (y, x), number in np.ndenumerate(grid):
        if number:
            dark = np.log1p(number) > 0.6 * np.log1p(grid.max())
            axes.text(x, y, f"{number:.0f}", ha="center", va="center", color="w" if dark else "k")
    axes.set_xticks(range(len(columns)), columns, fontsize=7)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_title("Examples of each specialty by source and recipe")
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


def taken_figure(took: pl.DataFrame, *, most: int = 24) -> Figure:
    """Draw how many articles, drafts and examples each filter took, by rule.

    Args:
        took: from `taken`. A validator that took nothing gets a bar of no length, so that the
            figure shows that it ran.
        most: bars; what the smaller rules took stands together in the last one.

    Returns:
        A bar for each rule, coloured by its filter; the axis is logarithmic from 1 on.
    """
    idle = [v.name for v in VALIDATORS if took.filter(filter="validators", rule=v.name).is_empty()]
    none = pl.DataFrame({"filter": "validators", "rule": idle, "took": 0}, _TOOK)
    bars = pl.concat([took.select(_TOOK.keys()).cast(_TOOK).head(most), none])
    rest = took[most:]
    if rest.height:
        left = ("others", f"{rest.height} further rules", rest["took"].sum())
        bars = pl.concat([bars, pl.DataFrame([left], _TOOK, orient="row")])
    figure = new_figure(5.2, 0.29 * bars.height + 1.3)  # a phone shows it whole
    axes = figure.subplots()
    for colour, name in zip(COLOURS, dict.fromkeys(bars["filter"]), strict=False):
        rows = bars.with_row_index("y").filter(filter=name)
        drawn = axes.barh(rows["y"], rows["took"], color=colour, label=name)
        axes.bar_label(drawn, [f"{n:,}" for n in rows["took"]], padding=3, fontsize=9)
    axes.set_yticks(range(bars.height), [_narrow(rule) for rule in bars["rule"]], fontsize=9)
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(0, 4 * max(1, *bars["took"]))  # room for the numbers
    axes.margins(y=0.02)
    axes.set_xlabel("articles, drafts or examples")
    axes.set_title("What each filter took")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    plain(axes)
    return figure


def recall_figure(kinds: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw which share of planted items the certificate drops or flags, by kind of leak.

    Args:
        kinds: kind of leak to its `items`, and to `dropped`, `flagged` and `found`, each with
            `share` and `interval`; as `benchmarks/contamination.json` holds it.

    Returns:
        A bar for each kind, dropped before flagged, with the 95 % interval of both together.
    """
    names = list(kinds)
    figure = new_figure(5.2, 0.34 * len(names) + 1.5)  # a phone shows it whole
    axes = figure.subplots()
    dropped, flagged, found = (
        [kinds[name][key]["share"] for name in names] for key in ("dropped", "flagged", "found")
    )
    ends = [kinds[name]["found"]["interval"] for name in names]
    below = [max(share - low, 0) for share, (low, _) in zip(found, ends, strict=True)]
    above = [max(high - share, 0) for share, (_, high) in zip(found, ends, strict=True)]
    places = range(len(names))
    axes.barh(places, dropped, color=BLUE, label="dropped")
    axes.barh(places, flagged, left=dropped, color=SKY, label="flagged")
    axes.errorbar(found, places, xerr=[below, above], fmt="none", ecolor="black", capsize=3)
    axes.set_yticks(places, [f"{name} ({kinds[name]['items']:,})" for name in names], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("share of the planted items")
    axes.set_title("Leaks that the certificate finds")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    plain(axes)
    return figure


def _narrow(label: str) -> str:
    return textwrap.shorten(label, 40, placeholder=" …")

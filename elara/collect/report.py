"""What a collection holds: four small tables and a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from elara.collect.topics import load_topics
from elara.figures import COLOURS, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def per_source(articles: pl.DataFrame) -> pl.DataFrame:
    """Count articles by source.

    Args:
        articles: a table with the columns of `Article`.

    Returns:
        One row per source: articles, how many have an abstract, a body, may be passed on, and
        are retracted; most articles first.
    """
    return (
        articles.group_by("source")
        .agg(
            articles=pl.len(),
            with_abstract=(pl.col("abstract") != "").sum(),
            with_body=(pl.col("body").list.len() > 0).sum(),
            redistributable=pl.col("redistributable").sum(),
            retracted=pl.col("retracted").sum(),
        )
        .sort(["articles", "source"], descending=[True, False])
    )


def per_licence(articles: pl.DataFrame) -> pl.DataFrame:
    """Count articles by licence.

    Args:
        articles: a table with the columns of `Article`.

    Returns:
        Columns licence, redistributable and articles; most articles first.
    """
    return (
        articles.group_by("licence", "redistributable")
        .agg(articles=pl.len())
        .sort(["articles", "licence"], descending=[True, False])
    )


def per_specialty(articles: pl.DataFrame) -> pl.DataFrame:
    """Count articles by specialty and source.

    Args:
        articles: a table with the columns of `Article`. One with several specialties counts
            in each.

    Returns:
        One row for each specialty, in the order of `topics.yaml`, with a column per source and
        their total.
    """
    sources = articles["source"].unique().sort().to_list()
    pairs = articles.select("source", specialty="topics").explode("specialty").drop_nulls()
    columns = [(pl.col("source") == s).sum().alias(s) for s in sources]
    counts = pairs.group_by("specialty").agg(*columns, total=pl.len())
    every = pl.DataFrame({"specialty": load_topics().labels})
    return every.join(counts, on="specialty", how="left", maintain_order="left").fill_null(0)


def outcome_table(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Count what became of files and records.

    Args:
        outcomes: a table with the columns of `Outcome`.

    Returns:
        Columns status, reason and count. Ids, file names and numbers inside a reason are
        replaced by `…`, so that the same reason is one line.
    """
    reason = (
        pl.col("reason")
        .str.replace(r"^(same \w+) .*", "$1 as another record, which is kept")
        .str.replace(r"(byte-identical to) .*", "$1 …")
        .str.replace(r" in \S+ lists PMID \d+", "")
        .str.replace_all(r"\b\d+\b", "…")
    )
    return (
        outcomes.with_columns(reason)
        .group_by("status", "reason")
        .agg(count=pl.len())
        .sort(["status", "count", "reason"], descending=[False, True, False])
    )


def specialty_figure(articles: pl.DataFrame) -> Figure:
    """Draw articles per specialty, stacked by source.

    Args:
        articles: a table with the columns of `Article`.
    """
    table = per_specialty(articles)
    figure = new_figure(7, 4)
    axes = figure.subplots()
    names = table["specialty"].to_list()[::-1]
    left = [0] * len(names)
    for number, source in enumerate(c for c in table.columns if c not in ("specialty", "total")):
        values = table[source].to_list()[::-1]
        axes.barh(names, values, left=left, label=source, color=COLOURS[number % len(COLOURS)])
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.set_xlabel("articles (one with several specialties counts in each)")
    axes.set_ylabel("specialty")
    if articles.height:
        axes.legend(title="source", frameon=False)
    plain(axes)
    return figure

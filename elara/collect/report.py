"""Summarise a collection in small tables and two figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from elara.collect.licences import UNKNOWN
from elara.collect.topics import load_searches, load_topics
from elara.display.figures import BLUE, COLOURS, SKY, new_figure, plain
from elara.records import PRIVATE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def per_source(articles: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Count articles by source.

    Args:
        articles: a table with the columns of `Article`.

    Returns:
        One row per source: articles, how many have an abstract, a body, may be passed on, and
        are retracted; most articles first.
    """
    own_text = pl.col("body").list.eval(pl.element().struct.field("kind") != "translation")
    with_abstract = (pl.col("abstract") != "").sum()
    counts = {"articles": pl.len(), "with_abstract": with_abstract}
    counts |= {"with_body": own_text.list.any().sum()}
    counts |= {name: pl.col(name).sum() for name in ("redistributable", "retracted")}
    found = articles.lazy().group_by("source").agg(**counts)
    return found.sort("articles", "source", descending=[True, False]).collect()


def per_licence(articles: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Count articles by licence.

    Args:
        articles: a table with the columns of `Article`.

    Returns:
        Columns licence, redistributable and articles; most articles first.
    """
    counts = articles.lazy().group_by("licence", "redistributable").agg(articles=pl.len())
    return counts.sort("articles", "licence", descending=[True, False]).collect()


def left_out(articles: pl.DataFrame | pl.LazyFrame) -> str:
    """Say how many texts training will leave out, why, and how to train on them all the same.

    Args:
        articles: a table with the columns of `Article`.

    Returns:
        One or two sentences; "" where nothing is left out.
    """
    licence = pl.col("licence")
    free = pl.col("redistributable") | licence.is_in([UNKNOWN, PRIVATE])
    columns = {"unknown": (licence == UNKNOWN).sum(), "forbidden": (~free).sum()}
    every, unknown, forbidden = articles.lazy().select(pl.len(), **columns).collect().row(0)
    if not unknown + forbidden:
        return ""
    why = {
        "no licence that Elara can read": unknown,
        "a licence that does not let others pass them on": forbidden,
    }
    stated = ", and ".join(f"{n:,} state {what}" for what, n in why.items() if n)
    switch = "run with `-p licences=any`"
    if unknown:
        switch = f"put the word `private` into `licence.txt` in their folder, or {switch}"
    return (
        f"Of {every:,} texts, {stated}, so training leaves them out. To train on them "
        f"privately, {switch}."
    )


def per_specialty(articles: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Count articles by specialty and source.

    Args:
        articles: a table with the columns of `Article`. One with several specialties counts
            in each.

    Returns:
        One row for each specialty, in the order of `topics.yaml`, with a column per source and
        their total.
    """
    articles = articles.lazy()
    sources = articles.select(pl.col("source").unique().sort()).collect()["source"].to_list()
    pairs = articles.select("source", specialty="topics").explode("specialty").drop_nulls()
    columns = [(pl.col("source") == s).sum().alias(s) for s in sources]
    counts = pairs.group_by("specialty").agg(*columns, total=pl.len()).collect()
    every = pl.DataFrame({"specialty": load_topics().labels})
    return every.join(counts, on="specialty", how="left", maintain_order="left").fill_null(0)


def outcome_table(outcomes: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Count what became of files and records.

    Args:
        outcomes: a table with the columns of `Outcome`.

    Returns:
        Columns status, reason and count. Ids, file names and numbers inside a reason are
        replaced by `…`, so that the same reason is one line.
    """
    reason = (
        pl.col("reason")
        .str.replace(r"^(not received): .*", "$1 from a live source")
        .str.replace(r"^(same \w+) .*?(, which is kept|$)", "$1 as another record, which is kept")
        .str.replace(r"(byte-identical to) .*", "$1 …")
        .str.replace(r"(retracted, says the notice) in .*", "$1 …")
        .str.replace(r"licence (?:'.*'|\".*\") (is not known)", "licence … $1")
        .str.replace(r" in \S+ lists PMID \d+", "")
        .str.replace_all(r"\b\d+\b", "…")
    )
    counts = outcomes.lazy().group_by("status", reason).agg(count=pl.len())
    return counts.sort("status", "count", "reason", descending=[False, True, False]).collect()


def removed_table(removed: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Count what pages and articles lost, by reason.

    Args:
        removed: a table with the columns of `Removal`.

    Returns:
        Columns reason, block, pieces, and example, which holds the first words of the first
        piece; most pieces first. Numbers inside a reason are replaced by `…`.
    """
    reason = pl.col("reason").str.replace_all(r"\b\d+\b", "…")
    groups = removed.lazy().group_by(reason, "block", maintain_order=True)
    counts = groups.agg(pieces=pl.len(), example=pl.col("words").first())
    return counts.sort("pieces", "reason", "block", descending=[True, False, False]).collect()


def summary(outcomes: pl.DataFrame | pl.LazyFrame, articles: int, removed: int = 0) -> str:
    """What came of a collection, in one line: `109 articles, 3 skipped (2 empty file, …), 1 error`.

    Args:
        outcomes: a table with the columns of `Outcome`.
        articles: how many articles there are.
        removed: how many pieces of records no article holds.
    """
    parts = [f"{articles:,} article{'s' * (articles != 1)}"]
    table = outcome_table(outcomes)
    for status, many in (("skipped", "skipped"), ("error", "errors")):
        reasons = table.filter(status=status)
        total = int(reasons["count"].sum())
        told = [f"{n:,} {reason}" for _, reason, n in reasons.head(3).iter_rows()]
        if reasons.height > 3:
            told.append(f"{int(reasons['count'][3:].sum()):,} for other reasons")
        why = f" ({'; '.join(told)})" if told else ""
        parts.append(f"{total:,} {status if total == 1 else many}{why}")
    if removed:
        parts.append(
            f"{removed:,} piece{'s' * (removed != 1)} of records left out (listed in `removed`)"
        )
    return ", ".join(parts)


def specialty_figure(articles: pl.DataFrame | pl.LazyFrame) -> Figure:
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
    axes.set(xlabel="articles (one with several specialties counts in each)", ylabel="specialty")
    if len(table.columns) > 2:
        axes.legend(title="source", frameon=False)
    plain(axes)
    return figure


def coverage(hits: pl.DataFrame, articles: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Count what a search for each of the 108 topics found and how much of it was kept.

    Args:
        hits: columns topic (an id in `topics.yaml`) and native_id (a PMID), one row per answer;
            repeated rows count once. An article found by several topics counts in each.
        articles: the collection, with the column pmid.

    Returns:
        One row for each topic, in the order of `topics.yaml`: id, name, specialty, found and kept.
    """
    topics = pl.DataFrame(load_searches()).select("id", "name", "specialty")
    pmids = articles.lazy().select("pmid").unique().collect()["pmid"]
    kept = pl.col("native_id").is_in(pmids.implode()).sum()
    counts = hits.unique(["topic", "native_id"]).group_by(id="topic").agg(found=pl.len(), kept=kept)
    table = topics.join(counts, on="id", how="left", maintain_order="left")
    return table.with_columns(pl.col("found", "kept").fill_null(0))


def coverage_figure(table: pl.DataFrame) -> Figure:
    """Draw found and kept articles of every topic, specialty by specialty in three columns.

    Args:
        table: from `coverage`.
    """
    lines: list[list[tuple[str, int, int]]] = [[]]
    for (specialty,), topics in table.group_by("specialty", maintain_order=True):
        if len(lines[-1]) > table.height / 3:
            lines.append([])
        lines[-1] += [(str(specialty), 0, 0), *topics.select("name", "found", "kept").rows()]
    headings = set(table["specialty"])
    figure = new_figure(13, 10)
    columns = figure.subplots(1, len(lines), sharex=True, squeeze=False)[0]
    for axes, column in zip(columns, lines, strict=True):
        rows = range(len(column))
        axes.barh(rows, [found for _, found, _ in column], color=SKY, label="found")
        axes.barh(rows, [kept for *_, kept in column], color=BLUE, height=0.4, label="kept")
        axes.set_yticks(rows, [name for name, *_ in column], fontsize=8)
        for label in axes.get_yticklabels():
            if label.get_text() in headings:
                label.set_fontweight("bold")
        axes.set_ylim(max(map(len, lines)), -1)  # the first topic on top, rows equally high
        axes.set_xscale("symlog", linthresh=1)  # a logarithm that also has a place for none
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("articles")
        plain(axes)
    columns[0].set_ylabel("topic")
    columns[0].set_xlim(0, 1.2 * max(1, *table["found"]))  # the columns share it
    columns[-1].legend(frameon=False, loc="lower right")
    return figure

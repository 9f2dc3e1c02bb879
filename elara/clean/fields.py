"""An article's texts as one long table, and back again: cleaning works on texts, not on records."""

from __future__ import annotations

import polars as pl

# Running text; titles and headings are names, from which no rule takes anything away.
RUNNING = ("abstract", "body.text")


def unpack(articles: pl.DataFrame) -> pl.DataFrame:
    """Lay out every text of every article as a row.

    Args:
        articles: a table with the columns of `Article`.

    Returns:
        One row per text, in reading order: `row` (position of the article), `id`, `part`
        (position of the section, -1 outside the body), `field` (`title`, `abstract`,
        `body.heading` or `body.text`), `kind` (of the section, else `text`), `text`.
    """
    rows = articles.with_row_index("row")
    single = [
        rows.select(
            "row",
            "id",
            part=pl.lit(-1, pl.Int64),
            field=pl.lit(name),
            kind=pl.lit("text"),
            text=name,
        )
        for name in ("title", "abstract")
    ]
    part = pl.int_ranges(pl.col("body").list.len().cast(pl.Int64))
    sections = (
        rows.filter(pl.col("body").list.len() > 0)
        .select("row", "id", "body", part=part)
        .explode("body", "part")
        .unnest("body")
    )
    double = [
        sections.select("row", "id", "part", field=pl.lit(f"body.{name}"), kind="kind", text=name)
        for name in ("heading", "text")
    ]
    return pl.concat([*single, *double]).sort("row", "part", maintain_order=True)


def pack(articles: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Put texts back into their articles: the inverse of `unpack`.

    Args:
        articles: the table that was unpacked.
        texts: what `unpack` returned for it, with other values in `text`.

    Returns:
        `articles` with these texts.
    """
    single = {name: texts.filter(pl.col("field") == name)["text"] for name in ("title", "abstract")}
    heading = texts.filter(pl.col("field") == "body.heading").select("row", heading="text")
    rest = texts.filter(pl.col("field") == "body.text").select("text", "kind")
    body = (
        heading.hstack(rest)
        .select("row", body=pl.struct("heading", "text", "kind"))
        .group_by("row", maintain_order=True)
        .agg("body")
    )
    packed = articles.drop("body").with_row_index("row")
    packed = packed.join(body, on="row", how="left", maintain_order="left")
    return packed.with_columns(pl.col("body").fill_null([]), **single).select(articles.columns)

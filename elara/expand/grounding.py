"""Compare the answers of examples with the passages of articles that they say they consist of."""

from __future__ import annotations

import polars as pl

from elara.expand.cautions import caution
from elara.expand.questions import LANGUAGES
from elara.expand.wording import evident

_CAUTIONS = [caution("insulin", language) for language in LANGUAGES]  # one drug calls for each


def ungrounded(turns: pl.DataFrame, spans: pl.DataFrame, articles: pl.DataFrame) -> pl.DataFrame:
    """Find the answers that are not the text of their spans, and spans that lead nowhere.

    Args:
        turns: row, turn, role and content of examples that were built from articles.
        spans: row, and the columns of `Span`, of the same examples.
        articles: clean `Article` rows.

    Returns:
        Columns row and evidence.
    """
    found = spans.join(_parts(spans, articles), on=["article_id", "part"], how="left")
    found = found.join(turns.select("row", "turn", "role"), on=["row", "turn"], how="left")
    lost = _lost(found)
    whole = found.join(lost, on="row", how="anti")
    text = pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start"))
    quoted = whole.group_by("row", "turn", maintain_order=True).agg(quoted=text.str.join(" "))
    answers = turns.filter(pl.col("role") == "assistant").join(lost, on="row", how="anti")
    compared = answers.join(quoted, on=["row", "turn"], how="left")
    return pl.concat([lost, _unlike(compared)])


def _parts(spans: pl.DataFrame, articles: pl.DataFrame) -> pl.DataFrame:
    """The text of every part that a span names: article_id, part, text."""
    wanted = spans.select("article_id", "part").unique()
    ours = articles.select(pl.col("id").alias("article_id"), "abstract", "body").join(
        wanted, on="article_id", how="semi"
    )
    abstracts = ours.select("article_id", part=pl.lit("abstract"), text="abstract")
    body = ours.select("article_id", "body", n=pl.int_ranges(0, pl.col("body").list.len()))
    sections = body.explode("body", "n").select(
        "article_id",
        part=pl.format("body/{}", "n"),
        text=pl.col("body").struct.field("text"),
    )
    return pl.concat([abstracts, sections]).join(wanted, on=["article_id", "part"], how="semi")


def _lost(found: pl.DataFrame) -> pl.DataFrame:
    """Spans that lead nowhere: row, evidence."""
    length = pl.col("text").str.len_chars()
    inside = (pl.col("start") >= 0) & (pl.col("start") < pl.col("end")) & (pl.col("end") <= length)
    place = "{article_id}, {part}"
    return evident(
        found,
        (pl.col("text").is_null(), f"{place} is not among the clean articles"),
        (~inside, f"{place}: no characters {{start}} to {{end}}"),
        (pl.col("role").fill_null("") != "assistant", "the span of turn {turn} is of no answer"),
    )


def _unlike(compared: pl.DataFrame) -> pl.DataFrame:
    """Answers that are not the text of their spans (and a caution behind): row, evidence."""
    rest = pl.col("content").str.strip_prefix(pl.col("quoted"))
    added = rest.str.strip_prefix("\n\n").is_in(_CAUTIONS) & rest.str.starts_with("\n\n")
    same = (rest == "") | (pl.col("content").str.starts_with(pl.col("quoted")) & added)
    return evident(
        compared,
        (pl.col("quoted").is_null(), "turn {turn} names no passage"),
        (~same, "turn {turn} is not the text of its spans: {content}"),
    )

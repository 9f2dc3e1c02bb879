"""The text of an article as inspection sees it: one string, its words, and its 3-shingles."""

from __future__ import annotations

import polars as pl

WORD = r"[\p{L}\p{N}]+"
SHINGLE = 3

# Odd 64-bit constants keep the order of the words in a shingle's hash: (a, b, c) is not (c, b, a).
_MIX = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)


def full_text() -> pl.Expr:
    """Title, abstract and body texts of an article, one below the other.

    Returns:
        A string expression over the columns of `Article`.
    """
    body = pl.col("body").list.eval(pl.element().struct.field("text")).list.join("\n\n")
    return pl.concat_str("title", "abstract", body, separator="\n\n").str.strip_chars()


def words(texts: pl.Series) -> pl.DataFrame:
    """The lower-cased words of many texts: runs of letters and digits.

    Args:
        texts: one string per document.

    Returns:
        One row per word, in reading order: `doc` (position in `texts`) and `word`.
    """
    listed = texts.str.to_lowercase().str.extract_all(WORD).alias("word").to_frame()
    return (
        listed.with_row_index("doc")
        .explode("word", empty_as_null=False)
        .filter(pl.col("word").is_not_null())
    )


def shingles(table: pl.DataFrame) -> pl.DataFrame:
    """Hash every run of three words.

    Args:
        table: what `words` returns.

    Returns:
        One row per shingle, repeats included: `doc` and `shingle` (unsigned 64-bit hash). A text
        of fewer than three words has none.

    Source: Broder, On the resemblance and containment of documents, 1997,
        https://doi.org/10.1109/SEQUEN.1997.666900
    """
    word = pl.col("word").hash(seed=0)
    mixed = sum((word.shift(-i) * pl.lit(_MIX[i], pl.UInt64) for i in range(SHINGLE)), pl.lit(0))
    inside = pl.col("doc") == pl.col("doc").shift(-(SHINGLE - 1))
    return table.select("doc", shingle=mixed.cast(pl.UInt64)).filter(
        table.select(inside.fill_null(False)).to_series()
    )

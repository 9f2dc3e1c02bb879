"""Show examples beside the articles they come from, to be filtered and leafed through on a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

KEYS = ("specialty", "recipe", "source")
_AROUND = 600  # characters of an article shown before and behind a passage


class Explorer:
    """A page element with examples and their articles; notebooks show it where a cell returns it.

    The choice needs a script, which JupyterLab and the book run; elsewhere the first example is
    shown.

    Args:
        examples: `Example` rows with their split.
        articles: the clean `Article` rows that they were built from.
        each: how many examples of each specialty, recipe and source are put on the page at most.
        most: how many in all.
    """

    def __init__(
        self, examples: pl.DataFrame, articles: pl.DataFrame, *, each: int = 1, most: int = 60
    ) -> None:
        source = articles.select("id", "source", "title", "url", "abstract", "body")
        first = examples.with_columns(article=pl.col("article_ids").list.first())
        known = first.join(source, left_on="article", right_on="id", how="inner")
        ordered = known.sort("specialty", "recipe", "source", "id")
        self.examples = ordered.group_by(KEYS, maintain_order=True).head(each).head(most)

    def _repr_html_(self) -> str:
        import jinja2

        templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            trim_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        rows = [row | _sides(row) for row in self.examples.iter_rows(named=True)]
        choices = {key: sorted({row[key] for row in rows}) for key in KEYS}
        page = templates.get_template("explorer.html")
        return page.render(name="elara-explorer", rows=rows, choices=choices)

    def __repr__(self) -> str:
        return f"{self.examples.height} examples beside their articles, on a page"


def _sides(row: dict[str, Any]) -> dict[str, Any]:
    """The turns of an example without the system's, and the parts of its article it quotes."""
    parts: dict[str, list[tuple[int, int]]] = {span["part"]: [] for span in row["spans"]}
    for span in row["spans"]:
        parts[span["part"]].append((span["start"], span["end"]))
    shown = [
        {"name": name, "pieces": list(_pieces(_text(row, name), sorted(spans)))}
        for name, spans in parts.items()
    ]
    return {"messages": row["messages"][1:], "parts": shown}


def _text(row: dict[str, Any], part: str) -> str:
    if part == "abstract":
        return str(row["abstract"])
    return str(row["body"][int(part.removeprefix("body/"))]["text"])


def _pieces(text: str, spans: list[tuple[int, int]]) -> Iterator[tuple[str, bool]]:
    """A text around its quoted passages: piece, and whether it is quoted."""
    at = max(0, spans[0][0] - _AROUND)
    yield "… " if at else "", False
    for start, end in spans:
        yield text[at:start], False
        yield text[start:end], True
        at = end
    yield text[at : at + _AROUND] + (" …" if at + _AROUND < len(text) else ""), False

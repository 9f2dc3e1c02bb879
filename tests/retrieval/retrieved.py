"""Passages for the tests of this folder."""

from __future__ import annotations

from elara.retrieval.passages import Passage


def passage(text: str, title: str = "Iron", section: str = "Abstract") -> Passage:
    """A passage of an invented article."""
    return Passage(
        id=f"own:1#abstract:0-{len(text)}",
        article_id="own:1",
        title=title,
        section=section,
        part="abstract",
        start=0,
        end=len(text),
        text=text,
        url="https://example.org/1",
        licence="CC0-1.0",
        pmid="",
        topics=(),
        language="en",
        published="2026",
        journal="",
    )

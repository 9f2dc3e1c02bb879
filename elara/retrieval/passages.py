"""A passage of an article, as answers are given it and cite it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Passage:
    """Some sentences of an article, and where they stand in it.

    Args:
        id: `{article_id}#{part}:{start}-{end}`.
        article_id: the article.
        title: of the article.
        section: its heading, or "Abstract".
        part: `abstract` or `body/N`, as in `elara.records.Span`.
        start: first character of the passage in the text of that part.
        end: the character behind its last one.
        text: the passage itself.
        url: where a reader finds the article.
        licence: SPDX identifier of the article.
        pmid: PubMed id of the article, or "".
        topics: specialties that the article belongs to.
        language: ISO 639-1 code, or `und`.
        published: ISO 8601 date as precise as the source states it, or "".
        journal: journal, site or publisher.
    """

    id: str
    article_id: str
    title: str
    section: str
    part: str
    start: int
    end: int
    text: str
    url: str
    licence: str
    pmid: str
    topics: tuple[str, ...]
    language: str
    published: str
    journal: str

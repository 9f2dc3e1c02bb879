"""Find the medical specialties that an article belongs to, by the terms in `topics.yaml`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import polars as pl

from elara.collect.africa import countries, load_yaml

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)
_WORD = re.compile(r"[^\W_]+")


@dataclass(slots=True)
class Topics:
    """Terms of one list of labels, ready to be matched as whole words.

    Args:
        labels: in the order of the list.
        terms: a term as a tuple of lower-case words, to its labels.
        lengths: first word of a term to the lengths in words of the terms that begin with it.
    """

    labels: list[str]
    terms: dict[tuple[str, ...], list[str]]
    lengths: dict[str, set[int]]

    def of(self, title: str, keywords: Iterable[str], mesh: Iterable[str]) -> list[str]:
        """The labels of an article.

        Args:
            title: its title.
            keywords: its keywords. One that equals a label puts that label first.
            mesh: its MeSH descriptors.

        Returns:
            Labels, the one with most matching terms first; ties in the order of the list.
        """
        keywords = list(keywords)
        named = {k.strip().lower() for k in keywords}
        matches = Counter(
            label for text in (title, *keywords, *mesh) for label in self.matches(text)
        )
        scored = [
            (label.lower() not in named, -matches[label], position, label)
            for position, label in enumerate(self.labels)
            if matches[label] or label.lower() in named
        ]
        return [label for *_, label in sorted(scored)]

    def matches(self, text: str) -> list[str]:
        """The labels whose terms occur in a text, once per occurrence."""
        words = tuple(_WORD.findall(text.lower()))
        return [
            label
            for start, word in enumerate(words)
            for length in sorted(self.lengths.get(word, ()))
            for label in self.terms.get(words[start : start + length], ())
        ]


@cache
def load_topics(part: str = "specialties") -> Topics:
    """Read a list of labels and their terms.

    Args:
        part: `specialties`, or `regions` for the continent of Africa and its parts.
    """
    listed: dict[str, list[str]] = load_yaml("topics.yaml")[part]
    terms: dict[tuple[str, ...], list[str]] = {}
    for label, words in listed.items():
        for term in dict.fromkeys([*words, label]):
            terms.setdefault(tuple(_WORD.findall(term.lower())), []).append(label)
    lengths: dict[str, set[int]] = {}
    for split in terms:
        lengths.setdefault(split[0], set()).add(len(split))
    return Topics(list(listed), terms, lengths)


def african_health(articles: Frame) -> Frame:
    """The articles about health in Africa.

    Args:
        articles: a table with the columns of `Article`, or one that is still to be read.

    Returns:
        The rows whose title, keywords or MeSH name the continent or one of its countries.
    """
    regions = load_topics("regions")

    def about(row: dict[str, Any]) -> bool:
        title, keywords, mesh = row["title"], row["keywords"], row["mesh"]
        return bool(regions.of(title, keywords, mesh) or countries(title, "", keywords, mesh, []))

    named = pl.struct("title", "keywords", "mesh").map_elements(about, return_dtype=pl.Boolean)
    return articles.filter(named)

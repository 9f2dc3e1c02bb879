"""Find the specialties that an article belongs to, and the searches of a live collection."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, TypeVar

import polars as pl

from elara.collect.africa import countries, load_countries, load_yaml, plain

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)
_WORD = re.compile(r"[^\W_]+")
# Europe PMC keeps MeSH headings with the keywords; its field MESH is filled for few records.
# Source: https://www.ebi.ac.uk/europepmc/webservices/rest/fields
_EUROPE_PMC = {
    "mh": "KW", "mesh terms": "KW", "tiab": "TITLE_ABS", "title/abstract": "TITLE_ABS",
    "ti": "TITLE", "title": "TITLE", "ad": "AFF", "affiliation": "AFF",
}  # fmt: skip
_TAGGED = re.compile(r'(?P<term>"[^"]*"|[^\s"()\[\]]+)\[(?P<tag>[^\]]*)\]')


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
        matches = Counter(m for text in (title, *keywords, *mesh) for m in self.matches(text))
        found = [label for label in self.labels if matches[label] or label.lower() in named]
        return sorted(found, key=lambda label: (label.lower() not in named, -matches[label]))

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


class Search(NamedTuple):
    """A search: one of 108 specialties and conditions, or one of five batches of African health.

    Args:
        id: lower case with hyphens, e.g. `acute-coronary-syndrome`.
        name: for people.
        query: in PubMed's syntax.
        specialty: of a condition: one of the 13 labels in `topics.yaml`.
        europepmc: of a batch: the query in Europe PMC's syntax, for records that PubMed has too.
    """

    id: str
    name: str
    query: str
    specialty: str = ""
    europepmc: str = ""


@cache
def load_searches() -> tuple[Search, ...]:
    """The 108 topics, in the order of `topics.yaml`."""
    return tuple(Search(**row) for row in load_yaml("topics.yaml")["topics"])


@cache
def african_batches() -> tuple[Search, ...]:
    """The batches of African health, in the order of `africa.yaml`, ready to be sent."""
    rows = load_yaml("africa.yaml")["batches"]
    queries = [row["query"].replace("{africa}", _africa()) for row in rows]
    return tuple(
        Search(row["id"], row["name"], query, europepmc=f"SRC:MED AND ({europepmc(query)})")
        for row, query in zip(rows, queries, strict=True)
    )


def europepmc(query: str) -> str:
    """Say a PubMed query in Europe PMC's words.

    Europe PMC does not look below a MeSH heading, so the answer may hold fewer articles.

    Args:
        query: terms tagged as MeSH terms, title, title and abstract, or affiliation.

    Returns:
        The query with `KW:`, `TITLE:`, `TITLE_ABS:` and `AFF:` in front of its terms.

    Source: https://europepmc.org/searchsyntax
    """
    return _TAGGED.sub(lambda f: f"{_EUROPE_PMC[f['tag'].lower()]}:{f['term']}", query)


def _africa() -> str:
    """The continent, its parts and its countries, as alternatives."""
    words = [" ".join(term) for term in load_topics("regions").terms]
    said = ['"Africa"[mh]', *(f'"{word}"[tiab]' for word in words)]
    for country in load_countries():
        # With accents and without: whether a service folds them is not documented everywhere.
        names = dict.fromkeys(n for name in country.certain for n in (name, plain(name)))
        said += [_unlike(name, country.unlike, "tiab") for name in names]
        if country.ambiguous:
            said.append(_unlike(country.name, country.unlike, "ad"))
    return " OR ".join(said)


def _unlike(name: str, phrases: tuple[str, ...], tag: str) -> str:
    others = [f'"{p}"[{tag}]' for p in phrases if name in p]
    if not others:
        return f'"{name}"[{tag}]'
    either = " OR ".join(others)
    return f'("{name}"[{tag}] NOT {either if len(others) == 1 else f"({either})"})'

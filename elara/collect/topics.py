"""Read the lists of a collection: labels of articles, and the searches that are sent."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple, TypeVar

import polars as pl

from elara.collect.africa import countries, load_countries, load_yaml, plain
from elara.text.topics import Topics, indexed, specialties

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)
# Europe PMC keeps MeSH headings with the keywords; its field MESH is filled for few records.
# Source: https://www.ebi.ac.uk/europepmc/webservices/rest/fields
_EUROPE_PMC = {
    "mh": "KW", "mesh terms": "KW", "tiab": "TITLE_ABS", "title/abstract": "TITLE_ABS",
    "ti": "TITLE", "title": "TITLE", "ad": "AFF", "affiliation": "AFF",
}  # fmt: skip
_TAGGED = re.compile(r'(?P<term>"[^"]*"|[^\s"()\[\]]+)\[(?P<tag>[^\]]*)\]')


@cache
def load_topics(part: str = "specialties") -> Topics:
    """Read a list of labels and their terms.

    Args:
        part: `specialties`, or `regions` for the continent of Africa and its parts.
    """
    return specialties() if part == "specialties" else indexed(load_yaml("topics.yaml")[part])


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

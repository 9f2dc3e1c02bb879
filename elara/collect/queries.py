"""Load the searches that a live collection runs: 108 topics and five African batches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from elara.collect.africa import load_countries, load_yaml, plain
from elara.collect.topics import load_topics

# Europe PMC keeps MeSH headings with the keywords; its field MESH is filled for few records.
# Source: https://www.ebi.ac.uk/europepmc/webservices/rest/fields
_EUROPE_PMC = {
    "mh": "KW", "mesh terms": "KW", "tiab": "TITLE_ABS", "title/abstract": "TITLE_ABS",
    "ti": "TITLE", "title": "TITLE", "ad": "AFF", "affiliation": "AFF",
}  # fmt: skip
_TAGGED = re.compile(r'(?P<term>"[^"]*"|[^\s"()\[\]]+)\[(?P<tag>[^\]]*)\]')


@dataclass(frozen=True, slots=True)
class Search:
    """One of the 108 specialties and conditions that a collection from PubMed asks for.

    Args:
        id: lower case with hyphens, e.g. `acute-coronary-syndrome`.
        name: for people.
        specialty: one of the 13 labels in `topics.yaml`.
        query: in PubMed's syntax.
    """

    id: str
    name: str
    specialty: str
    query: str


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of African health, to be asked of either service.

    Args:
        id: lower case with hyphens, e.g. `health-policy`.
        name: for people.
        pubmed: the query in PubMed's syntax.
        europepmc: the same query in Europe PMC's syntax, for records that PubMed has too.
    """

    id: str
    name: str
    pubmed: str
    europepmc: str


@cache
def load_searches() -> tuple[Search, ...]:
    """The 108 topics, in the order of `topics.yaml`."""
    return tuple(Search(**row) for row in load_yaml("topics.yaml")["topics"])


@cache
def african_batches() -> tuple[Batch, ...]:
    """The batches of African health, in the order of `africa.yaml`, ready to be sent."""
    found = []
    for row in load_yaml("africa.yaml")["batches"]:
        query = row["query"].replace("{africa}", _africa())
        found.append(Batch(row["id"], row["name"], query, f"SRC:MED AND ({europepmc(query)})"))
    return tuple(found)


def europepmc(query: str) -> str:
    """Say a PubMed query in Europe PMC's words.

    Europe PMC does not look below a MeSH heading, so the answer may hold fewer articles.

    Args:
        query: terms tagged as MeSH terms, title, title and abstract, or affiliation.

    Returns:
        The query with `KW:`, `TITLE:`, `TITLE_ABS:` and `AFF:` in front of its terms.

    Raises:
        ValueError: the query has a tag that Europe PMC has no field for.

    Source: https://europepmc.org/searchsyntax
    """

    def said(found: re.Match[str]) -> str:
        field = _EUROPE_PMC.get(found["tag"].lower())
        if field is None:
            raise ValueError(
                f"{query[:60]!r}: character {found.start('tag')}: Europe PMC has no field for "
                f"[{found['tag']}]; write it with one of {', '.join(_EUROPE_PMC)}"
            )
        return f"{field}:{found['term']}"

    return _TAGGED.sub(said, query)


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
    joined = others[0] if len(others) == 1 else f"({' OR '.join(others)})"
    return f'("{name}"[{tag}] NOT {joined})'

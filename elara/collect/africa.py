"""Find the African countries that an article names, by the names in `africa.yaml`."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Country(NamedTuple):
    """A country and how it is written.

    Args:
        name: as Elara writes it.
        names: other ways to write it, and places that tell it from a namesake.
        unlike: phrases that hold the name and do not mean the country.
        mesh: its MeSH descriptor, where that is none of these names.
        ambiguous: the bare name means something else too often in running text.
    """

    name: str
    names: tuple[str, ...]
    unlike: tuple[str, ...]
    mesh: str = ""
    ambiguous: bool = False

    @property
    def certain(self) -> tuple[str, ...]:
        """The names that mean this country wherever they stand."""
        return self.names if self.ambiguous else (self.name, *self.names)


class _Names(NamedTuple):
    """What `countries` looks up; the keys are plain names, see `plain`."""

    any: re.Pattern[str]  # tells at once that a text names none
    in_text: dict[str, str]
    descriptors: dict[str, str]
    text: re.Pattern[str]
    affiliation: re.Pattern[str]


def countries(
    title: str = "",
    abstract: str = "",
    keywords: Iterable[str] = (),
    mesh: Iterable[str] = (),
    affiliations: Iterable[str] = (),
) -> list[str]:
    """The African countries that an article names.

    Names count as whole words in the case they are written in, or all in capitals; a keyword or
    descriptor may be in any case. Chad, Guinea and Niger count only as a MeSH descriptor or where
    an affiliation ends with them; a bare Congo, which may be either country, only as a
    descriptor.

    Args:
        title: its title.
        abstract: its abstract.
        keywords: its keywords.
        mesh: its MeSH descriptors.
        affiliations: of its authors, e.g. `University of Ibadan, Nigeria.` They hold e-mail
            addresses, so that only the countries are kept of them.

    Returns:
        Names as in `africa.yaml`, in its order.
    """
    known = _names()
    keywords = [plain(keyword).strip() for keyword in keywords]
    addresses = [a for a in map(plain, set(affiliations)) if known.any.search(a)]
    texts = [text for text in (plain(title), plain(abstract), *keywords, *addresses) if text]
    if not (texts or mesh):
        return []
    written = (found for text in texts for found in known.text.findall(text))
    ends = (found for address in addresses for found in known.affiliation.findall(address))
    met = {known.in_text.get(found.lower()) for found in (*written, *keywords)}
    met |= {known.descriptors.get(found.lower()) for found in (*map(plain, mesh), *ends)}
    return [country.name for country in load_countries() if country.name in met]


@cache
def spellings() -> tuple[str, ...]:
    """Every way in which a country's name may be spelt, for a quick look at many texts."""
    names = {name for c in load_countries() for name in (c.name, *c.names, c.mesh) if name}
    return tuple(sorted({form for n in names for form in (n, plain(n), n.upper())}))


@cache
def load_yaml(name: str) -> dict[str, Any]:
    """The content of a list that this room keeps as data.

    Args:
        name: `africa.yaml` (`countries` and `batches`) or `topics.yaml` (`regions` and `topics`).
    """
    text = (Path(__file__).parent / name).read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


@cache
def load_countries() -> tuple[Country, ...]:
    """The 54 African members of the United Nations, by name.

    Source: https://www.un.org/en/about-us/member-states
    """
    rows: list[dict[str, Any]] = load_yaml("africa.yaml")["countries"]
    return tuple(Country(**{"names": (), "unlike": (), **row}) for row in rows)


@cache
def _names() -> _Names:
    listed = load_countries()
    in_text = {plain(name).lower(): c.name for c in listed for name in c.certain}
    descriptors = {
        plain(name).lower(): c.name for c in listed for name in (c.name, *c.names, c.mesh) if name
    }
    phrases = [plain(phrase) for c in listed for phrase in (*c.certain, *c.unlike)]
    # Longest first, and `unlike` among them: a phrase is used up before a name inside it is seen.
    spelt = sorted({*phrases, *(p.upper() for p in phrases)}, key=lambda p: (-len(p), p))
    ambiguous = "|".join(plain(c.name) for c in listed if c.ambiguous)
    # By the first letter, which spares a comparison with each name at every capital letter.
    by_letter = itertools.groupby(spellings(), key=lambda name: name[0])
    rest = {letter: "|".join(re.escape(n[1:]) for n in names) for letter, names in by_letter}
    return _Names(
        re.compile("|".join(f"{letter}(?:{names})" for letter, names in rest.items())),
        in_text,
        descriptors,
        re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, spelt))})(?!\w)"),
        re.compile(rf"[,;]\s*({ambiguous})\s*(?=[.;]|$)"),
    )


def plain(text: str) -> str:
    """Text without accents and with straight apostrophes.

    Args:
        text: for example `Côte d’Ivoire`.
    """
    if text.isascii():
        return text
    letters = unicodedata.normalize("NFKD", text.replace("’", "'"))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))

"""Say which specialty an article belongs to, and by which words.

Every term of `specialties.yaml` that occurs in the title, the MeSH headings, the keywords or the
beginning of the text gives its points to its specialty, more in the title than elsewhere; the
specialty with most points wins. No weight is learned, so a clinician can read why, and correct it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from elara.records import Article

GENERAL = "General"
LEAD = 420  # characters of the text that are read
# Points of a term by its group, in the title and elsewhere.
_POINTS = {
    "leads": (18.0, 1.0),
    "ages": (17.0, 1.0),
    "settles": (12.0, 4.0),
    "speaks": (5.0, 2.0),
    "hints": (2.0, 1.0),
    "mesh": (4.0, 4.0),
    "laboratory": (4.0, 1.0),
}
_PLACES = {"title": 1.0, "heading": 1.0, "keyword": 1.0, "opening": 1.0, "text": 0.8}

_NEXT = 0.5  # what each further term of a specialty in one place counts, of the one before
_LABORATORY = 3  # its words that make an organ without a disease a matter of biology
_MANY = 3  # specialties that make a syndrome of many organs
_ORGAN = (1.5, 12.0)
_NO_ORGAN = {"Pediatrics", "Infectious Disease", "Radiology", "Surgery/Trauma", "Psychiatry"}
_FIRST = 3.0
_HINTED = 3.5  # points below which an article is General
_WORD = re.compile(r"[^\W_]+")
_BRITISH = re.compile("(?<=[a-z])[ao]e(?=[a-z])")  # haemorrhage, oesophagus
_QUESTION = re.compile(r"[^.!?]{,150}\?\s")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z(])")

Points = tuple[tuple[str, str], ...]


class Evidence(NamedTuple):
    """A term that counted.

    Args:
        specialty: that it speaks for.
        term: as `specialties.yaml` writes it.
        place: `title`, `heading`, `keyword`, `opening` (the text's first sentence) or `text`.
        points: that it gave.
        group: of the term in `specialties.yaml`.
    """

    specialty: str
    term: str
    place: str
    points: float
    group: str


@dataclass(frozen=True)
class Verdict:
    """The specialty of an article.

    Args:
        specialty: one of the 13, or `General`.
        scores: points of every specialty that got any, most first.
        evidence: what gave them, most points first.
    """

    specialty: str
    scores: dict[str, float] = field(default_factory=dict)
    evidence: list[Evidence] = field(default_factory=list)


@dataclass(frozen=True)
class _Term:
    """A term as it is looked up: its words behind the first, and whether the last is a stem."""

    name: str
    rest: tuple[str, ...]
    stem: bool
    points: Points


@dataclass(frozen=True)
class _Table:
    labels: list[str]
    words: dict[str, _Term]
    stems: dict[str, _Term]
    endings: dict[str, _Term]
    phrases: dict[str, list[_Term]]
    headings: dict[str, _Term]


def specialty_of(article: Article) -> str:
    """The specialty of an article: one of the 13, or `General`.

    Args:
        article: with its title; MeSH headings, keywords and text add to it.
    """
    return classify(article).specialty


def classify(article: Article) -> Verdict:
    """The specialty of an article, with the terms that decided.

    Args:
        article: with its title; MeSH headings, keywords and text add to it.
    """
    text = article.abstract or " ".join(
        section.text for section in article.body[:3] if section.kind != "translation"
    )
    return weigh(article.title, article.mesh, article.keywords, text[:LEAD])


def weigh(
    title: str, headings: Sequence[str] = (), keywords: Sequence[str] = (), text: str = ""
) -> Verdict:
    """Add up the points of all terms.

    Args:
        title: of the article.
        headings: MeSH descriptors.
        keywords: of the authors.
        text: its beginning.
    """
    found = [
        Evidence(label, term.name, place, _POINTS[group][place != "title"] * _PLACES[place], group)
        for place, term in _found(title, headings, keywords, text)
        for label, group in term.points
    ]
    if headings and "Humans" not in headings:  # young animals are no patients
        found = [e for e in found if e.group != "ages" and e.specialty != "Radiology"]
    titled = [e for e in found if e.place == "title"]
    groups = [e.group for e in titled]
    wanted = "leads" if "leads" in groups else "settles" if "ages" not in groups else ""
    first = next((e for e in titled if e.group == wanted), None)
    if first:
        found.append(first._replace(place="first", points=_FIRST))
    found += _many_organs(found)
    found.sort(key=lambda one: -one.points)
    scores: dict[str, float] = defaultdict(float)
    weight: dict[tuple[str, str], float] = defaultdict(lambda: 1.0)
    for one in found:
        scores[one.specialty] += one.points * weight[one.specialty, one.place]
        weight[one.specialty, one.place] *= _NEXT
    order = {label: place for place, label in enumerate(load_table().labels)}
    ranked = dict(sorted(scores.items(), key=lambda pair: (-pair[1], order[pair[0]])))
    best = next(iter(ranked), GENERAL)
    chosen = best if ranked.get(best, 0) >= _HINTED and not _biology(found, best) else GENERAL
    return Verdict(chosen, ranked, found)


def _biology(found: list[Evidence], specialty: str) -> bool:
    """Whether only organs speak for a specialty, no disease, and the laboratory does as well."""
    disease = any(e.specialty == specialty and e.group not in ("speaks", "hints") for e in found)
    return not disease and sum(e.group == "laboratory" for e in found) >= _LABORATORY


def _many_organs(found: list[Evidence]) -> Iterator[Evidence]:
    """A title of several organs is a malformation syndrome's, as is a syndrome of many organs."""
    organs = {"title": set(), "text": set()}
    for one in found:
        if one.specialty not in _NO_ORGAN and one.points >= _ORGAN[one.place == "title"]:
            organs["title" if one.place == "title" else "text"].add(one.specialty)
    if len(organs["title"]) >= _MANY:
        yield Evidence("Pediatrics", "several organs", "title", _POINTS["leads"][0], "leads")
    elif not organs["title"] and len(organs["text"]) > _MANY:
        if any(one.term == "syndrome" and one.place == "title" for one in found):
            yield Evidence("Pediatrics", "several organs", "text", _POINTS["speaks"][0], "settles")


def _found(
    title: str, headings: Iterable[str], keywords: Iterable[str], text: str
) -> Iterator[tuple[str, _Term]]:
    """Each term once in each place."""
    table = load_table()
    asked = _QUESTION.match(text)
    question, told = (asked[0], text[asked.end() :]) if asked else ("", text)
    opening, *rest = _SENTENCE.split(told, maxsplit=1)
    places = [("title", title), ("opening", opening), ("text", " ".join([question, *rest]))]
    places += [("keyword", word) for word in keywords]
    for heading in headings:
        if listed := table.headings.get(heading):
            yield "heading", listed
        else:
            places.append(("heading", ", ".join(reversed(heading.split(", ")))))
    for place, words in places:
        for term in dict.fromkeys(_terms(table, words)):
            yield place, term


def _terms(table: _Table, text: str) -> Iterator[_Term]:
    """The terms in a text, the longest at each place, none inside another."""
    words = [_plain(word) for word in _WORD.findall(text)]
    place = 0
    while place < len(words):
        word = words[place]
        for term in table.phrases.get(word, ()):
            if _continues(term, words, place + 1):
                break
        else:
            term = _single(word)
        if term is None:
            place += 1
            continue
        yield term
        place += 1 + len(term.rest)


def _continues(term: _Term, words: list[str], start: int) -> bool:
    size = len(term.rest)
    told = tuple(words[start : start + size])
    if not term.stem:
        return told == term.rest
    return len(told) == size and told[:-1] == term.rest[:-1] and told[-1].startswith(term.rest[-1])


@lru_cache(maxsize=2**17)
def _single(word: str) -> _Term | None:
    """The term that a single word is, or ends or begins with; the longest if several."""
    table = load_table()
    if word in table.words:
        return table.words[word]
    for size in range(len(word), 2, -1):
        if term := table.endings.get(word[-size:]):
            return term
    for size in range(len(word), 1, -1):
        if term := table.stems.get(word[:size]):
            return term
    return None


@lru_cache(maxsize=2**17)
def _plain(word: str) -> str:
    """A word without capitals, accents, plural -s and British spelling."""
    word = word.casefold()
    if not word.isascii():
        parts = unicodedata.normalize("NFKD", word)
        word = "".join(sign for sign in parts if not unicodedata.combining(sign))
    word = _BRITISH.sub("e", word.removeprefix("o") if word.startswith("oe") else word)
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("s") and len(word) > 3 and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


@cache
def load_table() -> _Table:
    """Read `specialties.yaml`.

    Raises:
        ValueError: a term cannot be looked up; the message names it.
    """
    listed = yaml.safe_load((Path(__file__).parent / "specialties.yaml").read_text("utf-8"))
    points: dict[str, dict[str, str]] = defaultdict(dict)
    headings: dict[str, dict[str, str]] = defaultdict(dict)
    for label, groups in listed["specialties"].items():
        for group, terms in groups.items():
            into = headings if group == "mesh" else points
            for term in terms:
                into[term][label] = group
    points |= {term: {} for term in listed["nothing"]}
    table = _Table(list(listed["specialties"]), {}, {}, {}, defaultdict(list), {})
    for name, given in points.items():
        _add(table, name, tuple(given.items()))
    for terms in table.phrases.values():
        terms.sort(key=lambda term: -len(term.rest))
    table.headings.update({n: _Term(n, (), False, tuple(p.items())) for n, p in headings.items()})
    return table


def _add(table: _Table, name: str, points: Points) -> None:
    if name.startswith("*"):
        table.endings[name[1:]] = _Term(name, (), True, points)
        return
    stem = name.endswith("*")
    words = _WORD.findall(name.removesuffix("*"))
    if not words or "*" in name[:-1]:
        raise ValueError(f"specialties.yaml: {name!r}: `*` may stand at one end of a term only.")
    last = _BRITISH.sub("e", words[-1].casefold()) if stem else _plain(words[-1])
    first, *rest = [*map(_plain, words[:-1]), last]
    if rest:
        table.phrases[first].append(_Term(name, tuple(rest), stem, points))
    elif stem:
        table.stems[first] = _Term(name, (), True, points)
    else:
        table.words[first] = _Term(name, (), False, points)


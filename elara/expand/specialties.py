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
from typing import NamedTuple

import yaml

from elara.records import Article

GENERAL = "General"
LEAD = 420  # characters of the text that are read
# Points of a term by its group: in the title, and elsewhere.
_POINTS = {
    "leads": (20.0, 1.0),
    "ages": (17.0, 1.0),
    "settles": (12.0, 4.0),
    "reports": (12.0, 4.0),
    "speaks": (5.0, 2.0),
    "hints": (2.0, 1.0),
    "mesh": (4.0, 4.0),
    "laboratory": (4.0, 1.0),
}
_LATER = 0.8  # what a term behind the text's first sentence counts, of one in it
_NEXT = 0.5  # what each further term of a specialty in one place counts, of the one before
_FIRST = 3.0  # points for the subject that the title names first
_LEAST = 3.5  # points below which an article is General
_LABORATORY = 3  # its words that make an organ without a disease a matter of biology
_FORM = 2  # its fixed headings that make a text the note of an operation
_MANY = 3  # specialties that make a syndrome of many organs, if named in a title
# Specialties that are named beside an organ, and are none themselves.
_NO_ORGAN = {"Pediatrics", "Infectious Disease", "Radiology", "Surgery/Trauma", "Psychiatry"}
_WORD = re.compile(r"[^\W_]+")
_BRITISH = re.compile("(?<=[a-z])[ao]e(?=[a-z])")  # haemorrhage, oesophagus
_QUESTION = re.compile(r"[^.!?]{,150}\?\s")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z(])")

_SEEN = "evaluat|assess|measur|determin|quantif|monitor|confirm"
# The end of a title that says how something was seen.
_MEANS = re.compile(rf"\b(?:{_SEEN})\w* (?:by|using|with|on|via) .*", re.IGNORECASE)

Groups = tuple[tuple[str, str], ...]


class Evidence(NamedTuple):
    """A term that counted.

    Args:
        specialty: that it speaks for.
        term: as `specialties.yaml` writes it.
        place: `title`, `heading`, `keyword`, `opening` (the text's first sentence), `text`, or
            `first` for what the title names first.
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


@dataclass(frozen=True, eq=False)
class _Term:
    """A term as it is looked up: its words behind the first, and whether the last is a stem."""

    name: str
    rest: tuple[str, ...]
    stem: bool
    groups: Groups


_Known = tuple[str, tuple[_Term, ...], _Term | None]


@dataclass(frozen=True)
class _Table:
    specialties: list[str]
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
    found = list(_evidence(title, headings, keywords, text))
    if headings and "Humans" not in headings:  # young animals are no patients
        found = [e for e in found if e.group != "ages" and e.specialty != "Radiology"]
    found += [*_subject(found), *_operation(found), *_many_organs(found)]
    found.sort(key=lambda one: -one.points)
    scores = _scores(found)
    best = next(iter(scores), GENERAL)
    if scores.get(best, 0) < _LEAST or _biology(found, best):
        best = GENERAL
    return Verdict(best, scores, found)


def _evidence(
    title: str, headings: Sequence[str], keywords: Sequence[str], text: str
) -> Iterator[Evidence]:
    for place, term in _found(title, headings, keywords, text):
        for specialty, group in term.groups:
            points = _POINTS[group][place != "title"] * (_LATER if place == "text" else 1)
            yield Evidence(specialty, term.name, place, points, group)


def _scores(found: list[Evidence]) -> dict[str, float]:
    """Points by specialty, most first; ties in the order of the table."""
    scores: dict[str, float] = defaultdict(float)
    counts: dict[tuple[str, str], float] = defaultdict(lambda: 1.0)
    for one in found:
        scores[one.specialty] += one.points * counts[one.specialty, one.place]
        counts[one.specialty, one.place] *= _NEXT
    order = load_table().specialties
    return dict(sorted(scores.items(), key=lambda pair: (-pair[1], order.index(pair[0]))))


def _subject(found: list[Evidence]) -> Iterator[Evidence]:
    """What a title names first: a technique, or else a disease where no age is named.

    An operation yields to another technique: bones, women and images have surgeons of their own.
    """
    titled = [e for e in found if e.place == "title"]
    groups = {e.group for e in titled}
    wanted = "leads" if "leads" in groups else "" if "ages" in groups else "settles"
    subjects = [e for e in titled if e.group == wanted]
    subjects.sort(key=lambda one: wanted == "leads" and one.specialty == "Surgery/Trauma")
    if subjects:
        yield subjects[0]._replace(place="first", points=_FIRST)


def _operation(found: list[Evidence]) -> Iterator[Evidence]:
    """The note of an operation is the surgeon's, unless its title names another's technique."""
    form = {e.term for e in found if e.group == "reports"}
    named = any(e.place == "title" and e.group == "leads" for e in found)
    if len(form) >= _FORM and not named:
        points = _POINTS["leads"][0]
        yield Evidence("Surgery/Trauma", "note of an operation", "text", points, "leads")


def _many_organs(found: list[Evidence]) -> Iterator[Evidence]:
    """A title of several organs is a malformation syndrome's, as is a syndrome of many organs."""
    organs = [e for e in found if e.specialty not in _NO_ORGAN]
    strong = ("leads", "settles")
    named = {e.specialty for e in organs if e.place == "title" and e.group in strong}
    told = {e.specialty for e in organs if e.place != "title" and e.group in (*strong, "speaks")}
    if len(named) >= _MANY:
        yield Evidence("Pediatrics", "several organs", "title", _POINTS["leads"][0], "leads")
    elif not named and len(told) > _MANY and ("title", "syndrome") in {e[2:0:-1] for e in found}:
        yield Evidence("Pediatrics", "several organs", "text", _POINTS["speaks"][0], "settles")


def _biology(found: list[Evidence], specialty: str) -> bool:
    """Whether a specialty's diseases are named in passing only, and the laboratory speaks, too."""
    disease = any(
        e.specialty == specialty and e.place != "text" and e.group not in ("speaks", "hints")
        for e in found
    )
    return not disease and sum(e.group == "laboratory" for e in found) >= _LABORATORY


def _found(
    title: str, headings: Iterable[str], keywords: Iterable[str], text: str
) -> Iterator[tuple[str, _Term]]:
    """Each term once in each place."""
    asked = _QUESTION.match(text)
    question, told = (asked[0], text[asked.end() :]) if asked else ("", text)
    opening, *rest = _SENTENCE.split(told, maxsplit=1)
    subject, means = _MEANS.sub("", title), "".join(_MEANS.findall(title))
    later = " ".join([means, question, *rest])
    places = [("title", subject), ("opening", opening), ("text", later)]
    for place, words in [*places, *(("keyword", word) for word in keywords)]:
        for term in dict.fromkeys(_terms(words)):
            yield place, term
    for heading in headings:
        for term in _of_heading(heading):
            yield "heading", term


@lru_cache(maxsize=2**16)
def _of_heading(heading: str) -> tuple[_Term, ...]:
    """The terms of a MeSH heading, which may be inverted: `Hypertension, Pulmonary`."""
    if listed := load_table().headings.get(heading):
        return (listed,)
    return tuple(dict.fromkeys(_terms(", ".join(reversed(heading.split(", "))))))


def _terms(text: str) -> Iterator[_Term]:
    """The terms in a text, the longest at each place, none inside another."""
    words = [_known(word) for word in _WORD.findall(text)]
    free = 0
    for place, (_, phrases, single) in enumerate(words):
        if place < free or not (phrases or single):
            continue
        term = next((one for one in phrases if _continues(one, words, place + 1)), single)
        if term:
            yield term
            free = place + 1 + len(term.rest)


def _continues(term: _Term, words: list[_Known], start: int) -> bool:
    if start == len(words) or not words[start][0].startswith(term.rest[0]):
        return False  # as it is nearly always
    told = tuple(word[0] for word in words[start : start + len(term.rest)])
    if not term.stem:
        return told == term.rest
    same = len(told) == len(term.rest) and told[:-1] == term.rest[:-1]
    return same and told[-1].startswith(term.rest[-1])


@lru_cache(maxsize=2**17)
def _known(word: str) -> _Known:
    """A word as it is compared, the phrases that it begins, and the term that it is."""
    plain = _plain(word)
    table = load_table()
    return plain, tuple(table.phrases.get(plain, ())), _single(table, plain)


def _single(table: _Table, word: str) -> _Term | None:
    """The term that a single word is, or ends or begins with; the longest if several."""
    if word in table.words:
        return table.words[word]
    for size in range(len(word), 2, -1):
        if term := table.endings.get(word[-size:]):
            return term
    stems = (table.stems.get(word[:size]) for size in range(len(word), 1, -1))
    return next((term for term in stems if term), None)


def _plain(word: str) -> str:
    """A word without capitals, accents, plural -s and British spelling."""
    word = _british(word)
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("s") and len(word) > 3 and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _british(word: str) -> str:
    """A word without capitals, accents and British spelling: `Haemorrhage`, `Sjögren`."""
    word = word.casefold()
    if not word.isascii():
        parts = unicodedata.normalize("NFKD", word)
        word = "".join(sign for sign in parts if not unicodedata.combining(sign))
    return _BRITISH.sub("e", word.removeprefix("o") if word.startswith("oe") else word)


@cache
def load_table() -> _Table:
    """Read `specialties.yaml`.

    Raises:
        ValueError: a term cannot be looked up, or stands there twice; the message names it.
    """
    listed = yaml.safe_load(
        (Path(__file__).parent / "specialties.yaml").read_text(encoding="utf-8")
    )
    terms: dict[str, list[tuple[str, str]]] = {term: [] for term in listed["nothing"]}
    headings: dict[str, list[tuple[str, str]]] = {}
    for specialty, groups in listed["specialties"].items():
        for group, names in groups.items():
            into = headings if group == "mesh" else terms
            for name in names:
                into.setdefault(name, []).append((specialty, group))
    table = _Table(list(listed["specialties"]), {}, {}, {}, {}, {})
    for name, found in terms.items():
        _add(table, name, tuple(found))
    for alike in table.phrases.values():
        alike.sort(key=lambda term: -len(term.rest))
    table.headings.update({n: _Term(n, (), False, tuple(p)) for n, p in headings.items()})
    return table


def _add(table: _Table, name: str, groups: Groups) -> None:
    words = _WORD.findall(name)
    if not words or "*" in name[1:-1] or len(dict(groups)) < len(groups):
        raise ValueError(
            f"specialties.yaml: {name!r}: a term stands once in a specialty, and `*` at one end."
        )
    stem = name.endswith("*")
    first, *rest = [*map(_plain, words[:-1]), _british(words[-1]) if stem else _plain(words[-1])]
    term = _Term(name, tuple(rest), stem, groups)
    if rest:
        alike = table.phrases.setdefault(first, [])
        twice = [one for one in alike if (one.rest, one.stem) == (term.rest, stem)]
        alike.append(term)
    else:
        kind = table.endings if name[0] == "*" else table.stems if stem else table.words
        key = name[1:] if name[0] == "*" else first
        twice = [kind[key]] if key in kind else []
        kind[key] = term
    if twice:
        raise ValueError(f"specialties.yaml: {name!r} is the same as {twice[0].name!r}: keep one.")

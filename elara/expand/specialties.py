"""Say which specialty an article belongs to, and by which words.

Every term of `specialties.yaml` that occurs in the title, the MeSH headings, the keywords or the
beginning of the text gives its points to its specialty, more in the title than elsewhere; the
specialty with most points wins. No weight is learned, so a clinician can read why, and correct it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from elara.expand.specialty_terms import Term, load_table, terms_in, terms_of
from elara.records import Article

GENERAL = "General"
LEAD = 420  # characters of the text that are read
# Points of a term by its group: in the title, and elsewhere.
_POINTS = {
    "leads": (20.0, 1.0),
    "ages": (17.0, 1.0),
    "settles": (12.0, 4.0),
    "reports": (12.0, 4.0),
    "means": (6.0, 2.0),
    "speaks": (5.0, 2.0),
    "hints": (2.0, 1.0),
    "mesh": (4.0, 4.0),
    "laboratory": (4.0, 1.0),
}
_LATER = 0.8  # what a term behind the text's first sentence counts, of one in it
_NEXT = 0.5  # what each further term of a specialty in one place counts, of the one before
_BESIDE = 0.7  # what the text counts of specialties that a title's technique leaves aside
_SURGEONS = 0.4  # what an operation counts beside a subject with surgeons of its own
_YIELDS = 0.5  # what the age of patients counts beside a technique, an infection or the blood
_YOUNG_ONLY = 6.0  # points for headings of children without grown people
_FIRST = 3.0  # points for the subject that the title names first
_LEAST = 3.5  # points below which an article is General
_LABORATORY = 3  # its words that make an organ without a disease a matter of biology
_FORM = 2  # its fixed headings that make a text the note of an operation
_MANY = 3  # specialties that make a syndrome of many organs
_NAME = 12  # words that the name of a syndrome has at most
_ORGANS = (30.0, 8.0)  # points for such a syndrome, by its title and by its signs
_MIND = {"intellectual disability", "mental retardation"}
_SURGERY = "Surgery/Trauma"
# Specialties that are named beside an organ, and are none themselves.
_NO_ORGAN = {"Pediatrics", "Infectious Disease", "Radiology", _SURGERY, "Psychiatry"}
_BEFORE_AGES = {"Infectious Disease", "Hematology"}
_OWN_SURGEONS = {"Orthopedics", "OB/GYN"}
_YOUNG = {"Infant, Newborn", "Infant", "Child, Preschool", "Child"}
_GROWN = {"Adult", "Young Adult", "Middle Aged", "Aged"}
_QUESTION = re.compile(r"[^.!?]{,150}\?\s")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z(])")
# What a list of signs says before it begins, the same for every disease.
_FORM_TEXT = re.compile(
    r"The Human Phenotype Ontology provides .{,700}?\(when available\)"
    r"|The Human Phenotype Ontology \(HPO\) has collected .*",
    re.DOTALL,
)

_SEEN = "evaluat|assess|measur|determin|quantif|monitor|confirm"
# The end of a title that says how something was seen.
_MEANS = re.compile(rf"\b(?:{_SEEN})\w* (?:by|using|with|on|via) .*", re.IGNORECASE)


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
    text = _FORM_TEXT.sub("", text, count=1)
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
    found = [*_ranked(found), *_children(headings)]
    found += [*_subject(found), *_operation(found)]
    if len(title.split()) <= _NAME:
        found += [*_many_organs(found)]
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


def _ranked(found: list[Evidence]) -> list[Evidence]:
    """Evidence as the title ranks it: a technique or an age leaves the organs of the text aside.

    A general operation counts less beside bones and women, whose surgeons are their own; the age
    of patients counts less beside what their doctors ask about before it.
    """
    groups: dict[str, set[str]] = defaultdict(set)
    for one in found:
        if one.place == "title":
            groups[one.group].add(one.specialty)
    leads, strong = groups["leads"], groups["leads"] | groups["settles"]
    own = strong & _OWN_SURGEONS if _SURGERY in leads else set()
    shares = {("leads", _SURGERY): _SURGEONS} if own else {}
    if leads or strong & _BEFORE_AGES:
        shares["ages", "Pediatrics"] = _YIELDS
    first = leads | own | groups["ages"]

    if not first:
        return found

    def share(one: Evidence) -> float:
        if one.place == "title":
            return shares.get((one.group, one.specialty), 1.0)
        return 1.0 if one.specialty in first else _BESIDE

    return [one._replace(points=one.points * share(one)) for one in found]


def _children(headings: Sequence[str]) -> Iterator[Evidence]:
    """Headings of children, and of no grown people."""
    if _YOUNG.intersection(headings) and not _GROWN.intersection(headings):
        yield Evidence("Pediatrics", "children only", "heading", _YOUNG_ONLY, "settles")


def _subject(found: list[Evidence]) -> Iterator[Evidence]:
    """What a title names first: a technique, or else a disease where no age is named.

    An operation yields to another technique: bones, women and images have surgeons of their own.
    """
    titled = [e for e in found if e.place == "title"]
    groups = {e.group for e in titled}
    wanted = "leads" if "leads" in groups else "" if "ages" in groups else "settles"
    subjects = [e for e in titled if e.group == wanted]
    subjects.sort(key=lambda one: wanted == "leads" and one.specialty == _SURGERY)
    if subjects:
        yield subjects[0]._replace(place="first", points=_FIRST)


def _operation(found: list[Evidence]) -> Iterator[Evidence]:
    """The note of an operation is the surgeon's, unless its title names another's technique."""
    form = {e.term for e in found if e.group == "reports"}
    named = any(e.place == "title" and e.group == "leads" for e in found)
    if len(form) >= _FORM and not named:
        points = _POINTS["leads"][0]
        yield Evidence(_SURGERY, "note of an operation", "text", points, "leads")


def _many_organs(found: list[Evidence]) -> Iterator[Evidence]:
    """A title of several organs is a malformation syndrome's, as is a syndrome of many organs."""
    organs = [e for e in found if e.specialty not in _NO_ORGAN]
    strong = ("leads", "settles")
    named = {e.specialty for e in organs if e.place == "title" and e.group in strong}
    told = {e.specialty for e in organs if e.place != "title" and e.group in (*strong, "speaks")}
    titled = {e.term for e in found if e.place == "title"}
    if len(named) + bool(titled & _MIND) >= _MANY:
        yield Evidence("Pediatrics", "several organs", "title", _ORGANS[0], "leads")
    elif "syndrome" in titled and not named and len(told) >= _MANY:
        yield Evidence("Pediatrics", "several organs", "text", _ORGANS[1], "settles")


def _biology(found: list[Evidence], specialty: str) -> bool:
    """Whether a specialty's diseases are named in passing only, and the laboratory speaks, too."""
    weak = ("means", "speaks", "hints")
    disease = any(
        e.specialty == specialty and e.place != "text" and e.group not in weak for e in found
    )
    return not disease and sum(e.group == "laboratory" for e in found) >= _LABORATORY


def _found(
    title: str, headings: Iterable[str], keywords: Iterable[str], text: str
) -> Iterator[tuple[str, Term]]:
    """Each term once in each place."""
    asked = _QUESTION.match(text)
    question, told = (asked[0], text[asked.end() :]) if asked else ("", text)
    opening, *rest = _SENTENCE.split(told, maxsplit=1)
    subject, means = _MEANS.sub("", title), "".join(_MEANS.findall(title))
    later = " ".join([means, question, *rest])
    places = [("title", subject), ("opening", opening), ("text", later)]
    for place, words in [*places, *(("keyword", word) for word in keywords)]:
        for term in dict.fromkeys(terms_in(words)):
            yield place, term
    for heading in headings:
        for term in terms_of(heading):
            yield "heading", term

"""Find the terms of `specialties.yaml` in a text.

Words are compared without capitals, accents, plural -s and British spelling. The longest term at a
place counts, and the words in it do not count again.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import yaml

_WORD = re.compile(r"[^\W_]+")
_BRITISH = re.compile("(?<=[a-z])[ao]e(?=[a-z])")  # haemorrhage, oesophagus

Groups = tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Term:
    """A term as it is looked up.

    Args:
        name: as `specialties.yaml` writes it.
        rest: its words behind the first, as they are compared.
        stem: whether the last word is one.
        groups: pairs of a specialty and the group in which the term stands there.
    """

    name: str
    rest: tuple[str, ...]
    stem: bool
    groups: Groups


# Phrases that begin with a word, by the next one (by `*` if that is a stem), longest first.
_Phrases = dict[str, list[Term]]
_Known = tuple[str, _Phrases, Term | None]
_ANY = "*"


@dataclass(frozen=True)
class Table:
    """All terms, by the way in which they are found.

    Args:
        specialties: in the order of the file.
        words: terms of one word.
        stems: beginnings of words.
        endings: of words.
        phrases: terms of several words, by the first.
        headings: MeSH headings that stand in the file.
        tags: MeSH headings that are no subjects.
    """

    specialties: list[str]
    words: dict[str, Term]
    stems: dict[str, Term]
    endings: dict[str, Term]
    phrases: dict[str, _Phrases]
    headings: dict[str, Term]
    tags: frozenset[str] = frozenset()


@lru_cache(maxsize=2**16)
def terms_of(heading: str) -> tuple[Term, ...]:
    """The terms of a MeSH heading, which may be inverted: `Hypertension, Pulmonary`.

    Args:
        heading: a descriptor, as MeSH writes it.
    """
    table = load_table()
    if listed := table.headings.get(heading):
        return (listed,)
    if heading in table.tags:
        return ()
    return tuple(dict.fromkeys(terms_in(", ".join(reversed(heading.split(", "))))))


def terms_in(text: str) -> Iterator[Term]:
    """The terms in a text, the longest at each place, none inside another.

    Args:
        text: of any length.
    """
    words = [_known(word) for word in _WORD.findall(text)]
    free = 0
    for place, (_, phrases, single) in enumerate(words):
        if place < free or not (phrases or single):
            continue
        if term := _phrase(phrases, words, place + 1) or single:
            yield term
            free = place + 1 + len(term.rest)


def _phrase(phrases: _Phrases, words: list[_Known], start: int) -> Term | None:
    """The longest phrase that goes on with the words from a place."""
    if not phrases or start == len(words):
        return None
    after = words[start][0]
    for term in phrases.get(after, ()):
        if len(term.rest) == 1 or _continues(term, words, start):
            return term
    stems = phrases.get(_ANY, ())
    return next((term for term in stems if after.startswith(term.rest[0])), None)


def _continues(term: Term, words: list[_Known], start: int) -> bool:
    told = [word[0] for word in words[start : start + len(term.rest)]]
    *first, last = term.rest
    if len(told) < len(term.rest) or told[:-1] != first:
        return False
    return told[-1].startswith(last) if term.stem else told[-1] == last


@lru_cache(maxsize=2**17)
def _known(word: str) -> _Known:
    """A word as it is compared, the phrases that it begins, and the term that it is."""
    plain = _plain(word)
    table = load_table()
    return plain, table.phrases.get(plain, {}), _single(table, plain)


def _single(table: Table, word: str) -> Term | None:
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
def load_table() -> Table:
    """Read `specialties.yaml`.

    Raises:
        ValueError: a term cannot be looked up, or stands there twice; the message names it.
    """
    text = (Path(__file__).parent / "specialties.yaml").read_text(encoding="utf-8")
    listed = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    terms: dict[str, list[tuple[str, str]]] = {term: [] for term in listed["nothing"]}
    headings: dict[str, list[tuple[str, str]]] = {}
    for specialty, groups in listed["specialties"].items():
        for group, names in groups.items():
            into = headings if group == "mesh" else terms
            for name in names:
                into.setdefault(name, []).append((specialty, group))
    tags = frozenset(listed.get("tags", ()))
    table = Table(list(listed["specialties"]), {}, {}, {}, {}, {}, tags)
    for name, found in terms.items():
        _add(table, name, tuple(found))
    for phrases in table.phrases.values():
        for alike in phrases.values():
            alike.sort(key=lambda term: (-len(term.rest), -len(term.rest[0])))
    table.headings.update({n: Term(n, (), False, tuple(p)) for n, p in headings.items()})
    return table


def _add(table: Table, name: str, groups: Groups) -> None:
    words = _WORD.findall(name)
    if not words or "*" in name[1:-1] or len(dict(groups)) < len(groups):
        raise ValueError(
            f"specialties.yaml: {name!r}: a term stands once in a specialty, and `*` at one end."
        )
    stem = name.endswith("*")
    first, *rest = [*map(_plain, words[:-1]), _british(words[-1]) if stem else _plain(words[-1])]
    term = Term(name, tuple(rest), stem, groups)
    if rest:
        after = _ANY if stem and len(rest) == 1 else term.rest[0]
        alike = table.phrases.setdefault(first, {}).setdefault(after, [])
        twice = [one for one in alike if (one.rest, one.stem) == (term.rest, stem)]
        alike.append(term)
    else:
        kind = table.endings if name[0] == "*" else table.stems if stem else table.words
        key = name[1:] if name[0] == "*" else first
        twice = [kind[key]] if key in kind else []
        kind[key] = term
    if twice:
        raise ValueError(f"specialties.yaml: {name!r} is the same as {twice[0].name!r}: keep one.")

"""Tell articles about human medicine from all others, by a table of words that anybody can correct.

Title, headings and the beginning of the text are weighed word by word (`medicine.yaml`): "patient"
speaks for medicine, "sediment" against it. No word decides alone.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import yaml

from elara.records import Article

MINIMUM = 0.03  # mean weight of a word, from which on an article counts as medicine
_TITLE, _JOURNAL, _HEADINGS = 3, 4, 1  # how often a word of each counts
_BEGINNING = 2500  # characters of abstract and body that are read
_LETTERS = re.compile(r"[^\W\d_]{2,}")


def medicine(article: Article) -> float:
    """How much an article is about human medicine.

    Args:
        article: a clean article.

    Returns:
        The mean weight of its words, title and journal counted more, plus what its source and
        its MeSH headings are worth; `MINIMUM` and more is medicine.
    """
    total, words = 0, 0
    for times, tokens in _parts(article):
        total += times * sum(map(_weight, tokens))
        words += times * len(tokens)
    return total / max(words, 1) + _prior(article)


def _parts(article: Article) -> list[tuple[int, list[str]]]:
    """How often the words of a part count, and its words."""
    text = article.abstract[:_BEGINNING]
    for section in article.body:
        if len(text) >= _BEGINNING:
            break
        if section.kind != "translation":
            text = f"{text} {section.text[: _BEGINNING - len(text)]}"
    headings = [*article.mesh, *article.keywords]
    return [
        (_TITLE, article.title.split()),
        (_JOURNAL, article.journal.split()),
        (_HEADINGS, " ".join(headings).split()),
        (1, text.split()),
    ]


def _prior(article: Article) -> float:
    table = _table()
    site = table["sites"].get(article.journal, table["sources"].get(article.source, 0.0))
    people = not article.mesh or any(heading.startswith("Humans") for heading in article.mesh)
    return float(site + (0.0 if people else table["without_people"]))


@lru_cache(maxsize=2**17)
def _weight(token: str) -> int:
    """The weight of a word, or of the words that a hyphen joins."""
    return sum(map(_of_word, _LETTERS.findall(token.casefold())))


def _of_word(word: str) -> int:
    whole, stems, ending = _lists()
    for form in (word, word.removesuffix("s")):
        if form in whole:
            return whole[form]
    for end in range(len(word), 1, -1):
        if word[:end] in stems:
            return stems[word[:end]]
    return 4 if ending.fullmatch(word) else 0


@cache
def _lists() -> tuple[dict[str, int], dict[str, int], re.Pattern[str]]:
    """Whole words and beginnings with their weights, and the endings."""
    whole: dict[str, int] = {}
    stems: dict[str, int] = {}
    table = _table()
    for weight, words in [*table["words"].items(), (4, table["foreign"])]:
        for word in words.split():
            (stems if word.endswith("-") else whole)[word.rstrip("-")] = weight
    endings = "|".join(table["endings"].split())
    return whole, stems, re.compile(rf"[^\W\d_]{{3,}}(?:{endings})")


@cache
def _table() -> dict[str, Any]:
    text = files("elara.expand").joinpath("medicine.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))

"""Measure how well the sentences of an answer hang together.

Programs that build on a model of a language see more. These rules need none, give the same figure
on every machine, and each of their verdicts can be checked by hand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from elara.evaluate.clauses import Sentence, cut
from elara.evaluate.plain import plain

if TYPE_CHECKING:
    from spellchecker.spellchecker import WordFrequency

ENGLISH = 0.65  # least share of words that the English list knows: good answers have 0.89 or more
_RARE = 13  # bits; a word that stands more often than once in 2^13 words belongs to no topic
_STEM = 5  # letters, so that "infection" and "infected" are one
_BEFORE = 5  # sentences that one can refer back to, besides the question
_NEW = 0.2  # least share of telling words that stood neither in the question nor before
_RUN = 14  # words without a small word between them; more are a list of keywords

_LETTERS = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_TOKEN = re.compile(r"[^\W_]+(?:['/-][^\W_]+)*|[^\w\s]")
_ARTICLE = {"a", "an", "the", "every"}
_LINK = {"and", "or", "but", "nor"}
_OF, _BE, _MAY, _WE, _UNFINISHED, _OTHER = (
    frozenset(words.split())
    for words in (
        "of with from into by at between within without during through against per",
        "is are was were am has had does did",
        "will would should must can could may might",
        "he she they we i",
        "of with from into to than between per if his its my",
        "than as in on under about over it you this these those that which who there if so because "
        "while when then not no be been have do",
    )
)
# After a word of the left, no word of the right begins a sensible sequel.
_NEVER = (
    (_ARTICLE, _ARTICLE | _OF | _LINK | _BE | _MAY | _WE | {"to", "for"}),
    (_OF, _LINK | _BE | _MAY | _WE | {"of", "for", "by", "from", "to"}),
    (_LINK, _LINK | {"of", "than"}),
    (_BE, _LINK | _MAY | _WE | {"of", "is", "are", "was", "were"}),
    (_MAY, _ARTICLE | _LINK | _BE | _MAY | _OF | {"to"}),
    (_WE, _ARTICLE | _LINK | _OF | _WE | {"to"}),
    ({"to", "for"}, _LINK | _BE | _MAY | {"of", "for"}),
)
_NEVER_LAST = _ARTICLE | _LINK | _UNFINISHED
_SMALL = _OTHER.union(*(left for left, _ in _NEVER))


def is_english(words: Sequence[str]) -> bool:
    """Whether an answer is in English as far as its words tell; one without words counts as such.

    Args:
        words: of the answer, in small letters; numbers tell nothing.
    """
    told = [word for word in words if word.isalpha()]
    return sum(word in _counts() for word in told) >= ENGLISH * len(told)


def coherence(said: Sequence[Sentence], prompt: str = "") -> float:
    """The share of sentences that are in order, take something up, and add something.

    In order: no small words that cannot follow one another ("the of"), and no mere list of
    keywords. Taking up: a telling word of the question, or of one of the five sentences before.
    Adding: telling words that were not there yet; so a sentence said again counts for nothing.
    Telling are words that English uses less often than once in 8,192 words.

    It cannot see what the words mean: contradictions, wrong medicine, sentences of one topic in the
    wrong order, or nonsense whose small words are in place. Pronouns tie nothing. No figure is good
    by itself, for clinicians write tersely: the good answers of our scenarios reach 0.4 to 0.9, and
    sentences of many topics, or the same words in any order, about 0.25. Compare answers to the
    same question.

    Args:
        said: the sentences of the answer, in English, from `elara.evaluate.clauses.cut`.
        prompt: the question; without one, the first sentence is not judged.

    Returns:
        0 to 1; 0 where there is nothing to judge.

    Source: words as ties between sentences: Halliday and Hasan, Cohesion in English (1976); overlap
        of neighbors: Foltz, Kintsch and Landauer (1998), https://doi.org/10.1080/01638539809545029;
        things that go on: Barzilay and Lapata (2008), https://doi.org/10.1162/coli.2008.34.1.1;
        given and new: Haviland and Clark (1974), https://doi.org/10.1016/S0022-5371(74)80003-4.
        Words that cannot follow one another, and all limits, are our own.
    """
    asked = _telling(plain(prompt))
    before: list[set[str]] = []
    known = set(asked)
    coherent = []
    for text in _units(said):
        words = _telling(text)
        ordered = in_order(text)
        given = asked.union(*before[-_BEFORE:])
        adds = bool(words) and len(words - known) >= _NEW * len(words)
        coherent.append(ordered and bool(words & given) and adds)
        before.append(words if ordered else set())
        known |= words
    judged = coherent if asked else coherent[1:]
    return sum(judged) / len(judged) if judged else 0.0


def sentences_of(text: str) -> tuple[Sentence, ...]:
    """The sentences of an answer that hold a word, a number or another sign.

    Args:
        text: Markdown.
    """
    return cut(plain(text))


def _units(said: Sequence[Sentence]) -> list[str]:
    """The sentences, each with the headings above it, which are none by themselves."""
    found, heading = [], ""
    for sentence in said:
        heading = f"{heading} {sentence.text}".strip()
        if not heading.endswith(":"):
            found.append(heading)
            heading = ""
    return [*found, heading] if heading else found


def in_order(text: str) -> bool:
    """Whether the small words of a sentence can stand where they do, and it is no list of keywords.

    Args:
        text: a sentence in English.
    """
    tokens = [t.casefold() for t in _TOKEN.findall(text)]
    if any(a in left and b in right for a, b in pairwise(tokens) for left, right in _NEVER):
        return False
    words = [t for t in tokens if t[0].isalpha()]
    longest = run = 0
    for word in words:
        run = 0 if word in _SMALL else run + 1
        longest = max(longest, run)
    return longest <= _RUN and words[-1:] != [] and words[-1] not in _NEVER_LAST


def _telling(text: str) -> set[str]:
    """The beginnings of the words that belong to a topic."""
    words = {word.casefold() for word in _LETTERS.findall(text)}
    return {word[:_STEM] for word in words if len(word) > 2 and _bits(word) >= _RARE}


def _bits(word: str) -> float:
    """How rare a word is in English, as the information that it carries."""
    counts = _counts()
    return -math.log2(max(counts[word], 0.5) / counts.total_words)


@cache
def _counts() -> WordFrequency:
    """How often English words stand in the texts from which pyspellchecker made its list."""
    from spellchecker import SpellChecker

    return SpellChecker(language="en").word_frequency

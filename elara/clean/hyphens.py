"""Join words that a line end splits where the joined word is known, else keep the hyphen.

What is known comes from three places: the text itself, the words of the whole collection, and the
lexicon. A hyphen that the text or the collection has is never taken away.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from elara.clean.ledger import LINKING
from elara.clean.triggers import LOWER, translate
from elara.text.wordlist import is_word

_SPLIT = re.compile(r"(?<![\w])((?:[^\W\d_]+-)*)([^\W\d_]+)-\n[^\S\n]*([^\W\d_]+)")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_words = str.split
# "my elbow-\nit hurts": a dash, unless both make a word ("arthrit-\nis").
_AFTER_DASH = {
    *_words("a an are but he i is it she so that the then there they this was we were you")
}
# "day-to-\nday": after another hyphen these are words of their own.
_SMALL = {*_words("a and as at by for in of off on or out the to up with")}
_APART = {*_words("non no not self")}
# ASCII signs that are no part of a word become blanks, but for the hyphen.
_WORD_SIGNS = {c: 32 for c in range(128) if not chr(c).isalpha() and chr(c) != "-"} | LOWER
_MORE = 10  # times as often must a joined word be found as one with a hyphen, which may be damage
_BROKEN = re.compile(r"([^\W\d_]+)-[^\S\n]*[\r\n]+[^\S\n]*([^\W\d_]+)")


def split_forms(texts: pa.LargeStringArray) -> set[str]:
    """What the words that a line end splits may have been: one word, and two with a hyphen.

    Args:
        texts: `n` texts, none of them null.
    """
    found: set[str] = set()
    hit = pc.match_substring_regex(texts, r"-[ \t]*[\r\n]")
    for text in texts.filter(hit).to_pylist():
        for first, second in _BROKEN.findall(text):
            found |= {first + second, f"{first}-{second}"}
    return {form.translate(LOWER) for form in found}


class Words:
    """How often some words occur in a collection.

    Args:
        forms: the words to count, and pairs of words with a hyphen between, in small letters.
    """

    def __init__(self, forms: Iterable[str] = ()) -> None:
        # As `add` writes texts: a blank around each word, and a hyphen between two blanks.
        self._forms = [f" {form.replace('-', ' - ')} " for form in sorted(forms)]
        self._counts: Counter[str] = Counter()

    def add(self, texts: pa.LargeStringArray) -> None:
        """Count in these texts, too.

        Args:
            texts: `n` texts, none of them null.
        """
        if self._forms:
            words = translate(texts, _WORD_SIGNS).str.replace_all("-", " - ", literal=True)
            found = (" " + words + " ").str.extract_many(self._forms, overlapping=True)
            self._counts.update(dict(found.explode().drop_nulls().value_counts().iter_rows()))

    def count(self, word: str) -> int:
        """How often a word occurs; 0 for one that was not to be counted.

        Args:
            word: a word, or two with a hyphen between.
        """
        return self._counts[f" {word.translate(LOWER).replace('-', ' - ')} "]


def join_hyphens(text: str, collection: Words | None = None) -> str:
    """Join what a line end split: to one word if that is known, else with its hyphen.

    "hyper-" and "tension" become one word, "beta-" and "blocker" keep the hyphen. Before "and",
    "or" and "to" the blank stays too; numbers and names in capitals are left alone.

    Args:
        text: any text.
        collection: the words of all texts, if they are counted.
    """
    own: set[str] | None = None

    def form(found: re.Match[str]) -> str:
        nonlocal own
        if own is None:
            own = _own_words(text)
        return _form(found, own, collection)

    return _SPLIT.sub(form, text)


def _own_words(text: str) -> set[str]:
    words = set()
    for compound in _WORD.findall(text.lower()):
        parts = compound.split("-")
        words |= {*parts, *(f"{a}-{b}" for a, b in pairwise(parts))}
    return words


def _form(found: re.Match[str], own: set[str], collection: Words | None) -> str:
    lead, first, second = found.groups()
    hyphened = f"{first}-{second}"
    if second.lower() in LINKING:
        return f"{lead}{first}- {second}"
    if not second.islower():
        return f"{lead}{hyphened}" if hyphened.lower() in own else found[0]
    one, two = (first + second).lower(), hyphened.lower()
    keeps = (
        len(first) < 2
        or not first[1:].islower()
        or first.lower() in _APART
        or second == "up"
        or (lead and first in _SMALL)
        or two in own
    )
    joined, apart = (collection.count(one), collection.count(two)) if collection else (0, 0)
    known = joined > _MORE * apart if apart else one in own or joined > 0 or is_word(one)
    if known and not keeps:
        return f"{lead}{first}{second}"
    blank = " " if second in _AFTER_DASH and two not in own else ""
    return f"{lead}{first}-{blank}{second}"

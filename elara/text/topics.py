"""Find the specialties that a text is about, by words that stand for them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

_WORD = re.compile(r"[^\W_]+")


@dataclass(slots=True)
class Topics:
    """Terms of one list of labels, ready to be matched as whole words.

    Args:
        labels: in the order of the list.
        terms: a term as a tuple of lower-case words, to its labels.
        lengths: first word of a term to the lengths in words of the terms that begin with it.
    """

    labels: list[str]
    terms: dict[tuple[str, ...], list[str]]
    lengths: dict[str, set[int]]

    def of(self, title: str, keywords: Iterable[str], mesh: Iterable[str]) -> list[str]:
        """The labels of an article.

        Args:
            title: its title.
            keywords: its keywords. One that equals a label puts that label first.
            mesh: its MeSH descriptors.

        Returns:
            Labels, the one with most matching terms first; ties in the order of the list.
        """
        keywords = list(keywords)
        named = {k.strip().lower() for k in keywords}
        matches = Counter(m for text in (title, *keywords, *mesh) for m in self.matches(text))
        found = [label for label in self.labels if matches[label] or label.lower() in named]
        return sorted(found, key=lambda label: (label.lower() not in named, -matches[label]))

    def matches(self, text: str) -> list[str]:
        """The labels whose terms occur in a text, once per occurrence."""
        words = tuple(_WORD.findall(text.lower()))
        return [
            label
            for start, word in enumerate(words)
            for length in sorted(self.lengths.get(word, ()))
            for label in self.terms.get(words[start : start + length], ())
        ]


@cache
def specialties() -> Topics:
    """The thirteen specialties and their terms, as `topics.yaml` lists them."""
    text = Path(__file__).with_name("topics.yaml").read_text(encoding="utf-8")
    return indexed(yaml.safe_load(text))


def indexed(listed: Mapping[str, list[str]]) -> Topics:
    """Make a list of labels ready to be matched.

    Args:
        listed: label to its terms; the label itself is always one.
    """
    terms: dict[tuple[str, ...], list[str]] = {}
    for label, words in listed.items():
        for term in dict.fromkeys([*words, label]):
            terms.setdefault(tuple(_WORD.findall(term.lower())), []).append(label)
    lengths: dict[str, set[int]] = {}
    for split in terms:
        lengths.setdefault(split[0], set()).add(len(split))
    return Topics(list(listed), terms, lengths)

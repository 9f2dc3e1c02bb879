"""Count what questions are about, and say how far that has moved since the adapter came.

The first questions that an adapter gets are the reference, since they are sorted by the same words
as later ones; the specialties of its training examples come from whole articles, by other rules.
Nothing but counts is kept. They are told in blocks of questions and in steps of a few, so that no
change of a count is about one question.
"""

from __future__ import annotations

import math
from collections import Counter, deque

from elara.serve.metrics import Metrics
from elara.text.topics import specialties

OTHER = "other"
BLOCK = 50  # questions
_FEW = 5  # questions of one topic that leave together
_BLOCKS = 4  # of the reference, and of the window that slides
_READ = 800  # characters of a question: more would take longer than 0.1 ms


def topic_of(question: str) -> str:
    """The specialty with most words in a question, or `other`.

    Args:
        question: the user's last turn; its beginning is read.
    """
    return next(iter(specialties().of(question[:_READ], (), ())), OTHER)


def divergence(one: Counter[str], other: Counter[str]) -> float:
    """Jensen-Shannon divergence of two distributions, in bits: 0 is the same, 1 nothing in common.

    Args:
        one: counts, at least one.
        other: counts, at least one.

    Source: Lin 1991, https://doi.org/10.1109/18.61115
    """

    def half(of: Counter[str]) -> float:
        shares = {topic: n / of.total() for topic, n in of.items() if n}
        return sum(p * math.log2(p / middle[topic]) for topic, p in shares.items()) / 2

    middle = {t: one[t] / one.total() / 2 + other[t] / other.total() / 2 for t in one | other}
    return half(one) + half(other)


class TopicDrift:
    """The counts of one server. All calls come from its event loop.

    Args:
        metrics: where they are published.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._untold: Counter[str] = Counter()
        self._block: Counter[str] = Counter()
        self._begin("")
        for topic in (*specialties().labels, OTHER):
            metrics.topics.labels(topic)

    def count(self, question: str, adapter: str) -> None:
        """Count a question.

        Args:
            question: the user's last turn.
            adapter: what serves; another one than before begins a new reference.
        """
        if adapter != self._adapter:
            self._untold += self._block
            self._block.clear()
            self._begin(adapter)
        self._block[topic_of(question)] += 1
        if self._block.total() == BLOCK:
            self._take(self._block)
            self._block = Counter()

    def _begin(self, adapter: str) -> None:
        self._adapter = adapter
        self._reference: list[Counter[str]] = []
        self._window: deque[Counter[str]] = deque(maxlen=_BLOCKS)
        self._metrics.forget(self._metrics.drift)
        self._tell_sizes()

    def _take(self, block: Counter[str]) -> None:
        self._untold += block
        for topic, count in self._untold.items():
            told = count - count % _FEW
            self._metrics.topics.labels(topic).inc(told)
            self._untold[topic] -= told
        (self._reference if len(self._reference) < _BLOCKS else self._window).append(block)
        self._tell_sizes()
        if len(self._window) == _BLOCKS:
            moved = divergence(_sum(self._reference), _sum(self._window))
            self._metrics.drift.labels(self._adapter[:12]).set(moved)

    def _tell_sizes(self) -> None:
        for part, blocks in (("reference", self._reference), ("window", self._window)):
            self._metrics.drift_questions.labels(part).set(BLOCK * len(blocks))


def _sum(blocks: list[Counter[str]] | deque[Counter[str]]) -> Counter[str]:
    return sum(blocks, Counter())

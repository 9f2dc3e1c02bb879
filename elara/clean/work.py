"""Apply rules to the texts of one batch, check the ledger, and file what each rule did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elara.clean.fields import Texts, replace
from elara.clean.ledger import Loss, LostTerms, findings, lost
from elara.clean.passages import without_lines, without_sentences
from elara.clean.repeats import Removals
from elara.clean.rules import MOST_ROUNDS, Rule
from elara.clean.triggers import Triggers

_EXCERPT = 120
_LEAD = 40

Edit = tuple[str, list[str]]
Places = npt.NDArray[np.int64]


@dataclass
class Account:
    """What rules did to a batch, row by row.

    Args:
        changes: `(id, rule, field, before, after, count)`.
        removed: `(id, rule, field, text)`.
        lost: `(id, rule, kind, term, before, after)`.
    """

    changes: list[tuple[str, str, str, str, str, int]] = field(default_factory=list)
    removed: list[tuple[str, str, str, str]] = field(default_factory=list)
    lost: list[tuple[str, str, str, str, int, int]] = field(default_factory=list)


class Work:
    """The texts of a batch on their way through the rules.

    Args:
        texts: the texts.
        rules: what to apply.
        triggers: those of the rules, in their order (others may follow).
        stop: whether a lost term is an error.
    """

    def __init__(self, texts: Texts, rules: Sequence[Rule], triggers: Triggers, stop: bool) -> None:
        self.texts = texts
        self.rules = rules
        self.account = Account()
        self.bits = triggers.find(texts.values)
        self._triggers = triggers
        self._stop = stop
        self._new: dict[int, str] = {}

    def text(self, place: int) -> str:
        """A text as it stands now."""
        if place in self._new:
            return self._new[place]
        value: str = self.texts.values[place].as_py()
        return value

    def values(self) -> pa.LargeStringArray:
        """All texts as they stand now."""
        return replace(self.texts.values, self._new)

    def settle(self, places: Places) -> None:
        """Apply the rules until nothing changes.

        Args:
            places: the texts that may need it.

        Raises:
            LostTerms: a rule lost a protected term.
            ValueError: the rules do not come to rest.
        """
        for _ in range(MOST_ROUNDS):
            if not len(places):
                return
            touched: set[int] = set()
            for number, rule in enumerate(self.rules):
                hit = self.bits[places] >> np.uint64(number) & np.uint64(1) > 0
                if rule.removes:
                    hit &= self.texts.running[places]
                touched |= self._apply(rule, places[hit])
            places = np.array(sorted(touched), np.int64)
        stuck = self.texts.ids[self.texts.row[places[0]]]
        raise ValueError(
            f"after {MOST_ROUNDS} rounds rules still change {stuck}: two of them undo each other; "
            f"clean with fewer rules to see which"
        )

    def _apply(self, rule: Rule, places: Places) -> set[int]:
        def edit(place: int, text: str) -> Edit:
            after = rule.function(text)
            return after, rule.removes(text) if rule.removes and after != text else []

        return self.edit(rule.name, places.tolist(), edit, final=rule.removes is not None)

    def remove(self, gone: Removals) -> None:
        """Take away passages that stand elsewhere too, or in many articles.

        Args:
            gone: which.
        """
        changed: set[int] = set()
        for rule, lines in (
            ("repeated_paragraphs", gone.repeated),
            ("shared_paragraphs", gone.shared),
        ):
            changed |= self.edit(rule, lines, partial(_without, without_lines, lines))
        words = gone.boilerplate
        changed |= self.edit(
            "boilerplate", words, partial(_without, without_sentences, words), True
        )
        self.settle(np.array(sorted(changed), np.int64))

    def edit(
        self,
        rule: str,
        places: Iterable[int],
        make: Callable[[int, str], Edit],
        final: bool = False,
    ) -> set[int]:
        """Change texts under the eyes of the ledger.

        Args:
            rule: the name to file it under.
            places: the texts.
            make: from place and text to the new text and the passages removed from it.
            final: whether the passages are gone for good, so that they may hold no finding.

        Returns:
            The places of the texts that changed.

        Raises:
            LostTerms: protected terms were lost.
        """
        changed = set()
        for place in places:
            before = self.text(place)
            after, removed = make(place, before)
            if after == before:
                continue
            losses = lost(before, after, removed)
            if final:
                losses += [loss for passage in removed for loss in findings(passage)]
            if losses:
                self._refuse(rule, place, losses)
                continue
            self._new[place] = after
            changed.add(place)
            self._file(rule, place, before, after, removed)
        if changed:
            order = sorted(changed)
            new = pa.array([self._new[place] for place in order], pa.large_string())
            self.bits[order] = self._triggers.find(new)
        return changed

    def _refuse(self, rule: str, place: int, losses: list[Loss]) -> None:
        article = self.texts.ids[self.texts.row[place]]
        first = losses[0]
        if self._stop:
            raise LostTerms(
                f"rule {rule!r} loses the {first.kind} {first.term!r} of article {article} "
                f"({first.before} before, {first.after} after; {len(losses)} losses in this text): "
                f"correct the rule, or let it name the passage in `removes`"
            )
        rows = [(article, rule, x.kind, x.term, x.before, x.after) for x in losses]
        self.account.lost += [row for row in rows if row not in self.account.lost]

    def _file(self, rule: str, place: int, before: str, after: str, removed: list[str]) -> None:
        article, label = self.texts.ids[self.texts.row[place]], self.texts.label(place)
        self.account.changes.append(
            (article, rule, label, *_excerpts(before, after), len(before) - len(after))
        )
        self.account.removed += [
            (article, rule, label, passage) for passage in removed if not passage.isspace()
        ]


def _without(
    take: Callable[[str, set[Any]], Edit], gone: Mapping[int, set[Any]], place: int, text: str
) -> Edit:
    return take(text, gone[place])


def _excerpts(before: str, after: str) -> tuple[str, str]:
    """Both texts around their first difference, at most 120 characters each."""
    same, differ = 0, min(len(before), len(after)) + 1
    while same + 1 < differ:
        middle = (same + differ) // 2
        if before[:middle] == after[:middle]:
            same = middle
        else:
            differ = middle
    start = max(0, same - _LEAD)
    return before[start : start + _EXCERPT], after[start : start + _EXCERPT]

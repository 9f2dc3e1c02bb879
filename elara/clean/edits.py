"""Apply rules to the texts of one batch, check each change against the ledger, and record it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elara.clean.hyphens import Words
from elara.clean.ledger import Loss, alike, contents, findings, lost
from elara.clean.passages import without_lines, without_sentences
from elara.clean.repeats import Removals
from elara.clean.rules import MOST_ROUNDS, Rule
from elara.clean.texts import Texts, replace
from elara.clean.triggers import Triggers

_EXCERPT = 120
_LEAD = 40
_AGAIN = 16

Edit = tuple[str, list[str]]
Places = npt.NDArray[np.int64]


@dataclass
class Account:
    """What rules did to a batch, row by row.

    Args:
        changes: `(id, rule, field, before, after, count)`.
        removed: `(id, rule, field, text, kind, terms)`.
        review: `(id, rule, field, kind, term, before, after)`.
    """

    changes: list[tuple[str, str, str, str, str, int]] = field(default_factory=list)
    removed: list[tuple[str, str, str, str, str, int]] = field(default_factory=list)
    review: dict[tuple[str, str, str, str, str, int, int], None] = field(default_factory=dict)


class Edits:
    """The texts of a batch while the rules are applied.

    A doubt about one text stops none: the text stays as it was before the rule, and the doubt is
    filed for review.

    Args:
        texts: the texts.
        rules: what to apply.
        triggers: those of the rules, in their order.
        words: how often words occur in the collection.
    """

    def __init__(
        self, texts: Texts, rules: Sequence[Rule], triggers: Triggers, words: Words
    ) -> None:
        self.texts = texts
        self.rules = rules
        self.account = Account()
        self._bits = np.zeros(len(texts.values), np.uint64)
        self._triggers = triggers
        self._words = words
        self._new: dict[int, str] = {}
        self._taken: dict[int, list[list[str]]] = {}  # by text, what each change removed

    def values(self) -> pa.LargeStringArray:
        """All texts as they stand now."""
        return replace(self.texts.values, self._new)

    def losses(self) -> int:
        """How many terms are gone from end to end from texts that several rules changed.

        Each change was looked at when it was made, so there should be none; a few texts of each
        batch are looked at again.
        """
        count = 0
        several = [place for place, taken in self._taken.items() if len(taken) > 1]
        for place in several[:: len(several) // _AGAIN + 1]:
            before: str = self.texts.values[place].as_py()
            gone = [passage for passages in self._taken[place] for passage in passages]
            if losses := lost(before, self._new[place], gone):
                self._doubt("all together", place, losses)
                count += len(losses)
        return count

    def apply_rules(self) -> None:
        """Apply the rules to all texts until nothing changes."""
        self._bits = self._triggers.find(self.values())
        self._apply_until_stable(np.flatnonzero(self._bits))

    def _apply_until_stable(self, places: Places) -> None:
        for _ in range(MOST_ROUNDS):
            if not len(places):
                return
            touched: set[int] = set()
            for number, rule in enumerate(self.rules):
                hit = self._bits[places] >> np.uint64(number) & np.uint64(1) > 0
                if rule.removes:
                    hit &= self.texts.running[places]
                touched |= self._apply(rule, places[hit])
            places = np.array(sorted(touched), np.int64)
        for place in places.tolist():
            self._unsettled(place)

    def _apply(self, rule: Rule, places: Places) -> set[int]:
        def edit(place: int, text: str) -> Edit:
            informed = rule.informed
            after = informed(text, self._words) if informed else rule.function(text)
            return after, rule.removes(text) if rule.removes and after != text else []

        return self.edit(rule.name, places.tolist(), edit)

    def remove(self, gone: Removals) -> Places:
        """Take away passages that stand elsewhere too, or in many articles, and apply the rules.

        Args:
            gone: which.

        Returns:
            The places of the texts that changed.
        """
        changed: set[int] = set()
        for rule, passages in gone.items():
            take = without_sentences if rule == "boilerplate" else without_lines
            changed |= self.edit(rule, passages, partial(_without, take, passages))
        places = np.array(sorted(changed), np.int64)
        self._apply_until_stable(places)
        return places

    def edit(self, rule: str, places: Iterable[int], make: Callable[[int, str], Edit]) -> set[int]:
        """Change texts under the eyes of the ledger.

        Args:
            rule: the name to file it under.
            places: the texts.
            make: from place and text to the new text and the passages removed from it.

        Returns:
            The places of the texts that changed.
        """
        changed = []
        for place in places:
            before = self._new[place] if place in self._new else self.texts.values[place].as_py()
            try:
                after, removed = make(place, before)
            except Exception as error:  # whatever it is, the other texts go on
                self._doubt(rule, place, [Loss("error", f"{type(error).__name__}: {error}", 0, 0)])
                continue
            if after == before:
                continue
            losses = lost(before, after, removed)
            losses += [loss for passage in removed for loss in findings(passage)]
            if losses:
                self._doubt(rule, place, losses)
                continue
            self._new[place] = after
            changed.append(place)
            self._file(rule, place, before, after, removed)
        if changed:
            new = pa.array([self._new[place] for place in changed], pa.large_string())
            self._bits[changed] = self._triggers.find(new)
        return set(changed)

    def _doubt(self, rule: str, place: int, losses: list[Loss]) -> None:
        article, label = self.texts.ids[self.texts.row[place]], self.texts.label(place)
        for x in losses:
            self.account.review[article, rule, label, x.kind, x.term, x.before, x.after] = None

    def _unsettled(self, place: int) -> None:
        """Give a text back as it came: two rules undo each other on it."""
        article, label = self.texts.ids[self.texts.row[place]], self.texts.label(place)
        del self._new[place], self._taken[place]
        theirs = [row[1] for row in self.account.changes if (row[0], row[2]) == (article, label)]
        for rows in (self.account.changes, self.account.removed):
            rows[:] = [row for row in rows if (row[0], row[2]) != (article, label)]
        rules = ", ".join(sorted({*theirs[-MOST_ROUNDS:]}))
        self._doubt(rules, place, [Loss("unsettled", f"after {MOST_ROUNDS} rounds", 0, 0)])

    def _file(self, rule: str, place: int, before: str, after: str, removed: list[str]) -> None:
        self._taken.setdefault(place, []).append(removed)
        article, label = self.texts.ids[self.texts.row[place]], self.texts.label(place)
        # Both texts around their first difference.
        start = max(0, alike(before, after, min(len(before), len(after))) - _LEAD)
        excerpts = before[start : start + _EXCERPT], after[start : start + _EXCERPT]
        shorter = len(before) - len(after)
        self.account.changes.append((article, rule, label, *excerpts, shorter))
        for passage in removed:
            if not passage.isspace():
                kind, held = contents(passage)
                terms = sum(held.values())
                self.account.removed.append((article, rule, label, passage, kind, terms))


def _without(
    take: Callable[[str, set[int]], Edit], gone: Mapping[int, set[int]], place: int, text: str
) -> Edit:
    return take(text, gone[place])

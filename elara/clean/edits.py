"""Apply rules to the texts of one batch, check each change against the ledger, and record it.

Each rule lists its triggers: strings of which a text holds at least one if the rule has anything to
do there. One Aho–Corasick search (polars) for all of them saves nearly all regular expressions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from elara.clean.ledger import Loss, alike, contents, findings, lost
from elara.clean.passages import Removals, without
from elara.clean.repair import END, START, translate
from elara.clean.rules import MOST_ROUNDS, Rule
from elara.clean.tables import Texts
from elara.text.folding import FOLD

_MOST_BLOCKS = 64
_EXCERPT = 120
_LEAD = 40
_AGAIN = 16


class Triggers:
    """The triggers of many blocks, searched for together.

    Args:
        blocks: the triggers of each block, at most 64 blocks. A block without triggers is found
            in every text.

    Raises:
        ValueError: too many blocks.
    """

    def __init__(self, blocks: Sequence[Sequence[str]]) -> None:
        if len(blocks) > _MOST_BLOCKS:
            raise ValueError(f"{len(blocks)} blocks of triggers; one search finds {_MOST_BLOCKS}")
        self._always = np.uint64(sum(1 << n for n, triggers in enumerate(blocks) if not triggers))
        self._masks: dict[str, int] = {}
        for number, triggers in enumerate(blocks):
            for trigger in triggers:
                self._masks[trigger] = self._masks.get(trigger, 0) | 1 << number

    def find(self, texts: pa.LargeStringArray) -> npt.NDArray[np.uint64]:
        """For each text a number whose bit `k` says whether a trigger of block `k` occurs.

        Args:
            texts: `n` texts, none of them null.
        """
        found = np.full(len(texts), self._always)
        if self._masks:
            folded = START + translate(texts, FOLD) + END
            hits = folded.str.extract_many([*self._masks], overlapping=True).to_arrow()
            rows = np.repeat(np.arange(len(texts)), pc.list_value_length(hits).to_numpy())
            bits = [self._masks[hit] for hit in hits.flatten().to_pylist()]
            np.bitwise_or.at(found, rows, np.array(bits, np.uint64))
        return found


class Edits:
    """The texts of a batch while the rules are applied.

    A doubt about one text stops none: the text stays as it was before the rule, and the doubt is
    filed for review. `changes`, `removed` and `review` hold the rows of the tables of these names.

    Args:
        texts: the texts.
        rules: what to apply.
        triggers: those of the rules, in their order.
        words: how often words occur in the collection.
    """

    def __init__(
        self, texts: Texts, rules: Sequence[Rule], triggers: Triggers, words: Mapping[str, int]
    ) -> None:
        self.texts = texts
        self.rules = rules
        self.changes: list[tuple[str, str, str, str, str, int]] = []
        self.removed: list[tuple[str, str, str, str, str, int]] = []
        self.review: dict[tuple[str, str, str, str, str, int, int], None] = {}
        self._bits = np.zeros(len(texts.values), np.uint64)
        self._triggers = triggers
        self._words = words
        self._new: dict[int, str] = {}
        self._taken: dict[int, list[list[str]]] = {}  # by text, what each change removed

    def values(self) -> pa.LargeStringArray:
        """All texts as they stand now."""
        values, places = self.texts.values, sorted(self._new)
        if not places:
            return values
        mask = pa.array(np.isin(np.arange(len(values)), places))
        new = pa.array([self._new[place] for place in places], pa.large_string())
        return pc.replace_with_mask(values, mask, new)

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
            losses = lost(before, self._new[place], gone)
            self._doubt("all together", place, losses)
            count += len(losses)
        return count

    def apply_rules(self) -> None:
        """Apply the rules to all texts until nothing changes."""
        self._bits = self._triggers.find(self.values())
        self._apply_until_stable(np.flatnonzero(self._bits))

    def _apply_until_stable(self, places: npt.NDArray[np.int64]) -> None:
        for _ in range(MOST_ROUNDS):
            if not len(places):
                return
            touched: set[int] = set()
            for number, rule in enumerate(self.rules):
                hit = self._bits[places] >> np.uint64(number) & np.uint64(1) > 0
                if rule.removes:
                    hit &= self.texts.running[places]
                touched |= self._apply(rule, places[hit].tolist())
            places = np.array(sorted(touched), np.int64)
        for place in places.tolist():
            address = self.texts.address(place)
            theirs = [row[1] for row in self.changes if (row[0], row[2]) == address]
            undoing = ", ".join(sorted({*theirs[-MOST_ROUNDS:]}))
            self._doubt(undoing, place, [Loss("unsettled", f"after {MOST_ROUNDS} rounds")])

    def _apply(self, rule: Rule, places: list[int]) -> set[int]:
        changed = set()
        for place in places:
            before = self._text(place)
            try:
                informed = rule.informed
                after = informed(before, self._words) if informed else rule.function(before)
                removed = rule.removes(before) if rule.removes and after != before else []
            except Exception as error:  # whatever it is, the other texts go on
                self._doubt(rule.name, place, [Loss("error", f"{type(error).__name__}: {error}")])
                continue
            if self._change(rule.name, place, after, removed):
                changed.add(place)
        self._search_again(changed)
        return changed

    def remove(self, gone: Removals) -> list[int]:
        """Take away passages that stand elsewhere too, or in many articles, and apply the rules.

        Args:
            gone: which.

        Returns:
            The places of the texts that changed.
        """
        changed: set[int] = set()
        for rule, passages in gone.items():
            for place, numbers in passages.items():
                edited = without(self._text(place), rule != "boilerplate", numbers)
                if self._change(rule, place, *edited):
                    changed.add(place)
        self._search_again(changed)
        places = sorted(changed)
        self._apply_until_stable(np.array(places, np.int64))
        return places

    def _text(self, place: int) -> str:
        return self._new[place] if place in self._new else self.texts.values[place].as_py()

    def _search_again(self, changed: set[int]) -> None:
        """Find the triggers of the texts that changed."""
        if places := list(changed):
            new = pa.array([self._new[place] for place in places], pa.large_string())
            self._bits[places] = self._triggers.find(new)

    def _change(self, rule: str, place: int, after: str, removed: list[str]) -> bool:
        """Change a text under the eyes of the ledger; says whether that was done."""
        before = self._text(place)
        if after == before:
            return False
        losses = lost(before, after, removed)
        losses += [loss for passage in removed for loss in findings(passage)]
        if losses:
            self._doubt(rule, place, losses)
            return False
        self._new[place] = after
        self._taken.setdefault(place, []).append(removed)
        article, label = self.texts.address(place)
        # Both texts around their first difference.
        start = max(0, alike(before, after, min(len(before), len(after))) - _LEAD)
        excerpts = before[start : start + _EXCERPT], after[start : start + _EXCERPT]
        self.changes.append((article, rule, label, *excerpts, len(before) - len(after)))
        for passage in removed:
            if not passage.isspace():
                kind, held = contents(passage)
                self.removed.append((article, rule, label, passage, kind, sum(held.values())))
        return True

    def _doubt(self, rule: str, place: int, losses: list[Loss]) -> None:
        article, label = self.texts.address(place)
        for x in losses:
            self.review[article, rule, label, x.kind, x.term, x.before, x.after] = None

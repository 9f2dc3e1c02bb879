"""One round of cleaning over one batch: what a worker thread does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from elara.clean.fields import Texts, pack, unpack
from elara.clean.hyphens import Words
from elara.clean.passages import Found, find
from elara.clean.phi import find_in, patient_kinds
from elara.clean.phi_forms import PHI
from elara.clean.repeats import Shared
from elara.clean.rules import Rule
from elara.clean.triggers import Triggers
from elara.clean.work import Account, Work

Place = tuple[str, str, str, int, int]
_PATIENT = sum(1 << number for number, kind in enumerate(PHI) if kind.patient)


@dataclass(frozen=True)
class Done:
    """A batch after a round.

    Args:
        table: the articles that stay, with a column `phi`.
        texts: their texts.
        found: the sentences and lines in them.
        account: what the rules did.
        dropped: `(id, reason)` of the others.
        phi: `(id, field, kind, start, end)` in the articles that stay.
        phi_dropped: the same in the others, as far as it decided that they go.
        characters: of all texts, before and after.
        lost: how many terms are gone although no rule was seen to take them.
    """

    table: pa.Table
    texts: Texts
    found: Found
    account: Account
    dropped: list[tuple[str, str]]
    phi: list[Place]
    phi_dropped: list[Place]
    characters: tuple[int, int]
    lost: int


@dataclass(frozen=True)
class Round:
    """What a round does to every batch.

    Args:
        rules: the rules.
        shared: what stands in several articles; None in the first round, which applies the rules.
        words: how often words occur in the collection.
        keep_phi: whether articles in which a patient may be named stay.
    """

    rules: Sequence[Rule]
    shared: Shared | None
    words: Words
    keep_phi: bool

    def run(self, triggers: Triggers, table: pa.Table, offset: int) -> Done:
        """Clean a batch.

        Args:
            triggers: of the rules, and after them of the kinds of personal data.
            table: articles.
            offset: the number of articles before it.
        """
        texts = unpack(table)
        work = Work(texts, self.rules, triggers, self.words)
        if self.shared is None:
            mask = np.uint64((1 << len(self.rules)) - 1)
            work.settle(np.flatnonzero(work.bits & mask))
        else:
            gone = self.shared.to_remove(texts, find(texts.values, texts.prose), offset)
            changed = np.array(sorted(work.remove(gone)), np.int64)
            work.settle(changed)
            self.shared.learn(work.values().take(pa.array(changed)))
        lost = work.losses()
        values = work.values()
        phi = self._phi(work)
        known = patient_kinds()
        patients = np.zeros(table.num_rows, bool)
        patients[[row for row, places in phi.items() if any(p[2] in known for p in places)]] = True
        full = np.zeros(table.num_rows, bool)
        full[texts.row[pc.match_substring_regex(values, r"\S").to_numpy(zero_copy_only=False)]] = (
            True
        )
        stays = full if self.keep_phi else full & ~patients
        reasons = np.where(full, "may_identify_a_patient", "empty_after_cleaning")
        cleaned = _with_phi(pack(table, values), patients).filter(pa.array(stays))
        kept = unpack(cleaned)
        return Done(
            table=cleaned,
            texts=kept,
            found=find(kept.values, kept.prose),
            account=work.account,
            dropped=[(texts.ids[row], str(reasons[row])) for row in np.flatnonzero(~stays)],
            phi=[place for row in sorted(phi) if stays[row] for place in phi[row]],
            phi_dropped=[place for row in sorted(phi) if not stays[row] for place in phi[row]],
            characters=(_characters(texts.values), _characters(kept.values)),
            lost=lost,
        )

    def _phi(self, work: Work) -> dict[int, list[Place]]:
        """What may identify a person, by article; in the first round only what decides."""
        texts = work.texts
        bits = np.where(texts.named, np.uint64(0), work.bits >> np.uint64(len(self.rules)))
        if self.shared is None:
            bits &= np.uint64(0 if self.keep_phi else _PATIENT)
        found: dict[int, list[Place]] = {}
        for place in np.flatnonzero(bits).tolist():
            row, mask = int(texts.row[place]), int(bits[place])
            kinds = [kind for number, kind in enumerate(PHI) if mask >> number & 1]
            if places := find_in(work.text(place), kinds):
                label = texts.label(place)
                found.setdefault(row, []).extend((texts.ids[row], label, *p) for p in places)
        return found


def _with_phi(table: pa.Table, patients: npt.NDArray[np.bool_]) -> pa.Table:
    if "phi" in table.column_names:
        table = table.drop_columns(["phi"])
    return table.append_column("phi", pa.array(patients))


def _characters(values: pa.LargeStringArray) -> int:
    return int(pc.sum(pc.utf8_length(values)).as_py() or 0)

"""Clean one batch of articles: one pass over the collection does this to every batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from elara.clean.edits import Account, Edits
from elara.clean.hyphens import Words
from elara.clean.passages import Found, find
from elara.clean.phi import find_each, patient_kinds
from elara.clean.phi_forms import PHI
from elara.clean.repeats import Repeats
from elara.clean.rules import Rule
from elara.clean.texts import Texts, pack, unpack
from elara.clean.triggers import Triggers

Place = tuple[str, str, str, int, int]
_PATIENT = np.uint64(sum(1 << number for number, kind in enumerate(PHI) if kind.patient))


@dataclass(frozen=True)
class Done:
    """A batch after a pass.

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
class Pass:
    """What a pass does to every batch.

    Args:
        rules: the rules.
        triggers: those of the rules, in their order.
        words: how often words occur in the collection.
        keep_phi: whether articles in which a patient may be named stay.
        repeats: what stands in several articles; None in the first pass, which applies the rules.
    """

    rules: Sequence[Rule]
    triggers: Triggers
    words: Words
    keep_phi: bool
    repeats: Repeats | None

    def run(self, table: pa.Table, offset: int) -> Done:
        """Clean a batch.

        Args:
            table: articles.
            offset: the number of articles before it.
        """
        texts = unpack(table)
        edits = Edits(texts, self.rules, self.triggers, self.words)
        if self.repeats is None:
            edits.apply_rules()
        else:
            gone = self.repeats.to_remove(texts, find(texts.values, texts.prose), offset)
            changed = edits.remove(gone)
            self.repeats.learn(edits.values().take(pa.array(changed)))
        values = edits.values()
        phi = self._phi(texts, values)
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
            account=edits.account,
            dropped=[(texts.ids[row], str(reasons[row])) for row in np.flatnonzero(~stays)],
            phi=[place for row in sorted(phi) if stays[row] for place in phi[row]],
            phi_dropped=[place for row in sorted(phi) if not stays[row] for place in phi[row]],
            characters=(_characters(texts.values), _characters(kept.values)),
            lost=edits.losses(),
        )

    def _phi(self, texts: Texts, values: pa.LargeStringArray) -> dict[int, list[Place]]:
        """What may identify a person, by article; in the first pass only what decides."""
        found: dict[int, list[Place]] = {}
        if self.repeats is None and self.keep_phi:
            return found
        kinds = _PATIENT if self.repeats is None else ~np.uint64(0)
        for place, places in find_each(values, np.where(texts.named, np.uint64(0), kinds)):
            row, label = int(texts.row[place]), texts.label(place)
            found.setdefault(row, []).extend((texts.ids[row], label, *p) for p in places)
        return found


def _with_phi(table: pa.Table, patients: npt.NDArray[np.bool_]) -> pa.Table:
    if "phi" in table.column_names:
        table = table.drop_columns(["phi"])
    return table.append_column("phi", pa.array(patients))


def _characters(values: pa.LargeStringArray) -> int:
    return int(pc.sum(pc.utf8_length(values)).as_py() or 0)

"""Pass or block an adapter before it is used: its records, and its behavior against its own base.

Nothing that the gate finds means that an adapter is safe. It looks for signs that files and records
do not belong together, and that the adapter behaves worse than the base model that it was trained
on; what the base model does badly, it does not see.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import elara
from elara.evaluate import gate_behavior as behavior
from elara.evaluate import gate_record as record
from elara.evaluate.gate_rows import BEHAVIOR, BLOCKED, CANNOT_TELL, Row, integrity
from elara.evaluate.memory import Memory, weights_hash
from elara.model import TRAINING_FILE, LanguageModel, load_adapter, load_base
from elara.workspace import Workspace, file_sha256, sealed, write_atomically, writing_to
from elara.workspace.formats import json_text
from elara.workspace.names import escaped

NO_REGRESSION = "no regression found"
GATE_FILE = "gate.json"
EXIT_CODES = {NO_REGRESSION: 0, BLOCKED: 2, CANNOT_TELL: 3}
LIMITS = (
    "The gate compares an adapter with its own base model on a few hundred items that no clinician "
    "has reviewed. It does not show that answers are right, or that the model may be used in care."
)
_NOT_LOADED = "the adapter was not loaded, since its seal or its base model does not hold"


@dataclass(frozen=True)
class Gate:
    """What the gate found.

    Args:
        rows: every check.
        bound: the hashes that the result holds for.
    """

    rows: list[Row]
    bound: dict[str, Any]

    @property
    def result(self) -> str:
        """The worst that any check found: `blocked`, then `cannot tell`, then no regression."""
        found = {row.result for row in self.rows}
        return next((word for word in (BLOCKED, CANNOT_TELL) if word in found), NO_REGRESSION)

    @property
    def exit_code(self) -> int:
        """0 no regression found, 2 blocked, 3 cannot tell."""
        return EXIT_CODES[self.result]

    def lines(self) -> Iterator[str]:
        """One line per check, then the result and what it does not mean."""
        for row in self.rows:
            yield f"{row.kind}: {row.check}: {row.result}: {escaped(row.evidence)}"
        count = {word: sum(r.result == word for r in self.rows) for word in (BLOCKED, CANNOT_TELL)}
        yield (
            f"gate: {self.result} ({len(self.rows)} checks, {count[BLOCKED]} blocked, "
            f"{count[CANNOT_TELL]} cannot tell)"
        )
        yield LIMITS

    def content(self) -> dict[str, Any]:
        """What `gate.json` holds; its seal is a hash of all the rest."""
        return sealed(
            {
                "result": self.result,
                "exit_code": self.exit_code,
                "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "elara": elara.__version__,
                "bound_to": self.bound,
                "checks": [asdict(row) for row in self.rows],
                "limits": LIMITS,
            }
        )


def pass_gate(
    adapter: Path,
    base: str | None = None,
    *,
    workspace: str = "",
    expect: str = "",
    out: Path | None = None,
    sets: Path | None = None,
    resamples: int = 9_999,
    memory: Memory | None = None,
) -> Gate:
    """Check an adapter's records and behavior, and write down the result.

    An earlier result in the same file goes first, so that one that was broken off leaves none.

    Args:
        adapter: the adapter folder.
        base: its base model, where it is not found under the recorded name.
        workspace: where it was made and evaluated; "" looks around the adapter folder.
        expect: the fingerprint that the adapter should have; "" takes any.
        out: the file for the result; None: `gate.json` in the workspace's evaluation.
        sets: a folder of other safety sets, of the same names.
        resamples: bootstrap samples, and draws of signs.
        memory: of what was measured before; None measures everything.

    Raises:
        AuditError: the folder is not there, or is no adapter.
        WorkspaceError: the result cannot be written, or the named workspace is not there.
    """
    place = _place(adapter, workspace)
    file = out or (place.folder("evaluate") / GATE_FILE if place else Path(GATE_FILE))
    asked, seed = behavior.read_sets(sets), secrets.randbelow(2**31)
    rows, fingerprint = record.seal_rows(adapter, base, expect)  # refuses what is no adapter
    with writing_to(file.parent):
        file.unlink(missing_ok=True)
    bound = {"adapter": fingerprint, "sets": asked.hashes, "remeasured_by_seed": seed}
    if any(row.result == BLOCKED for row in rows if row.check != "retraction"):
        names = ("chat template", "certificate", *record.EVALUATION)
        rows += [integrity(name, None, _NOT_LOADED) for name in names]
        rows += [Row(name, BEHAVIOR, CANNOT_TELL, _NOT_LOADED) for name in behavior.CHECKS]
    else:
        subject = record.Subject(adapter, place, fingerprint)
        lm = _load(subject, base)
        rows += [record.template_row(subject, lm), *record.data_rows(subject, asked.table())]
        rows += record.evaluation_rows(subject, lm, seed)
        values = behavior.measure(lm, asked, memory)
        rows += [f.row for f in behavior.compare(values, asked.missing, resamples=resamples)]
        bound |= _bound(subject, lm)
    found = Gate(rows, bound)
    with writing_to(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json_text(found.content()))
    return found


def _place(adapter: Path, workspace: str) -> Workspace | None:
    """The workspace that was named, or in which the adapter lies."""
    if workspace:
        place = Workspace(workspace)
        place.must_exist()
        return place
    around = (Workspace(folder) for folder in adapter.resolve().parents[:3])
    return next((place for place in around if place.exists()), None)


def _load(subject: record.Subject, base: str | None) -> LanguageModel:
    """The adapter on its base model, under the name and in the number format of the record."""
    import dataclasses

    told = subject.read(TRAINING_FILE)
    how = {"quantisation": told["quantisation"], "precision": told["precision"]["dtype"]}
    lm = load_base(base or told["base_model"], **how)
    return load_adapter(subject.folder, base=dataclasses.replace(lm, name=told["base_model"]))


def _bound(subject: record.Subject, lm: LanguageModel) -> dict[str, Any]:
    """Hashes of what was looked at, besides the adapter and the gate's sets."""
    import hashlib

    found: dict[str, Any] = {
        "base_weights": weights_hash(lm, "base"),
        "chat_template": hashlib.sha256(str(lm.tokenizer.chat_template).encode()).hexdigest(),
        "computed_on": {"device": lm.device, "dtype": lm.dtype},
    }
    read = {"expand": ("train.jsonl", "test.jsonl"), "evaluate": ("scores.parquet", "verdict.json")}
    for stage, names in read.items():
        paths = [subject.place.folder(stage) / name for name in names] if subject.place else []
        found |= {path.name: file_sha256(path) for path in paths if path.is_file()}
    return found

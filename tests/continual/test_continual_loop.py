"""From accepted feedback to a tuned adapter before the gate, and no further."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import synthetic_preferences
import tiny_preference
import tiny_run

from elara import audit
from elara.audit.verify import verify
from elara.continual.loop import PLAN_FILE, run_loop
from elara.evaluate import gate_behavior
from elara.records import Preference, frame, records
from elara.serve.experiments import Choice, ExperimentError, Experiments
from elara.serve.feedback import Feedback, FeedbackStore, Receipts
from elara.train.config import TrainingError
from elara.workspace import Workspace, file_sha256

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluate"))
import gate_place

SPLITS = {
    "train": tiny_run.examples(16),
    "validation": tiny_run.examples(4, start=100),
    "test": tiny_run.examples(12, start=200),
}


@pytest.fixture
def home(sealed: Path, workspace: Workspace) -> Workspace:
    """A workspace whose adapter was trained."""
    gate_place.expanded(workspace, SPLITS)
    gate_place.trained(workspace, sealed)
    return workspace


def given(store: FeedbackStore, preferences: list[Preference]) -> None:
    """Give the judgements as people would, with receipts, and accept all but the last."""
    receipts = Receipts(b"k" * 32)
    for number, one in enumerate(preferences):
        turns = [{"role": t.role, "content": t.content} for t in one.prompt if t.role == "user"]
        answer, request = one.rejected, f"r{number}"
        signed = receipts.make(request, turns, answer, Choice("a" * 64))
        body: Any = {"messages": turns, "answer": answer, "receipt": signed}
        judged = Feedback(**body, correction=one.chosen)
        assert receipts.read(signed, turns, answer) == (request, Choice("a" * 64))
        store.add(judged, request, "a" * 64)
        if number < len(preferences) - 1:
            store.decide(request, "accepted")


def calm(*_: Any) -> pl.DataFrame:
    """Measured behavior in which adapter and base do not differ."""
    rows = []
    for check in gate_behavior.CHECKS.values():
        for name in check.sets:
            for i in range(12):
                key = (name, f"{name}-{i}", f"{name}: t{i}")
                shift = 0.01 * (i % 3 - 1)
                rows += [
                    (*key, arm, check.metric, x) for arm, x in (("base", 0.0), ("adapter", shift))
                ]
    columns = ["set", "item", "cluster", "arm", "metric", "value"]
    return pl.DataFrame(rows, columns, orient="row").unique(columns[:-1])


@pytest.mark.long
def test_the_loop_from_feedback_to_the_gate(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_behavior, "measure", calm)
    events: list[dict[str, Any]] = []
    store = FeedbackStore(home.root / "serving" / "feedback.sqlite", events.append, str)
    given(store, records(synthetic_preferences.pairs(13), Preference))
    accepted, unusable = store.preferences()
    assert (len(accepted), unusable) == (12, 0)
    before = file_sha256(home.folder("train") / "adapter" / "adapter_model.safetensors")

    settings = tiny_preference.config(epochs=1)
    done = run_loop(home, frame(accepted, Preference), settings)

    adapter = done.place.folder("train") / "adapter"
    assert verify(adapter).passed
    assert done.preferred.method == "dpo"
    assert done.left_out == 0
    wrong = [(row.check, row.evidence) for row in done.gate.rows if row.result != "passed"]
    # A tiny model may be hurt by the tuning, and the gate has to say so; records must hold.
    assert {check for check, _ in wrong} <= {"verdict"}, wrong
    held = file_sha256(home.folder("train") / "adapter" / "adapter_model.safetensors")
    assert held == before
    for place in (home, done.place):
        found = audit.audit(place)
        assert found.passed, [*found.lines()]

    # It stops here: what it left to type does not run before a person has filled it in.
    text = "\n".join(done.lines())
    plan = done.place.root / PLAN_FILE
    experiments = Experiments(home.root / "serving", events.append)
    with pytest.raises(ExperimentError, match="name"):
        experiments.start(plan, 0.0)
    assert not any(e["event"].startswith("ab") for e in events)
    assert ("elara ab start" in text) == (done.gate.result != "blocked")
    filled = plan.read_text().replace('name: ""', "name: tuned")
    filled = filled.replace('question: ""', "question: Is the tuned adapter found helpful?")
    plan.write_text(filled.replace('reviewed_by: ""', "reviewed_by: nobody, a test"))
    experiments.start(plan, 0.0)
    tuned = file_sha256(adapter / "adapter_model.safetensors")
    assert set(experiments.adapters()) == {before, tuned}


@pytest.mark.long
def test_feedback_that_quotes_held_out_text_is_left_out(
    home: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gate_behavior, "measure", calm)
    rows = records(synthetic_preferences.pairs(12), Preference)
    question = SPLITS["test"]["messages"][0].to_list()[1]["content"]
    rows[0].prompt[-1].content = question
    done = run_loop(home, frame(rows, Preference), tiny_preference.config(epochs=1))
    assert done.left_out == 1
    assert "1 judgements left out" in next(done.lines())
    shutil.rmtree(done.place.root)


def test_without_accepted_feedback_there_is_nothing_to_do(workspace: Workspace) -> None:
    with pytest.raises(TrainingError, match="elara feedback accept"):
        run_loop(workspace, frame([], Preference), tiny_preference.config())
    assert not (workspace.root / "loop").exists()

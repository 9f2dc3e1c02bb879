"""Feedback is stored on the person's act, masked, deletable, and unused until accepted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from starlette.testclient import TestClient

from elara.continual import read_preferences
from elara.serve import feedback as module
from elara.serve.experiments import CANDIDATE, Choice, Experiments
from elara.serve.feedback import Feedback, FeedbackError, FeedbackStore, Receipts
from elara.serve.participation import Participation, participation_router
from elara.text.phi import find_in
from elara.workspace import Workspace, write_atomically

KEY = bytes(range(32))
ADAPTER = "a" * 64
TURNS = [{"role": "user", "content": "What helps Mrs. Moyo, 083 123 4567, against a fever?"}]
ANSWER = "Rest and drink."


def mask(text: str) -> str:
    """What the rules of Clean find, blanked out."""
    for kind, start, end in reversed(find_in(text)):
        text = f"{text[:start]}[{kind}]{text[end:]}"
    return text


def receipt(request: str = "r1", choice: Choice | None = None, answer: str = ANSWER) -> str:
    return Receipts(KEY).make(request, TURNS, answer, choice or Choice(ADAPTER))


def judgement(**changes: Any) -> dict[str, Any]:
    body = {"messages": TURNS, "answer": ANSWER, "receipt": receipt(), "thumb": "up"}
    return body | changes


class Kept:
    """A store, its file, and what it wrote to the audit log."""

    def __init__(self, place: Workspace) -> None:
        self.place, self.events = place, []  # type: ignore[var-annotated]
        self.path = place.root / "serving" / "feedback.sqlite"
        self.store = FeedbackStore(self.path, self.events.append, mask)

    def add(self, request: str = "r1", **changes: Any) -> tuple[dict[str, Any], str]:
        return self.store.add(Feedback(**judgement(**changes)), request, ADAPTER)

    def bytes(self) -> bytes:
        return b"".join(p.read_bytes() for p in self.path.parent.iterdir())


@pytest.fixture
def kept(workspace: Workspace) -> Kept:
    return Kept(workspace)


@pytest.fixture
def experiments(kept: Kept) -> Experiments:
    return Experiments(kept.path.parent, kept.events.append)


@pytest.fixture
def client(kept: Kept, experiments: Experiments) -> Iterator[TestClient]:
    app = FastAPI()
    held = Participation(kept.path.parent, kept.events.append, lambda text: text)
    held.experiments, held.store, held.receipts = experiments, kept.store, Receipts(KEY)
    app.include_router(participation_router(held))
    with TestClient(app) as client:
        yield client


def test_a_preview_stores_nothing_and_shows_what_would_be(client: TestClient, kept: Kept) -> None:
    shown = client.post("/feedback/preview", json=judgement(comment="Call 083 123 4567")).json()
    assert "Moyo" not in json.dumps(shown)
    assert "4567" not in json.dumps(shown)
    assert shown["answer"] == ANSWER
    assert not kept.path.exists()
    assert (
        client.post("/feedback", json=judgement(comment="Call 083 123 4567")).json()["stored"]
        == shown
    )


def test_what_is_stored_is_masked_and_the_token_is_not(kept: Kept) -> None:
    stored, token = kept.add(correction="Rest. I am Dr. Adaeze Okafor, ada@example.org.")
    content = kept.bytes()
    assert len(token) > 40
    for secret in (b"Moyo", b"083 123", b"ada@example.org", token.encode()):
        assert secret not in content
    assert stored["correction"].startswith("Rest.")
    assert kept.path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"answer": "Take ten aspirins."},
        {"messages": [{"role": "user", "content": "Another question?"}]},
        {"receipt": "{}"},
        {"receipt": "[1]"},
        {"receipt": "no receipt"},
        {"receipt": receipt().replace("r1", "r2")},
        {"receipt": receipt().replace(ADAPTER, "b" * 64)},
        {"receipt": Receipts(b"x" * 32).make("r1", TURNS, ANSWER, Choice(ADAPTER))},
    ],
)
def test_feedback_on_what_was_never_answered_is_refused(
    client: TestClient, kept: Kept, changes: dict[str, Any]
) -> None:
    found = client.post("/feedback", json=judgement(**changes))
    assert found.status_code == 409
    assert "receipt" in found.json()["detail"]
    assert not kept.path.exists()


@pytest.mark.parametrize(
    "changes",
    [{"thumb": None}, {"thumb": "sideways"}, {"correction": f" {ANSWER} "}, {"stars": 5}],
)
def test_empty_or_strange_feedback_is_refused(client: TestClient, changes: dict[str, Any]) -> None:
    assert client.post("/feedback", json=judgement(**changes)).status_code == 422


def test_one_answer_has_one_judgement(client: TestClient) -> None:
    token = client.post("/feedback", json=judgement()).json()["token"]
    again = client.post("/feedback", json=judgement(thumb="down"))
    assert again.status_code == 409
    assert client.post("/feedback/delete", json={"token": token}).json()["deleted"] == "r1"
    assert client.post("/feedback", json=judgement(thumb="down")).status_code == 200


def test_what_is_deleted_leaves_the_file(kept: Kept) -> None:
    _, token = kept.add(comment="a rather peculiar remark")
    kept.store.decide("r1", "accepted")
    assert b"peculiar remark" in kept.bytes()
    with pytest.raises(FeedbackError, match="No feedback has this token"):
        kept.store.delete("guessed")
    kept.store.delete(token)
    assert b"peculiar remark" not in kept.bytes()
    assert kept.store.preferences() == ([], 0)


def test_nothing_is_learned_before_an_administrator_accepts_it(kept: Kept) -> None:
    for name in ("r1", "r2", "r3"):
        kept.add(name)
    assert kept.store.preferences() == ([], 0)
    kept.store.decide("r1", "accepted")
    kept.store.decide("r2", "rejected")
    assert [p.id for p in kept.store.preferences()[0]] == ["feedback:r1"]
    assert [k.id for k in kept.store.listed()] == ["r3"]
    assert kept.events == [
        {"event": "feedback accepted", "feedback": "r1"},
        {"event": "feedback rejected", "feedback": "r2"},
    ]
    kept.store.decide("r1", "rejected")  # a second thought
    assert kept.store.preferences() == ([], 0)
    with pytest.raises(FeedbackError, match="No feedback 'r9'"):
        kept.store.decide("r9", "accepted")


def test_an_acceptance_that_cannot_be_audited_does_not_happen(kept: Kept) -> None:
    kept.add()

    def broken(_: dict[str, Any]) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        FeedbackStore(kept.path, broken).decide("r1", "accepted")
    assert [k.id for k in kept.store.listed()] == ["r1"]


def test_accepted_feedback_is_read_by_preference_training(kept: Kept, tmp_path: Path) -> None:
    kept.add("up")
    kept.add("down", thumb="down")
    kept.add("better", thumb="up", correction="Rest, and see a clinic with a stiff neck.")
    kept.add("talk", thumb=None, comment="Thank you.")
    for name in ("up", "down", "better", "talk"):
        kept.store.decide(name, "accepted")
    found, unusable = kept.store.preferences()
    assert unusable == 1
    lines = [json.dumps(_plain(preference)) for preference in found]
    write_atomically(tmp_path / "feedback.jsonl", "\n".join(lines))
    table = read_preferences(tmp_path / "feedback.jsonl")
    rows = {row["id"].removeprefix("feedback:"): row for row in table.to_dicts()}
    assert {name: row["label"] for name, row in rows.items()} == {
        "up": "desirable",
        "down": "undesirable",
        "better": "pair",
    }
    assert (rows["better"]["chosen"][:5], rows["better"]["rejected"]) == ("Rest,", ANSWER)
    assert {row["source"] for row in rows.values()} == {"reader"}
    assert {row["adapter"] for row in rows.values()} == {ADAPTER}


def _plain(preference: Any) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(preference)


def test_a_flood_is_seen_and_the_quarantine_has_an_end(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    for name in ("r1", "r2", "r3"):
        kept.add(name, correction="Buy our tonic.")
    assert [k.alike for k in kept.store.listed()] == [2, 2, 2]
    with pytest.raises(FeedbackError, match="3 judgements wait"):
        kept.add("r4")


def test_a_store_without_a_mask_takes_nothing(kept: Kept) -> None:
    with pytest.raises(FeedbackError, match="no rules to mask"):
        FeedbackStore(kept.path, kept.events.append).preview(Feedback(**judgement()))


PLAN = {
    "name": "warmer",
    "question": "Are answers of the tuned adapter found helpful more often?",
    "reviewed_by": "ethics committee, 12/26",
    "standing": ADAPTER,
    "candidate": "b" * 64,
    "effect": 0.05,
    "most_people": 400,
    "harm": {"reports": 2},
}


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    return tmp_path / "plan.yaml"


def test_a_thumb_counts_in_the_experiment_and_can_be_taken_back(
    client: TestClient, experiments: Experiments, plan: Path
) -> None:
    assert client.get("/experiment").json() == {}
    experiments.start(plan, 0.0)
    assert client.get("/experiment").json()["question"] == PLAN["question"]
    choice = experiments.choose("anna", True)
    experiments.answered(choice, 1e12)  # the window is still open
    signed = {"receipt": receipt(choice=choice)}
    given = client.post("/feedback", json=judgement(**signed)).json()
    assert given["counted_in_experiment"]
    taken = client.post("/feedback/delete", json={"token": given["token"]}).json()
    assert taken["ratings_taken_back"] == 1
    arm = next(a for a in experiments.status(2e12).arms if a.people)
    assert (arm.heard, arm.deleted) == (0, 1)
    assert client.post("/experiment/withdraw", json={"subject": "anna"}).json()["withdrawn"]
    assert not client.post("/experiment/withdraw", json={"subject": "berta"}).json()["withdrawn"]


def test_a_thumb_of_somebody_who_does_not_take_part_is_not_counted(
    client: TestClient, experiments: Experiments, plan: Path
) -> None:
    experiments.start(plan, 0.0)
    given = client.post("/feedback", json=judgement()).json()
    assert not given["counted_in_experiment"]


def test_answers_called_dangerous_end_the_experiment(
    client: TestClient, experiments: Experiments, plan: Path
) -> None:
    experiments.start(plan, 0.0)
    for number in range(2):
        choices = (experiments.choose(f"{number} {i}", True) for i in range(99))
        choice = next(c for c in choices if c.arm == CANDIDATE)
        experiments.answered(choice, 1e12)
        signed = receipt(f"r{number}", choice)
        client.post("/feedback", json=judgement(receipt=signed, dangerous=True))
    assert client.get("/experiment").json() == {}

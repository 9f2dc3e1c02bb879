"""Experiments assign by consent and salt, count people, stop by rule and roll back at once."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from elara.serve.experiments import CANDIDATE, STANDING, ExperimentError, Experiments
from elara.serve.experiments.assign import read_plan
from elara.serve.experiments.report import BETTER, HARM

A, B, C = "a" * 64, "b" * 64, "c" * 64
DAY = 86400.0
PLAN: dict[str, Any] = {
    "name": "warmer",
    "question": "Are answers of the tuned adapter found helpful more often?",
    "reviewed_by": "ethics committee, 12/26",
    "standing": A,
    "candidate": B,
    "effect": 0.05,
    "most_people": 400,
    "harm": {"margin": 0.0, "reports": 2},
}


class Server:
    """Experiments in a folder, and what they wrote to the audit log."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.events = folder / "serving", []  # type: ignore[var-annotated]
        self.experiments = Experiments(self.folder, self.events.append)

    def plan(self, **changes: Any) -> Path:
        path = self.folder.parent / "plan.yaml"
        path.write_text(yaml.safe_dump(PLAN | changes))
        return path

    def start(self, **changes: Any) -> str:
        return self.experiments.start(self.plan(**changes), 0.0)

    def rate(self, subject: str, up: bool, *, at: float = 0.0, dangerous: bool = False) -> bool:
        choice = self.experiments.choose(subject, True)
        self.experiments.answered(choice, at)
        return self.experiments.rate(choice, f"request of {subject}", up, dangerous, at)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_nothing_runs_by_default(server: Server) -> None:
    choice = server.experiments.choose("anna", True)
    assert (choice.adapter, choice.arm) == ("", "")
    assert server.experiments.notice() == {}
    assert server.experiments.adapters() == []
    assert not server.folder.exists()
    with pytest.raises(ExperimentError, match="no experiment yet"):
        server.experiments.status(0.0)


def test_who_does_not_consent_gets_the_standing_adapter_and_is_not_counted(server: Server) -> None:
    server.start()
    for subject in map(str, range(50)):
        choice = server.experiments.choose(subject, False)
        assert (choice.adapter, choice.arm, choice.person) == (A, "", "")
        server.experiments.answered(choice, 0.0)
    assert server.experiments.choose("", True).arm == ""
    assert [arm.people for arm in server.experiments.status(0.0).arms] == [0, 0]


def test_assignment_is_sticky_keeps_the_share_and_hides_the_subject(server: Server) -> None:
    name = server.start(share=0.25)
    people = [f"person-{i}" for i in range(2000)]
    first = [server.experiments.choose(p, True) for p in people]
    again = Experiments(server.folder, server.events.append)  # another worker, or after a restart
    assert [again.choose(p, True) for p in people] == first
    assert 400 < sum(c.arm == CANDIDATE for c in first) < 600
    assert {c.adapter for c in first if c.arm == CANDIDATE} == {B}
    assert {c.adapter for c in first if c.arm == STANDING} == {A}
    assert len({c.person for c in first}) == 2000
    assert {c.experiment for c in first} == {name}
    server.experiments.answered(first[7], 0.0)
    stored = b"".join(p.read_bytes() for p in server.folder.iterdir())
    assert b"person-7" not in stored
    assert server.folder.stat().st_mode & 0o077 == 0


def test_two_experiments_assign_independently(tmp_path: Path) -> None:
    people = [f"person-{i}" for i in range(400)]
    arms = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        server = Server(tmp_path / name)
        server.start()
        arms.append([server.experiments.choose(p, True).arm for p in people])
    same = sum(a == b for a, b in zip(*arms, strict=True))
    assert 140 < same < 260


def test_the_audit_log_comes_first_and_holds_the_hash_of_the_plan(server: Server) -> None:
    path = server.plan()
    name = server.experiments.start(path, 0.0)
    digest = read_plan(path)[1]
    assert server.events == [{"event": "ab start", "experiment": name, "plan_sha256": digest}]
    assert name == f"warmer-{digest[:8]}"

    def broken(_: dict[str, Any]) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        Experiments(server.folder, broken).rollback(1.0)
    assert server.experiments.notice()["experiment"] == name


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"share": 0.0}, "share"),
        ({"candidate": A}, "same adapter"),
        ({"candidate": "../b"}, "candidate"),
        ({"effect": 0}, "effect"),
        ({"stop_when": "it looks good"}, "stop_when"),
        ({"reviewed_by": ""}, "reviewed_by"),
        ({"harm": {"margin": -0.1}}, "harm.margin"),
    ],
)
def test_a_plan_that_declares_too_little_does_not_start(
    server: Server, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ExperimentError, match=told):
        server.start(**changes)
    assert server.events == []


def test_a_plan_runs_once(server: Server) -> None:
    server.start()
    with pytest.raises(ExperimentError, match="is running"):
        server.start(name="other")
    server.experiments.rollback(1.0)
    with pytest.raises(ExperimentError, match="has run"):
        server.start(effect=0.06)
    with pytest.raises(ExperimentError, match="standing adapter is"):
        server.start(name="other", standing=C)


def test_an_adapter_that_the_gate_blocks_is_not_compared(server: Server) -> None:
    def admit(adapter: str) -> dict[str, str]:
        if adapter == B:
            raise ExperimentError("the gate blocked it")
        return {}

    with pytest.raises(ExperimentError, match="the gate blocked it"):
        server.experiments.start(server.plan(), 0.0, admit)
    server.start()
    with pytest.raises(ExperimentError, match="the gate blocked it"):
        server.experiments.promote(1.0, "a good reason", admit)
    assert [event["event"] for event in server.events] == ["ab start"]
    assert server.experiments.choose("anna", False).adapter == A


def test_what_the_gate_found_stands_in_the_record(server: Server) -> None:
    server.experiments.start(server.plan(), 0.0, lambda adapter: {"gate": f"of {adapter[0]}"})
    server.experiments.promote(1.0, "a good reason", lambda adapter: {"gate": "cannot tell"})
    started, promoted = server.events
    assert (started["standing_gate"], started["candidate_gate"]) == ("of a", "of b")
    assert promoted["candidate_gate"] == "cannot tell"


def test_a_rollback_takes_less_than_a_second_and_every_worker_sees_it(server: Server) -> None:
    server.start()
    other = Experiments(server.folder, server.events.append)
    subject = next(s for s in map(str, range(99)) if other.choose(s, True).arm == CANDIDATE)
    started = time.process_time()
    assert server.experiments.rollback(1.0, "a complaint") == A
    assert time.process_time() - started < 1
    assert other.choose(subject, True).adapter == A
    assert other.choose(subject, True).arm == ""
    assert server.events[-1]["event"] == "ab rollback"
    assert server.events[-1]["reason"] == "a complaint"
    with pytest.raises(ExperimentError, match="nothing to roll back"):
        other.rollback(2.0)


def test_the_secret_goes_with_the_end_of_the_experiment(server: Server) -> None:
    server.start()
    served = server.folder / "served.json"
    salt = json.loads(served.read_text())["salt"]
    assert len(bytes.fromhex(salt)) == 32
    server.experiments.rollback(1.0)
    assert not any(salt.encode() in p.read_bytes() for p in server.folder.iterdir())


def test_a_promotion_needs_a_result_or_a_reason_and_can_be_taken_back(server: Server) -> None:
    name = server.start()
    with pytest.raises(ExperimentError, match="undecided"):
        server.experiments.promote(1.0)
    assert server.experiments.promote(1.0, "the standing adapter was retracted") == B
    assert server.experiments.choose("anna", False).adapter == B
    assert server.experiments.adapters() == [B, A]
    told = {"event": "ab promote", "experiment": name, "result": "undecided"}
    assert server.events[-1] == told | {"reason": "the standing adapter was retracted"}
    assert server.experiments.rollback(2.0) == A
    assert server.experiments.choose("anna", False).adapter == A


def test_a_better_candidate_is_promoted_without_a_reason(server: Server) -> None:
    server.start()
    for i in range(300):
        arm = server.experiments.choose(str(i), True).arm
        server.rate(str(i), i % 10 < (9 if arm == CANDIDATE else 4))
    assert server.experiments.status(1.0).decision == "undecided"  # no window is over yet
    found = server.experiments.status(8 * DAY)
    assert found.decision == BETTER
    assert found.difference.low > 0
    assert server.experiments.promote(8 * DAY) == B


def test_harm_ends_the_experiment_by_itself(server: Server) -> None:
    server.start()
    for i in range(300):
        arm = server.experiments.choose(str(i), True).arm
        server.rate(str(i), i % 10 < (3 if arm == CANDIDATE else 9))
    assert server.experiments.watch(1.0) == ""
    assert server.experiments.watch(8 * DAY) == HARM
    assert server.events[-1]["event"] == "ab stop"
    assert server.experiments.choose("anna", True).adapter == A
    assert server.experiments.status(99 * DAY).decision == HARM


def test_reports_of_danger_end_it_at_once(server: Server) -> None:
    server.start()
    arms: dict[str, list[str]] = {STANDING: [], CANDIDATE: []}
    for subject in map(str, range(40)):
        arms[server.experiments.choose(subject, True).arm].append(subject)
    for subject in arms[STANDING][:3]:  # what the standing adapter does is no reason
        server.rate(subject, False, dangerous=True)
    server.rate(arms[CANDIDATE][0], False, dangerous=True)
    assert server.experiments.notice()
    server.rate(arms[CANDIDATE][1], False, dangerous=True)
    assert server.experiments.notice() == {}
    assert not server.rate(arms[CANDIDATE][2], True)


def test_it_ends_when_the_declared_number_was_heard(server: Server) -> None:
    server.start(most_people=20)
    for i in range(20):
        server.experiments.answered(server.experiments.choose(str(i), True), 0.0)
    assert server.experiments.watch(7 * DAY - 1) == ""
    assert "declared number" in server.experiments.watch(7 * DAY)


def test_ratings_count_once_within_the_window_and_can_be_taken_back(server: Server) -> None:
    server.start()
    assert server.rate("anna", True)
    assert not server.rate("anna", False)  # the same answer again
    choice = server.experiments.choose("anna", True)
    assert server.experiments.rate(choice, "another", False, False, 8 * DAY)  # late
    arm = next(a for a in server.experiments.status(9 * DAY).arms if a.people)
    assert (arm.answers, arm.ratings, arm.late, arm.mean) == (2, 1, 1, 1.0)
    assert server.experiments.forget("request of anna") == 1
    arm = next(a for a in server.experiments.status(9 * DAY).arms if a.people)
    assert (arm.ratings, arm.deleted, arm.heard, arm.missing) == (0, 1, 0, 1)


def test_who_withdraws_is_forgotten_and_counted(server: Server) -> None:
    server.start()
    server.rate("anna", False)
    assert server.experiments.withdraw("anna")
    assert not server.experiments.withdraw("berta")
    assert not server.rate("anna", True)
    arm = next(a for a in server.experiments.status(9 * DAY).arms if a.people)
    assert (arm.people, arm.closed, arm.withdrawn, arm.ratings) == (1, 0, 1, 0)
    with sqlite3.connect(server.folder / "experiments.sqlite") as database:
        assert database.execute("SELECT count(*) FROM rating").fetchone() == (0,)


def test_a_damaged_file_is_an_error_with_a_remedy(server: Server) -> None:
    server.start()
    (server.folder / "served.json").write_text("{")
    with pytest.raises(ExperimentError, match="Move it away"):
        server.experiments.choose("anna", True)

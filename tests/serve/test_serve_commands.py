"""What is typed on the server's behalf: the gate is asked, and nothing happens unrecorded."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import elara
from test_serve_conversing import gate_record, records
from test_serve_feedback import ADAPTER, PLAN, judgement

from elara.audit.verify import SUMS_FILE
from elara.serve import Settings
from elara.serve.adapters import AdapterRefused
from elara.serve.commands import audit
from elara.serve.config import AUDIT_LOG, serving_folder
from elara.serve.experiments import Experiments
from elara.serve.feedback import Feedback, FeedbackStore
from elara.serve.journal import account, verify
from elara.serve.judged import adapter_identity
from elara.serve.keys import KeyFile
from elara.serve.released import admitted
from elara.workspace import Workspace, file_sha256

Told = Callable[..., str]


@pytest.fixture(autouse=True)
def _nothing_of_this_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ELARA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def candidate(trained: Workspace) -> Path:
    """Another adapter beside the one that is served; the gate has passed that one."""
    standing = trained.folder("train") / "adapter"
    (standing / SUMS_FILE).write_text("standing")
    gate_record(trained, "no regression found", file_sha256(standing / SUMS_FILE))
    place = shutil.copytree(standing, standing.with_name("candidate"))
    (place / "adapter_model.safetensors").write_bytes(b"5678")
    (place / SUMS_FILE).write_text("candidate")
    return place


@pytest.fixture
def plan(trained: Workspace, candidate: Path, tmp_path: Path) -> Path:
    hashes = {
        "standing": adapter_identity(trained.folder("train") / "adapter").weights_sha256,
        "candidate": adapter_identity(candidate).weights_sha256,
    }
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN | hashes))
    return tmp_path / "plan.yaml"


@pytest.fixture
def told(trained: Workspace) -> Told:
    """What a command about the trained workspace says; it fails with what it says as the error."""

    def tell(*words: object) -> str:
        done = elara(*words, "-w", trained.root)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return tell


def found_by_gate(place: Workspace, result: str, candidate: Path) -> None:
    """Leave what `elara loop` leaves of the gate."""
    loop = Workspace(place.root / "loop")
    loop.folder("evaluate").mkdir(parents=True, exist_ok=True)
    gate_record(loop, result, file_sha256(candidate / SUMS_FILE))


def running(place: Workspace) -> bool:
    return bool(Experiments(serving_folder(place), lambda event: None).notice())


def test_an_experiment_from_start_to_end(
    told: Told, plan: Path, candidate: Path, trained: Workspace
) -> None:
    found_by_gate(trained, "no regression found", candidate)
    assert told("ab", "start", "--plan", plan).startswith("warmer-")
    assert "result: undecided" in told("ab", "status")
    with pytest.raises(AssertionError, match="say why"):
        told("ab", "promote")
    name = adapter_identity(candidate).weights_sha256
    assert name in told("ab", "promote", "--reason", "the other was retracted")
    standing = adapter_identity(trained.folder("train") / "adapter").weights_sha256
    assert standing in told("ab", "rollback", "--reason", "it was a mistake")
    events = records(trained)
    assert [e["what"] for e in events] == ["ab-start", "ab-promote", "ab-rollback"]
    assert {e["by"] for e in events} == {account()}
    assert events[0]["details"]["candidate_gate"] == "no regression found"
    assert not verify(serving_folder(trained) / AUDIT_LOG).damage


@pytest.mark.parametrize(
    ("result", "why"),
    [("", "has not passed the release gate"), ("cannot tell", "could not tell")],
)
def test_what_the_gate_does_not_know_is_a_warning_on_the_screen_and_in_the_record(
    told: Told, plan: Path, candidate: Path, trained: Workspace, result: str, why: str
) -> None:
    if result:
        found_by_gate(trained, result, candidate)
    said = told("ab", "start", "--plan", plan)
    name = adapter_identity(candidate).weights_sha256
    (warning,) = [line for line in said.splitlines() if line.startswith("Warning")]
    assert name in warning
    assert why in warning
    details = records(trained)[0]["details"]
    assert details["candidate_gate"] == (result or "not asked")
    assert why in details["candidate_notice"]
    assert details["standing_notice"] == ""


def test_a_blocked_candidate_is_not_shown_to_people_without_a_recorded_reason(
    told: Told, plan: Path, candidate: Path, trained: Workspace
) -> None:
    found_by_gate(trained, "blocked", candidate)
    with pytest.raises(AssertionError, match=r"may not be served.*blocks this adapter \(seal\)"):
        told("ab", "start", "--plan", plan)
    assert not running(trained)
    assert not (serving_folder(trained) / AUDIT_LOG).exists()
    said = told("ab", "start", "--plan", plan, "--override", "a drill without people")
    assert "It is served all the same, for this reason: a drill without people" in said
    assert "only a server with an override of its own" in said
    (event,) = records(trained)
    assert event["details"]["candidate_gate"] == "blocked"
    assert "a drill without people" in event["details"]["candidate_notice"]


def test_a_candidate_that_is_blocked_meanwhile_is_not_promoted(
    told: Told, plan: Path, candidate: Path, trained: Workspace
) -> None:
    told("ab", "start", "--plan", plan)
    found_by_gate(trained, "blocked", candidate)
    with pytest.raises(AssertionError, match="blocks this adapter"):
        told("ab", "promote", "--reason", "people like it")
    assert running(trained)
    told("ab", "promote", "--reason", "people like it", "--override", "the seal is of last week")
    assert "the seal is of last week" in records(trained)[-1]["details"]["candidate_notice"]
    told("ab", "rollback")  # which the gate can never delay


def test_an_adapter_that_the_server_would_refuse_is_not_compared(
    told: Told, plan: Path, candidate: Path, trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (candidate / "model.py").touch()
    with pytest.raises(AssertionError, match="brings code of its own"):
        told("ab", "start", "--plan", plan)
    (candidate / "adapter_model.safetensors").write_bytes(b"another one")
    with pytest.raises(AssertionError, match="copy its folder there"):
        told("ab", "start", "--plan", plan)
    monkeypatch.setenv("ELARA_SERVE_UPSTREAMS", "http://127.0.0.1:1 model=elara")
    with pytest.raises(AssertionError, match="no folder of them is known here"):
        told("ab", "start", "--plan", plan)
    assert not running(trained)


def test_commands_act_on_the_folders_that_the_server_was_given(
    told: Told, trained: Workspace, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELARA_SERVE_SERVING", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("ELARA_SERVE_AUDIT_LOG", str(tmp_path / "logs" / "acts.sqlite"))
    told("ab", "start", "--plan", plan)
    assert (tmp_path / "elsewhere" / "served.json").exists()
    assert not verify(tmp_path / "logs" / "acts.sqlite").damage
    assert not serving_folder(trained).exists()


def test_where_no_server_keeps_anything_is_said(workspace: Workspace) -> None:
    missing = elara("ab", "status", "-w", workspace.root / "mistyped")
    assert "There is no workspace" in missing.stderr
    workspace.begin("collect", {}).write({})
    untrained = elara("feedback", "list", "-w", workspace.root)
    assert (untrained.returncode, "finish training" in untrained.stderr) == (1, True)


def test_feedback_is_listed_accepted_and_rejected(told: Told, trained: Workspace) -> None:
    path = serving_folder(trained) / "feedback.sqlite"
    store = FeedbackStore(path, lambda event: None, str)
    store.add(Feedback(**judgement(comment="short, but right")), "r1", ADAPTER)
    store.add(Feedback(**judgement(thumb="down")), "r2", ADAPTER)
    listed = told("feedback", "list")
    assert "short, but right" in listed
    assert "2 waiting, 0 accepted, 0 rejected" in listed
    assert told("feedback", "accept", "r1") == "r1: accepted\n"
    assert told("feedback", "reject", "r2") == "r2: rejected\n"
    assert "0 waiting, 1 accepted, 1 rejected" in told("feedback", "list")
    with pytest.raises(AssertionError, match="No feedback 'r9' is left"):
        told("feedback", "accept", "r9")
    whats = [event["what"] for event in records(trained)]
    assert whats == ["feedback-accepted", "feedback-rejected"]


def test_what_is_done_to_keys_is_recorded_and_the_key_is_not(
    told: Told, trained: Workspace, tmp_path: Path
) -> None:
    said = told("keys", "add", "ward 3", "--scope", "chat", "--scope", "admin", "--days", "30")
    token = said.splitlines()[0]
    assert f"Recorded in {serving_folder(trained) / AUDIT_LOG}." in said
    file = KeyFile(tmp_path / "config" / "elara" / "keys.json")
    (old,) = file.listed()
    newer = told("keys", "rotate", old.id, "--overlap-hours", "2").splitlines()[0]
    new = file.find(newer)
    assert new
    told("keys", "revoke", old.id)
    told("keys", "revoke", old.id)  # changes nothing
    made, rotated, revoked = records(trained)
    assert [e["what"] for e in (made, rotated, revoked)] == [
        "key-made",
        "key-rotated",
        "key-revoked",
    ]
    assert {e["by"] for e in (made, rotated, revoked)} == {account()}
    assert old.expires
    ends = old.expires.isoformat(timespec="seconds")
    assert made["details"] == {"key": old.id, "scopes": "chat+admin", "expires": ends}
    assert (rotated["details"]["key"], rotated["details"]["old"]) == (new.id, old.id)
    assert rotated["details"]["old_expires"] < ends
    assert revoked["details"]["key"] == old.id
    log = b"".join(p.read_bytes() for p in serving_folder(trained).iterdir())
    for secret in (token, newer):
        assert secret.split("_", 2)[2].encode() not in log
    assert old.sha256.encode() not in log
    assert b"ward 3" not in log


@pytest.mark.parametrize("act", ["add", "rotate", "revoke"])
def test_a_key_is_not_changed_where_that_cannot_be_recorded(
    act: str, told: Told, trained: Workspace, tmp_path: Path
) -> None:
    told("keys", "add", "ward 3", "--scope", "chat")
    file = tmp_path / "config" / "elara" / "keys.json"
    (key,) = KeyFile(file).listed()
    before = file.read_bytes()
    (serving_folder(trained) / AUDIT_LOG).write_bytes(b"no database")
    words = {"add": ["more", "--scope", "chat"]}.get(act, [key.id])
    with pytest.raises(AssertionError, match=r"audit log .* cannot be written"):
        told("keys", act, *words)
    assert file.read_bytes() == before
    assert not [p for p in file.parent.iterdir() if p.name.startswith(".")]


def test_a_log_that_cannot_be_made_is_an_error_with_a_remedy(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("ELARA_SERVE_AUDIT_LOG", str(tmp_path / "a file" / "audit.sqlite"))
    with pytest.raises(AssertionError, match=r"cannot be written .* nothing was done"):
        told("keys", "add", "ward 3", "--scope", "chat")


def test_without_a_log_a_key_is_made_and_that_is_said(workspace: Workspace, tmp_path: Path) -> None:
    done = elara("keys", "add", "ward 3", "--scope", "chat")
    assert done.returncode == 0
    assert "Not recorded: no server keeps an audit log here" in done.stderr
    assert not workspace.root.exists()
    named = elara("keys", "add", "ward 4", "--scope", "chat", "-w", tmp_path / "mistyped")
    assert "There is no workspace" in named.stderr
    assert [k.name for k in KeyFile(tmp_path / "config/elara/keys.json").listed()] == ["ward 3"]


def test_several_write_one_chain(trained: Workspace, tmp_path: Path) -> None:
    log = serving_folder(trained) / AUDIT_LOG

    def add(number: int) -> Any:
        keys = KeyFile(tmp_path / f"{number}.json", audit=lambda event: audit(log, event))
        return keys.add(str(number), ["chat"])[0]

    with ThreadPoolExecutor(4) as pool:
        made = {key.id for key in pool.map(add, range(8))}
    assert {e["details"]["key"] for e in records(trained)} == made
    assert not verify(log).damage
    assert json.dumps(records(trained)).count("key-made") == 8


def test_the_server_reads_what_the_loop_left_of_the_gate(
    candidate: Path, trained: Workspace
) -> None:
    found_by_gate(trained, "blocked", candidate)
    settings = Settings.from_environment({}, workspace=str(trained.root))
    standing = admitted(trained.folder("train") / "adapter", settings.gate, "")
    assert standing.result == "no regression found"
    with pytest.raises(AdapterRefused, match=r"loop/.*gate\.json"):
        admitted(candidate, settings.gate, "")
    both = ",".join(map(str, settings.gate))
    named = Settings.from_environment({"ELARA_SERVE_GATE": both}, workspace=str(trained.root))
    assert named.gate == settings.gate

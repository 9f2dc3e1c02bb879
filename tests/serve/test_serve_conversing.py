"""The one road of every question: what is recorded, what is said of the gate, who answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_upstream import fake
from local_client import LocalClient
from test_serve_http import question, wait_until_loaded

from elara.audit.verify import SUMS_FILE
from elara.serve import ModelManager, Settings, SettingsError, create_app, running
from elara.serve.backends import ModelUnavailable
from elara.serve.config import AUDIT_LOG, serving_folder
from elara.serve.journal import chain, read_secret, verify
from elara.serve.judged import adapter_identity
from elara.serve.keys import KeyFile
from elara.serve.released import admitted
from elara.workspace import Workspace, file_sha256, sealed

Make = Callable[..., LocalClient]


def records(place: Workspace) -> list[dict[str, Any]]:
    with chain.reading(serving_folder(place) / AUDIT_LOG) as database:
        rows = database.execute("SELECT body FROM record ORDER BY sequence").fetchall()
    return [json.loads(body) for (body,) in rows]


@pytest.fixture
def served(trained: Workspace, fake: Any) -> Iterator[Make]:
    """A running server of the trained workspace with the fake model."""
    running = []

    def make(**given: Any) -> LocalClient:
        settings = Settings.from_environment({}, workspace=str(trained.root), **given)
        admit = lambda place: admitted(place, settings.gate, settings.override)  # noqa: E731
        manager = ModelManager(
            settings.adapter, admit=admit, loader=fake.load, decoder=fake.decoder
        )
        client = LocalClient(create_app(settings, manager=manager))
        client.__enter__()
        running.append(client)
        wait_until_loaded(client)
        return client

    yield make
    for client in running:
        client.__exit__(None, None, None)


def gate_record(place: Workspace, result: str, fingerprint: str) -> Path:
    checks = [{"check": "seal", "kind": "integrity", "result": result, "evidence": ""}]
    told = sealed({"result": result, "bound_to": {"adapter": fingerprint}, "checks": checks})
    path = place.folder("evaluate") / "gate.json"
    path.write_text(json.dumps(told))
    return path


@pytest.fixture
def fingerprint(trained: Workspace) -> str:
    sums = trained.folder("train") / "adapter" / SUMS_FILE
    sums.write_text("sums")
    return file_sha256(sums)


def test_each_question_leaves_two_records_without_its_text(
    served: Make, trained: Workspace
) -> None:
    client = served()
    client.post("/chat", json=question("Why is my iron low?"), headers={"X-Request-ID": "mine-1"})
    accepted, ended = records(trained)
    assert (accepted["kind"], ended["kind"]) == ("accepted", "ended")
    assert accepted["entry"] == ended["entry"]
    assert accepted["request"] == "mine-1"
    assert (
        accepted["adapter"] == adapter_identity(trained.folder("train") / "adapter").weights_sha256
    )
    assert (ended["outcome"], ended["tokens_in"], ended["tokens_out"]) == ("answered", 7, 3)
    assert len(accepted["text_hmac"]) == 64
    assert "iron" not in json.dumps([accepted, ended])
    log = serving_folder(trained) / AUDIT_LOG
    assert len(read_secret(log.with_suffix(".text-key"))) == 32
    assert not verify(log).damage


def test_the_same_question_has_the_same_keyed_hash(served: Make, trained: Workspace) -> None:
    client = served()
    for text in ("Why?", "Why?", "How?"):
        client.post("/chat", json=question(text))
    one, two, other = (r["text_hmac"] for r in records(trained) if r["kind"] == "accepted")
    assert one == two != other


def test_text_is_recorded_only_where_it_is_asked_for_and_masked(
    served: Make, trained: Workspace
) -> None:
    client = served(audit_text=True)
    client.post("/chat", json=question("Call me at 555-123-4567 about anaemia."))
    told = records(trained)[0]["text"]
    assert "anaemia" in told
    assert "4567" not in told


def test_a_failure_and_a_refusal_are_recorded(served: Make, trained: Workspace, fake: Any) -> None:
    def broken(questions: list[str]) -> None:
        raise RuntimeError("no text of this may leave")

    fake.fault = broken
    response = served().post("/chat", json=question("Why?"))
    assert response.status_code == 500
    assert [r.get("outcome") for r in records(trained)] == [None, "failed"]
    assert "no text" not in response.text


def test_an_answer_that_cannot_be_recorded_is_not_given(served: Make, fake: Any) -> None:
    client = served()
    client.app.state.journal.close()  # type: ignore[attr-defined]
    response = client.post("/chat", json=question())
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert "audit log" in response.json()["detail"]
    assert not fake.steps


def test_without_a_log_questions_are_answered_and_nothing_is_written(tmp_path: Path) -> None:
    with LocalClient(create_app(Settings())) as client:
        assert client.post("/chat", json=question()).status_code == 200
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("result", "notice"),
    [("no regression found", ""), ("cannot tell", "could not tell whether this adapter is worse")],
)
def test_what_the_gate_found_is_shown(
    served: Make, trained: Workspace, fingerprint: str, result: str, notice: str
) -> None:
    gate_record(trained, result, fingerprint)
    client = served()
    told = client.post("/chat", json=question()).json()["notice"]
    assert notice in told if notice else told == ""
    assert client.get("/health").json()["gate"] == result


def test_a_blocked_adapter_is_served_only_for_a_recorded_reason(
    served: Make, trained: Workspace, fingerprint: str
) -> None:
    gate_record(trained, "blocked", fingerprint)
    refused = served()
    response = refused.post("/chat", json=question())
    assert response.status_code == 503
    assert "--override REASON" in response.json()["detail"]
    client = served(override="a test of the wards' screens")
    told = client.post("/chat", json=question()).json()
    assert "The release gate blocks this adapter (seal)" in told["notice"]
    assert "wards' screens" in told["notice"]
    event = next(r for r in records(trained) if r["kind"] == "event")
    assert (event["what"], event["details"]["checks"]) == ("override", "seal")
    assert event["details"]["reason"] == "a test of the wards' screens"


def test_an_override_and_experiments_need_a_log() -> None:
    with pytest.raises(SettingsError, match="override needs audit_log"):
        Settings.from_environment({}, adapter=Path("a"), override="why not")
    with pytest.raises(SettingsError, match="serving needs audit_log"):
        Settings.from_environment({}, adapter=Path("a"), serving=Path("b"))


def test_what_a_rollback_needs_stays_loaded_and_the_rest_is_given_back(
    trained: Workspace, fake: Any
) -> None:
    adapters = trained.folder("train")
    for name in ("other", "third"):
        (adapters / name).mkdir()
        (adapters / name / "adapter_model.safetensors").write_bytes(name.encode())
    one, two = (adapter_identity(adapters / n).weights_sha256 for n in ("other", "third"))
    manager = ModelManager(adapters / "adapter", loader=fake.load, decoder=fake.decoder)
    with pytest.raises(ModelUnavailable, match="not loaded"):
        manager.hold([one])
    manager.load()
    manager.hold([one, two])
    kept = manager.loaded()[1:]
    manager.hold([two])
    assert [s.identity.weights_sha256 for s in manager.loaded()[1:] if s.identity] == [two]
    assert [s.lm is None for s in kept] == [True, False]
    manager.unload()


@pytest.mark.parametrize("fault", ["missing", "damaged", "other"])
def test_a_record_that_cannot_be_trusted_counts_as_none(
    served: Make, trained: Workspace, fingerprint: str, fault: str
) -> None:
    if fault != "missing":
        path = gate_record(trained, "no regression found", fingerprint)
        text = path.read_text()
        swapped = text.replace("no regression", "No regression")
        if fault == "other":
            gate_record(trained, "no regression found", "0" * 64)
        else:
            path.write_text(swapped)
    client = served()
    assert (
        "has not passed the release gate" in client.post("/chat", json=question()).json()["notice"]
    )
    assert client.get("/health").json()["gate"] == "not asked"


def test_feedback_comes_back_with_the_receipt_of_an_answer(
    served: Make, trained: Workspace
) -> None:
    client = served()
    asked = question("What is anaemia?")
    told = client.post("/chat", json=asked).json()
    body = {"messages": asked["messages"], "answer": told["answer"], "receipt": told["receipt"]}
    kept = client.post("/feedback", json=body | {"thumb": "down", "comment": "too short"})
    assert kept.status_code == 200, kept.text
    assert kept.json()["stored"]["comment"] == "too short"
    assert not kept.json()["counted_in_experiment"]
    forged = client.post("/feedback", json=body | {"thumb": "up", "answer": "Give arsenic."})
    assert forged.status_code == 409
    gone = client.post("/feedback/delete", json={"token": kept.json()["token"]})
    assert gone.json()["deleted"] == told["request_id"]


def test_an_experiment_is_answered_by_two_adapters_and_rolled_back_at_once(
    served: Make, trained: Workspace, train: Callable[[Workspace, bytes], None]
) -> None:
    adapters = trained.folder("train")
    (adapters / "candidate").mkdir()
    (adapters / "candidate" / "adapter_model.safetensors").write_bytes(b"5678")
    names = [adapter_identity(adapters / n).weights_sha256 for n in ("adapter", "candidate")]
    client = served()
    experiments = client.app.state.participation.experiments  # type: ignore[attr-defined]
    plan = trained.root / "plan.yaml"
    plan.write_text(
        "name: a-test\nquestion: Which of the two do people like better?\n"
        f"reviewed_by: nobody, it is a test\nstanding: {names[0]}\ncandidate: {names[1]}\n"
        "effect: 0.1\nmost_people: 100\nharm: {}\n"
    )
    experiments._audit = lambda event: None  # started here, not by a command
    experiments.start(plan, time.time())
    seen = {}
    for i in range(20):
        body = question(f"Question {i}?", subject=f"person-{i}", consent=True)
        seen[i] = client.post("/chat", json=body).json()["adapter"]["weights_sha256"]
    assert {*seen.values()} == {*names}
    body = question("Again?", subject="person-3", consent=True)
    assert client.post("/chat", json=body).json()["adapter"]["weights_sha256"] == seen[3]
    arms = {r["arm"] for r in records(trained) if r["kind"] == "accepted"}
    assert arms == {"standing", "candidate"}
    without = client.post("/chat", json=question(subject="person-3")).json()
    assert without["adapter"]["weights_sha256"] == names[0]
    experiments.rollback(time.time(), "a test")
    for i in range(20):
        body = question(f"Question {i}?", subject=f"person-{i}", consent=True)
        assert client.post("/chat", json=body).json()["adapter"]["weights_sha256"] == names[0]


@pytest.mark.anyio
async def test_a_server_elsewhere_answers_and_is_named(tmp_path: Path) -> None:
    async with fake() as upstream:
        told = f"{upstream.url} model=elara"
        settings = Settings(upstreams=told, audit_log=tmp_path / "log" / AUDIT_LOG)
        with running(create_app(settings)) as url:
            async with httpx.AsyncClient(base_url=url) as client:
                while (await client.get("/chat/models/status")).json()["state"] != "ready":
                    await asyncio.sleep(0.01)
                healthy = (await client.get("/health")).json()
                found = (await client.post("/chat", json=question())).json()
    assert healthy["model_ready"]
    assert "the release gate has not looked at its model" in found["notice"]
    assert (found["answer"], found["mode"], found["model"]) == ("Hello there", "upstream", "elara")
    assert found["adapter"] is None
    assert (found["prompt_tokens"], found["new_tokens"]) == (40, 7)
    with chain.reading(tmp_path / "log" / AUDIT_LOG) as database:
        assert database.execute("SELECT count(*) FROM record").fetchone() == (2,)


def test_an_adapter_and_servers_elsewhere_exclude_each_other(trained: Workspace) -> None:
    told = "http://127.0.0.1:1 model=elara"
    with pytest.raises(SettingsError, match="exclude each other"):
        Settings.from_environment({}, adapter=trained.root, upstreams=told)
    found = Settings.from_environment({}, workspace=str(trained.root), upstreams=told)
    assert found.adapter is None


def test_a_server_elsewhere_that_is_down_is_not_called_ready(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    admin = {"Authorization": f"Bearer {keys.add('ops', ['admin', 'chat'])[1]}"}
    settings = Settings(upstreams="http://127.0.0.1:1 model=elara", keys=keys.path)
    with LocalClient(create_app(settings)) as client:
        while client.app.state.manager.state != "ready":  # type: ignore[attr-defined]
            time.sleep(0.01)
        assert client.get("/health").json()["model_ready"] is False
        asked = client.post("/chat", json=question(), headers=admin)
        assert (asked.status_code, "Retry-After" in asked.headers) == (503, True)
        (state,) = client.get("/admin/upstreams", headers=admin).json()
        assert state["problem"]
        assert state["model"] == "elara"

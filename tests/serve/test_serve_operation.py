"""Counts, the cache of answers, and what an administrator does while the server runs."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from local_client import LocalClient
from prometheus_client.parser import text_string_to_metric_families
from test_serve_conversing import records
from test_serve_http import question, wait_until_loaded

from elara.serve import ModelManager, Settings, SettingsError, create_app
from elara.serve.backends import Ask, End
from elara.serve.cache import AnswerCache
from elara.serve.config import AUDIT_LOG, EMERGENCY, serving_folder
from elara.serve.journal import Verification, chain, make_key
from elara.serve.judged import adapter_identity
from elara.serve.keys import KeyFile
from elara.workspace import Workspace

END = End(finished=True, prompt_tokens=1, new_tokens=1, seconds=0.1)


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture
def serve(trained: Workspace, fake: Any) -> Iterator[Callable[..., LocalClient]]:
    running: list[LocalClient] = []

    def make(**given: Any) -> LocalClient:
        settings = Settings.from_environment({}, workspace=str(trained.root), **given)
        manager = ModelManager(settings.adapter, loader=fake.load, decoder=fake.decoder)
        client = LocalClient(create_app(settings, manager=manager))
        running.append(client)
        client.__enter__()
        return client

    yield make
    for client in running:
        client.__exit__(None, None, None)


def counts(client: LocalClient, **headers: str) -> dict[str, float]:
    text = client.get("/metrics", headers=headers).text
    families = text_string_to_metric_families(text)
    return {
        " ".join([sample.name, *(v for v in sample.labels.values() if v)]): sample.value
        for family in families
        for sample in family.samples
    }


def test_questions_tokens_and_time_are_counted(serve: Any, fake: Any) -> None:
    client = serve()
    wait_until_loaded(client)
    client.post("/chat", json=question("one"))

    def broken(questions: list[str]) -> None:
        raise RuntimeError

    fake.fault = broken
    client.post("/chat", json=question("two"))
    found = counts(client)
    assert found["elara_questions_total answered"] == 1
    assert found["elara_questions_total failed"] == 1
    assert (found["elara_tokens_total read"], found["elara_tokens_total written"]) == (7, 3)
    assert found["elara_answer_seconds_count"] == 2
    assert (found["elara_model_ready"], found["elara_chats_waiting"]) == (1, 0)


def test_the_same_question_is_answered_from_memory_and_recorded(
    serve: Any, fake: Any, trained: Workspace
) -> None:
    client = serve()
    wait_until_loaded(client)
    one, two = (client.post("/chat", json=question("one")).json() for _ in range(2))
    assert (one["answer"], one["cached"], two["cached"]) == (two["answer"], False, True)
    assert len(fake.batches) == 1
    warm = [client.post("/chat", json=question("one", temperature=0.5)).json() for _ in range(2)]
    assert not any(answer["cached"] for answer in warm)
    found = counts(client)
    assert (found["elara_cache_total hit"], found["elara_cache_total miss"]) == (1, 1)
    assert sum(r["kind"] == "ended" for r in records(trained)) == 4


def test_an_answer_is_given_to_nobody_else() -> None:
    cache = AnswerCache(8)
    ask = Ask([{"role": "user", "content": "a"}], 9, 0.0, 0, 1.0)
    told = {"adapter": "a", "template": "t", "account": "me"}
    cache.keep(cache.key(ask, **told), "mine", END)
    assert cache.find(cache.key(ask, **told)) == ("mine", END)
    for change in ({"adapter": "b"}, {"template": "u"}, {"account": "you"}):
        assert cache.find(cache.key(ask, **(told | change))) is None
    longer = Ask(ask.messages, 10, 0.0, 0, 1.0)
    assert cache.find(cache.key(longer, **told)) is None


def test_the_oldest_answer_goes_and_none_may_be_kept() -> None:
    cache, none = AnswerCache(2), AnswerCache(0)
    for name in ("a", "b", "c"):
        cache.keep(name, name, END)
        if name == "b":
            assert cache.find("a")  # asked for again, so `b` is the oldest
    assert [bool(cache.find(name)) for name in ("a", "b", "c")] == [True, False, True]
    ask = Ask([{"role": "user", "content": "a"}], 9, 0.0, 0, 1.0)
    assert none.key(ask, adapter="a", template="", account="") == ""


def test_an_administrator_exchanges_the_adapter_and_it_is_recorded(
    serve: Any, trained: Workspace, keys: KeyFile
) -> None:
    adapters = trained.folder("train")
    (adapters / "other").mkdir()
    (adapters / "other" / "adapter_model.safetensors").write_bytes(b"5678")
    one, two = (adapter_identity(adapters / n).weights_sha256 for n in ("adapter", "other"))
    admin, token = keys.add("ops", ["admin"])
    chat = keys.add("ward", ["chat"])[1]
    client = serve(keys=keys.path)
    headers, asks = ({"Authorization": f"Bearer {t}"} for t in (token, chat))
    while not client.get("/health").json()["model_ready"]:
        pass
    assert client.post("/admin/swap", json={"adapter": "other"}, headers=asks).status_code == 403
    before = client.post("/chat", json=question("x"), headers=asks).json()
    swapped = client.post("/admin/swap", json={"adapter": "other"}, headers=headers)
    assert swapped.json()["weights_sha256"] == two
    after = client.post("/chat", json=question("x"), headers=asks).json()
    assert [a["adapter"]["weights_sha256"] for a in (before, after)] == [one, two]
    assert not after["cached"]  # the answer of the adapter before is not this one's
    event = next(r for r in records(trained) if r["kind"] == "event")
    assert (event["what"], event["by"]) == ("swap", admin.id)
    assert (event["details"]["before"], event["details"]["after"]) == (one, two)
    loaded = client.get("/admin/adapters", headers=headers).json()
    assert [entry["serves"] for entry in loaded] == [True]
    for name, status in (("../secret", 409), ("a" * 200, 409), ("\0", 422)):
        missing = client.post("/admin/swap", json={"adapter": name}, headers=headers)
        assert missing.status_code == status
    assert client.get("/health").json()["adapter"] == two


def test_counts_need_their_own_scope(serve: Any, keys: KeyFile) -> None:
    token, chat = keys.add("prometheus", ["metrics"])[1], keys.add("ward", ["chat"])[1]
    client = serve(keys=keys.path)
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": f"Bearer {chat}"}).status_code == 403
    assert "elara_model_ready" in counts(client, Authorization=f"Bearer {token}")


@pytest.fixture
def admin(serve: Any, keys: KeyFile, tmp_path: Path) -> LocalClient:
    """A server that signs its own log, asked with an administrator's key."""
    _, token = keys.add("ops", ["admin", "chat"], days=9)
    make_key(tmp_path / "sign.key")
    client: LocalClient = serve(keys=keys.path, signing_key=tmp_path / "sign.key")
    client.headers["Authorization"] = f"Bearer {token}"
    wait_until_loaded(client)
    return client


def test_the_audit_log_is_verified_with_its_public_key(
    admin: LocalClient, trained: Workspace, tmp_path: Path
) -> None:
    admin.post("/chat", json=question("one"))
    found = admin.get("/admin/audit").json()
    assert found["ok"] is True, found
    assert found["lines"][-1].startswith("Whole:")
    (tmp_path / "sign.key.pub").unlink()
    unsigned = admin.get("/admin/audit").json()
    assert unsigned["ok"] is None
    assert "no signature was checked" in unsigned["lines"][-1]
    with chain.reading(serving_folder(trained) / AUDIT_LOG) as log:
        file = log.execute("PRAGMA database_list").fetchone()[2]
    with closing(sqlite3.connect(file)) as log:
        log.execute("DELETE FROM record WHERE sequence = 1")
        log.commit()
    damaged = admin.get("/admin/audit").json()
    assert damaged["ok"] is False
    assert "Removed: record 1." in damaged["lines"][0]


def test_the_audit_log_is_verified_once_at_a_time(admin: LocalClient, monkeypatch: Any) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(*given: Any) -> Verification:
        begun.set()
        assert go.wait(60)
        return Verification([], [], signed=True)

    monkeypatch.setattr("elara.serve.admin.verify", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(admin.get, "/admin/audit")
        assert begun.wait(60)
        second = admin.get("/admin/audit")
        assert (second.status_code, second.headers["Retry-After"]) == (429, "5")
        assert admin.get("/health").status_code == 200
        go.set()
        assert first.result().json()["ok"] is True
    assert admin.get("/admin/audit").json()["ok"] is True


def test_a_log_that_cannot_be_read_or_is_not_kept_is_no_whole_one(
    admin: LocalClient, tmp_path: Path
) -> None:
    (tmp_path / "sign.key.pub").write_text("no key")
    found = admin.get("/admin/audit").json()
    assert found["ok"] is None
    assert "no Ed25519 public key" in found["lines"][0]
    kept = KeyFile(tmp_path / "keys.json")
    with LocalClient(create_app(Settings(keys=kept.path)), headers=admin.headers) as without:
        found = without.get("/admin/audit").json()
    assert found["ok"] is None
    assert "ELARA_SERVE_AUDIT_LOG" in found["lines"][0]


def test_keys_are_shown_without_what_opens(admin: LocalClient, keys: KeyFile) -> None:
    ward, token = keys.add("ward", ["chat"], tokens_per_day=500)
    asked = {"Authorization": f"Bearer {token}"}
    admin.post("/chat", json=question("one"), headers=asked)
    newer, newest = keys.rotate(ward.id)
    keys.revoke(ward.id)
    response = admin.get("/admin/keys")
    told = {key["id"]: key for key in response.json()}
    assert told[ward.id]["state"] == "revoked"
    assert (told[newer.id]["state"], told[newer.id]["name"]) == ("valid", "ward")
    assert told[newer.id]["tokens_per_day"] == 500
    assert told[newer.id]["tokens_today"] == told[ward.id]["tokens_today"] == 10
    for secret in (token.split("_", 2)[2], newest.split("_", 2)[2], ward.sha256, newer.sha256):
        assert secret not in response.text


def test_the_queue_is_shown(admin: LocalClient, fake: Any) -> None:
    empty = {"waiting": 0, "writing": 0, "queue_limit": 32, "ready": True, "state": "ready"}
    assert admin.get("/admin/queue").json() == empty
    fake.may_answer.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(admin.post, "/chat", json=question("one"))
        assert fake.answering.wait(60)
        second = pool.submit(admin.post, "/chat", json=question("two"))
        while not (found := admin.get("/admin/queue").json())["waiting"]:
            pass
        assert found == empty | {"waiting": 1, "writing": 1}
        fake.may_answer.set()
        assert first.result().status_code == second.result().status_code == 200


def test_the_page_learns_what_it_needs_without_a_key(admin: LocalClient) -> None:
    anybody = {"Authorization": ""}
    found = admin.get("/app/about", headers=anybody).json()
    assert found["emergency"] == EMERGENCY
    assert (found["mode"], found["base"], found["keys_required"]) == ("model", True, True)
    assert (found["feedback"], found["images"], found["retrieval"]) == (True, False, None)
    assert len(found["specialties"]) == 13
    index = SimpleNamespace(identity="abc", passages=7, licences="redistributable", secret="x")
    admin.app.state.sources.index = index  # type: ignore[attr-defined]
    told = admin.get("/app/about", headers=anybody).json()["retrieval"]
    assert told == {"identity": "abc", "passages": 7, "licences": "redistributable"}
    assert admin.get("/app/other", headers=anybody).status_code == 404


def test_the_page_learns_that_nobody_answers_and_what_the_setting_says() -> None:
    settings = Settings.from_environment({"ELARA_SERVE_EMERGENCY": " Call 112 <now>. "})
    with LocalClient(create_app(settings)) as client:
        found = client.get("/app/about").json()
    assert found["emergency"] == "Call 112 <now>."
    assert (found["mode"], found["base"], found["feedback"]) == ("simulation", False, False)
    assert found["keys_required"] is False
    for text in ("x" * 301, " ", "two\nlines"):
        with pytest.raises(SettingsError, match="ELARA_SERVE_EMERGENCY"):
            Settings.from_environment({"ELARA_SERVE_EMERGENCY": text})

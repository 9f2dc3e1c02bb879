"""Counts, the cache of answers, and what an administrator does while the server runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_client import LocalClient
from prometheus_client.parser import text_string_to_metric_families
from test_serve_conversing import records
from test_serve_http import question, wait_until_loaded

from elara.serve import ModelManager, Settings, create_app
from elara.serve.backends import Ask, End
from elara.serve.cache import AnswerCache
from elara.serve.config import adapter_identity
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

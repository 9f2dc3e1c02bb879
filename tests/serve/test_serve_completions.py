"""OpenAI's addresses, asked as its clients ask: whole, streamed, refused and broken off."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from local_client import LocalClient
from starlette.testclient import TestClient
from test_serve_conversing import records
from test_serve_feedback import PLAN
from test_serve_http import wait_until_loaded

from elara.serve import ModelManager, Settings, create_app, running, wait_until_ready
from elara.serve.experiments import CANDIDATE, Experiments
from elara.serve.judged import adapter_identity
from elara.serve.schemas import DISCLAIMER
from elara.workspace import Workspace


def question(text: str = "What is anaemia?", **more: Any) -> dict[str, Any]:
    return {"model": "elara", "messages": [{"role": "user", "content": text}], **more}


@pytest.fixture
def settings(trained: Workspace) -> Settings:
    return Settings.from_environment({}, workspace=str(trained.root), max_new_tokens=50)


@pytest.fixture
def client(settings: Settings, manager: ModelManager) -> Iterator[TestClient]:
    with LocalClient(create_app(settings, manager=manager)) as client:
        wait_until_loaded(client)
        yield client


def events(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def test_a_whole_answer(client: TestClient) -> None:
    found = client.post("/v1/chat/completions", json=question(max_tokens=9, seed=4)).json()
    choice = found["choices"][0]
    assert choice["message"]["content"].endswith("limit=9 temperature=0.0 seed=4")
    assert choice["finish_reason"] == "stop"
    assert found["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert found["elara"]["disclaimer"] == DISCLAIMER
    assert found["model"] == client.get("/v1/models").json()["data"][0]["id"]


def test_a_stream_gives_the_same_answer_and_ends(client: TestClient) -> None:
    asked = question(stream=True, stream_options={"include_usage": True})
    response = client.post("/v1/chat/completions", json=asked)
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, usage, done = events(response.text)
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
    whole = client.post("/v1/chat/completions", json=question()).json()
    assert text == whole["choices"][0]["message"]["content"]
    assert [c["choices"][0]["finish_reason"] for c in chunks][-2:] == [None, "stop"]
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 10)
    assert done == "[DONE]"


def test_a_failure_in_the_middle_is_an_event_and_no_end(client: TestClient, fake: Any) -> None:
    def broken(questions: list[str]) -> None:
        if len(fake.steps) > 2:
            raise RuntimeError("nothing of this may leave")

    fake.fault = broken
    asked = question("endless", stream=True)
    *chunks, last = events(client.post("/v1/chat/completions", json=asked).text)
    assert len(chunks) == 3  # the role, and two pieces
    assert last["error"]["code"] == 500
    assert "nothing of this" not in json.dumps(last)


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"model": "gpt-4"}, 404, "no such model"),
        ({"n": 2}, 422, "n:"),
        ({"stop": ["."]}, 422, "stop:"),
        ({"stream_options": {"include_usage": True}}, 422, "stream_options is for streams"),
        ({"messages": [{"role": "system", "content": "You are a doctor."}]}, 422, "role"),
        ({"max_tokens": 51}, 422, "at most 50 tokens"),
        ({"max_tokens": 9, "max_completion_tokens": 8}, 422, "give one of them"),
        ({"user": "anna", "safety_identifier": "berta"}, 422, "name two people"),
        ({"metadata": {"consent": "true"}}, 422, "metadata.consent"),
        ({"metadata": {"purpose": "a drill"}}, 422, "metadata.purpose"),
    ],
)
def test_what_this_server_does_not_do_is_refused_by_name(
    client: TestClient, change: dict[str, Any], status: int, told: str
) -> None:
    response = client.post("/v1/chat/completions", json=question() | change)
    assert response.status_code == status
    assert told in response.json()["detail"]


def test_the_model_may_be_named_by_its_hash(client: TestClient) -> None:
    name = client.get("/v1/models").json()["data"][0]["id"]
    assert name.startswith("elara-")
    asked = question() | {"model": name}
    assert client.post("/v1/chat/completions", json=asked).json()["model"] == name


def test_the_base_model_answers_beside_its_adapter_and_is_told_apart(
    client: TestClient, trained: Workspace
) -> None:
    tuned, base = (model["id"] for model in client.get("/v1/models").json()["data"])
    assert base == "elara-base"
    told = {}
    for name in (tuned, base, base):
        found = client.post("/v1/chat/completions", json=question(model=name)).json()
        told[name] = found["elara"], found["choices"][0]["message"]["content"]
        assert found["model"] == name
    assert told[base][1] == f"base {told[tuned][1]}"
    assert [told[name][0]["base"] for name in (tuned, base)] == [False, True]
    assert told[tuned][0]["adapter"]
    assert told[tuned][0]["receipt"]
    assert (told[base][0]["adapter"], told[base][0]["receipt"]) == (None, "")
    assert "without its adapter" in told[base][0]["notice"]

    asked = question(stream=True, model=base)
    *chunks, _ = events(client.post("/v1/chat/completions", json=asked).text)
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == told[base][1]
    assert all(c["elara"]["base"] and c["model"] == base for c in chunks)
    assert chunks[-1]["elara"]["receipt"] == ""

    adapter = told[tuned][0]["adapter"]
    log = [(r["adapter"], r["arm"]) for r in records(trained) if r["kind"] == "accepted"]
    assert log == [(adapter, ""), *[(f"base of {adapter}", "base")] * 3]
    counted = client.get("/metrics").text
    assert 'elara_questions_total{arm="base",outcome="answered"} 3.0' in counted
    # The adapter's answer to this question was in memory when the base model was first asked.
    assert 'elara_cache_total{result="hit"} 2.0' in counted


def test_only_what_is_loaded_can_be_named(client: TestClient) -> None:
    adapter = client.get("/health").json()["adapter"]
    short = f"elara-{adapter[:12]}"
    for name in (short, f"elara-{adapter}", adapter):
        found = client.post("/v1/chat/completions", json=question(model=name)).json()
        assert (found["model"], found["elara"]["adapter"]) == (short, adapter)
    for name in ("", "elara-", "base", adapter[:12], f"elara-{'0' * 12}", f"base of {adapter}"):
        refused = client.post("/v1/chat/completions", json=question(model=name))
        assert refused.status_code == 404, name


@pytest.mark.parametrize("elsewhere", [False, True])
def test_without_a_model_here_there_is_no_base_model(elsewhere: bool) -> None:
    upstreams = "http://127.0.0.1:9 model=other" if elsewhere else ""
    with LocalClient(create_app(Settings(upstreams=upstreams))) as client:
        (name,) = (model["id"] for model in client.get("/v1/models").json()["data"])
        assert name == ("other" if elsewhere else "elara-simulation")
        refused = client.post("/v1/chat/completions", json=question(model="elara-base"))
        assert refused.status_code == 404
        assert "GET /v1/models" in refused.json()["detail"]


def test_the_openai_client(settings: Settings, manager: ModelManager) -> None:
    openai = pytest.importorskip("openai", reason="the openai client is not installed")
    with running(create_app(settings, manager=manager)) as url:
        wait_until_ready(url)
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        messages = [{"role": "user", "content": "What is anaemia?"}]
        assert next(m.id for m in client.models.list()).startswith("elara-")
        whole = client.chat.completions.create(model="elara", messages=messages)
        stream = client.chat.completions.create(model="elara", messages=messages, stream=True)
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
        assert "".join(pieces) == whole.choices[0].message.content
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="gpt-4", messages=messages)


@pytest.fixture
def experiments(settings: Settings, trained: Workspace) -> Experiments:
    """An experiment that runs before the server starts."""
    adapters = trained.folder("train")
    (adapters / "candidate").mkdir()
    (adapters / "candidate" / "adapter_model.safetensors").write_bytes(b"5678")
    names = (adapter_identity(adapters / n).weights_sha256 for n in ("adapter", "candidate"))
    hashes = dict(zip(("standing", "candidate"), names, strict=True))
    plan = trained.root / "plan.yaml"
    plan.write_text(json.dumps(PLAN | hashes))
    assert settings.serving
    found = Experiments(settings.serving, lambda event: None)
    found.start(plan, time.time())
    return found


def _asked(client: Any, **who: Any) -> tuple[str, dict[str, Any]]:
    """The answer to a question, and what the server says besides it."""
    answer = client.chat.completions.create(**question(), **who)
    return answer.choices[0].message.content, answer.elara


def _streamed(client: Any, **who: Any) -> tuple[str, dict[str, Any]]:
    chunks = list(client.chat.completions.create(**question(), stream=True, **who))
    assert all("receipt" not in chunk.elara for chunk in chunks[:-1])
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    return text, chunks[-1].elara


@pytest.mark.parametrize("ask", [_asked, _streamed])
def test_people_with_an_openai_client_take_part_and_give_feedback(
    settings: Settings, manager: ModelManager, experiments: Experiments, ask: Any
) -> None:
    openai = pytest.importorskip("openai", reason="the openai client is not installed")
    yes: dict[str, Any] = {"metadata": {"consent": "yes"}}
    drawn = {name: experiments.choose(name, True) for name in map(str, range(40))}
    subject, choice = next(i for i in drawn.items() if i[1].arm == CANDIDATE)
    with running(create_app(settings, manager=manager)) as url:
        wait_until_ready(url)
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        for who in ({}, {"user": subject}, {"safety_identifier": subject}, yes):
            assert ask(client, **who)[1]["adapter"] != choice.adapter
        no = {"consent": "no"}
        assert ask(client, user=subject, metadata=no)[1]["adapter"] != choice.adapter
        assert sum(arm.people for arm in experiments.status(time.time()).arms) == 0

        assert ask(client, user=subject, **yes)[1]["adapter"] == choice.adapter
        answer, told = ask(client, safety_identifier=subject, **yes)
        assert told["adapter"] == choice.adapter
        arm = experiments.status(time.time()).arms[1]
        assert (arm.people, arm.answers) == (1, 2)
        body = {"messages": question()["messages"], "answer": answer, "receipt": told["receipt"]}
        given = httpx.post(f"{url}/feedback", json=body | {"thumb": "up"})
        assert given.json()["counted_in_experiment"], given.text
        forged = httpx.post(f"{url}/feedback", json=body | {"thumb": "up", "answer": "Arsenic."})
        assert forged.status_code == 409
        left = httpx.post(f"{url}/experiment/withdraw", json={"subject": subject})
        assert left.json() == {"withdrawn": True}


def test_who_names_a_model_takes_no_part(
    settings: Settings, manager: ModelManager, experiments: Experiments
) -> None:
    drawn = {name: experiments.choose(name, True) for name in map(str, range(40))}
    subject, choice = next(i for i in drawn.items() if i[1].arm == CANDIDATE)
    app = create_app(settings, manager=manager)
    with LocalClient(app) as client:
        wait_until_loaded(client)
        who = {"user": subject, "metadata": {"consent": "yes"}}
        client.post("/v1/chat/completions", json=question(**who))  # loads the candidate
        served, candidate, base = (m["id"] for m in client.get("/v1/models").json()["data"])
        for name in (served, candidate, base):
            found = client.post("/v1/chat/completions", json=question(**who, model=name)).json()
            assert found["model"] == name
            answer, receipt = found["choices"][0]["message"]["content"], found["elara"]["receipt"]
            body = {"messages": question()["messages"], "answer": answer, "receipt": receipt}
            given = client.post("/feedback", json=body | {"thumb": "up"})
            if name == base:
                assert given.status_code == 409
            else:
                assert given.json()["counted_in_experiment"] is False
        assert candidate == f"elara-{choice.adapter[:12]}"
    assert [arm.answers for arm in experiments.status(time.time()).arms] == [0, 1]


def test_the_receipt_also_comes_with_the_usage_of_a_stream(client: TestClient) -> None:
    asked = question(stream=True, stream_options={"include_usage": True})
    *_, stop, usage, done = events(client.post("/v1/chat/completions", json=asked).text)
    assert stop["elara"]["receipt"] == usage["elara"]["receipt"] != ""
    assert done == "[DONE]"


def test_who_asks_stands_in_no_record_and_no_log(
    client: TestClient, trained: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    asked = question(user="anna-moyo-1971", metadata={"consent": "yes"})
    with caplog.at_level("DEBUG"):
        assert client.post("/v1/chat/completions", json=asked).status_code == 200
    assert "anna-moyo" not in json.dumps(records(trained)) + caplog.text


def test_a_reader_who_leaves_is_recorded_as_cancelled(
    settings: Settings, manager: ModelManager, fake: Any, trained: Workspace
) -> None:
    fake.may_answer.clear()
    fake.permits.release(2)
    with running(create_app(settings, manager=manager)) as url:
        wait_until_ready(url)
        asked = question("endless", stream=True)
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=asked) as response:
            pieces = (line for line in response.iter_lines() if '"content": "' in line)
            assert len(list(itertools.islice(pieces, 2))) == 2
        for _ in range(6000):
            if records(trained)[-1]["kind"] == "ended":
                break
            time.sleep(0.01)
        fake.may_answer.set()
    last = records(trained)[-1]
    assert (last["outcome"], last["tokens_out"] <= 2) == ("cancelled", True)

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
from test_serve_http import wait_until_loaded

from elara.serve import ModelManager, Settings, create_app, running, wait_until_ready
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

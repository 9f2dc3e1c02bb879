"""The addresses over HTTP: what they answer, what they refuse, and what they never log."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_client import LocalClient
from starlette.testclient import TestClient

from elara.serve import ModelManager, Settings, create_app
from elara.serve.schemas import DISCLAIMER, INTENDED_USE, MAX_CHARACTERS
from elara.workspace import Workspace

PAGE = "http://localhost:5173"
PROBLEM = {"type", "title", "status", "detail", "instance", "request_id"}


def question(text: str = "What is anaemia?", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def wait_until_loaded(client: TestClient) -> None:
    for _ in range(500):
        if client.get("/chat/models/status").json()["state"] in ("ready", "failed"):
            return
    pytest.fail("the model was not loaded")


@pytest.fixture
def settings(trained: Workspace) -> Settings:
    return Settings.from_environment({}, workspace=str(trained.root), max_new_tokens=50)


@pytest.fixture
def client(settings: Settings, manager: ModelManager) -> Iterator[TestClient]:
    with LocalClient(create_app(settings, manager=manager)) as client:
        wait_until_loaded(client)
        yield client


@pytest.fixture
def simulation() -> Iterator[TestClient]:
    with LocalClient(create_app(Settings())) as client:
        yield client


def test_welcome_states_the_intended_use_and_its_links_work(
    client: TestClient, verdict: dict[str, Any]
) -> None:
    found = client.get("/").json()
    assert found["intended_use"] == INTENDED_USE
    assert found["disclaimer"] == DISCLAIMER
    assert found["verdict"] == verdict["verdict"]
    for name in ("health", "status", "documentation"):
        assert client.get(found["links"][name]).status_code == 200


def test_health_tells_model_from_simulation(client: TestClient, simulation: TestClient) -> None:
    found = client.get("/health").json()
    assert len(found.pop("adapter")) == 64
    assert found == {
        "status": "alive",
        "model_ready": True,
        "mode": "model",
        "gate": "not asked",
        "sources": "none",
    }
    assert simulation.get("/health").json()["model_ready"] is False


def test_an_answer_carries_all_that_traces_it(client: TestClient, trained: Workspace) -> None:
    response = client.post("/chat", json=question(), headers={"X-Request-ID": "mine-1"})
    assert response.status_code == 200
    found = response.json()
    assert found["adapter"].pop("weights_sha256")
    assert 0 <= found.pop("seconds") < 60
    assert found.pop("receipt")
    assert found == {
        "answer": "What is anaemia? limit=50 temperature=0.0 seed=0",
        "disclaimer": DISCLAIMER,
        "mode": "model",
        "model": "fake",
        "adapter": {"training_run": trained.manifest("train")["identity"]},
        "prompt_tokens": 7,
        "new_tokens": 3,
        "finished": True,
        "notice": "This adapter has not passed the release gate: no record of it is known here.",
        "warnings": [],
        "cached": False,
        "retrieval": "",
        "sources": [],
        "sentences": [],
        "removed_citations": 0,
        "request_id": "mine-1",
    }


def test_a_request_may_choose_within_the_limits(client: TestClient) -> None:
    found = client.post("/chat", json=question(max_new_tokens=9, temperature=0.7, seed=4)).json()
    assert found["answer"].endswith("limit=9 temperature=0.7 seed=4")
    refused = client.post("/chat", json=question(max_new_tokens=51))
    assert refused.status_code == 422
    assert "at most 50 tokens" in refused.json()["detail"]


def test_the_example_in_the_documentation_is_accepted(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()["components"]["schemas"]["ChatRequest"]
    client.app.state.settings = Settings()  # type: ignore[attr-defined]
    assert client.post("/chat", json=schema["examples"][0]).status_code == 200


TURN = {"role": "user", "content": "a"}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (question(""), "messages.0.content: the message is empty"),
        (question(" \n "), "messages.0.content: the message is empty"),
        (question("cut in \ud83e"), "messages.0.content: the message holds half a character"),
        (question(seed=True), "seed: Input should be a valid integer"),
        (question(seed="1"), "seed: Input should be a valid integer"),
        (question("a" * (MAX_CHARACTERS + 1)), "the conversation is too long: 8001 characters"),
        ({"messages": [{"role": "system", "content": "a"}]}, "messages.0.role: Input should be"),
        ({"messages": [TURN, TURN, TURN]}, "turns must alternate"),
        ({"messages": [TURN, {"role": "assistant", "content": "b"}]}, "end with the user"),
        ({"messages": []}, "messages: List should have at least 1 item"),
        ({"messages": [TURN] * 21}, "messages: List should have at most 20 items"),
        (question(temperature=9), "temperature: Input should be less than or equal to 2"),
        (question(max_new_tokens=0), "max_new_tokens: Input should be greater than or equal to 1"),
        (question(prompt="a"), "prompt: Extra inputs are not permitted"),
    ],
)
def test_a_bad_request_is_refused_in_clear_text(
    simulation: TestClient, body: dict[str, Any], detail: str
) -> None:
    # Not `json=body`: the client refuses to send half a character, which JSON can escape.
    as_json = {"Content-Type": "application/json"}
    response = simulation.post("/chat", content=json.dumps(body), headers=as_json)
    assert response.status_code == 422
    assert detail in response.json()["detail"]
    assert set(response.json()) == PROBLEM


def test_errors_have_one_form(simulation: TestClient) -> None:
    missing = simulation.get("/nowhere")
    assert missing.status_code == 404
    assert missing.headers["Content-Type"] == "application/problem+json"
    request_id = missing.headers["X-Request-ID"]
    assert missing.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": missing.json()["detail"],
        "instance": request_id,
        "request_id": request_id,
    }
    assert "GET /docs" in missing.json()["detail"]
    assert "another method" in simulation.get("/chat").json()["detail"]
    broken = simulation.post("/chat", content=b"{", headers={"Content-Type": "application/json"})
    assert broken.status_code == 422
    assert broken.json()["detail"] == "the body is no JSON from character 1 on"
    form = {"Content-Type": "application/x-www-form-urlencoded"}  # as curl says by itself
    unsaid = simulation.post("/chat", content=b'{"messages": []}', headers=form)
    assert unsaid.status_code == 422
    assert "`Content-Type: application/json`" in unsaid.json()["detail"]
    for unreadable in (b"\xff", b"[" * 100_000, b"9" * 5000):
        found = simulation.post(
            "/chat", content=unreadable, headers={"Content-Type": "application/json"}
        )
        assert found.status_code == 400
        assert "send JSON in UTF-8" in found.json()["detail"]


def test_simulation_never_answers_the_question(simulation: TestClient) -> None:
    found = simulation.post("/chat", json=question()).json()
    assert (found["mode"], found["model"], found["adapter"]) == ("simulation", None, None)
    assert found["answer"].startswith("[simulation]")
    assert found["disclaimer"] == DISCLAIMER
    assert "anaemia" not in found["answer"]


def test_a_model_that_failed_to_load_is_a_503_with_a_remedy(tmp_path: Path) -> None:
    with LocalClient(create_app(Settings(adapter=tmp_path / "nowhere"))) as client:
        wait_until_loaded(client)
        response = client.post("/chat", json=question())
        status = client.get("/chat/models/status").json()
        assert client.get("/health").json()["model_ready"] is False
    assert response.status_code == 503
    assert "Retry-After" not in response.headers
    assert "elara run --only train" in response.json()["detail"]
    assert (status["state"], status["error"]) == ("failed", response.json()["detail"])


def test_status_shows_model_adapter_and_evaluation(
    client: TestClient, verdict: dict[str, Any]
) -> None:
    found = client.get("/chat/models/status").json()
    assert (found["state"], found["model"], found["device"]) == ("ready", "fake", "cpu")
    assert found["evaluation"] == verdict
    assert found["load_seconds"] is not None


def test_pages_of_named_origins_only(simulation: TestClient) -> None:
    def allowed(origin: str) -> str | None:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        return simulation.options("/chat", headers=asked).headers.get("access-control-allow-origin")

    assert allowed(PAGE) == PAGE
    assert allowed("http://elsewhere.example") is None
    refused = simulation.post("/chat", json=question(""), headers={"Origin": PAGE})
    assert refused.headers["access-control-allow-origin"] == PAGE


def test_every_response_has_an_id_and_a_time(simulation: TestClient) -> None:
    one, two = simulation.get("/health"), simulation.get("/health")
    assert one.headers["X-Request-ID"] != two.headers["X-Request-ID"]
    assert one.headers["Server-Timing"].startswith("total;dur=")
    forged = simulation.get("/health", headers={"X-Request-ID": "a b<script>"})
    assert forged.headers["X-Request-ID"] != "a b<script>"


def test_what_people_write_is_not_logged(
    client: TestClient, fake: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(questions: list[str]) -> None:
        raise ValueError(f"cannot answer {questions}")

    with caplog.at_level(logging.DEBUG):
        assert client.post("/chat", json=question("SECRET")).status_code == 200
        assert client.post("/chat", json=question("SECRET", seed=-1)).status_code == 422
        assert client.get("/health?text=SECRET").status_code == 200
        fake.fault = broken
        failed = client.post("/chat", json=question("another SECRET"))
    assert failed.status_code == 500
    ours = [r for r in caplog.records if not r.name.startswith("httpx")]  # the client's own log
    assert any(r.getMessage().startswith("POST /chat 200") for r in ours)
    assert not any("SECRET" in r.getMessage() + str(r.exc_text) for r in ours)
    assert "SECRET" not in failed.text

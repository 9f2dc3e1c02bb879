"""The server over a real port: it starts at once, stays responsive, and stops for good."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from elara.serve import (
    ModelManager,
    PortInUse,
    Settings,
    create_app,
    run,
    running,
    wait_until_ready,
)
from elara.serve.journal import JournalError
from elara.workspace import Workspace

QUESTION = {"messages": [{"role": "user", "content": "What is anaemia?"}], "max_new_tokens": 8}


def test_it_answers_while_the_model_loads_and_stops_for_good(
    trained: Workspace, manager: ModelManager, fake: Any
) -> None:
    settings = Settings.from_environment({}, workspace=str(trained.root))
    fake.may_load.clear()
    with running(create_app(settings, manager=manager)) as url:
        assert httpx.get(f"{url}/health").json()["model_ready"] is False
        early = httpx.post(f"{url}/chat", json=QUESTION)
        assert early.status_code == 503
        assert int(early.headers["Retry-After"]) > 0
        fake.may_load.set()
        wait_until_ready(url, 60)
        assert httpx.post(f"{url}/chat", json=QUESTION).json()["model"] == "fake"
    assert manager.state == "unloaded"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["audit_log", "text_key", "signing_key"])
async def test_the_log_says_why_it_cannot_start(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "nobody"
    files: dict[str, Any] = {"audit_log": tmp_path / "log", name: place}
    app = create_app(Settings(**files))
    with pytest.raises(JournalError):
        async with app.router.lifespan_context(app):
            pytest.fail("it started")
    # Of what uvicorn says, only the first line is written.
    assert str(place) in caplog.records[-1].getMessage().partition("\n")[0]


def test_health_answers_while_the_model_writes(manager: ModelManager, fake: Any) -> None:
    with running(create_app(Settings(), manager=manager)) as url, ThreadPoolExecutor(2) as pool:
        wait_until_ready(url, 60)
        fake.may_answer.clear()
        answers = [
            pool.submit(httpx.post, f"{url}/chat", json=QUESTION, timeout=60) for _ in range(2)
        ]
        assert fake.answering.wait(60)
        assert httpx.get(f"{url}/health", timeout=30).status_code == 200
        fake.may_answer.set()
        assert [a.result().status_code for a in answers] == [200, 200]


def test_the_server_stops_when_its_block_fails() -> None:
    with pytest.raises(KeyError), running(create_app(Settings())) as url:
        raise KeyError
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_port_in_use_is_one_clear_error() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortInUse, match=f"Port {port} on 127.0.0.1 is in use.*--port"):
            run(Settings(port=port))


def test_waiting_for_a_model_that_will_not_come_is_an_error(tmp_path: Path) -> None:
    with (
        running(create_app(Settings())) as url,
        pytest.raises(RuntimeError, match="simulation mode"),
    ):
        wait_until_ready(url)
    with (
        running(create_app(Settings(adapter=tmp_path / "nowhere"))) as url,
        pytest.raises(RuntimeError, match="nowhere could not be loaded"),
    ):
        wait_until_ready(url)


def test_the_command_line_server_logs_no_text_and_ends_quietly(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"from elara.serve import Settings, run; run(Settings(port={port}))"
    server = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    try:
        # Retried with growing pauses while the server starts, a minute in all.
        client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=8)
        )
        with client:
            client.get("/health?q=SECRET")
            client.post("/chat", json={"messages": [{"role": "user", "content": "SECRET"}]})
    finally:
        server.send_signal(signal.SIGINT)
        log = server.communicate(timeout=60)[1]
    assert server.returncode == 0
    assert "POST /chat 200" in log
    assert "SECRET" not in log
    assert "Traceback" not in log


@pytest.mark.slow
@pytest.mark.model
def test_a_real_adapter_answers(tmp_path: Path) -> None:
    """A LoRA adapter that was never trained, on the packaged base model, through the real code."""
    import peft

    from elara.model import load_base

    base = load_base()
    lora = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    peft.get_peft_model(base.model, lora).save_pretrained(tmp_path)
    record = {"base_model": base.name, "quantisation": "none"}
    (tmp_path / "training.json").write_text(json.dumps(record))
    with running(create_app(Settings(adapter=tmp_path))) as url:
        wait_until_ready(url)
        answers = [httpx.post(f"{url}/chat", json=QUESTION, timeout=120).json() for _ in range(2)]
        status = httpx.get(f"{url}/chat/models/status").json()
    assert answers[0]["answer"] == answers[1]["answer"] != ""
    assert (answers[0]["mode"], answers[0]["model"]) == ("model", base.name)
    assert 0 < answers[0]["new_tokens"] <= 8
    assert answers[0]["prompt_tokens"] > 20  # the system line and the chat template are in it
    assert len(status["adapter"]["weights_sha256"]) == 64
    assert "has not been evaluated" in status["verdict"]

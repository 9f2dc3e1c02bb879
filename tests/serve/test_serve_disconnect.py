"""A client that goes away in the middle of an answer frees its place within one token."""

from __future__ import annotations

import json
import logging
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from elara.serve import ModelManager, Settings, create_app, running, wait_until_ready
from elara.workspace import Workspace


class Told(logging.Handler):
    """Notices a line of the log."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.part, self.heard = part, threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.part in record.getMessage():
            self.heard.set()


@pytest.fixture
def single(trained: Workspace, fake: Any) -> ModelManager:
    """A manager that answers one chat at a time."""
    adapter = trained.folder("train") / "adapter"
    return ModelManager(adapter, batch_size=1, loader=fake.load, decoder=fake.decoder)


def body(question: str, limit: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}], "max_new_tokens": limit}


def begin(url: str, content: dict[str, Any]) -> socket.socket:
    """A connection that has sent its question."""
    place, sent = urlsplit(url), json.dumps(content).encode()
    connection = socket.create_connection((str(place.hostname), int(place.port or 0)))
    head = f"POST /chat HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent)
    return connection


@pytest.mark.parametrize("where", ["answer", "queue"])
def test_a_closed_socket_stops_the_answer(single: ModelManager, fake: Any, where: str) -> None:
    log, gone = logging.getLogger("elara.serve"), Told("POST /chat 499")
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(gone)
    settings = Settings(max_new_tokens=2000)
    try:
        with running(create_app(settings, manager=single)) as url:
            wait_until_ready(url, 60)
            fake.may_answer.clear()
            with begin(url, body("endless", 2000)) as writing:
                assert fake.answering.wait(60)  # held in its first token
                if where == "queue":
                    with begin(url, body("waits", 50)), single.use() as serving:
                        while serving.backend.waiting == 0:  # type: ignore[union-attr]
                            pass
                else:
                    writing.close()
                assert gone.heard.wait(60)
                steps = len(fake.steps)
                if where == "answer":
                    fake.may_answer.set()
                    answer = httpx.post(f"{url}/chat", json=body("next", 50), timeout=60)
                    assert answer.json()["answer"].startswith("next ")
                    assert fake.batches == [["endless"], ["next"]]
            fake.may_answer.set()
    finally:
        log.removeHandler(gone)
        log.setLevel(level)
    assert steps == 1
    assert ["waits"] not in fake.batches
    if where == "answer":
        assert fake.steps == [["endless"]] + [["next"]] * 3

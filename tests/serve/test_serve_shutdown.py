"""The server stops under load: each answer is on record, and nobody is left in the dark."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_upstream import EVENTS, Call, FakeUpstream, chunk, ending, fake, hangs
from test_serve_disconnect import begin
from typer.testing import CliRunner

from elara.cli import app as command_line
from elara.serve import Settings, create_app, running
from elara.serve.journal import chain, make_key

CLIENTS = 16
CHAT = {"messages": [{"role": "user", "content": "What is anaemia?"}], "max_new_tokens": 50}
STREAM = {"messages": CHAT["messages"], "model": "elara", "stream": True}


@dataclass
class Server:
    """A server in a process of its own."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    said: str = ""

    def end(self, seconds: float, *signals: signal.Signals) -> float:
        """Send signals; seconds until the process had ended, which must be as many at most."""
        started = time.monotonic()
        for number in signals:
            self.process.send_signal(number)
            time.sleep(0.05)  # the second one comes soon
        self.process.wait(timeout=seconds)
        self.said = self.log.with_suffix(".said").read_text(encoding="utf-8")
        return time.monotonic() - started

    def records(self) -> dict[str, list[str]]:
        """What the audit log says of each request: `accepted`, or an outcome."""
        found: dict[str, list[str]] = {}
        with chain.reading(self.log) as database:
            for row in chain.rows(database):
                record = json.loads(row.body)
                found.setdefault(record["request"], []).append(record.get("outcome", "accepted"))
        return found

    def check(self) -> dict[str, list[str]]:
        """Nothing of the log reads *interrupted* or is damaged; its records."""
        public = self.log.with_name("key.pub")
        asked = ["verify", "--audit", str(self.log), "--public-key", str(public)]
        result = CliRunner().invoke(command_line, asked)
        assert result.exit_code == 0, result.output
        assert "have no end" not in result.output
        records = self.records()
        assert all(kinds[0] == "accepted" and len(kinds) == 2 for kinds in records.values())
        return records


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    started = []

    def start(**settings: Any) -> Server:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = tmp_path / "audit.sqlite"
        make_key(tmp_path / "key")
        files = {"audit_log": str(log), "signing_key": str(tmp_path / "key")}
        given = settings | files | {"port": port}
        code = f"from elara.serve import Settings, run; run(Settings(**{given!r}))"
        with log.with_suffix(".said").open("w") as said:
            process = subprocess.Popen([sys.executable, "-c", code], stderr=said)
        started.append(process)
        server = Server(process, f"http://127.0.0.1:{port}", log)
        with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
            client.get(f"{server.url}/health")
        return server

    yield start
    for process in started:
        process.kill()
        process.wait()


@contextlib.contextmanager
def upstream(script: Any) -> Iterator[FakeUpstream]:
    """A fake upstream in a thread."""
    ready, stop = threading.Event(), asyncio.Event()
    made: list[FakeUpstream] = []
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with fake() as one:
            one.script = script
            made.append(one)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert ready.wait(10)
    yield made[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()


def slowly(pieces: int, pause: float) -> Any:
    async def script(call: Call) -> None:
        await call.send(EVENTS.format(more=""))
        for number in range(pieces):
            await call.send(chunk(f"{number} "))
            await asyncio.sleep(pause)
        await call.send(ending())

    return script


@dataclass
class Load:
    """Clients that ask on and on until the server takes no more; what came of each question."""

    url: str
    path: str
    body: dict[str, Any]
    came: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        for thread in self._threads:
            thread.join(60)

    def wait(self, answers: int) -> None:
        """Wait for so many whole answers."""
        latest = time.monotonic() + 60
        while list(self.came.values()).count("whole") < answers:
            assert time.monotonic() < latest, self.came
            time.sleep(0.02)

    def _ask_on(self) -> None:
        with httpx.Client(base_url=self.url, timeout=60) as client:
            going = True
            while going:
                name = uuid.uuid4().hex
                came = self.came[name] = self._ask(client, name)
                going = came == "whole"

    def _ask(self, client: httpx.Client, name: str) -> str:
        text, begun = "", False
        try:
            with client.stream(
                "POST", self.path, json=self.body, headers={"X-Request-ID": name}
            ) as response:
                begun = True
                for part in response.iter_text():
                    text += part
        except httpx.TransportError:
            # Before its first byte, nothing was promised: as if the connection was refused.
            return "broken" if begun else "refused"
        if response.status_code != 200:
            return f"status {response.status_code}"
        if self.path == "/chat" or text.endswith("data: [DONE]\n\n"):
            return "whole"
        return "error" if '{"error"' in text.rstrip().rpartition("\n")[2] else "broken"


def check_load(load: Load, records: dict[str, list[str]]) -> None:
    came = Counter(load.came.values())
    assert came["whole"] >= CLIENTS, came
    assert came["broken"] == 0, came
    for name, what in load.came.items():
        if what == "whole":
            assert records[name] == ["accepted", "answered"]
        elif what == "refused":
            assert name not in records


def test_it_stops_under_load_of_short_answers(serve: Callable[..., Server]) -> None:
    server = serve()
    with Load(server.url, "/chat", CHAT) as load:
        load.wait(2 * CLIENTS)
        server.end(60, signal.SIGTERM)
    assert server.process.returncode == 0, server.said
    check_load(load, server.check())
    assert "Traceback" not in server.said


@pytest.mark.parametrize("workers", [1, 2])
def test_it_stops_under_load_of_streams(serve: Callable[..., Server], workers: int) -> None:
    with upstream(slowly(8, 0.1)) as other:
        server = serve(upstreams=f"{other.url} model=elara", workers=workers)
        with Load(server.url, "/v1/chat/completions", STREAM) as load:
            load.wait(CLIENTS)
            took = server.end(60, signal.SIGTERM)
    assert server.process.returncode == 0, server.said
    records = server.check()
    check_load(load, records)
    # Those under way were finished, and no others were begun.
    assert Counter(load.came.values())["error"] == 0
    assert took < 15  # of `stop_seconds`


HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)


@pytest.mark.parametrize(
    ("path", "signals", "window", "workers"),
    [
        ("/chat", [HANGUP, signal.SIGTERM], 60, 1),
        ("/chat", [HANGUP, signal.SIGINT], 60, 2),
        ("/v1/chat/completions", [signal.SIGTERM], 1, 1),
    ],
)
def test_answers_that_last_too_long_are_ended_and_recorded(
    serve: Callable[..., Server],
    path: str,
    signals: list[signal.Signals],
    window: float,
    workers: int,
) -> None:
    with upstream(hangs("one ", "two ")) as other:
        settings = {"stop_seconds": window, "workers": workers}
        server = serve(upstreams=f"{other.url} model=elara", **settings)
        body = CHAT if path == "/chat" else STREAM
        with Load(server.url, path, body) as load:
            while len(other.calls) < CLIENTS:
                time.sleep(0.05)
            took = server.end(60, *signals)
    assert server.process.returncode == 0, server.said
    assert took < 30  # and not until those hang up, or for 60 seconds
    told = "status 503" if path == "/chat" else "error"
    assert Counter(load.came.values()) == {told: CLIENTS}
    records = server.check()
    assert list(records.values()) == [["accepted", "cancelled"]] * CLIENTS
    told_of = re.findall(r"(\d+) answers were ended before they were complete", server.said)
    assert sum(map(int, told_of)) == CLIENTS
    assert "Traceback" not in server.said


async def flood(call: Call) -> None:
    await call.send(EVENTS.format(more=""))
    while True:
        await call.send(chunk("x" * 4000))


def test_a_client_that_does_not_read_cannot_keep_the_server(serve: Callable[..., Server]) -> None:
    with upstream(flood) as other:
        server = serve(upstreams=f"{other.url} model=elara", stop_seconds=0.5, max_new_tokens=2048)
        with httpx.Client(base_url=server.url, timeout=30) as client:
            asking = client.stream("POST", "/v1/chat/completions", json=STREAM)
            with asking as response:
                time.sleep(1.0)  # until both sides' buffers are full
                server.end(60, signal.SIGTERM)
                assert response.status_code == 200
                with contextlib.suppress(httpx.TransportError):
                    response.close()
    assert server.process.returncode == 0, server.said
    assert list(server.check().values()) == [["accepted", "cancelled"]]


def test_a_client_that_does_not_read_cannot_keep_an_answer_open(tmp_path: Path) -> None:
    log = tmp_path / "audit.sqlite"
    with upstream(flood) as other:
        settings = Settings(audit_log=log, upstreams=f"{other.url} model=elara", answer_seconds=0.5)
        with (
            running(create_app(settings)) as url,
            httpx.stream("POST", f"{url}/v1/chat/completions", json=STREAM, timeout=30),
        ):
            latest = time.monotonic() + 60
            while len(outcomes(log)) < 2 and time.monotonic() < latest:
                time.sleep(0.05)
            assert outcomes(log) == [None, "cancelled"]


def outcomes(log: Path) -> list[str | None]:
    with chain.reading(log) as database:
        return [json.loads(row.body).get("outcome") for row in chain.rows(database)]


def test_who_leaves_while_the_question_is_recorded_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, writing = chain.Journal._commit, threading.Event()

    def slowly(journal: chain.Journal, bodies: Iterable[str]) -> None:
        writing.set()
        time.sleep(0.3)
        commit(journal, bodies)

    monkeypatch.setattr(chain.Journal, "_commit", slowly)
    log = tmp_path / "audit.sqlite"
    with running(create_app(Settings(audit_log=log))) as url, begin(url, CHAT):
        assert writing.wait(10)
    assert outcomes(log) == [None, "cancelled"]


@pytest.mark.anyio
async def test_who_leaves_before_the_stream_begins_has_an_end_at_once(tmp_path: Path) -> None:
    log = tmp_path / "audit.sqlite"
    app = create_app(Settings(audit_log=log))
    body = json.dumps(STREAM).encode()
    calls = itertools.count()

    async def receive() -> dict[str, Any]:
        call = next(calls)
        if call == 0:
            return {"type": "http.request", "body": body, "more_body": False}
        if call == 1:  # who listens until the first piece is there
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await asyncio.Event().wait()  # as long as nobody reads

    headers = {"host": "127.0.0.1:8000", "content-length": str(len(body))}
    headers["content-type"] = "application/json"
    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/chat/completions",
        "query_string": b"",
        "server": ("127.0.0.1", 8000),
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }
    async with app.router.lifespan_context(app):
        await app(scope, receive, send)
        assert outcomes(log) == [None, "cancelled"]

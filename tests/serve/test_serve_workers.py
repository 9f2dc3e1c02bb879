"""Several processes behind one port: one log, one set of counts, and one that dies is replaced."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest
import uvicorn
from uvicorn.supervisors import multiprocess

from elara.serve import Settings
from elara.serve.config import serving_folder
from elara.serve.journal import make_key, verify
from elara.serve.journal.chain import reading, rows
from elara.workspace import Workspace

QUESTION = {"messages": [{"role": "user", "content": "What is anaemia?"}]}


class Server:
    """A server of two processes, as the command line starts it."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log, self.key = folder / "audit.sqlite", folder / "signing"
        make_key(self.key)
        given = {
            "ELARA_SERVE_WORKERS": "2",
            "ELARA_SERVE_PORT": str(self.port),
            "ELARA_SERVE_AUDIT_LOG": str(self.log),
            "ELARA_SERVE_SIGNING_KEY": str(self.key),
        }
        self.command = [sys.executable, "-m", "elara.cli", "serve", "-w", str(folder / "none")]
        self.environment = os.environ | given
        self.program = self.start()

    def start(self) -> subprocess.Popen[str]:
        """Start it, or the same another time."""
        return subprocess.Popen(
            self.command, env=self.environment, stderr=subprocess.PIPE, text=True
        )

    def ask(self) -> int:
        """Ask on a new connection, which any of the processes may accept."""
        return httpx.post(
            f"http://127.0.0.1:{self.port}/chat", json=QUESTION, timeout=20
        ).status_code

    def counted(self) -> float:
        """Answers, as any of the processes counts them."""
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics").text
        found = re.search(r'elara_questions_total\{.*outcome="answered"\} (\S+)', text)
        return float(found[1]) if found else -1.0

    def workers(self) -> set[int]:
        """The processes that have a server's threads."""
        return {
            child.pid
            for child in psutil.Process(self.program.pid).children()
            if child.status() != psutil.STATUS_ZOMBIE and "spawn_main" in " ".join(child.cmdline())
        }

    def wait(self, number: int = 2) -> None:
        """Wait until so many processes are there and one of them answers."""
        for _ in range(600):
            try:
                if len(self.workers()) == number and self.ask() == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        pytest.fail("the server did not start")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path)
    yield found
    if found.program.poll() is None:
        found.program.send_signal(signal.SIGTERM)
        found.program.communicate(timeout=60)


def test_two_processes_are_one_server_and_survive_a_death(server: Server) -> None:
    server.wait()
    before = server.counted()
    assert [server.ask() for _ in range(20)] == [200] * 20
    assert server.counted() == before + 20
    first = server.workers()
    os.kill(min(first), signal.SIGKILL)
    asked = 0
    while len(server.workers() - first) < 1:
        # A connection that the dead process had accepted breaks; no other does.
        with contextlib.suppress(httpx.HTTPError):
            asked += server.ask() == 200
        time.sleep(0.05)
    server.wait()
    assert asked
    assert server.counted() > before + 20 + asked
    server.program.send_signal(signal.SIGTERM)
    log = server.program.communicate(timeout=60)[1]
    assert server.program.returncode == 0, log
    assert "Traceback" not in log
    assert f"process {min(first)} has died (-9) and is replaced" in log
    found = verify(server.log, server.key.with_name("signing.pub"))
    assert (found.damage, found.signed) == ([], True)
    with reading(server.log) as connection:
        ended = sum(b'"answered"' in row.body for row in rows(connection))
    assert ended > before + 20 + asked


def test_a_second_server_is_refused_and_no_process_outlives_the_first(server: Server) -> None:
    # While the first one starts nobody listens, and Linux would let both share the port.
    assert server.program.stderr
    assert "listens on" in server.program.stderr.readline()
    second = server.start()
    told = second.communicate(timeout=60)[1]
    assert second.returncode == 1
    assert "is in use" in told
    server.wait()
    left = [psutil.Process(pid) for pid in server.workers()]
    server.program.kill()
    assert psutil.wait_procs(left, timeout=60)[1] == []
    assert "the process that started this one has died" in server.program.communicate()[1]


def test_a_process_that_starts_slowly_is_not_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    started = SimpleNamespace(is_alive=lambda: True)
    monkeypatch.setattr(multiprocess, "get_subprocess", lambda *given: started)
    process = multiprocess.Process(uvicorn.Config(""), [])
    assert process.is_alive(0.01)
    process.child_conn.send(False)  # it answers: from now on it is expected to
    assert process.is_alive(0.01)
    assert not process.is_alive(0.01)


def test_processes_that_would_each_load_a_model_are_refused(tmp_path: Path) -> None:
    for more in ({"adapter": tmp_path}, {"serving": tmp_path, "audit_log": tmp_path / "log"}):
        with pytest.raises(ValueError, match="each would load a model of its own"):
            Settings(workers=2, **more)


def test_feedback_of_the_workspace_is_left_out_only_with_several(trained: Workspace) -> None:
    environ = {"ELARA_SERVE_UPSTREAMS": "http://127.0.0.1:1 model=elara"}

    def folder(workers: int | None) -> Path | None:
        given = Settings.from_environment(environ, workspace=str(trained.root), workers=workers)
        return given.serving

    assert folder(None) == folder(1) == serving_folder(trained)
    assert folder(2) is None

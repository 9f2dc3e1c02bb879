"""How many requests the server takes, and what it loses when clients, models and processes fail.

    python benchmarks/serve.py [--part load] [--part faults] [--seconds 20] [--requests 10000]

Both parts start `elara serve` as a user does, on this computer, with an audit log that is durable
and signed. The results are written to benchmarks/serve.json, part by part.

- `load`: wrk (`apt-get install wrk`) asks the simulation for that long over 64 connections, after
  some seconds that do not count: with one process, with two, with two and no log, and with two and
  an API key. wrk runs on the same cores. Noted are the answers per second, the latency, the memory
  at the beginning and at the end, and whether each answer has its two records. Bars, for two
  processes: 1,500 answers per second, 99 of 100 within 100 ms.
- `faults`: 64 clients ask two upstreams, half of them as streams. One request in a hundred fails
  on purpose: a client sends or reads slowly, or leaves before or in the middle of the answer, or
  the upstreams answer with status 500. Three times a process is killed. Bars: no answer that a
  client got whole lacks its records, no error without a cause, the log is whole, and memory does
  not grow over the last fifth of the requests.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import serve_clients

from elara.machine.cores import usable_cores
from elara.serve.journal import make_key, verify
from elara.serve.journal.chain import reading, rows
from elara.serve.keys import KeyFile

HERE = Path(__file__).resolve().parent
CLIENTS, WARM_SECONDS, KILLS = 64, 4, 3
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local asked = 0
request = function()
  asked = asked + 1
  return wrk.format(nil, nil, nil,
    '{"messages":[{"role":"user","content":"What are the symptoms of anemia? ' .. asked .. '"}]}')
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('FOUND {"answers":%d,"microseconds":%d,"p50":%.0f,"p99":%.0f,' ..
    '"longest":%.0f,"errors":%d}', summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), latency.max, e.connect + e.read + e.write + e.status + e.timeout))
end
"""
# Name, processes, audit log, API key.
SETUPS = (
    ("one process", 1, True, False),
    ("two processes", 2, True, False),
    ("two processes without a log", 2, False, False),
    ("two processes with an API key", 2, True, True),
)


class Server:
    """`elara serve` in a folder of its own.

    Args:
        folder: for its log and keys.
        processes: how many.
        given: further settings.
    """

    def __init__(self, folder: Path, processes: int, given: dict[str, str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        settings = {"WORKERS": str(processes), "PORT": str(self.port)} | given
        environ = os.environ | {f"ELARA_SERVE_{k}": v for k, v in settings.items()}
        self._said = (folder / "server.log").open("wb")
        command = [sys.executable, "-m", "elara.cli", "serve", "-w", str(folder / "none")]
        self.program = subprocess.Popen(command, env=environ, stderr=self._said)
        self._wait(processes)

    def processes(self) -> list[psutil.Process]:
        """Those that answer, the oldest first."""
        own = psutil.Process(self.program.pid)
        found = []
        for child in own.children():
            with contextlib.suppress(psutil.NoSuchProcess):  # one that was killed just now
                if "spawn_main" in " ".join(child.cmdline()):
                    found.append(child)
        return sorted(found or [own], key=lambda p: p.create_time())

    def memory(self) -> int:
        """MiB of all of them together."""
        return sum(process.memory_info().rss for process in self.processes()) >> 20

    def stop(self) -> int:
        """End it as a service manager does; its exit status."""
        self.program.send_signal(signal.SIGTERM)
        status = self.program.wait(60)
        self._said.close()
        return status

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *why: object) -> None:
        if self.program.poll() is None:  # something went wrong here
            self.program.terminate()

    def _wait(self, processes: int) -> None:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url}/health").close()
                if len(self.processes()) == processes:
                    return
            time.sleep(0.1)
        raise SystemExit(f"The server did not start: see {self._said.name}.")


def load(seconds: int) -> dict[str, Any]:
    """Ask the simulation as fast as it goes, in each setup."""
    if not shutil.which("wrk"):
        raise SystemExit("wrk is missing: install it (Debian, Ubuntu: `apt-get install wrk`).")
    found = {}
    for name, processes, logged, keyed in SETUPS:
        with _folder(logged) as (folder, given):
            if keyed:
                file = KeyFile(folder / "keys.json")
                _, key = file.add("wrk", ["chat"], requests_per_minute=0, tokens_per_day=0)
                given |= {"KEYS": str(file.path)}
            header = ["-H", f"Authorization: Bearer {key}"] if keyed else []
            with Server(folder, processes, given) as server:
                _wrk(server, folder, WARM_SECONDS, header)
                before = server.memory()
                measured = _wrk(server, folder, seconds, header)
                measured["memory MiB"] = [before, server.memory()]
                assert server.stop() == 0
            if logged:
                measured |= _whole(folder)
            found[name] = measured
            print(name, measured, flush=True)
    return found


def faults(requests: int) -> dict[str, Any]:
    """Let clients, upstreams and processes fail, and look for what is missing afterwards."""
    with _folder(logged=True) as (folder, given), serve_clients.upstreams() as addresses:
        given["UPSTREAMS"] = "; ".join(f"{address} model=elara" for address in addresses)
        killed: list[int] = []
        memory: list[int] = []

        def at(number: int) -> None:
            if number in range(requests // 5, requests // 5 * (KILLS + 1), requests // 5):
                victim = server.processes()[0]  # the one that has lived longest
                victim.kill()
                killed.append(victim.pid)
            if number == requests * 4 // 5:  # the last new process has done its share by now
                memory.append(server.memory())

        with Server(folder, 2, given) as server:
            started = time.perf_counter()
            seen = asyncio.run(serve_clients.ask(server.port, requests, CLIENTS, at))
            seconds = time.perf_counter() - started
            memory.append(server.memory())
            status = server.stop()
        whole = _whole(folder)
        records = _records(folder)
    answered = {r["request"] for r in records if r.get("outcome") == "answered"}
    ended = {r["entry"] for r in records if r["kind"] == "ended"}
    open_ones = {r["request"] for r in records if r["kind"] == "accepted"} - {
        r["request"] for r in records if r["kind"] == "accepted" and r["entry"] in ended
    }
    complete = {one.id for one in seen if one.complete}
    return {
        "requests": requests,
        "seconds": round(seconds, 1),
        "faults": dict(sorted(Counter(one.fault for one in seen if one.fault).items())),
        "processes killed": len(killed),
        "seen by clients": dict(sorted(Counter(one.told for one in seen).items())),
        "answers got whole": len(complete),
        "of them without records": len(complete - answered),
        "errors without a cause": sum(one.unexplained for one in seen),
        "broken for no fault of their own": sum(one.broken and not one.fault for one in seen),
        "accepted and never ended": len(open_ones),
        "of them got whole by a client": len(open_ones & complete),
        "memory MiB": memory,
        "exit status": status,
        **whole,
    }


@contextlib.contextmanager
def _folder(logged: bool) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder for a server, and the settings of its log."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = {"AUDIT_LOG": str(folder / "audit.sqlite"), "SIGNING_KEY": str(folder / "key")}
        if logged:
            make_key(folder / "key")
        yield folder, log if logged else {}


def _wrk(server: Server, folder: Path, seconds: int, header: list[str]) -> dict[str, Any]:
    script = folder / "ask.lua"
    script.write_text(SCRIPT)
    command = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{seconds}", "-s", str(script), *header]
    said = subprocess.run(
        [*command, f"{server.url}/chat"], capture_output=True, text=True, check=True
    )
    match = re.search("FOUND (.*)", said.stdout)
    assert match, said.stdout
    found = json.loads(match[1])
    return {
        "answers per second": round(found["answers"] / found["microseconds"] * 1e6),
        "p50 ms": round(found["p50"] / 1000, 1),
        "p99 ms": round(found["p99"] / 1000, 1),
        "longest ms": round(found["longest"] / 1000, 1),
        "answers": found["answers"],
        "errors": found["errors"],
    }


def _records(folder: Path) -> list[dict[str, Any]]:
    with reading(folder / "audit.sqlite") as connection:
        return [json.loads(row.body) for row in rows(connection)]


def _whole(folder: Path) -> dict[str, Any]:
    """What the check of the log says, and the records of the answers in it."""
    checked = verify(folder / "audit.sqlite", folder / "key.pub")
    outcomes = Counter(r["outcome"] for r in _records(folder) if r["kind"] == "ended")
    return {"log": checked.lines()[-1], "records": dict(sorted(outcomes.items()))}


def main() -> None:
    """Measure, print and note it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=["load", "faults"], action="append")
    parser.add_argument("--seconds", type=int, default=20, help="of each setup of `load`")
    parser.add_argument("--requests", type=int, default=10_000, help="of `faults`")
    parser.add_argument("--out", type=Path, default=HERE / "serve.json")
    args = parser.parse_args()
    record = json.loads(args.out.read_text()) if args.out.exists() else {}
    for part in args.part or ["load", "faults"]:
        given = f"--seconds {args.seconds}" if part == "load" else f"--requests {args.requests}"
        record[part] = {
            "command": f"python benchmarks/serve.py --part {part} {given}",
            "cores": usable_cores(),
            "python": platform.python_version(),
            "clients": CLIENTS,
            **(load(args.seconds) if part == "load" else faults(args.requests)),
        }
        text = json.dumps(record, indent=2) + "\n"
        args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

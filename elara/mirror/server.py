"""The mirror itself: services behind one address, a log of requests, and faults on the way out."""

from __future__ import annotations

import dataclasses
import gzip
import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import parse_qsl, urlsplit

from elara.mirror.bulk import Bulk
from elara.mirror.corpus import Corpus
from elara.mirror.europepmc import EuropePmc
from elara.mirror.eutils import Eutils
from elara.mirror.faults import (
    Attempts,
    Fault,
    Faults,
    breakdown,
    identity,
    refusal,
    wrong_page,
)
from elara.mirror.messages import Answer, Call, Request, not_found
from elara.mirror.packing import gzip_bytes
from elara.mirror.pages import SITES, MedlinePlus, Site, robots
from elara.mirror.ranges import part_of
from elara.mirror.rawrecords import Numbering, read_raw
from elara.mirror.spoil import spoil
from elara.mirror.stackexchange import StackExchange

_IDLE = 60  # seconds after which a connection without requests is closed
_TRICKLE = 8  # pieces of a slow answer
_RESET = struct.pack("ii", 1, 0)  # linger for no time: closing drops what is unsent


class Mirror:
    """A local HTTP server that stands in for the live sources; use it in a `with` statement.

    Args:
        folder: the raw files to serve, in any format that the collector reads.
        faults: what goes wrong; nothing by default. `robots.txt` is always served well.
        copies: how many virtual records stand for each PubMed and PMC record.
        port: 0 for any free one.
        per_query: hits of a search that `hits` does not name; never more than a third of all.
        hits: part of a query, in lower case, to the number of its hits.
        history_requests: how many fetches a WebEnv lives for; 0 for any number.
        backoff_every: each so many-th Stack Exchange answer asks for a pause; 0 for none.
        log_file: JSON Lines file to which each request is added at once.

    Raises:
        ValueError: so many copies would need ids that real records have.
    """

    def __init__(
        self,
        folder: Path,
        faults: Faults | None = None,
        copies: int = 1,
        *,
        port: int = 0,
        per_query: int = 400,
        hits: Mapping[str, int] | None = None,
        history_requests: int = 0,
        backoff_every: int = 0,
        log_file: Path | None = None,
    ) -> None:
        self.faults = faults or Faults()
        self.log: list[Request] = []
        numbering = Numbering()
        corpora = {
            name: Corpus(records, numbering, copies, per_query, hits or {})
            for name, records in zip(("pubmed", "pmc"), read_raw(folder, numbering), strict=True)
        }
        self._services: dict[str, Callable[[Call], Answer]] = {
            "eutils": Eutils(corpora, history_requests),
            "pubmed": Bulk(corpora["pubmed"]),
            "europepmc": EuropePmc(corpora, numbering),
            "stackexchange": StackExchange(folder, backoff_every),
            "medlineplus": MedlinePlus(folder),
            **{name: Site(folder, name) for name in SITES},
        }
        self._attempts = Attempts(self.faults)
        self._earlier: dict[str, tuple[str, Answer]] = {}  # kind of request to identity and answer
        self._lock = threading.Lock()
        self._log_file: TextIO | None = log_file.open("a", encoding="utf-8") if log_file else None
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.mirror = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def __enter__(self) -> Mirror:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        if self._log_file:
            self._log_file.close()

    def wait(self) -> None:
        """Serve until the process is interrupted."""
        self._thread.join()

    def next_fault(self, service: str, call: Call) -> Fault:
        """What goes wrong with this request, if anything.

        Args:
            service: first part of the path.
            call: the request.
        """
        if service not in self._services or call.path.endswith("robots.txt"):
            return Fault()
        with self._lock:
            return self._attempts.next_fault(identity(service, call.path, call.parameters))

    def answer(self, service: str, call: Call) -> Answer:
        """What the service would answer if nothing went wrong.

        Args:
            service: first part of the path.
            call: the request.
        """
        if service == "robots.txt":
            rules = [robots(f"/{name}").body.partition(b"\n")[2] for name in self._services]
            return Answer(b"User-agent: *\n" + b"".join(rules), robots("").content_type)
        if service not in self._services:
            return not_found(service)
        if call.path == "robots.txt":
            return robots("")
        return self._services[service](call)

    def spoilt(self, service: str, call: Call, kind: str) -> Answer | None:
        """An answer of status 200 in the right form, which is not the one that was asked for.

        Args:
            service: first part of the path.
            call: the request.
            kind: `stale`, or one that `elara.mirror.spoil` knows.

        Returns:
            None where there is no such answer to this request.
        """
        if kind == "stale":
            asked, answer = self._earlier.get(_kind(service, call.path), ("", Answer(b"")))
            other = asked not in ("", identity(service, call.path, call.parameters))
            return answer if other else None
        answer = self.answer(service, dataclasses.replace(call, gzip=False))
        body = gzip.decompress(answer.body) if answer.encoding else answer.body
        changed = spoil(kind, body) if answer.status == 200 else None
        return None if changed is None else Answer(changed, answer.content_type)

    def keep(self, service: str, call: Call, answer: Answer) -> None:
        """Remember an answer, which later requests may be given in place of theirs.

        Args:
            service: first part of the path.
            call: the request.
            answer: what it is answered.
        """
        if "stale" in self.faults.kinds and self.faults.rate and answer.status == 200:
            asked = identity(service, call.path, call.parameters)
            kept = dataclasses.replace(answer, stored=False)
            self._earlier[_kind(service, call.path)] = asked, kept

    def note(self, request: Request) -> None:
        """Add a request to the log.

        Args:
            request: as it will be answered.
        """
        with self._lock:
            self.log.append(request)
            if self._log_file and not self._log_file.closed:
                self._log_file.write(json.dumps(dataclasses.asdict(request)) + "\n")
                self._log_file.flush()


def _kind(service: str, path: str) -> str:
    """What requests have in common that a confused server could take for one another."""
    if service in SITES:
        return service
    return f"{service}/{Path(path).suffix if service == 'pubmed' else Path(path).name}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    mirror: Mirror

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are expected here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _IDLE
    server: _Server
    arrived: float

    def parse_request(self) -> bool:
        self.arrived = time.monotonic()
        return super().parse_request()

    def log_message(self, format: str, *args: Any) -> None:
        """The mirror keeps its own log."""

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        target = urlsplit(self.path)
        query = parse_qsl(target.query, keep_blank_values=True)
        if length := int(self.headers.get("Content-Length") or 0):
            query += parse_qsl(self.rfile.read(length).decode("utf-8", "replace"))
        service, _, path = target.path.strip("/").partition("/")
        packed = "gzip" in self.headers.get("Accept-Encoding", "")
        call = Call(path, dict(query), packed, self.command, len(self.path))
        mirror = self.server.mirror
        fault = mirror.next_fault(service, call)
        if fault.kind == "html" and service in SITES:
            fault = dataclasses.replace(fault, kind="500")  # a page for a page would be no fault
        answer = self._faulty(service, call, fault)
        if answer is None:  # nothing could be left out or confused
            fault = dataclasses.replace(fault, kind="500")
            answer = breakdown(fault.variant)
        before = fault.kind == "reset" and fault.variant % 2 == 0
        status = 0 if before else answer.status
        mirror.note(Request(self.arrived, service, path, dict(query), status, fault.kind))
        if before:
            self._reset()
        else:
            self._send(answer, fault)

    def _faulty(self, service: str, call: Call, fault: Fault) -> Answer | None:
        mirror = self.server.mirror
        answer: Answer | None
        match fault.kind:
            case "429":
                answer = refusal(service, mirror.faults.retry_after, fault.variant)
            case "500":
                answer = breakdown(fault.variant)
            case "html":
                expected = mirror.answer(service, call).content_type
                answer = wrong_page(expected, fault.variant)
            case "gone":
                answer = not_found(call.path)
            case "empty" | "short" | "repeated" | "stale":
                answer = mirror.spoilt(service, call, fault.kind)
            case _:
                answer = mirror.answer(service, call)
                mirror.keep(service, call, answer)
                if answer.stored and answer.status == 200:
                    answer = part_of(answer, self.headers)
                if call.gzip and not answer.encoding and not answer.stored:
                    answer.body, answer.encoding = gzip_bytes(answer.body), "gzip"
        return answer

    def _head(self, answer: Answer, framing: str) -> bytes:
        lines = [
            f"HTTP/1.1 {answer.status} {http.client.responses[answer.status]}",
            f"Date: {formatdate(usegmt=True)}",
            f"Content-Type: {answer.content_type}",
            framing,
            *(f"{name}: {value}" for name, value in answer.headers.items()),
        ]
        if answer.encoding:
            lines += [f"Content-Encoding: {answer.encoding}", "Vary: Accept-Encoding"]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _send(self, answer: Answer, fault: Fault) -> None:
        body = answer.body
        head = self._head(answer, f"Content-Length: {len(body)}")
        if self.command == "HEAD":
            self.wfile.write(head)
        elif fault.kind == "truncated":
            self._truncate(answer, fault)
        elif fault.kind == "slow":
            self._trickle(head, body, fault)
        elif fault.kind == "reset":
            self.wfile.write(head + body[: len(body) // 2])
            self._reset()
        elif len(body) < 65_536:
            self.wfile.write(head + body)
        else:
            self.wfile.write(head)
            self.wfile.write(body)

    def _truncate(self, answer: Answer, fault: Fault) -> None:
        """A body that ends too early: against its length, inside its pieces, or unnoticed."""
        part = answer.body[: int(len(answer.body) * fault.share)]
        match fault.variant % 3:
            case 0:
                head = self._head(answer, f"Content-Length: {len(answer.body)}")
                self.wfile.write(head + part)
                self.close_connection = True
            case 1:
                head = self._head(answer, "Transfer-Encoding: chunked")
                self.wfile.write(head + b"%x\r\n%b\r\n" % (len(part), part) if part else head)
                self.close_connection = True
            case _:
                self.wfile.write(self._head(answer, f"Content-Length: {len(part)}") + part)

    def _trickle(self, head: bytes, body: bytes, fault: Fault) -> None:
        """Odd variants wait at the start, even ones between the pieces."""
        delay = self.server.mirror.faults.slow_seconds
        if fault.variant % 2:
            time.sleep(delay)
            self.wfile.write(head + body)
            return
        self.wfile.write(head)
        step = max(1, -(-len(body) // _TRICKLE))
        for start in range(0, len(body), step):
            time.sleep(delay / _TRICKLE)
            self.wfile.write(body[start : start + step])

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.connection.close()  # together with the files that `finish` closes
        self.close_connection = True

"""Serve all sources behind one address, log the requests, and inject faults on the way out."""

from __future__ import annotations

import dataclasses
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import parse_qsl, urlsplit

from isal import igzip

from elara.mirror.bulk import Bulk
from elara.mirror.corpus import Corpus
from elara.mirror.europepmc import EuropePmc
from elara.mirror.eutils import Eutils
from elara.mirror.faults import GONE, MOST, Fault, Faults, breakdown, identity, refusal, wrong_page
from elara.mirror.messages import TEXT, Answer, Asked, Request, not_found
from elara.mirror.pages import SITES, MedlinePlus, Site
from elara.mirror.records import Numbering, read_raw
from elara.mirror.spoil import spoil
from elara.mirror.stackexchange import StackExchange

_IDLE = 60  # seconds after which a connection without requests is closed
_TRICKLE = 8  # pieces of a slow answer
_RESET = struct.pack("ii", 1, 0)  # linger for no time: closing drops what is unsent
_RANGE = re.compile(r"bytes=(\d+)-")


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
        log_file: Path | None = None,
    ) -> None:
        self.faults = faults or Faults()
        self.log: list[Request] = []
        numbering = Numbering()
        corpora = {
            name: Corpus(records, numbering, copies, per_query, hits or {})
            for name, records in zip(("pubmed", "pmc"), read_raw(folder, numbering), strict=True)
        }
        self._services: dict[str, Callable[[str, Asked], Answer]] = {
            "eutils": Eutils(corpora, history_requests),
            "pubmed": Bulk(corpora["pubmed"]),
            "europepmc": EuropePmc(corpora),
            "stackexchange": StackExchange(folder),
            "medlineplus": MedlinePlus(folder),
            **{name: Site(folder, name) for name in SITES},
        }
        self._attempts: dict[str, tuple[int, int]] = {}  # identity to attempts and faults
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

    def next_fault(self, service: str, path: str, asked: Asked) -> Fault:
        """What goes wrong with this request, if anything; counts one more attempt at it.

        Args:
            service: first part of the path.
            path: the rest of the path.
            asked: its parameters.
        """
        if service not in self._services:
            return Fault()
        name = identity(service, path, asked)
        with self._lock:
            attempts, struck = self._attempts.get(name, (0, 0))
            fault = self.faults.draw(name, attempts)
            if struck >= MOST and fault.kind != GONE:
                fault = Fault()
            self._attempts[name] = attempts + 1, struck + bool(fault.kind)
        if fault.kind == "html" and service in SITES:  # a page for a page would be no fault
            return dataclasses.replace(fault, kind="500")
        return fault

    def answer(self, service: str, path: str, asked: Asked) -> Answer:
        """What the service would answer if nothing went wrong.

        Args:
            service: first part of the path.
            path: the rest of the path.
            asked: its parameters.
        """
        if service == "robots.txt":  # RFC 9309, https://www.rfc-editor.org/rfc/rfc9309
            rules = [f"Disallow: /{name}/private/\n" for name in self._services]
            return Answer("".join(["User-agent: *\n", *rules]).encode(), TEXT)
        if service not in self._services:
            return not_found(service)
        answer = self._services[service](path, asked)
        if "stale" in self.faults.kinds and self.faults.rate and answer.status == 200:
            kept = dataclasses.replace(answer, stored=False)
            self._earlier[_kind(service, path)] = identity(service, path, asked), kept
        return answer

    def spoilt(self, service: str, path: str, asked: Asked, kind: str) -> Answer | None:
        """An answer of status 200 in the right form, which is not the one that was asked for.

        Args:
            service: first part of the path.
            path: the rest of the path.
            asked: its parameters.
            kind: `stale`, or one that `elara.mirror.spoil` knows.

        Returns:
            None where there is no such answer to this request.
        """
        if kind == "stale":
            other, answer = self._earlier.get(_kind(service, path), ("", Answer(b"")))
            return answer if other not in ("", identity(service, path, asked)) else None
        answer = self._services[service](path, asked)
        changed = spoil(kind, answer.body) if answer.status == 200 else None
        return None if changed is None else Answer(changed, answer.content_type)

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
        target = urlsplit(self.path)
        asked = dict(parse_qsl(target.query, keep_blank_values=True))
        if length := int(self.headers.get("Content-Length") or 0):
            asked |= parse_qsl(self.rfile.read(length).decode("utf-8", "replace"))
        service, _, path = target.path.strip("/").partition("/")
        mirror = self.server.mirror
        fault = mirror.next_fault(service, path, asked)
        answer = self._faulty(service, path, asked, fault)
        if answer is None:  # nothing could be left out or confused
            fault = dataclasses.replace(fault, kind="500")
            answer = breakdown(fault.variant)
        before = fault.kind == "reset" and fault.variant % 2 == 0
        status = 0 if before else answer.status
        mirror.note(Request(self.arrived, service, path, asked, status, fault.kind))
        if before:
            self._reset()
        else:
            self._send(answer, fault)

    do_POST = do_GET

    def _faulty(self, service: str, path: str, asked: Asked, fault: Fault) -> Answer | None:
        mirror = self.server.mirror
        match fault.kind:
            case "429":
                return refusal(service, mirror.faults.retry_after, fault.variant)
            case "500":
                return breakdown(fault.variant)
            case "html":
                expected = mirror.answer(service, path, asked).content_type
                return wrong_page(expected, fault.variant)
            case "gone":
                return not_found(path)
            case "empty" | "short" | "repeated" | "stale":
                return mirror.spoilt(service, path, asked, fault.kind)
        answer = mirror.answer(service, path, asked)
        if answer.stored:
            _cut(answer, self.headers.get("Range", ""))
        elif "gzip" in self.headers.get("Accept-Encoding", ""):
            answer = dataclasses.replace(answer, body=igzip.compress(answer.body, 1))
            answer.headers = answer.headers | {"Content-Encoding": "gzip"}
        return answer

    def _head(self, answer: Answer, framing: str, value: str) -> None:
        self.send_response(answer.status)
        for name, content in {"Content-Type": answer.content_type, **answer.headers}.items():
            self.send_header(name, content)
        self.send_header(framing, value)
        self.end_headers()

    def _send(self, answer: Answer, fault: Fault) -> None:
        body = answer.body
        delay = self.server.mirror.faults.slow_seconds
        if fault.kind == "truncated":
            self._truncate(answer, fault)
            return
        if fault.kind == "slow" and fault.variant % 2:  # it waits at the start
            time.sleep(delay)
        self._head(answer, "Content-Length", f"{len(body)}")
        if fault.kind == "reset":
            self.wfile.write(body[: len(body) // 2])
            self._reset()
        elif fault.kind == "slow" and not fault.variant % 2:  # or between the pieces
            step = max(1, -(-len(body) // _TRICKLE))
            for start in range(0, len(body), step):
                time.sleep(delay / _TRICKLE)
                self.wfile.write(body[start : start + step])
        else:
            self.wfile.write(body)

    def _truncate(self, answer: Answer, fault: Fault) -> None:
        """A body that ends too early: against its length, inside its pieces, or unnoticed."""
        part = answer.body[: int(len(answer.body) * fault.share)]
        match fault.variant % 3:
            case 0:
                self._head(answer, "Content-Length", f"{len(answer.body)}")
            case 1:
                self._head(answer, "Transfer-Encoding", "chunked")
                part = b"%x\r\n%b\r\n" % (len(part), part) if part else b""
            case _:
                self._head(answer, "Content-Length", f"{len(part)}")
        self.wfile.write(part)
        self.close_connection = True

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.connection.close()  # together with the files that `finish` closes
        self.close_connection = True


def _cut(answer: Answer, asked: str) -> None:
    """Reduce an answer to the rest of a file, where only that is asked for.

    Source: RFC 9110, section 14, https://www.rfc-editor.org/rfc/rfc9110
    """
    if found := _RANGE.fullmatch(asked):
        start, size = int(found[1]), len(answer.body)
        answer.status = 206 if start < size else 416
        answer.body = answer.body[start:]
        answer.headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"

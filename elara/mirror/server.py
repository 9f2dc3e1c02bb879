"""Serve all sources behind one address, log the requests, and inject faults on the way out."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from isal import igzip

from elara.mirror.answers import (
    GONE,
    GZIP,
    TEXT,
    Answer,
    Asked,
    Faults,
    not_found,
    page,
    refusal,
    spoil,
    wrong_page,
)
from elara.mirror.ncbi import Bulk, eutils
from elara.mirror.records import Corpus, read_raw
from elara.mirror.services import SITES, EuropePmc, MedlinePlus, Site, StackExchange

_MOST_FAULTS = 2  # for the same request: who asks again gets through
_RESET = struct.pack("ii", 1, 0)  # linger for no time: closing drops what is unsent
# What tells one client or session from another, but not what is asked for.
_NOT_IDENTITY = ("api_key", "email", "key", "tool")


@dataclass(slots=True)
class Request:
    """One line of the mirror's log.

    Args:
        service: first part of the path, for example `eutils`.
        path: the rest of the path.
        parameters: of the query string and of a posted form.
        time: seconds of the system's monotonic clock when the request arrived.
        status: HTTP status of the answer.
        fault: the kind of fault that was injected, or "".
    """

    service: str
    path: str
    parameters: dict[str, str]
    time: float = field(default_factory=time.monotonic)
    status: int = 0
    fault: str = ""

    def identity(self) -> str:
        """What makes two requests attempts at the same thing."""
        asked = sorted((k, v) for k, v in self.parameters.items() if k not in _NOT_IDENTITY)
        return f"{self.service}/{self.path}?{asked}"

    def kind(self) -> str:
        """What requests have in common that a confused server could take for one another."""
        if self.service in SITES:
            return self.service
        path = Path(self.path)
        return f"{self.service}/{path.suffix if self.service == 'pubmed' else path.name}"


class Mirror:
    """A local HTTP server that stands in for the live sources; use it in a `with` statement.

    Args:
        folder: the raw files to serve, in any format that the collector reads.
        faults: what goes wrong; nothing by default. `robots.txt` is always served well.
        copies: how many virtual records stand for each PubMed and PMC record.
        per_query: hits of a search that `hits` does not name; never more than a third of all.
        hits: part of a query, in lower case, to the number of its hits.
    """

    def __init__(
        self,
        folder: Path,
        faults: Faults | None = None,
        copies: int = 1,
        *,
        per_query: int = 400,
        hits: Mapping[str, int] | None = None,
    ) -> None:
        self.faults = faults or Faults()
        self.log: list[Request] = []
        *records, places = read_raw(folder)
        pairs = zip(("pubmed", "pmc"), records, strict=True)
        corpora = {n: Corpus(found, places, copies, per_query, hits or {}) for n, found in pairs}
        self._services: dict[str, Callable[[str, Asked], Answer]] = {
            "eutils": partial(eutils, corpora),
            "pubmed": Bulk(corpora["pubmed"]),
            "europepmc": EuropePmc(corpora),
            "stackexchange": StackExchange(folder),
            "medlineplus": MedlinePlus(folder),
            **{name: Site(folder, name) for name in SITES},
        }
        self._attempts: Counter[str] = Counter()  # at what has this identity
        self._struck: Counter[str] = Counter()
        self._earlier: dict[str, tuple[str, Answer]] = {}  # kind of request to identity and answer
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)  # 0: any free port
        self._server.mirror = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.05,), daemon=True)

    def __enter__(self) -> Mirror:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def respond(self, request: Request) -> tuple[Answer, int]:
        """Answer a request, with whatever goes wrong before the answer is on its way, and log it.

        Args:
            request: as it came; its fault and status are filled in.

        Returns:
            The answer, and a number that chooses the form of its fault.
        """
        service, path, asked = request.service, request.path, request.parameters
        name = request.identity()
        request.fault, form = self._draw(name) if service in self._services else ("", 0)
        answer: Answer | None = None
        match request.fault:
            case "429":
                answer = refusal(service, self.faults.retry_after, form)
            case "html" if service not in SITES:  # a page for a page would be no fault
                answer = wrong_page(self._answer(request).content_type, form)
            case "gone":
                answer = not_found(path)
            case "stale":
                other, earlier = self._earlier.get(request.kind(), (name, None))
                answer = earlier if other != name else None
            case "empty" | "short" | "repeated":
                answer = self._services[service](path, asked)
                changed = spoil(request.fault, answer.body) if answer.status == 200 else None
                answer = None if changed is None else Answer(changed, answer.content_type)
            case "" | "truncated" | "slow" | "reset":
                answer = self._answer(request)
        if answer is None:
            request.fault, status = "500", (500, 502, 503)[form % 3]
            answer = page(f"Error {status}", "Try again later.", status)
        request.status = answer.status
        with self._lock:
            self.log.append(request)
        return answer, form

    def _draw(self, name: str) -> tuple[str, int]:
        with self._lock:
            kind, form = self.faults.draw(name, self._attempts[name])
            if self._struck[name] >= _MOST_FAULTS and kind != GONE:
                kind = ""
            self._attempts[name] += 1
            self._struck[name] += bool(kind)
        return kind, form

    def _answer(self, request: Request) -> Answer:
        """What the service answers if nothing goes wrong."""
        if request.service == "robots.txt":  # RFC 9309, https://www.rfc-editor.org/rfc/rfc9309
            rules = [f"Disallow: /{name}/private/\n" for name in self._services]
            return Answer("".join(["User-agent: *\n", *rules]).encode(), TEXT)
        if request.service not in self._services:
            return not_found(request.service)
        answer = self._services[request.service](request.path, request.parameters)
        if answer.status == 200:
            self._earlier[request.kind()] = request.identity(), answer
        return answer


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    mirror: Mirror

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are expected here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """The mirror keeps its own log."""

    def do_GET(self) -> None:
        target = urlsplit(self.path)
        form = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        asked = dict(parse_qsl(target.query, keep_blank_values=True) + parse_qsl(form))
        service, _, path = target.path.strip("/").partition("/")
        request = Request(service, path, asked)
        answer, variant = self.server.mirror.respond(request)
        self._send(answer, request.fault, variant)

    do_POST = do_GET

    def _send(self, answer: Answer, fault: str, form: int) -> None:
        body, headers = answer.body, {"Content-Type": answer.content_type, **answer.headers}
        if answer.content_type != GZIP and "gzip" in self.headers.get("Accept-Encoding", ""):
            body, headers["Content-Encoding"] = igzip.compress(body, 1), "gzip"
        size = len(body)
        if fault == "slow":
            time.sleep(self.server.mirror.faults.slow_seconds)
        elif fault == "truncated":
            body = body[: int(size * (0.05 + 0.9 * form / 255))]
            size = size if form % 2 else len(body)  # against its length, or unnoticed
        elif fault == "reset":
            body = body[: size // 2]
        self.send_response(answer.status)
        for name, content in {**headers, "Content-Length": f"{size}"}.items():
            self.send_header(name, content)
        self.end_headers()
        self.wfile.write(body)
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.connection.close()  # together with the files that `finish` closes
        if len(body) < size:
            self.close_connection = True

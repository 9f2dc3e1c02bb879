"""A small HTTP server for one test: answers come from a function, requests go to a list."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

Query = dict[str, str]


class Asked(NamedTuple):
    """A request: seconds of the monotonic clock, path and parameters."""

    time: float
    path: str
    query: Query


class Stub:
    """A server; use it in a `with` statement.

    Args:
        answer: given path and parameters (of the address, and of a posted form), returns status
            and body.
        headers: sent with every answer whose status is not 200.
    """

    def __init__(
        self,
        answer: Callable[[str, Query], tuple[int, bytes]],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.log: list[Asked] = []
        log = self.log

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                address = urlsplit(self.path)
                form = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                query = dict(parse_qsl(address.query) + parse_qsl(form))
                log.append(Asked(time.monotonic(), address.path.strip("/"), query))
                status, body = answer(address.path.strip("/"), query)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                for name, value in (headers or {}).items() if status != 200 else ():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Stub:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

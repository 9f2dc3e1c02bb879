"""A small HTTP server for one test: answers come from a function, requests go to a list."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
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
        answer: given path and parameters, returns status and body.
    """

    def __init__(self, answer: Callable[[str, Query], tuple[int, bytes]]) -> None:
        self.log: list[Asked] = []
        log = self.log

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = urlsplit(self.path)
                query = dict(parse_qsl(address.query))
                log.append(Asked(time.monotonic(), address.path.strip("/"), query))
                status, body = answer(address.path.strip("/"), query)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
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

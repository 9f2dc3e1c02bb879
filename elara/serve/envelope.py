"""Give every response an id, a time and safe headers; log one line, and no text of an error."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from elara.serve.keys import Key
from elara.serve.logs import REQUEST, place_of
from elara.serve.problems import problem

if TYPE_CHECKING:
    from elara.serve.tracing import Traces

log = logging.getLogger("elara.serve")

_FIRST = {"", "health", "docs", "openapi.json", "assets", "chat", "v1", "feedback", "experiment"}
_FIRST |= {"admin", "metrics", "app", "welcome", "evidence"}
# A caller's own request id is kept if it cannot break a log line.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Broken(RuntimeError):
    """An answer broke off after it had begun. The message holds nothing of it."""


class Envelope:
    """Give every response an id, a time and safe headers, and log one line for each request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        given = Headers(scope=scope).get("X-Request-ID", "")
        state = scope.setdefault("state", {})
        state["request_id"] = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        REQUEST.set(state["request_id"])
        traces: Traces | None = scope["app"].state.traces
        state["span"] = span = traces.begin() if traces else None
        started, status = time.perf_counter(), 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers["Strict-Transport-Security"] = "max-age=31536000"
                headers["X-Request-ID"] = state["request_id"]
                milliseconds = (time.perf_counter() - started) * 1000
                headers["Server-Timing"] = f"total;dur={milliseconds:.1f}"
            await send(message)

        try:
            await self.app(scope, receive, send_on)
        except Exception as error:
            # An exception's text may quote the conversation: only its type and place are kept.
            kind = type(error).__name__
            log.error("request failed: %s", place_of(error))
            if status:
                raise Broken(f"the answer broke off: {kind}") from None
            detail = f"The server failed ({kind}). Its log names the place, with this request's id."
            await problem(scope, 500, detail)(scope, receive, send_on)
        finally:
            told = self._log(scope, status, (time.perf_counter() - started) * 1000)
            if traces and span:
                traces.end(span, told)

    @staticmethod
    def _log(scope: Scope, status: int, milliseconds: float) -> dict[str, Any]:
        # Neither body nor query, nor a path that is none of ours: what people write stays out.
        # What was refused before it found its route is logged by the beginning of its path.
        first = scope["path"].split("/")[1] if "/" in scope["path"] else ""
        path = getattr(scope.get("route"), "path", None) or (f"/{first}" if first in _FIRST else "")
        key: Key | None = scope["state"].get("key")
        told = {
            "method": scope["method"] if scope["method"] in _METHODS else "?",
            "route": path or "(no such address)",
            "status": status or None,  # nobody got an answer
            "milliseconds": round(milliseconds),
            "request": scope["state"]["request_id"],
            "key": key.id if key else None,
        }
        line = "{method} {route} {status} {milliseconds} ms {request} key={key}".format(
            **told | {"status": status or "no answer", "key": told["key"] or "none"}
        )
        log.info(line, extra={"access": told})
        return told

"""Decide which requests reach the application: by host, origin, key, rate, size and time.

Pure ASGI, one class for each decision. `add_guards` puts them in order: what is cheap and public
comes first, and a body is read only for callers who may send one.
"""

from __future__ import annotations

import asyncio
import logging
import re

from fastapi import FastAPI, HTTPException
from fastapi.middleware.cors import CORSMiddleware
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from elara.serve.config import Settings, bracketed, loopback
from elara.serve.envelope import Envelope
from elara.serve.keys import Key, KeyFile, KeysError
from elara.serve.limits import Limits, counted
from elara.serve.problems import problem

log = logging.getLogger("elara.serve")

_SAFE = {"GET", "HEAD", "OPTIONS"}
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
# Open to everybody who reaches the server; every other address asks for a key, also a new one.
_PUBLIC = {"/", "/welcome", "/app", "/health", "/docs", "/openapi.json", "/favicon.ico"}
_CLOSE = {"Connection": "close"}  # what the caller still sends is not read


class Gate:
    """Refuse names that are not this server's, pages of other origins, and huge headers.

    A page of an attacker whose name leads to this computer (DNS rebinding) sends its own name as
    Host; a page elsewhere that posts here sends its own Origin.

    Source: https://www.rfc-editor.org/rfc/rfc9110#name-421-misdirected-request and
        https://www.rfc-editor.org/rfc/rfc6454#section-7
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and (why := self._why_not(scope)):
            return await problem(scope, *why, _CLOSE)(scope, receive, send)
        await self.app(scope, receive, send)

    def _why_not(self, scope: Scope) -> tuple[int, str] | None:
        most = self.settings.max_header_bytes
        if sum(len(name) + len(value) for name, value in scope["headers"]) > most:
            return 431, f"The headers are longer than {most} bytes: send fewer or shorter ones."
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._is_ours(hosts[0], scope):
            return 421, (
                "This server does not answer to that Host. If it should, name it in "
                "ELARA_SERVE_ALLOWED_HOSTS, as NAME or NAME:PORT."
            )
        own = f"{scope['scheme']}://{hosts[0]}"
        allowed = {own.lower(), *self.settings.cors_origins}
        if scope["method"] not in _SAFE and not allowed.issuperset(origins):
            return 403, (
                "Pages of that origin may not send requests here. If they should, name it in "
                "ELARA_SERVE_CORS_ORIGINS; behind a proxy that encrypts, declare the proxy in "
                "ELARA_SERVE_TRUSTED_PROXIES."
            )
        return None

    def _is_ours(self, host: str, scope: Scope) -> bool:
        host, port = host.lower(), (scope.get("server") or ("", None))[1]
        name = re.sub(r":\d+$", "", host)
        if {name, host} & set(self.settings.allowed_hosts):
            return True
        plain = {"http": 80, "https": 443}[scope["scheme"]]
        own = {*_LOCAL_NAMES, bracketed(self.settings.host)}
        return name in own and host in {f"{name}:{port}", name if port == plain else ""}


class Access:
    """Ask for a key and its scope, and count the request.

    Without a file of keys the server is for programs of this computer only, whatever starts it.

    Source: https://www.rfc-editor.org/rfc/rfc6750#section-3
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, keys: KeyFile | None, limits: Limits | None
    ) -> None:
        self.app, self.settings, self.keys, self.limits = app, settings, keys, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        try:
            self._admit(scope)
            await self._count(scope)
        except HTTPException as error:
            headers = dict(error.headers or {}) | _CLOSE
            refusal = problem(scope, error.status_code, error.detail, headers)
            return await refusal(scope, receive, send)
        await self.app(scope, receive, send)

    def _admit(self, scope: Scope) -> None:
        headers, wanted = Headers(scope=scope), scope_of(scope["path"])
        if self.keys is None:
            return _admit_without_key(scope, headers, wanted)
        if wanted is None:
            return
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            raise HTTPException(
                401,
                "This address needs a key: send the header `Authorization: Bearer KEY`. Whoever "
                "runs the server makes one with `elara keys add`.",
                {"WWW-Authenticate": "Bearer"},
            )
        try:
            key = self.keys.find(token.strip())
        except KeysError as error:
            log.error("%s", error)
            detail = "The server cannot read its keys; its log says why. Ask whoever runs it."
            raise HTTPException(503, detail) from None
        if key is None:
            raise HTTPException(
                401,
                "This key opens nothing: it is mistyped, revoked or expired.",
                {"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        scope["state"]["key"] = key
        if wanted not in key.scopes:
            told = f'Bearer error="insufficient_scope", scope="{wanted}"'
            detail = f"This key is not for this address, which needs the scope {wanted}."
            raise HTTPException(403, detail, {"WWW-Authenticate": told})

    async def _count(self, scope: Scope) -> None:
        key: Key | None = scope["state"].get("key")
        if key is None or self.limits is None or scope["method"] in _SAFE:
            return
        most = key.requests_per_minute
        most = self.settings.requests_per_minute if most is None else most
        await counted(self.limits, self.limits.take, key.account, most)


class Body:
    """Read a whole body before the application starts, up to a size and within a time."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body, or refuse it."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        if not {"content-length", "transfer-encoding"} & {*headers.keys()}:
            return await self.app(scope, receive, send)
        most, seconds = self.settings.longest_body(scope["path"]), self.settings.body_seconds
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                # What a caller says is refused at once; what it sends is counted all the same.
                too_long, more = int(headers.get("content-length", "0")) > most, True
                while more and not too_long:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    body += message.get("body", b"")
                    more, too_long = message.get("more_body", False), len(body) > most
        except TimeoutError:
            detail = f"The request did not arrive within {seconds:g} seconds."
            return await problem(scope, 408, detail, _CLOSE)(scope, receive, send)
        if too_long:
            detail = f"The request is longer than {most} bytes: send less at a time."
            return await problem(scope, 413, detail, _CLOSE)(scope, receive, send)
        read = False

        async def replay() -> Message:
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self.app(scope, replay, send)


def scope_of(path: str) -> str | None:
    """The scope that an address asks for; None: it is open to everybody who reaches the server.

    Args:
        path: of the request, decoded.
    """
    if path in _PUBLIC or path.startswith(("/assets/", "/app/")):
        return None
    first = path.split("/")[1]
    return first if first in ("admin", "metrics") else "chat"


def add_guards(app: FastAPI, settings: Settings) -> None:
    """Put the guards around an application.

    Args:
        app: the application; its state gets `keys` and `limits`, None without a file of keys.
        settings: what they go by.
    """
    keys = KeyFile(settings.keys) if settings.keys else None
    limits = Limits(settings.keys.with_suffix(".limits.sqlite")) if settings.keys else None
    app.state.keys, app.state.limits = keys, limits
    # The last one that is added is the outermost.
    app.add_middleware(Body, settings=settings)
    app.add_middleware(Access, settings=settings, keys=keys, limits=limits)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
        expose_headers=["X-Request-ID", "Server-Timing", "Retry-After", "WWW-Authenticate"],
    )
    app.add_middleware(Gate, settings=settings)
    app.add_middleware(Envelope)


def _admit_without_key(scope: Scope, headers: Headers, wanted: str | None) -> None:
    """Let programs of this computer in, but not to what an administrator does."""
    server = scope.get("server") or ("", None)
    if not loopback(server[0]) or {"forwarded", "x-forwarded-for"} & {*headers.keys()}:
        raise HTTPException(
            403,
            "Without keys this server is for programs of its own computer, not for others or "
            "through a proxy. Whoever runs it makes a key with `elara keys add NAME --scope chat`.",
        )
    if wanted == "admin":
        raise HTTPException(
            403,
            "What an administrator does needs a key: make one with `elara keys add NAME --scope "
            "admin` and start the server again.",
        )

"""An OpenAI-compatible server on a real port that does what a script says, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from elara.serve.upstream import Upstream

Script = Callable[["Call"], Awaitable[None]]
EVENTS = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{more}\r\n"


class Call:
    """One request, and the way back to whoever sent it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.line, self.headers, self.body = "", {}, b""  # type: ignore[var-annotated]

    async def receive(self) -> None:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.line = head[0]
        self.headers = {k.lower(): v for k, _, v in (h.partition(": ") for h in head[1:] if h)}
        self.body = await self.reader.readexactly(int(self.headers.get("content-length", 0)))

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)  # type: ignore[no-any-return]

    async def send(self, data: str | bytes) -> None:
        self.writer.write(data.encode() if isinstance(data, str) else data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the other side has closed the connection."""
        with contextlib.suppress(ConnectionError):
            assert await self.reader.read() == b""


def chunk(content: str | None = None, **more: Any) -> str:
    """An event with some text."""
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None}
    return event({"choices": [choice | more]})


def event(data: Any) -> str:
    return f"data: {json.dumps(data)}\n\n"


def ending(reason: str = "stop", usage: bool = True) -> str:
    counted = {"prompt_tokens": 40, "completion_tokens": 7}
    last = chunk(delta={}, finish_reason=reason)
    return last + (event({"choices": [], "usage": counted}) if usage else "") + "data: [DONE]\n\n"


def says(*texts: str, end: str = "", more: str = "") -> Script:
    """Answer with these pieces of text, and then with an end, by default a proper one."""

    async def script(call: Call) -> None:
        await call.send(EVENTS.format(more=more) + "".join(map(chunk, texts)) + (end or ending()))

    return script


def sends(data: str | bytes) -> Script:
    """Send these bytes and close."""

    async def script(call: Call) -> None:
        await call.send(data)

    return script


def status(code: int, *headers: str) -> Script:
    """Answer with a status, and a body that says the question back."""

    async def script(call: Call) -> None:
        body = b"refused: " + call.body
        lines = [f"HTTP/1.1 {code} X", f"Content-Length: {len(body)}", *headers, "", ""]
        await call.send("\r\n".join(lines).encode() + body)

    return script


def hangs(*texts: str) -> Script:
    """Send these pieces of text, if any, and then nothing until the other side gives up."""

    async def script(call: Call) -> None:
        if texts:
            await call.send(EVENTS.format(more="") + "".join(map(chunk, texts)))
        await call.gone()

    return script


class FakeUpstream:
    """Set `script` for questions and `health` for health checks; read `calls`."""

    def __init__(self) -> None:
        self.script: Script = says("Hello", " there")
        self.health: Script = status(200)
        self.calls: list[Call] = []
        self.checks: list[str] = []
        self.asked, self.left = asyncio.Event(), asyncio.Event()
        self.url = ""

    def upstream(self, **settings: Any) -> Upstream:
        return Upstream(**({"url": self.url, "model": "elara"} | settings))

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = Call(reader, writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await call.receive()
            if call.line.startswith("POST /v1/chat/completions "):
                self.calls.append(call)
                self.asked.set()
                await self.script(call)
                self.left.set()
            else:
                self.checks.append(call.line)
                await self.health(call)
        writer.close()


@contextlib.asynccontextmanager
async def fake() -> AsyncIterator[FakeUpstream]:
    """A fake upstream that listens."""
    made = FakeUpstream()
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()

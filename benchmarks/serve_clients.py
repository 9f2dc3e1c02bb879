"""Clients and upstreams that fail on purpose, for benchmarks/serve.py."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SEED, EVERY = 16, 100  # one request in so many fails on purpose
FAULTS = ("sends slowly", "reads slowly", "leaves before", "leaves in the middle", "upstream 500")
WORDS = 20  # of an answer


@dataclass
class Seen:
    """What a client saw of one request.

    Args:
        id: of the request.
        stream: whether it asked for events.
        fault: what was done on purpose; "" for nothing.
        told: the status that it got, "broken" where the connection broke, "left" where it left.
        complete: whether it got a whole answer.
    """

    id: str
    stream: bool
    fault: str
    told: str = "broken"
    complete: bool = False

    @property
    def broken(self) -> bool:
        """Whether the connection broke before the answer was complete."""
        return self.told == "broken"

    @property
    def unexplained(self) -> bool:
        """Whether it got an error that nobody had caused."""
        failed = self.told.isdigit() and not self.complete
        return failed and not (self.fault == "upstream 500" and self.told in ("502", "503"))


async def ask(port: int, requests: int, clients: int, at: Callable[[int], None]) -> list[Seen]:
    """Send requests over many connections.

    Args:
        port: of the server, on this computer.
        requests: how many.
        clients: how many at once.
        at: called with the number of each request before it is sent.

    Returns:
        What the clients saw, a row for each request.
    """
    draw = random.Random(SEED)
    plan = []
    for number in range(requests):
        fault = FAULTS[number // EVERY % len(FAULTS)] if number % EVERY == EVERY // 2 else ""
        stream = "reads" in fault or "middle" in fault or draw.random() < 0.5
        plan.append(Seen(f"benchmark-{number}", stream, fault))
    waiting = iter(enumerate(plan))

    async def client() -> None:
        line = None
        for number, one in waiting:
            at(number)
            # A new connection after each fault, and for one request in ten.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                async with asyncio.timeout(60):
                    line = line or await asyncio.open_connection("127.0.0.1", port)
                    await _one(*line, one, port)
            if line and (one.fault or one.broken or draw.random() < 0.1):
                line[1].close()
                line = None

    await asyncio.gather(*(client() for _ in range(clients)))
    return plan


async def _one(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, one: Seen, port: int
) -> None:
    head, body = _request(one, port)
    writer.write(head)
    if one.fault == "sends slowly":
        for place in range(0, len(body), 16):
            writer.write(body[place : place + 16])
            await asyncio.sleep(0.05)
    else:
        writer.write(body)
    await writer.drain()
    if one.fault == "leaves before":
        one.told = "left"
        return
    answer = await reader.readuntil(b"\r\n\r\n")
    told = answer.split(b" ", 2)[1].decode()
    if one.fault == "leaves in the middle":
        await reader.readexactly(1)
        one.told = "left"
        return
    pause = 0.2 if one.fault == "reads slowly" else 0.0
    whole = await _body(reader, answer.lower(), pause)
    one.told = told
    end = b"data: [DONE]\n\n" if one.stream else b"}"
    one.complete = told == "200" and whole.endswith(end)


async def _body(reader: asyncio.StreamReader, head: bytes, pause: float) -> bytes:
    if b"content-length:" in head:
        return await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
    whole = b""
    while size := int(await reader.readuntil(b"\n"), 16):
        await asyncio.sleep(pause)
        whole += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\n")
    return whole


def _request(one: Seen, port: int) -> tuple[bytes, bytes]:
    said = "Fail, please." if one.fault == "upstream 500" else "What is anemia?"
    content: dict[str, object] = {"messages": [{"role": "user", "content": f"{said} {one.id}"}]}
    if one.stream:
        content |= {"model": "elara", "stream": True}
    body = json.dumps(content).encode()
    path = "/v1/chat/completions" if one.stream else "/chat"
    lines = (f"POST {path} HTTP/1.1", f"Host: localhost:{port}", "Content-Type: application/json")
    more = (f"Content-Length: {len(body)}", f"X-Request-ID: {one.id}", "", "")
    return "\r\n".join([*lines, *more]).encode(), body


@contextlib.contextmanager
def upstreams() -> Iterator[list[str]]:
    """Two OpenAI-compatible servers in a process of their own; their addresses."""
    command = [sys.executable, str(Path(__file__))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        try:
            yield [program.stdout.readline().strip() for _ in range(2)]
        finally:
            program.kill()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            _, _, length = head.lower().partition(b"content-length:")
            body = await reader.readexactly(int(length.split(b"\r\n")[0])) if length else b""
            if not body:  # a health check
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            elif b"Fail, please." in body:
                writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
            else:
                await _stream(writer)
            await writer.drain()
    writer.close()


async def _stream(writer: asyncio.StreamWriter) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    for number in range(WORDS + 1):
        last = number == WORDS
        choice = {
            "index": 0,
            "delta": {} if last else {"content": f" word{number}"},
            "finish_reason": "stop" if last else None,
        }
        event = f"data: {json.dumps({'choices': [choice]})}\n\n"
        if last:
            usage = {"prompt_tokens": 30, "completion_tokens": WORDS}
            event += f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n"
        writer.write(f"{len(event):x}\r\n{event}\r\n".encode())
        if number % 5 == 0:
            await asyncio.sleep(0.002)
    writer.write(b"0\r\n\r\n")


async def _serve() -> None:
    servers = [await asyncio.start_server(_answer, "127.0.0.1", 0) for _ in range(2)]
    for server in servers:
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(_serve())

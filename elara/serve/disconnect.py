"""Notice that a client has gone, and stop what was done for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

Result = TypeVar("Result")


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Do something for a client, and cancel it as soon as the client disconnects.

    A task of its own listens: asking `request.is_disconnected()` between two steps notices too
    late, and never while a step waits.

    Args:
        request: the client's, whose body has been read.
        work: what is done for it.

    Raises:
        ClientGone: the client disconnected first; `work` was cancelled and has ended.

    Source: https://asgi.readthedocs.io/en/latest/specs/www.html#disconnect-receive-event
    """
    doing, listening = asyncio.create_task(work), asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait({doing, listening}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise ClientGone
    finally:
        doing.cancel()
        listening.cancel()
        await asyncio.gather(doing, listening, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

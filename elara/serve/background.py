"""Compute in a thread beside the event loop: one thing at a time, in time and within bounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from elara.serve.backends import RETRY_SECONDS, QueueFull, TookTooLong

Result = TypeVar("Result")


class Background:
    """A thread, and those who wait for it.

    Args:
        name: of the thread.
        most: most callers that wait, the one whose turn it is included.
    """

    def __init__(self, name: str, most: int) -> None:
        self._thread = ThreadPoolExecutor(1, name)
        self._most, self._waiting = most, 0

    async def run(self, work: Callable[[], Result], deadline: float | None = None) -> Result:
        """Do something in the thread. What is given up before its turn is never begun.

        Args:
            work: what to do.
            deadline: value of `time.monotonic()`, after which nobody waits for it; None: there is
                none.

        Raises:
            QueueFull: too many wait.
            TookTooLong: the deadline has passed.
        """
        if self._waiting >= self._most:
            raise QueueFull(
                f"{self._waiting} others wait for the same, and no more may: ask again in "
                f"{RETRY_SECONDS} seconds.",
                RETRY_SECONDS,
            )
        self._waiting += 1
        try:
            async with until(deadline):
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let the thread end after what it does now."""
        self._thread.shutdown(wait=False, cancel_futures=True)


@asynccontextmanager
async def until(deadline: float | None) -> AsyncIterator[None]:
    """Leave the block at a deadline.

    Args:
        deadline: value of `time.monotonic()`; None: there is none.

    Raises:
        TookTooLong: it has passed.
    """
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    try:
        async with asyncio.timeout(left):
            yield
    except TimeoutError:
        raise TookTooLong(
            "This was not ready in the time allowed for an answer: ask again when fewer others ask."
        ) from None

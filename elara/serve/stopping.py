"""Let answers finish when the server stops, end those that last too long, and wait for records."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn

from elara.serve.backends import RETRY_SECONDS, End, Piece, ServerStopped

log = logging.getLogger("elara.serve")

_LOOK = 0.02  # seconds


class UnderWay:
    """The answers of one application that have an *accepted* record and no *ended* one yet."""

    def __init__(self) -> None:
        self._answers = 0
        self._waiting: set[asyncio.Task[Any]] = set()
        self._ended: set[asyncio.Task[Any]] = set()
        self._over = False

    @contextmanager
    def answer(self) -> Iterator[None]:
        """Around an answer, from its first record to its last."""
        self._answers += 1
        try:
            yield
        finally:
            self._answers -= 1

    async def next(self, items: AsyncIterator[Piece | End]) -> Piece | End | None:
        """The next item of an answer; None after the last one.

        Args:
            items: the answer.

        Raises:
            ServerStopped: the server stops and waits no longer for answers.
        """
        if self._over:
            raise _stopped()
        # Not `asyncio.timeout`: this is done for every token.
        task = asyncio.current_task()
        assert task
        self._waiting.add(task)
        try:
            return await anext(items, None)
        except asyncio.CancelledError:
            if task in self._ended and task.uncancel() == 0:  # else somebody else cancelled it
                raise _stopped() from None
            raise
        finally:
            self._waiting.discard(task)
            self._ended.discard(task)

    def end(self) -> int:
        """Wait for no answer any more; called once, in the event loop.

        Returns:
            How many answers are ended.
        """
        self._over = True
        self._ended = {*self._waiting}
        for task in self._waiting:
            task.cancel()
        return self._answers

    async def recorded(self, seconds: float) -> int:
        """Wait until every answer has its last record.

        Args:
            seconds: how long at most.

        Returns:
            How many still have none.
        """
        latest = time.monotonic() + seconds
        while self._answers and time.monotonic() < latest:
            await asyncio.sleep(_LOOK)
        return self._answers


def _stopped() -> ServerStopped:
    return ServerStopped(
        f"The server stopped before the answer was complete: ask again in {RETRY_SECONDS} seconds.",
        RETRY_SECONDS,
    )


class Server(uvicorn.Server):
    """uvicorn's server, which ends answers in time for their records, and itself without an error.

    uvicorn would raise the signal again after it has stopped, and forget the application's end
    over a second one.
    """

    _hurry = False

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop in order when the terminal closes, too, unless it was started with `nohup`."""
        with super().capture_signals():
            if (
                hasattr(signal, "SIGHUP")
                and threading.current_thread() is threading.main_thread()
                and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
            ):
                signal.signal(signal.SIGHUP, self.handle_exit)
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; at a second signal, without waiting for answers."""
        self._hurry = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more questions, and end what lasts too long."""
        ending = asyncio.create_task(self._end_answers())
        await super().shutdown(sockets)
        ending.cancel()

    async def _end_answers(self) -> None:
        state = self.config.app.state  # type: ignore[union-attr]
        seconds = state.settings.stop_seconds
        log.info("stopping: answers under way have %g s, or until a second signal", seconds)
        latest = time.monotonic() + seconds
        while not self._hurry and time.monotonic() < latest:
            await asyncio.sleep(0.05)
        if ended := state.under_way.end():
            log.warning("%d answers were ended before they were complete", ended)

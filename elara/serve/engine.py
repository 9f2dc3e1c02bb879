"""Let the chats that wait be answered together, by one thread that never dies of an error."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator
from typing import Any

from elara.serve.backends import Ask, End, GenerationFailed, Piece, QueueFull, TookTooLong
from elara.serve.decoding import give_memory_back, out_of_memory
from elara.serve.logs import place_of

log = logging.getLogger("elara.serve")

# How long a batch takes, in seconds, until one has been seen.
_FIRST_GUESS = 5.0


class _Chat:
    """An answer that somebody waits for, between the event loop and the thread that writes."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.row: Any = None
        self.started = 0.0
        self.gone = False  # nobody waits any more
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Piece | End | Exception] = asyncio.Queue()

    def send(self, item: Piece | End | Exception) -> None:
        """Called by the thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)

    def fail(self, error: Exception) -> None:
        """Called by the thread: nothing more will come."""
        self.gone = True
        self.send(error)

    async def next(self) -> Piece | End:
        """Called in the event loop."""
        try:
            async with asyncio.timeout(max(0.0, self.ask.deadline - time.monotonic())):
                item = await self._items.get()
        except TimeoutError:
            raise _overdue() from None
        if isinstance(item, Exception):
            raise item
        return item


class Engine:
    """Answers with one model. Chats that wait are answered together; newcomers wait for them.

    A batch is written with the adapter or without it. The chat that has waited longest decides,
    so that neither kind of chat keeps the other waiting for long.

    Args:
        decoder: writes tokens; `elara.serve.decoding.Decoder`.
        batch_size: most chats that are answered together.
        queue_limit: most chats that wait.
    """

    def __init__(self, decoder: Any, *, batch_size: int = 8, queue_limit: int = 32) -> None:
        self._decoder = decoder
        self._batch_size, self._queue_limit = batch_size, queue_limit
        self._waiting: deque[_Chat] = deque()
        self._writing: list[_Chat] = []
        self._changed = threading.Condition()
        self._closed = False
        self._batch_seconds = _FIRST_GUESS
        self._thread = threading.Thread(target=self._work, name="elara-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Chats that wait for a batch."""
        return len(self._waiting)

    @property
    def writing(self) -> int:
        """Chats whose answers are being written."""
        return len(self._writing)

    async def answer(self, ask: Ask) -> AsyncGenerator[Piece | End]:
        """Answer a conversation. Closing the iterator frees its place within one token.

        Args:
            ask: the conversation.

        Raises:
            QueueFull: too many chats wait.
            TookTooLong: the deadline passed, in the queue or in the answer.
            GenerationFailed: the model broke off.
        """
        chat = _Chat(ask)
        self._enter(chat)
        try:
            while True:
                item = await chat.next()
                yield item
                if isinstance(item, End):
                    return
        finally:
            self._leave(chat)

    def close(self) -> None:
        """Let the thread end, after the chats that it has, and the model go."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    @property
    def alive(self) -> bool:
        """Whether the thread has not ended yet."""
        return self._thread.is_alive()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def _enter(self, chat: _Chat) -> None:
        with self._changed:
            waiting = len(self._waiting)
            if waiting >= self._queue_limit:
                kinds = Counter(chat.ask.base for chat in self._waiting)
                batches = 1 + sum(math.ceil(n / self._batch_size) for n in kinds.values())
                seconds = max(1, math.ceil(batches * self._batch_seconds))
                raise QueueFull(
                    f"{waiting} chats wait already, and no more may: ask again in about "
                    f"{seconds} seconds.",
                    seconds,
                )
            self._waiting.append(chat)
            self._changed.notify()

    def _leave(self, chat: _Chat) -> None:
        with self._changed:
            chat.gone = True
            if chat in self._waiting:
                self._waiting.remove(chat)

    def _work(self) -> None:
        while chats := self._next():
            started = time.monotonic()
            self._write(chats)
            self._batch_seconds = (self._batch_seconds + time.monotonic() - started) / 2
        self._decoder = None
        give_memory_back()

    def _next(self) -> list[_Chat]:
        """The chats of the next batch; none when the engine is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            chats = [self._waiting.popleft()] if self._waiting else []
            alike = [chat for chat in self._waiting if _together(chats[0].ask, chat.ask)]
            for chat in alike[: self._batch_size - 1]:
                self._waiting.remove(chat)
                chats.append(chat)
            return chats

    def _write(self, chats: list[_Chat]) -> None:
        """Answer these chats. Whatever goes wrong is tried again with fewer at once."""
        self._writing = chats = list(chats)
        try:
            self._decode(chats)
        except Exception as error:
            failure = _told(error)
            memory = out_of_memory(error)
        else:
            return
        finally:
            self._writing = []
        # Outside of `except`, whose error holds on to the batch that filled the memory.
        if memory:
            give_memory_back()
        if len(chats) == 1:
            chats[0].fail(GenerationFailed(failure))
            return
        half = len(chats) // 2
        log.warning("%d chats failed together: they are tried again in halves", len(chats))
        self._write(chats[:half])
        self._write(chats[half:])

    def _decode(self, chats: list[_Chat]) -> None:
        """Write tokens until nobody waits; who leaves is taken out of `chats`."""
        self._begin(chats)
        if chats:
            with self._decoder.side(chats[0].ask.base):
                self._write_tokens(chats)

    def _write_tokens(self, chats: list[_Chat]) -> None:
        batch = self._decoder.batch([chat.row for chat in chats])
        while chats:
            for chat, text in zip(chats, batch.step(), strict=True):
                if text:
                    chat.send(Piece(text))
                if chat.row.ended:
                    chat.gone = True
                    chat.send(_end(chat))
            kept = [i for i, chat in enumerate(chats) if _still_wanted(chat)]
            if 0 < len(kept) < len(chats):
                batch.keep(kept)
            chats[:] = [chats[i] for i in kept]

    def _begin(self, chats: list[_Chat]) -> None:
        """Read the chats that are new; one that cannot be read fails alone."""
        for chat in chats:
            if _still_wanted(chat) and chat.row is None:
                chat.started = time.monotonic()
                try:
                    chat.row = self._decoder.row(chat.ask)
                except Exception as error:
                    chat.fail(GenerationFailed(_told(error)))
        chats[:] = [chat for chat in chats if not chat.gone]


def _still_wanted(chat: _Chat) -> bool:
    if not chat.gone and time.monotonic() > chat.ask.deadline:
        chat.fail(_overdue())
    return not chat.gone


def _end(chat: _Chat) -> End:
    row, seconds = chat.row, time.monotonic() - chat.started
    return End(row.finished, row.prompt_tokens, row.new_tokens, round(seconds, 3))


def _overdue() -> TookTooLong:
    return TookTooLong(
        "The answer was not complete in the time allowed for it. Ask for fewer tokens "
        "(`max_new_tokens`), or again when fewer others ask."
    )


def _told(error: Exception) -> str:
    """Log an error and say what to do. Its text may quote the conversation, so it is left out."""
    log.error("generation failed: %s", place_of(error))
    why = "ran out of memory" if out_of_memory(error) else f"stopped with a {type(error).__name__}"
    return (
        f"The model {why}. Ask for fewer tokens or send a shorter conversation; if it happens "
        f"again, restart the server."
    )


def _together(one: Ask, other: Ask) -> bool:
    """Whether two chats can be answered in one batch.

    One with pictures is answered alone: models pad pictures in ways of their own.
    """
    return one.base == other.base and not one.pictures and not other.pictures

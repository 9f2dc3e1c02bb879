"""Count requests and tokens for each account, before they are spent, across workers and restarts.

Requests: a bucket holds as many as an account has a minute, and fills evenly. Tokens: a budget for
each day (UTC). A request reserves the most that it can cost, and settles for what it did cost. What
is never settled, because a worker was killed, counts in full: a budget is never overrun silently.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fastapi import HTTPException, Request

from elara.serve.backends import RETRY_SECONDS
from elara.serve.keys import Key

Result = TypeVar("Result")
log = logging.getLogger("elara.serve")

DAY = 86_400  # seconds
_BUSY_SECONDS = 5.0
_ROUNDING = 1e-6  # requests, seconds: who waits as long as told is let in
_TABLES = """
create table if not exists buckets (account text primary key, level real, at real) without rowid;
create table if not exists budgets (
    account text, day integer, tokens integer, primary key (account, day)
) without rowid;
"""


class OverLimit(RuntimeError):
    """A limit is reached; the message says which. `retry_after` is in seconds, None: never."""

    def __init__(self, message: str, retry_after: int | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Reservation:
    """Tokens that are set aside for one request."""

    account: str
    day: int
    tokens: int


class Limits:
    """The counts, in a SQLite file that several workers share.

    Args:
        path: the file; it is made when needed.
        now: seconds since 1970. The clock of the computer, because workers compare it.

    Raises:
        sqlite3.Error: from any method: the file cannot be used.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "elara-limits")
        path.touch(mode=0o600)
        # Autocommit: each method begins and ends its own transaction.
        self._db = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._db.execute("pragma journal_mode = wal")
        # A commit survives a crash of the program; a power cut may take the last ones back.
        self._db.execute("pragma synchronous = normal")
        self._db.executescript(_TABLES)

    def take(self, account: str, per_minute: int) -> None:
        """Count one request.

        Args:
            account: whose.
            per_minute: requests that it has a minute; 0 means that nothing is counted.

        Raises:
            OverLimit: the bucket is empty.
        """
        if not per_minute:
            return
        now = self.now()
        with self._transaction():
            found = self._db.execute(
                "select level, at from buckets where account = ?", (account,)
            ).fetchone()
            level, at = found or (float(per_minute), now)
            # A clock that was set back fills nothing, and from now on counts from where it is.
            level = min(per_minute, level + max(0.0, now - at) * per_minute / 60)
            enough = level > 1 - _ROUNDING
            left = max(0.0, level - 1) if enough else level
            self._db.execute(
                "insert or replace into buckets values (?, ?, ?)", (account, left, now)
            )
        if not enough:
            seconds = math.ceil((1 - level) * 60 / per_minute - _ROUNDING)
            raise OverLimit(f"This key has {per_minute} requests a minute.", max(1, seconds))

    def reserve(self, account: str, tokens: int, per_day: int) -> Reservation:
        """Set tokens aside, before they are spent.

        Args:
            account: whose.
            tokens: the most that the request can cost.
            per_day: tokens that the account has a day; 0 means without end. They are counted then,
                too.

        Raises:
            OverLimit: as many are not left today, or not even on a new day.
        """
        now = self.now()
        day = int(now // DAY)
        with self._transaction():
            used = self._used(account, day)
            if not per_day or used + tokens <= per_day:
                self._add(account, day, tokens)
                return Reservation(account, day, tokens)
        told = f"This request may cost {tokens} tokens, and this key has {per_day} a day"
        if tokens > per_day:
            raise OverLimit(f"{told}: ask for fewer tokens or send a shorter conversation.", None)
        left = max(0, per_day - used)
        seconds = math.ceil((day + 1) * DAY - now)
        raise OverLimit(f"{told}, of which {left} are left until midnight UTC.", max(1, seconds))

    def settle(self, reservation: Reservation, tokens: int) -> None:
        """Count what a request did cost instead of what was set aside; once for each reservation.

        Args:
            reservation: from `reserve`.
            tokens: those read and written.
        """
        with self._transaction():
            change = max(0, tokens) - reservation.tokens
            self._add(reservation.account, reservation.day, change)

    def used(self, account: str) -> int:
        """Tokens that an account has spent or set aside today."""
        with self._lock:
            return self._used(account, int(self.now() // DAY))

    async def run(self, count: Callable[..., Result], *given: object) -> Result:
        """Await one of the methods above: in a thread, because the file may be locked for a while.

        Args:
            count: the method.
            given: its arguments.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, count, *given)

    def settle_later(self, reservation: Reservation, tokens: int) -> None:
        """Settle without waiting: a request that is cancelled cannot wait any more.

        Args:
            reservation: from `reserve`.
            tokens: those read and written.
        """
        self._thread.submit(self.settle, reservation, tokens).add_done_callback(_tell)

    def close(self) -> None:
        """Close the file, after what is still to be settled."""
        self._thread.shutdown()
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("begin immediate")
            try:
                yield
                self._db.execute("commit")
            finally:
                if self._db.in_transaction:
                    self._db.execute("rollback")

    def _used(self, account: str, day: int) -> int:
        found = self._db.execute(
            "select tokens from budgets where account = ? and day = ?", (account, day)
        ).fetchone()
        return int(found[0]) if found else 0

    def _add(self, account: str, day: int, tokens: int) -> None:
        total = max(0, self._used(account, day) + tokens)
        self._db.execute("insert or replace into budgets values (?, ?, ?)", (account, day, total))
        # A request that began before midnight settles for its own day; older ones are over.
        self._db.execute("delete from budgets where account = ? and day < ?", (account, day - 1))


def _tell(settled: Future[None]) -> None:
    if error := settled.exception():
        log.error("a request's tokens could not be settled and count in full: %s", error)


class Held:
    """Tokens set aside for a request; to be settled once, whatever becomes of it."""

    def __init__(self, limits: Limits | None, reservation: Reservation | None) -> None:
        self._limits, self._reservation = limits, reservation

    def settle(self, tokens: int) -> None:
        """Give back what was not used. Without this, all that was set aside counts as used.

        Args:
            tokens: those read and written; 0 if no model was asked.
        """
        if self._limits and self._reservation:
            self._limits.settle_later(self._reservation, tokens)
        self._reservation = None


async def reserve(request: Request, texts: Iterable[str], max_new_tokens: int) -> Held:
    """Set aside the most that a request can cost, before a model is asked.

    Args:
        request: the request; without a key nothing is counted.
        texts: what the model will read.
        max_new_tokens: most tokens that it will write, and read of anything but text.

    Returns:
        What to settle at the end, also after a failure or when the caller has left.

    Raises:
        HTTPException: 429 or 422, the key's budget does not suffice; 503, it cannot be counted.
    """
    key: Key | None = getattr(request.state, "key", None)
    limits: Limits | None = request.app.state.limits
    if key is None or limits is None:
        return Held(None, None)
    # English has about four bytes a token, other languages fewer; turns and system line add some.
    prompt = 64 + sum(len(text.encode()) // 3 + 8 for text in texts)
    most = key.tokens_per_day
    most = request.app.state.settings.tokens_per_day if most is None else most
    given = (key.account, prompt + max_new_tokens, most)
    counting = asyncio.ensure_future(counted(limits, limits.reserve, *given))

    def give_back(done: asyncio.Future[Reservation]) -> None:
        if not done.cancelled() and not done.exception():
            limits.settle_later(done.result(), 0)

    try:
        return Held(limits, await asyncio.shield(counting))
    except asyncio.CancelledError:
        # The caller left while this was counted: nobody else would give it back.
        counting.add_done_callback(give_back)
        raise


async def counted(limits: Limits, count: Callable[..., Result], *given: object) -> Result:
    """Await a method of the limits, and say over HTTP what stands against it.

    Args:
        limits: the counts.
        count: the method.
        given: its arguments.

    Raises:
        HTTPException: 429 with Retry-After, 422 if waiting does not help, 503 if nothing can be
            counted: a request that is not counted is not answered.
    """
    try:
        return await limits.run(count, *given)
    except OverLimit as error:
        if error.retry_after is None:
            raise HTTPException(422, str(error)) from None
        raise HTTPException(429, str(error), {"Retry-After": str(error.retry_after)}) from None
    except sqlite3.Error as error:
        log.error("limits cannot be counted: %s", error)
        detail = f"The server cannot count requests: ask again in {RETRY_SECONDS} seconds."
        raise HTTPException(503, detail, {"Retry-After": str(RETRY_SECONDS)}) from None

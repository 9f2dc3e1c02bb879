"""Append records to the chain in SQLite: durable, in groups, one chain for all processes.

Every record holds its number, its text and SHA-256(hash of the record before + text). A record
that was changed, moved, removed or put between others no longer fits the one before it.

One thread in each process takes all records that wait, writes them in one transaction and wakes
those who wait: many records share one wait for the disk. `BEGIN IMMEDIATE` lets only one process
at a time read the end of the chain and add to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import queue
import sqlite3
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import quote

from elara.serve.journal.entries import JournalError, Record, body_of, put_in_place

START = bytes(32)  # stands before the first record
MOST_WAITING = 4096
_LOOK = 0.0005  # seconds between two looks whether another process has finished writing
_GROUP = 512  # records in one transaction at most: nobody waits for an endless one
_TABLE = """CREATE TABLE record (
    sequence INTEGER PRIMARY KEY, body TEXT NOT NULL, hash BLOB NOT NULL) STRICT"""
# The types are not taken on trust: somebody may have made the table anew.
_ROWS = """SELECT ifnull(CAST(sequence AS INTEGER), 0), ifnull(CAST(body AS BLOB), x''),
    ifnull(CAST(hash AS BLOB), x'') FROM record"""


class JournalFull(JournalError):
    """So many records wait for the disk that no further one is taken. Try again in a moment."""


class Row(NamedTuple):
    """A record as it is stored: its number from 1, its text, its hash."""

    sequence: int
    body: bytes
    hash: bytes


class _Waiting(NamedTuple):
    body: str
    loop: asyncio.AbstractEventLoop
    written: asyncio.Future[None]


def next_hash(last: bytes, body: bytes) -> bytes:
    """The hash of a record.

    Args:
        last: hash of the record before it, `START` for the first.
        body: its text.

    Source: FIPS 180-4 for SHA-256; RFC 9162 for logs that only grow.
    """
    return hashlib.sha256(last + body).digest()


class Journal:
    """The audit log of one process; several processes may share the file.

    Args:
        path: the database. It is made if it is not there, readable for its owner and group.
        most_waiting: records that may wait for the disk.
        patience: seconds to wait for another process that writes.

    Raises:
        JournalError: the database can be neither made nor opened.
    """

    def __init__(
        self, path: Path, *, most_waiting: int = MOST_WAITING, patience: float = 5.0
    ) -> None:
        self.path = path
        self._most, self._patience = most_waiting, patience
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._door, self._closed, self._waiting = threading.Lock(), False, 0
        _make(path)
        try:
            self._connection: sqlite3.Connection | None = self._connect()
        except sqlite3.Error as error:
            raise JournalError(self._trouble(error)) from None
        self._thread = threading.Thread(target=self._run, name="elara-journal", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    async def write(self, record: Record) -> None:
        """Append a record; return when it would survive a loss of power.

        From the call on it is written, also when the task that waits for it is cancelled.

        Args:
            record: what happened.

        Raises:
            JournalFull: too many records wait. Refuse the request.
            JournalError: it could not be written (disk full, locked …). Refuse the request: an
                answer that nobody can account for must not leave.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(body_of(record), loop, loop.create_future())
        with self._door:
            if self._closed:
                raise JournalError(f"The audit log {self.path} is closed: the server is stopping.")
            if self._waiting >= self._most:
                raise JournalFull(
                    f"{self._most} records wait to be written to {self.path}: the disk is too "
                    "slow for so many requests. Try again in a moment."
                )
            self._waiting += 1
            self._queue.put(waiting)
        await waiting.written

    def close(self) -> None:
        """Write what waits, and close the database. Later records are refused."""
        with self._door:
            if not self._closed:
                self._queue.put(None)
            self._closed = True
        self._thread.join()

    def _run(self) -> None:
        going = True
        while going:
            group, going = self._take()
            trouble = ""
            try:
                if group:  # none, when the log is closed and nothing waits
                    self._commit([waiting.body for waiting in group])
            except Exception as error:  # whatever it is, those who wait must hear of it
                trouble = self._trouble(error)
                self._disconnect()  # which rolls back; the next group begins anew
            with self._door:
                self._waiting -= len(group)
            _wake(group, trouble)
        self._disconnect()

    def _take(self) -> tuple[list[_Waiting], bool]:
        group: list[_Waiting] = []
        while not group or (len(group) < _GROUP and not self._queue.empty()):
            waiting = self._queue.get()
            if waiting is None:  # nothing comes after it
                return group, False
            group.append(waiting)
        return group, True

    def _commit(self, bodies: Iterable[str]) -> None:
        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
        # SQLite would go on writing to a file that was removed, and nobody would find the records.
        if _place(self.path) != self._opened:
            raise JournalError("another file has taken its place")
        self._patiently(connection, "BEGIN IMMEDIATE")
        sequence, last = head(connection)
        values: list[int | str | bytes] = []
        for body in bodies:
            sequence, last = sequence + 1, next_hash(last, body.encode())
            values += (sequence, body, last)
        # One statement: after each of several, this thread would have to wait its turn in a busy
        # process, and all others for it.
        places = ", ".join(["(?, ?, ?)"] * (len(values) // 3))
        connection.execute(f"INSERT INTO record VALUES {places}", values)
        connection.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        # mode=rw: a log that was taken away must be an error, not an empty log.
        connection = _open(self.path, "mode=rw", 0.0)
        self._opened = _place(self.path)
        # It reads the schema, which a process that closes the log as the last one locks as well.
        self._patiently(connection, "PRAGMA synchronous=FULL")
        connection.execute("PRAGMA fullfsync=ON")  # macOS: down to the disk, not its cache
        self._patiently(connection, "BEGIN IMMEDIATE")
        head(connection)
        connection.execute("ROLLBACK")
        return connection

    def _patiently(self, connection: sqlite3.Connection, statement: str) -> None:
        # Not SQLite's own wait: its looks grow rare, and a busy process would starve another.
        end = time.monotonic() + self._patience
        while True:
            try:
                connection.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > end:
                    raise
            time.sleep(_LOOK)

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _trouble(self, error: Exception) -> str:
        match getattr(error, "sqlite_errorname", "").split("_")[1:2]:
            case ["FULL"]:
                remedy = "free some space on its disk"
            case ["BUSY"]:
                remedy = f"another program has locked it for {self._patience:g} s; end that program"
            case _:
                remedy = "check the file, its folder's rights and the disk"
        return f"The audit log {self.path} cannot be written ({error}): {remedy}."


def head(connection: sqlite3.Connection) -> tuple[int, bytes]:
    """Number and hash of the last record; 0 and `START` in an empty log."""
    found: tuple[int, bytes] | None = connection.execute(
        "SELECT sequence, hash FROM record ORDER BY sequence DESC LIMIT 1"
    ).fetchone()
    return found or (0, START)


def append(path: Path, record: Record) -> None:
    """Append one record and wait for it: for commands, which have no server of their own.

    Args:
        path: the database; a server may be writing to it.
        record: what happened.

    Raises:
        JournalError: it could not be written.
    """
    with Journal(path) as journal:
        asyncio.run(journal.write(record))


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The log at one moment, for reading: writers are not held up.

    Args:
        path: the database.

    Raises:
        JournalError: there is no readable audit log.
    """
    with contextlib.ExitStack() as stack:
        try:
            connection = stack.enter_context(contextlib.closing(_open_to_read(path)))
            connection.execute("BEGIN")
            head(connection)  # from here on the transaction sees this moment
        except sqlite3.Error as error:
            raise JournalError(
                f"{path} cannot be read as an audit log ({error}): name the file that the server "
                "writes; while it runs you need the right to read FILE-wal and FILE-shm, too."
            ) from None
        yield connection


def rows(connection: sqlite3.Connection, start: int | None = None) -> Iterator[Row]:
    """Records in order.

    Args:
        connection: from `reading`.
        start: number of the first; None for all that there are.

    Raises:
        sqlite3.DatabaseError: a page of the database is damaged.
    """
    where = "" if start is None else f"WHERE sequence >= {start:d}"
    return map(Row._make, connection.execute(f"{_ROWS} {where} ORDER BY sequence"))


def _place(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _open(path: Path, mode: str, patience: float) -> sqlite3.Connection:
    address = f"file:{quote(str(path.absolute()))}?{mode}"
    return sqlite3.connect(
        address, uri=True, timeout=patience, isolation_level=None, check_same_thread=False
    )


def _open_to_read(path: Path) -> sqlite3.Connection:
    connection = _open(path, "mode=ro", 5.0)
    try:
        head(connection)
    except sqlite3.OperationalError:
        connection.close()
        # Without a -wal file nobody writes. A copy in a folder that is read-only opens only so.
        if path.with_name(f"{path.name}-wal").exists() or not path.exists():
            raise
        return _open(path, "mode=ro&immutable=1", 5.0)
    return connection


def _make(path: Path) -> None:
    """Make an empty log beside its place, then put it there: processes may start at once."""
    if path.exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "log"
        with contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(_TABLE)
        content = draft.read_bytes()
    put_in_place(path, content, 0o640)


def _wake(group: Iterable[_Waiting], trouble: str) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = defaultdict(list)
    for waiting in group:
        by_loop[waiting.loop].append(waiting.written)
    for loop, futures in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(_settle, futures, trouble)


def _settle(futures: Iterable[asyncio.Future[None]], trouble: str) -> None:
    for future in futures:
        if future.done():  # cancelled
            continue
        if trouble:
            future.set_exception(JournalError(trouble))
        else:
            future.set_result(None)

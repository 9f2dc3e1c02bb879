"""Open the small SQLite files in which the server keeps feedback and experiments."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Database:
    """An SQLite file that several processes and threads write to. It is made at its first use.

    What was committed survives the end of the process at any moment; after a power cut, the last
    moments may be missing. (Waiting for the disk each time takes a tenth of a second where it is
    busy.)

    Args:
        path: the file. Its folder, if it is made here, is for this user alone.
        tables: SQL that makes the tables where they do not exist.

    Source: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous
    """

    def __init__(self, path: Path, tables: str) -> None:
        self._path, self._tables = path, tables
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None

    @contextmanager
    def begin(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed at the end, rolled back where something is raised."""
        with self._lock:
            connection = self._open = self._open or self._connect()
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection

    def purge(self) -> None:
        """Remove what was deleted from the files, too; readers under way may delay it."""
        with self._lock:
            if self._open:
                self._open.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _connect(self) -> sqlite3.Connection:
        make_private(self._path.parent)
        connection = sqlite3.connect(
            self._path, timeout=30, isolation_level=None, check_same_thread=False
        )
        for line in ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON"):
            connection.execute(f"PRAGMA {line}").fetchall()
        connection.executescript(self._tables)
        return connection


def make_private(folder: Path) -> None:
    """Make a folder that only this user may look into, where it does not exist."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o700)

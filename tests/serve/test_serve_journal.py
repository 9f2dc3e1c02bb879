"""The audit log keeps what was written, whatever happens to the process, and refuses the rest."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from elara.serve.journal import (
    Accepted,
    Event,
    Journal,
    JournalError,
    JournalFull,
    append,
    keyed_hash,
    make_secret,
    read_secret,
    verify,
)

TURNS = [{"role": "user", "content": "Is Ms Zwalla's potassium of 6.9 dangerous?"}]
AGES = 1e9  # seconds


def accepted(number: int = 0, **more: str) -> Accepted:
    return Accepted(request=f"r{number}", key="k1", adapter="a" * 64, template="1", **more)


def stored(path: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT sequence, body FROM record ORDER BY sequence").fetchall()
    assert [sequence for sequence, _ in found] == list(range(1, len(found) + 1))
    return [json.loads(body) for _, body in found]


def is_whole(path: Path) -> bool:
    """Whether the chain fits; how old its unsigned tail is does not matter here."""
    return verify(path, window=AGES).damage == []


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


def test_a_log_that_was_taken_away_is_not_written_to(path: Path, tmp_path: Path) -> None:
    async def write_one(journal: Journal, number: int) -> None:
        await journal.write(accepted(number))

    away = tmp_path / "away.db"
    with Journal(path) as journal:
        asyncio.run(write_one(journal, 1))
        path.rename(away)
        for number in (2, 3):
            with pytest.raises(JournalError, match="cannot be written"):
                asyncio.run(write_one(journal, number))
        away.rename(path)
        asyncio.run(write_one(journal, 4))
        assert [record["request"] for record in stored(path)] == ["r1", "r4"]
        for file in path.parent.iterdir():
            file.unlink()
        append(path, accepted(5))
        with pytest.raises(JournalError, match="another file has taken its place"):
            asyncio.run(write_one(journal, 6))
    assert [record["request"] for record in stored(path)] == ["r5"]


def test_a_request_leaves_two_records_that_belong_together(path: Path) -> None:
    async def serve(journal: Journal) -> None:
        first, second = accepted(1), accepted(1)  # a caller chose the same id twice
        await asyncio.gather(journal.write(first), journal.write(second))
        await journal.write(second.ended("answered", tokens_in=5, tokens_out=7, milliseconds=12))
        await journal.write(first.ended("cancelled", milliseconds=3))

    with Journal(path) as journal:
        asyncio.run(serve(journal))
    one, two, end_two, end_one = stored(path)
    assert (one["kind"], end_one["kind"]) == ("accepted", "ended")
    assert one["entry"] == end_one["entry"] != two["entry"] == end_two["entry"]
    assert (end_two["outcome"], end_two["tokens_in"], end_two["tokens_out"]) == ("answered", 5, 7)
    assert one["time"].endswith("+00:00")


def test_acts_of_administration_and_later_processes_continue_the_chain(path: Path) -> None:
    append(path, Event(what="override", by="k9", details={"reason": "é ] \ud800 \0 \n"}))
    append(path, Event(what="ab-rollback", by="root"))
    first, second = stored(path)
    assert (first["what"], first["details"]["reason"]) == ("override", "é ] \ud800 \0 \n")
    assert second["details"] == {}
    assert is_whole(path)


def test_what_waits_shares_a_transaction_and_keeps_its_order(path: Path) -> None:
    commits = []

    async def serve(journal: Journal) -> None:
        with locked(path):
            writes = [asyncio.create_task(journal.write(accepted(n))) for n in range(100)]
            await asyncio.sleep(0)  # all of them are in the queue now
        await asyncio.gather(*writes)

    with Journal(path) as journal:
        commit = journal._commit
        journal._commit = lambda bodies: (commits.append(len(bodies)), commit(bodies))[1]  # type: ignore[method-assign]
        asyncio.run(serve(journal))
    assert [record["request"] for record in stored(path)] == [f"r{n}" for n in range(100)]
    assert sum(commits) == 100
    assert len(commits) <= 3  # at most: what came first, the rest of what came, and what came late


def test_it_waits_for_the_disk(path: Path) -> None:
    with Journal(path) as journal, closing(sqlite3.connect(path)) as other:
        connection = journal._connection
        assert connection
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_locked_log_refuses_and_recovers(path: Path) -> None:
    with Journal(path, patience=0.02) as journal:
        with locked(path), pytest.raises(JournalError, match=r"has locked it for 0\.02 s; end"):
            asyncio.run(journal.write(accepted(1)))
        asyncio.run(journal.write(accepted(2)))
    assert [record["request"] for record in stored(path)] == ["r2"]


def test_it_waits_for_a_process_that_closes_the_log_as_the_last_one(path: Path) -> None:
    append(path, Event(what="swap", by="k1"))
    last = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    last.execute("PRAGMA locking_mode=EXCLUSIVE")  # which closing takes, for a moment
    last.execute("BEGIN IMMEDIATE")
    last.execute("COMMIT")
    with pytest.raises(JournalError, match=r"has locked it for 0\.02 s; end"):
        Journal(path, patience=0.02)
    gone = threading.Timer(0.2, last.close)
    gone.start()
    append(path, Event(what="swap", by="k2"))
    gone.join()
    assert [record["by"] for record in stored(path)] == ["k1", "k2"]


def test_a_full_disk_refuses_and_recovers(path: Path) -> None:
    with Journal(path) as journal:
        asyncio.run(journal.write(accepted(1)))
        assert journal._connection
        journal._connection.execute("PRAGMA max_page_count=1")  # which SQLite reports as full
        with pytest.raises(JournalError, match=r"is full.*free some space"):
            asyncio.run(journal.write(accepted(2, text="x" * 10_000)))
        asyncio.run(journal.write(accepted(3)))
    assert [record["request"] for record in stored(path)] == ["r1", "r3"]
    assert is_whole(path)


def test_a_file_that_may_not_grow_refuses_and_recovers(path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(path) as journal:
        asyncio.run(journal.write(accepted(1)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        try:
            with pytest.raises(JournalError, match="cannot be written"):
                asyncio.run(journal.write(accepted(2, text="x" * (2 << 20))))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        asyncio.run(journal.write(accepted(3)))
    assert [record["request"] for record in stored(path)] == ["r1", "r3"]


def test_a_log_that_was_taken_away_is_not_begun_anew(path: Path) -> None:
    with Journal(path, patience=0.02) as journal:
        with locked(path), pytest.raises(JournalError):
            asyncio.run(journal.write(accepted(1)))  # from now on the connection is made again
        for file in path.parent.iterdir():
            file.unlink()
        with pytest.raises(JournalError, match="unable to open"):
            asyncio.run(journal.write(accepted(2)))
    assert not path.exists()


def test_more_than_may_wait_are_refused_at_once(path: Path) -> None:
    async def serve(journal: Journal) -> None:
        with locked(path):
            waiting = [asyncio.create_task(journal.write(accepted(n))) for n in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(JournalFull, match="2 records wait"):
                await journal.write(accepted(2))
        await asyncio.gather(*waiting)
        await journal.write(accepted(3))

    with Journal(path, most_waiting=2) as journal:
        asyncio.run(serve(journal))
    assert [record["request"] for record in stored(path)] == ["r0", "r1", "r3"]


def test_a_record_is_written_although_nobody_waits_any_more(path: Path) -> None:
    async def serve(journal: Journal) -> None:
        with locked(path):
            task = asyncio.create_task(journal.write(accepted(1)))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with Journal(path) as journal:
        asyncio.run(serve(journal))  # and its loop is closed when the record is written
    assert [record["request"] for record in stored(path)] == ["r1"]


def test_a_record_without_a_form_in_json_harms_no_other(path: Path) -> None:
    wrong = Event(what="swap", by="k1", details={"adapter": b"bytes"})  # type: ignore[dict-item]
    with Journal(path) as journal:
        with pytest.raises(TypeError):
            asyncio.run(journal.write(wrong))
        asyncio.run(journal.write(accepted(1)))
    assert len(stored(path)) == 1


def test_a_closed_log_refuses(path: Path) -> None:
    journal = Journal(path)
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="is closed"):
        asyncio.run(journal.write(accepted()))


def test_another_file_is_no_log(path: Path) -> None:
    path.write_text("nothing of a database" * 100)
    with pytest.raises(JournalError, match="not a database"):
        Journal(path)
    with pytest.raises(JournalError, match="cannot be made"):
        Journal(path / "below" / "a.db")


def test_no_word_of_a_request_is_kept_and_no_key(path: Path, tmp_path: Path) -> None:
    make_secret(tmp_path / "text.key")
    secret = read_secret(tmp_path / "text.key")
    append(path, accepted(text_hmac=keyed_hash(secret, TURNS)))
    kept = b"".join(file.read_bytes() for file in path.parent.glob("audit.db*"))
    assert keyed_hash(secret, TURNS).encode() in kept
    assert not [word for word in (b"Zwalla", b"potassium", secret) if word in kept]


def test_the_keyed_hash_is_that_of_the_standard() -> None:
    # Oracle: the construction of RFC 2104 by hand.
    message = b'[["user","Is Ms Zwalla\'s potassium of 6.9 dangerous?"]]'
    key = bytes(range(32)).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in key) + message).digest()
    expected = hashlib.sha256(bytes(b ^ 0x5C for b in key) + inner).hexdigest()
    assert keyed_hash(bytes(range(32)), TURNS) == expected
    assert keyed_hash(bytes(32), TURNS) != expected


def test_others_can_read_neither_key_nor_log(path: Path, tmp_path: Path) -> None:
    key = tmp_path / "text.key"
    make_secret(key)
    append(path, accepted())
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert not stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXO | stat.S_IWGRP)
    with pytest.raises(JournalError, match="exists already"):
        make_secret(key)
    key.chmod(0o644)
    with pytest.raises(JournalError, match=f"chmod 600 {key}"):
        read_secret(key)
    short = tmp_path / "short.key"
    short.touch(mode=0o600)
    with pytest.raises(JournalError, match="holds 0 bytes"):
        read_secret(short)
    with pytest.raises(JournalError, match="elara journal text-key"):
        read_secret(tmp_path / "none.key")


WRITER = """
import asyncio, sys
from pathlib import Path
from elara.serve.journal import Accepted, Journal

async def client(journal, number, most):
    for n in range(most):
        record = Accepted(request=f"{number}-{n}", key="k", adapter="", template="")
        await journal.write(record)
        print(record.entry, flush=True)

async def main(most):
    with Journal(Path(sys.argv[1]), patience=300) as journal:  # however busy the machine
        await asyncio.gather(*(client(journal, n, most) for n in range(8)))

sys.stdin.readline()  # begin together
asyncio.run(main(int(sys.argv[2])))
"""


def writer(path: Path, most: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(most)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_several_processes_share_one_chain(path: Path) -> None:
    processes = [writer(path, 5) for _ in range(3)]
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    told = {entry for process in processes for entry in process.communicate()[0].split()}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(told) == 3 * 8 * 5
    assert {record["entry"] for record in stored(path)} == told
    assert is_whole(path)


def test_a_killed_process_loses_nothing_that_it_was_told_is_written(path: Path) -> None:
    process = writer(path, 1_000_000)
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    told = {process.stdout.readline().strip() for _ in range(50)}
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    told |= set(rest.split("\n")[:-1])  # the last may be half an entry
    append(path, Event(what="swap", by="after"))
    found = stored(path)
    assert told <= {record.get("entry") for record in found}
    assert found[-1]["by"] == "after"
    assert is_whole(path)
    assert any("no end" in note for note in verify(path, window=AGES).notes)


def test_closing_a_log_in_which_nothing_waits_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed: list[Any] = []
    monkeypatch.setattr(Journal, "_commit", lambda journal, bodies: committed.append(bodies))
    Journal(tmp_path / "audit.sqlite").close()
    assert committed == []

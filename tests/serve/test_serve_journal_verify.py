"""Every change to an audit log is found, up to what is signed; a log as written passes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command_line import elara
from hypothesis import given, settings
from hypothesis import strategies as st

from elara.serve.journal import (
    Accepted,
    ChainBroken,
    Event,
    Journal,
    JournalError,
    Signer,
    Verification,
    append,
    make_key,
    signing,
    verify,
)
from elara.serve.journal.verify import Numbers

Rows = list[tuple[str, bytes]]
SIGNED_AT = (4, 8, 12)  # records


@dataclass(frozen=True)
class Log:
    """A log of 12 records with its checkpoints and keys, in a folder."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "audit.db"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "audit.db.checkpoints"

    @property
    def key(self) -> Path:
        return self.folder / "sign.key"

    @property
    def public(self) -> Path:
        return self.folder / "sign.key.pub"

    def verify(self, later: float = 3600.0) -> Verification:
        now = datetime.now(UTC) + timedelta(seconds=later)
        return verify(self.path, self.public, now=now)

    def rows(self) -> Rows:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute("SELECT body, hash FROM record ORDER BY sequence").fetchall()

    def replace(self, rows: Rows) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("DELETE FROM record")
            numbered = [(n, *row) for n, row in enumerate(rows, 1)]
            connection.executemany("INSERT INTO record VALUES (?, ?, ?)", numbered)

    def sql(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    def serve(self, requests: int) -> None:
        async def write(journal: Journal) -> None:
            for n in range(requests):
                record = Accepted(request=f"r{n}", key="k1", adapter="a" * 64, template="1")
                await journal.write(record)
                await journal.write(record.ended("answered", milliseconds=1))

        with Journal(self.path) as journal:
            asyncio.run(write(journal))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Log:
    log = Log(tmp_path_factory.mktemp("original"))
    make_key(log.key)
    for number in SIGNED_AT:
        log.serve(2)
        made = Signer(log.path, log.key).sign()
        assert made
        assert made.sequence == number
    return log


@pytest.fixture
def log(original: Log, tmp_path: Path) -> Log:
    shutil.copytree(original.folder, tmp_path / "log")
    return Log(tmp_path / "log")


def chained(bodies: list[str]) -> Rows:
    """What somebody who knows the method writes; the method as the documentation states it."""
    rows, last = [], bytes(32)
    for body in bodies:
        last = hashlib.sha256(last + body.encode()).digest()
        rows.append((body, last))
    return rows


def test_a_log_as_written_is_whole(log: Log) -> None:
    found = log.verify()
    assert (found.exit_code, found.damage) == (0, [])
    assert found.notes[0] == ("12 records: 6 requests accepted, 6 ended, 0 acts of administration.")
    assert found.notes[1].startswith("3 checkpoints; the last, at 20")
    assert found.lines()[-1].startswith("Whole")
    assert log.rows() == chained([body for body, _ in log.rows()])


def edit(rows: Rows, at: int, other: int) -> None:
    values = json.loads(rows[at][0])
    values["key"] = f"k{other + 2}"
    body = json.dumps(values, sort_keys=True, separators=(",", ":"))
    rows[at] = (body, rows[at][1])


def remove(rows: Rows, at: int, other: int) -> None:
    del rows[at]


def swap(rows: Rows, at: int, other: int) -> None:
    other = other if other != at else (at + 1) % len(rows)
    rows[at], rows[other] = rows[other], rows[at]


def insert(rows: Rows, at: int, other: int) -> None:
    rows.insert(at, rows[other])


def attach(rows: Rows, at: int, other: int) -> None:
    rows.append(rows[other])


def cut(rows: Rows, at: int, other: int) -> None:
    del rows[at:]


PLACE = st.integers(0, 11)


@settings(max_examples=40, deadline=None)
@given(
    change=st.sampled_from([edit, remove, swap, insert, attach, cut]),
    at=PLACE,
    other=PLACE,
    again=st.booleans(),
)
def test_every_change_is_found(
    original: Log,
    tmp_path_factory: pytest.TempPathFactory,
    change: Callable[[Rows, int, int], None],
    at: int,
    other: int,
    again: bool,
) -> None:
    """Also when all hashes were computed anew after it."""
    log = Log(tmp_path_factory.mktemp("changed") / "log")
    shutil.copytree(original.folder, log.folder)
    rows = log.rows()
    change(rows, at, other)
    log.replace(chained([body for body, _ in rows]) if again else rows)
    found = log.verify()
    assert found.exit_code == 2
    assert found.lines()[0].startswith("FAILED")
    assert found.lines()[-1] == "DAMAGED."


@pytest.mark.parametrize("change", [edit, remove, swap, insert, cut])
def test_the_signer_signs_nothing_that_contradicts_what_it_signed(
    log: Log, change: Callable[[Rows, int, int], None]
) -> None:
    before = log.checkpoints.read_bytes()
    rows = log.rows()
    change(rows, 5, 7)
    log.replace(chained([body for body, _ in rows]))
    log.serve(1)
    with pytest.raises(ChainBroken, match="no longer holds record 12 as it was signed at 20"):
        Signer(log.path, log.key).sign()
    assert log.checkpoints.read_bytes() == before


def test_the_signer_signs_no_record_that_does_not_fit(log: Log) -> None:
    log.serve(2)
    log.sql("UPDATE record SET body = '{}' WHERE sequence = 14")
    with pytest.raises(ChainBroken, match="Record 14 does not fit record 13"):
        Signer(log.path, log.key).sign()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE record SET body = '{}' WHERE sequence = 5", "another one: record 5."),
        ("UPDATE record SET hash = x'00' WHERE sequence = 5", "another one: record 5 to 6."),
        ("DELETE FROM record WHERE sequence IN (2, 3, 4, 7)", "Removed: record 2 to 4, 7."),
        ("DELETE FROM record WHERE sequence = 1", "Removed: record 1."),
        ("DELETE FROM record WHERE sequence > 9", "Cut off: records 10 to 12, signed until 20"),
        ("DELETE FROM record", "Cut off: records 1 to 12, signed until 20"),
        ("INSERT INTO record VALUES (0, '{}', x'00')", "Out of place: record 0."),
        ("INSERT INTO record VALUES (-3, '{}', x'00')", "Out of place: record -3."),
        ("INSERT INTO record VALUES (13, '{}', x'00')", "another one: record 13."),
        ("INSERT INTO record VALUES (15, '{}', x'00')", "Removed: record 13 to 14."),
        ("UPDATE record SET sequence = sequence + 1000", "Removed: record 1 to 1000."),
    ],
)
def test_the_message_says_which_records(log: Log, statement: str, expected: str) -> None:
    log.sql(statement)
    found = log.verify()
    assert found.exit_code == 2
    assert any(expected in text for text in found.damage), found.damage


def test_a_chain_computed_anew_is_found_between_its_checkpoints(log: Log) -> None:
    rows = log.rows()
    edit(rows, 5, 0)  # record 6: between the checkpoints at 4 and 8
    log.replace(chained([body for body, _ in rows]))
    found = log.verify()
    assert len(found.damage) == 1
    assert found.damage[0].startswith("Records 5 to 8 are not those that were signed at 20")
    assert found.damage[0].endswith("(1 later checkpoints).")
    assert verify(log.path).damage == found.damage  # the chain alone would not have shown it


def test_a_table_made_anew_without_types_is_damage_not_a_crash(log: Log) -> None:
    log.sql(
        "ALTER TABLE record RENAME TO old",
        "CREATE TABLE record AS SELECT * FROM old",
        "UPDATE record SET body = NULL WHERE sequence = 3",
        "UPDATE record SET hash = 'text' WHERE sequence = 6",
        "UPDATE record SET body = x'ff00' WHERE sequence = 9",
        "INSERT INTO record SELECT * FROM old WHERE sequence = 12",
    )
    found = log.verify()
    assert any("another one: record 3, 6 to 7, 9." in text for text in found.damage)
    assert any("Out of place: record 12." in text for text in found.damage)


def test_damaged_bytes_of_the_database_are_damage(log: Log) -> None:
    content = bytearray(log.path.read_bytes())
    size = int.from_bytes(content[16:18], "big")
    content[size : size + 200] = b"\xff" * 200  # the second page: the table
    log.path.write_bytes(content)
    with pytest.raises(JournalError, match="cannot be read as an audit log") as caught:
        log.verify()
    assert "Traceback" not in str(caught.value)


def test_a_tail_is_told_and_an_old_one_is_an_error(log: Log) -> None:
    log.serve(1)
    young = verify(log.path, log.public)
    assert young.exit_code == 0
    assert (
        "2 records, from 13, are not yet covered by a checkpoint; the oldest is"
        in (young.notes[-1])
    )
    old = log.verify(later=11)
    assert old.exit_code == 2
    assert "2 records, from 13," in old.damage[0]
    assert "the signer does not run" in old.damage[0]


def test_an_addition_cannot_make_itself_young(log: Log) -> None:
    body = json.dumps({"kind": "event", "time": "2999-01-01T00:00:00+00:00"})
    log.replace(chained([*(b for b, _ in log.rows()), body]))
    assert log.verify().damage == ["Dated in the future: record 13."]


def test_a_cut_tail_is_found_with_the_checkpoints_kept_elsewhere(log: Log, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copy(log.checkpoints, copy)
    log.replace(log.rows()[:8])
    lines = log.checkpoints.read_text().splitlines(keepends=True)
    log.checkpoints.write_text("".join(lines[:2]))  # cut as well: nothing here shows it
    assert log.verify().exit_code == 0
    found = verify(log.path, log.public, copy)
    assert found.exit_code == 2
    assert "Cut off: records 9 to 12" in found.damage[0]


def test_a_request_without_an_end_is_told(log: Log) -> None:
    append(log.path, Accepted(request="r", key="k", adapter="", template=""))
    assert "1 requests have no end: interrupted by a crash" in log.verify().notes[1]


def test_without_a_key_a_whole_chain_is_no_yes(log: Log) -> None:
    found = verify(log.path)
    assert (found.exit_code, found.damage) == (1, [])
    assert found.lines()[-1].startswith("Cannot say")


@pytest.mark.parametrize("name", ["sequence", "hash", "time", "signature"])
def test_a_changed_checkpoint_is_found(log: Log, name: str) -> None:
    lines = log.checkpoints.read_text().splitlines()
    values = json.loads(lines[1])
    other = json.loads(lines[0])
    values[name] = values[name] + 1 if name == "sequence" else other[name].replace("20", "21", 1)
    lines[1] = json.dumps(values)
    log.checkpoints.write_text("\n".join(lines) + "\n")
    found = log.verify()
    assert found.exit_code == 2
    assert f"{log.checkpoints}, line 2: has a signature that does not fit" in found.damage[-1]


@pytest.mark.parametrize(
    "line", ["", "[]", "{}", '{"sequence": "1", "hash": "", "time": ""}', "\ufffd", "[" * 99_999]
)
def test_a_line_that_is_no_checkpoint_is_found(log: Log, line: str) -> None:
    log.checkpoints.write_text(line + "\n" + log.checkpoints.read_text())
    assert log.verify().damage == [f"{log.checkpoints}, line 1: is no checkpoint."]


def test_checkpoints_in_another_order_are_found(log: Log) -> None:
    lines = log.checkpoints.read_text().splitlines(keepends=True)
    log.checkpoints.write_text("".join(reversed(lines)))
    (found,) = log.verify().damage
    assert found.endswith("line 2 to 3: signs fewer records than a line before it.")


def test_another_signer_convinces_nobody(log: Log) -> None:
    forger = log.folder / "forger.key"
    make_key(forger)
    log.checkpoints.unlink()
    assert Signer(log.path, forger).sign()
    assert log.verify().exit_code == 2


def test_a_new_signing_key_is_checked_beside_the_old_one(log: Log) -> None:
    new = log.folder / "new.key"
    public = make_key(new)
    log.serve(1)
    assert Signer(log.path, new).sign()
    assert log.verify().exit_code == 2
    log.public.write_bytes(log.public.read_bytes() + public.read_bytes())
    assert log.verify().exit_code == 0


def test_late_checkpoints_are_told(log: Log) -> None:
    body = json.dumps({"kind": "event", "time": "2020-01-01T00:00:00+00:00"})
    log.replace(chained([*(b for b, _ in log.rows()), body]))
    assert Signer(log.path, log.key).sign()
    found = log.verify()
    assert found.exit_code == 0
    assert any("1 checkpoints came late, by up to" in note for note in found.notes)


def test_the_signer_signs_only_what_is_new_and_survives_a_torn_line(log: Log) -> None:
    signer = Signer(log.path, log.key)
    assert signer.sign() is None
    with log.checkpoints.open("a") as file:
        file.write('{"hash": "12')
    assert any("half a line" in note for note in log.verify().notes)
    log.serve(1)
    made = Signer(log.path, log.key).sign()
    assert made
    assert made.sequence == 14
    assert (log.verify().exit_code, len(log.checkpoints.read_text().splitlines())) == (0, 4)


def test_signing_in_the_same_process_ends_with_all_signed(tmp_path: Path) -> None:
    log = Log(tmp_path)
    make_key(log.key)
    with signing(log.path, log.key, every=30):  # there is no log yet, which is no end
        log.serve(3)
    assert log.verify().exit_code == 0


def test_signing_goes_on_after_trouble_and_tells_it_once(log: Log) -> None:
    told: list[str] = []
    looks = iter([False, False, False, True])

    class Stop:
        def wait(self, seconds: float) -> bool:
            away = log.path.with_name("away")
            if len(list(log.folder.glob("away"))) and told:
                away.rename(log.path)
                log.serve(1)
            elif not told:
                log.path.rename(away)
            return next(looks)

    Signer(log.path, log.key).run(Stop(), report=told.append)  # type: ignore[arg-type]
    assert told[0].startswith(f"{log.path} cannot be read as an audit log")
    assert told[1:] == ["The audit log is signed again."]
    assert log.verify().exit_code == 0


def test_keys_of_another_kind_are_refused(log: Log) -> None:
    with pytest.raises(JournalError, match="exists already"):
        make_key(log.key)
    for path in (log.public, log.path):
        path.chmod(0o600)
        with pytest.raises(JournalError, match="holds no Ed25519 private key"):
            Signer(log.path, path)
    log.key.chmod(0o640)
    with pytest.raises(JournalError, match="chmod 600"):
        Signer(log.path, log.key)
    with pytest.raises(JournalError, match="holds no Ed25519 public key"):
        verify(log.path, log.checkpoints)
    with pytest.raises(JournalError, match="No such file"):
        verify(log.path, log.folder / "none.pub")
    with pytest.raises(JournalError, match="No such file"):
        verify(log.path, log.public, log.folder / "none")


def test_many_numbers_fit_in_a_line() -> None:
    numbers = Numbers()
    for n in range(0, 100, 2):
        numbers.add(n)
    assert str(numbers).endswith("36, 38 and 30 more ranges")
    assert numbers.count == 50


def test_the_commands_make_keys_sign_verify_and_say_so_by_their_status(tmp_path: Path) -> None:
    log = Log(tmp_path)
    append(log.path, Event(what="swap", by="k1"))
    assert elara("journal", "signing-key", log.key).returncode == 0
    assert elara("journal", "text-key", tmp_path / "text.key").returncode == 0
    sign = ("journal", "sign", log.path, "--key", log.key, "--once")
    assert elara(*sign).stdout == "Signed: 1 records.\n"
    assert elara(*sign).stdout == "Nothing new to sign.\n"
    check = ("verify", "--audit", log.path, "--public-key", log.public)
    whole = elara(*check, "--fhir", tmp_path / "fhir.jsonl")
    assert (whole.returncode, whole.stderr) == (0, "")
    assert whole.stdout.splitlines()[-1] == f"1 AuditEvents: {tmp_path / 'fhir.jsonl'}"
    assert elara("verify", "--audit", log.path).returncode == 1
    log.sql("UPDATE record SET body = '{}'")
    damaged = elara(*check)
    assert damaged.returncode == 2
    assert "FAILED  Edited, moved, or put after another one: record 1." in damaged.stdout
    unreadable = elara("verify", "--audit", tmp_path / "none.db", "--public-key", log.public)
    assert unreadable.returncode == 1
    assert unreadable.stderr.startswith("Error: ")
    assert "--audit" in elara("verify", "--fhir", tmp_path / "f").stderr

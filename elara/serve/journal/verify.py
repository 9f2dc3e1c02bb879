"""Check an audit log against itself and against its signed checkpoints, and say what is wrong.

The checkpoints should be a copy that was kept elsewhere, and the public key one's own.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from elara.serve.journal.chain import START, Row, next_hash, reading, rows
from elara.serve.journal.checkpoints import Checkpoint, checkpoints_of, parse, read_public
from elara.serve.journal.entries import JournalError

WINDOW = 10.0  # seconds after which a record must be signed: some looks of the signer, and a wait
_MOST_NAMED = 20


@dataclass
class Numbers:
    """Numbers of records, kept as ranges so that a million of them fit in a line.

    Args:
        count: how many.
        ranges: first and last of each range.
    """

    count: int = 0
    ranges: list[list[int]] = field(default_factory=list)

    def add(self, first: int, last: int | None = None) -> None:
        """Add one number or a range, in ascending order.

        Args:
            first: the number, or the range's first.
            last: the range's last.
        """
        last = first if last is None else last
        self.count += last - first + 1
        if self.ranges and self.ranges[-1][1] == first - 1:
            self.ranges[-1][1] = last
        else:
            self.ranges.append([first, last])

    def __str__(self) -> str:
        named = [f"{a}" if a == b else f"{a} to {b}" for a, b in self.ranges[:_MOST_NAMED]]
        more = len(self.ranges) - len(named)
        return ", ".join(named) + (f" and {more} more ranges" if more else "")


@dataclass(frozen=True)
class Verification:
    """What the check of an audit log found.

    Args:
        damage: what is wrong, a sentence each.
        notes: what else a reader should know, a sentence each.
        signed: whether signatures were checked; without them a whole chain proves little.
    """

    damage: list[str]
    notes: list[str]
    signed: bool

    @property
    def exit_code(self) -> int:
        """0 whole, 2 damaged, 1 cannot say."""
        return 2 if self.damage else 0 if self.signed else 1

    def lines(self) -> list[str]:
        """What to print."""
        verdict = {
            0: "Whole: nothing was changed, removed, moved, added or cut off up to what is signed.",
            1: "Cannot say: the chain fits, but no signature was checked.",
            2: "DAMAGED.",
        }
        return [*(f"FAILED  {text}" for text in self.damage), *self.notes, verdict[self.exit_code]]


def verify(
    path: Path,
    public_key: Path | None = None,
    checkpoints: Path | None = None,
    *,
    window: float = WINDOW,
    now: datetime | None = None,
) -> Verification:
    """Check an audit log. The server may be writing to it.

    Args:
        path: the database.
        public_key: file of the signer's public key; None checks the chain alone.
        checkpoints: file of the checkpoints; None means the one beside the database.
        window: seconds after which a record must have been signed.
        now: the time to judge by; None means this computer's clock.

    Raises:
        JournalError: the log, the key or the named checkpoints cannot be read.
    """
    stamps = _Stamps(checkpoints or checkpoints_of(path), public_key, named=checkpoints is not None)
    walk = _Walk(stamps, timedelta(seconds=window))
    with reading(path) as connection:  # after the checkpoints: it has every record they name
        walk.now = now or datetime.now(UTC)
        try:
            for row in rows(connection):
                walk.step(row)
        except sqlite3.Error as error:
            walk.damage.append(f"The database cannot be read after record {walk.at}: {error}.")
    walk.finish()
    damage, notes = walk.damage + stamps.damage(), walk.notes + stamps.notes
    return Verification(damage, notes, signed=public_key is not None)


class _Stamps:
    """The good checkpoints in a file, one after the other, and what is wrong with the others."""

    def __init__(self, path: Path, public_key: Path | None, *, named: bool) -> None:
        self._path, self._keys = path, read_public(public_key) if public_key else None
        self.notes: list[str] = []
        self.last: Checkpoint | None = None
        self.count = 0
        self._unreadable, self._forged, self._disordered = Numbers(), Numbers(), Numbers()
        try:
            self._size = path.stat().st_size
        except OSError as error:
            if named:
                raise JournalError(f"{path} cannot be read ({error.strerror}).") from None
            self._size = 0
            self.notes.append(f"There is no file {path}: nothing is signed.")

    def __iter__(self) -> Iterator[Checkpoint]:
        for number, line in enumerate(self._lines(), 1):
            stamp = parse(line)
            if stamp is None:
                self._unreadable.add(number)
            elif self._keys is not None and not stamp.signed_by(self._keys):
                self._forged.add(number)
            elif self.last and stamp.sequence < self.last.sequence:
                self._disordered.add(number)
            else:
                self.last, self.count = stamp, self.count + 1
                yield stamp

    def _lines(self) -> Iterator[bytes]:
        """The lines that were there at the beginning: the signer may be adding more."""
        if not self._size:
            return
        with self._path.open("rb") as file:
            while file.tell() < self._size:
                line = file.readline()
                if line.endswith(b"\n"):
                    yield line
                else:
                    self.notes.append(f"{self._path} ends with half a line: the signer crashed.")

    def damage(self) -> list[str]:
        found = {
            "is no checkpoint": self._unreadable,
            "has a signature that does not fit the public key": self._forged,
            "signs fewer records than a line before it": self._disordered,
        }
        return [f"{self._path}, line {n}: {what}." for what, n in found.items() if n.count]


class _Walk:
    """Goes through the records once, beside the checkpoints."""

    def __init__(self, stamps: _Stamps, window: timedelta) -> None:
        self.now = datetime.now(UTC)
        self.at, self._last = 0, START
        self.damage: list[str] = []
        self.notes: list[str] = []
        self._missing, self._unfit, self._extra = Numbers(), Numbers(), Numbers()
        self._unknown, self._future = Numbers(), Numbers()
        self._stamps, self._coming, self._window = stamps, iter(stamps), window
        self._stamp = next(self._coming, None)
        self._agreed = self._contradicted = self._late = self._tail = self._strays = 0
        self._rewritten = ""
        self._latest = timedelta()
        self._oldest: datetime | None = None  # of the records that no checkpoint covers
        self._counts = {"accepted": 0, "ended": 0, "event": 0}
        self._open: set[str] = set()

    def step(self, row: Row) -> None:
        if row.sequence <= self.at:
            self._extra.add(row.sequence)
            return
        if row.sequence > self.at + 1:
            self._missing.add(self.at + 1, row.sequence - 1)
        elif row.hash != next_hash(self._last, row.body):
            self._unfit.add(row.sequence)
        self.at, self._last = row.sequence, row.hash
        self._count(row)
        while self._stamp and self._stamp.sequence <= row.sequence:
            self._compare(self._stamp, row)
            self._stamp = next(self._coming, None)

    def _count(self, row: Row) -> None:
        self._tail += 1
        try:
            values: dict[str, Any] = json.loads(row.body)
            kind, entry = values["kind"], values.get("entry", "")
            time = datetime.fromisoformat(values["time"])
            if time > self.now + self._window:
                self._future.add(row.sequence)
            self._oldest = min(self._oldest or time, time)
            self._counts[kind] += 1
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self._unknown.add(row.sequence)
            return
        if kind == "accepted":
            self._open.add(entry)
        elif kind == "ended":
            self._strays += entry not in self._open
            self._open.discard(entry)

    def _compare(self, stamp: Checkpoint, row: Row) -> None:
        if (stamp.sequence, stamp.hash) == (row.sequence, row.hash.hex()):
            self._agreed = stamp.sequence
            late = datetime.fromisoformat(stamp.time) - (self._oldest or self.now)
            self._late += late > self._window
            self._latest = max(self._latest, late)
        else:
            self._contradicted += 1
            self._rewritten = self._rewritten or (
                f"Records {self._agreed + 1} to {stamp.sequence} are not those that were signed "
                f"at {stamp.time}"
            )
        self._tail, self._oldest = 0, None

    def finish(self) -> None:
        for numbers, text in (
            (self._missing, "Removed: record {}."),
            (self._extra, "Out of place: record {}."),
            (self._unfit, "Edited, moved, or put after another one: record {}."),
            (self._unknown, "Not written by Elara: record {}."),
            (self._future, "Dated in the future: record {}."),
        ):
            if numbers.count:
                self.damage.append(text.format(numbers))
        if self._rewritten:
            also = self._contradicted - 1
            self.damage.append(self._rewritten + (f" ({also} later checkpoints)." if also else "."))
        cut = self._stamp
        for cut in self._coming:  # noqa: B007 - the last one says how many there were
            pass
        if cut:
            self.damage.append(
                f"Cut off: records {self.at + 1} to {cut.sequence}, signed until {cut.time}."
            )
        self.notes = list(self._tell())

    def _tell(self) -> Iterator[str]:
        counts = self._counts
        yield (
            f"{self.at:,} records: {counts['accepted']:,} requests accepted, {counts['ended']:,} "
            f"ended, {counts['event']:,} acts of administration."
        )
        if self._open:
            yield (
                f"{len(self._open):,} requests have no end: interrupted by a crash, or under way "
                "when the log was read."
            )
        if self._strays:
            yield f"{self._strays:,} ends belong to no request."
        if last := self._stamps.last:
            yield (
                f"{self._stamps.count:,} checkpoints; the last, at {last.time}, covers "
                f"{last.sequence:,} records."
            )
        if self._late:
            yield (
                f"{self._late:,} checkpoints came late, by up to {self._latest}: what was written "
                "then could have been changed before it was signed."
            )
        if self._tail:
            yield self._tell_tail()

    def _tell_tail(self) -> str:
        age = self.now - self._oldest if self._oldest else timedelta.max
        told = (
            f"{self._tail:,} records, from {self.at - self._tail + 1}, are not yet covered by a "
            f"checkpoint; the oldest is {max(age.total_seconds(), 0):,.1f} s old"
        )
        if age > self._window:
            self.damage.append(
                f"{told}, and should be: the signer does not run, its checkpoints were cut, or "
                "the records were added."
            )
            return "The records after the last checkpoint are not protected."
        return f"{told}."

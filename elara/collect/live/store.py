"""Keep the answers of live sources: immutable files and a journal that says what each is.

A file is complete before its line is added to the journal, and nothing else counts as fetched.
So a process that is killed at any moment leaves at most one file without a line, which is the
one page that the next run fetches again.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
from isal import igzip, isal_zlib

from elara.records import Payload, frame
from elara.workspace import file_sha256, write_atomically

JOURNAL = "journal.jsonl"
LAST_DAY = ".until"
LOCK = ".harvest.lock"
# What lies beside the payloads in the folder of all of them.
BOOKKEEPING = frozenset({LAST_DAY, LOCK, ".harvest.owner"})
# Before the step of an answer that lacks something: it is kept for what it holds, but the step
# counts as open, and the next run asks again.
INCOMPLETE = "incomplete/"


class Store:
    """The payloads of one source.

    Args:
        root: the folder of all payloads; the source's own folder is made below it.
        source: name of the source and of its folder.
    """

    def __init__(self, root: Path, source: str) -> None:
        self.root = root
        self.source = source
        self.home = root / source
        self.home.mkdir(parents=True, exist_ok=True)
        self.steps = {p.step: p for p in _read_journal(self.home / JOURNAL)}
        # A payload whose file is gone or has another size is fetched again.
        files = {s: root / p.file for s, p in self.steps.items()}
        sizes = {s: file.stat().st_size for s, file in files.items() if file.exists()}
        found = {s: p for s, p in self.steps.items() if sizes.get(s) == p.bytes}
        if len(found) < len(self.steps):
            self.steps = found
            self._rewrite()
        kept = {JOURNAL, *(Path(p.file).name for p in self.steps.values())}
        for path in self.home.iterdir():
            if path.name not in kept:
                path.unlink()
        self._number = max((int(name[:6]) for name in kept - {JOURNAL}), default=0)

    def _rewrite(self) -> None:
        write_atomically(self.home / JOURNAL, "".join(map(_line, self.steps.values())))

    def ids(self) -> set[str]:
        """The ids of all records that answered steps hold."""
        whole = (p for step, p in self.steps.items() if not step.startswith(INCOMPLETE))
        return {native_id for payload in whole for native_id in payload.ids}

    def twin(self, step: str, body: bytes) -> str:
        """Another step that an earlier answer of the very same bytes is kept for, or ""."""
        digest = hashlib.sha256(_packed(body)).hexdigest()
        earlier = itertools.takewhile(lambda other: other != step, self.steps)
        whole = (other for other in earlier if not other.startswith(INCOMPLETE))
        return next((other for other in whole if self.steps[other].sha256 == digest), "")

    def forget(self, step: str) -> None:
        """Remove a step and its answer, if there is one."""
        if payload := self.steps.pop(step, None):
            self._rewrite()
            (self.root / payload.file).unlink(missing_ok=True)

    def reopen(self, step: str) -> None:
        """Let an answered step count as open, and keep the records that its answer holds."""
        if not self.steps[step].ids:
            return self.forget(step)
        payload = dataclasses.replace(self.steps.pop(step), step=INCOMPLETE + step)
        self.steps[payload.step] = payload
        self._rewrite()

    def tidy(self) -> None:
        """Remove incomplete answers of which whole ones hold every record."""
        known = self.ids()
        for step in [s for s, p in self.steps.items() if s.startswith(INCOMPLETE)]:
            if known.issuperset(self.steps[step].ids):
                self.forget(step)

    def read(self, step: str) -> bytes:
        """The body that answered a step, unpacked."""
        return read_payload(self.root / self.steps[step].file)

    def add(
        self,
        step: str,
        url: str,
        body: bytes,
        suffix: str,
        ids: Sequence[str] = (),
        *,
        packed: bool = False,
    ) -> None:
        """Keep an answer.

        Args:
            step: what it answers.
            url: where it came from; a query is cut off, since it may hold a key.
            body: the answer.
            suffix: what it is: `xml`, `json`, `html`.
            ids: the ids of the records that it holds.
            packed: whether the answer is a file that came packed, as gzip does it.
        """
        self.forget(step)
        self._number += 1
        path = self.home / f"{self._number:06}.{suffix}.gz"
        write_atomically(path, body if packed else _packed(body))
        payload = Payload(
            source=self.source,
            step=step,
            file=path.relative_to(self.root).as_posix(),
            url=url.partition("?")[0],
            sha256=file_sha256(path),
            bytes=path.stat().st_size,
            retrieved_at=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            ids=list(ids),
        )
        with (self.home / JOURNAL).open("a", encoding="utf-8") as handle:
            handle.write(_line(payload))
            handle.flush()
            os.fsync(handle.fileno())
        self.steps[step] = payload


def short_name(text: str) -> str:
    """What stands for a text, such as a query, in the name of a step: 16 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_payload(path: Path) -> bytes:
    """The body of a stored answer, unpacked."""
    return isal_zlib.decompress(path.read_bytes(), 31)  # 31: with the header of gzip


def _packed(body: bytes) -> bytes:
    return igzip.compress(body, 1, mtime=0)  # higher levels gain little on markup


def _line(payload: Payload) -> str:
    return json.dumps(dataclasses.asdict(payload), ensure_ascii=False) + "\n"


def _read_journal(path: Path) -> Iterator[Payload]:
    """The lines of a journal; a last line that a kill cut short is cut off."""
    if not path.is_file():  # a pipe of this name would never end
        return
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as handle:
            handle.truncate(len(whole))
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            yield Payload(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number} is damaged ({error}): delete that line and run again; "
                f"only the page that it names is then fetched again."
            ) from error


def retrieval_times(folder: Path) -> dict[str, str]:
    """When each payload in a folder was fetched.

    Args:
        folder: a folder of raw files; those of live sources have a journal beside them.

    Returns:
        File, relative to `folder`, to ISO 8601 time in UTC.
    """
    times = {}
    for journal in sorted(folder.rglob(JOURNAL)):
        for payload in _read_journal(journal):
            path = journal.parent / Path(payload.file).name
            times[path.relative_to(folder).as_posix()] = payload.retrieved_at
    return times


def payload_table(root: Path) -> pl.DataFrame:
    """Every payload that was kept.

    Args:
        root: the folder of all payloads.

    Returns:
        One row per `Payload`, by source and file.
    """
    kept = (p for path in sorted(root.glob(f"*/{JOURNAL}")) for p in _read_journal(path))
    return frame(kept, Payload)

"""Run live sources side by side, each step at most once, however often a run is broken off.

A source is written as if it were run in one go: it asks for a step and gets the answer, from the
store when an earlier run has fetched it and from the network otherwise. To continue after an
interruption is therefore nothing special: the source runs again and finds its steps answered.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import polars as pl

from elara.collect.live.client import Client, FetchError, Request
from elara.collect.live.store import LOCK, Store, payload_table
from elara.progress import Progress
from elara.workspace import lock

_PASSES = 2  # what failed while a server was down gets another chance at the end
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def check_contact(contact: str) -> None:
    """Raise ValueError unless the contact looks like an e-mail address."""
    if not _EMAIL.fullmatch(contact):
        raise ValueError(
            f"Parameter `email` is {contact!r}: live sources ask for an address that they can "
            f"write to, such as name@example.org."
        )


class Stopped(Exception):
    """Somebody interrupted the run; a source lets this pass."""


class Fetch:
    """A source's way to the network and to what it fetched before.

    Args:
        store: the source's payloads.
        client: the client that all sources share.
        progress: told how many records there are and have come.
        stop: set when the run is to end.
    """

    def __init__(
        self, store: Store, client: Client, progress: Progress, stop: threading.Event
    ) -> None:
        self.store = store
        self.client = client
        self.failures: list[str] = []
        self.downloaded = 0
        self._progress = progress
        self._stop = stop
        self._counted: set[str] = set()

    def get(
        self,
        step: str,
        request: Request,
        *,
        suffix: str = "xml",
        ids: Callable[[bytes], Sequence[str]] | None = None,
    ) -> bytes:
        """The answer to a step, from the store or from the network.

        Args:
            step: its name, unique within the source and the same in every run.
            request: what to ask where the store has no answer.
            suffix: what the body is: `xml`, `json`, `html`.
            ids: given the body, names the records that it holds; default none.

        Raises:
            FetchError: see `Client.fetch`.
            Stopped: the run is to end.
        """
        if step in self.store.steps:
            self.seen(step)
            return self.store.read(step)
        body = self.ask(request)
        self.store.add(step, request.url, body, suffix, ids(body) if ids else ())
        self.downloaded += 1
        self.seen(step)
        return body

    def ask(self, request: Request) -> bytes:
        """The answer to a request that is of no use later, and so is not kept."""
        self.check_stopped()
        body = self.client.fetch(request)
        self.check_stopped()  # nothing is stored after an interruption: a new run may have begun
        return body

    def seen(self, step: str) -> None:
        """Count the records of a stored step as done, once."""
        if step not in self._counted:
            self._counted.add(step)
            self._progress.advance(len(self.store.steps[step].ids))

    def check_stopped(self) -> None:
        """End the source when the run is to end."""
        if self._stop.is_set():
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Pause because a source asks for it; an interruption ends the pause."""
        if self._stop.wait(seconds):
            raise Stopped

    def expect(self, what: str, records: int) -> None:
        """Say, once for each `what`, how many records will come, for the progress."""
        if what not in self._counted:
            self._counted.add(what)
            self._progress.expect(records)

    def fail(self, what: str, error: FetchError) -> None:
        """Note that a step could not be had; the source goes on with the next one."""
        self.failures.append(f"{what}: {error}")


class Source(Protocol):
    """A live source: knows what to ask; everything else is done for it."""

    @property
    def name(self) -> str:
        """Name of the source and of the folder of its payloads."""

    @property
    def base_url(self) -> str:
        """Address of the service or of a mirror of it."""

    @property
    def per_second(self) -> int:
        """Requests per second that the service allows; 0 means no limit (a mirror of yours)."""

    def run(self, fetch: Fetch) -> None:
        """Ask for every step in a fixed order.

        Raises:
            FetchError: the source cannot go on. What can be skipped goes to `fetch.fail`.
        """


class HarvestIncomplete(RuntimeError):
    """Some steps could not be fetched; the message lists them. Run again to continue."""


@dataclass(slots=True)
class Harvest:
    """What a run of the live sources did.

    Args:
        root: the folder of all payloads.
        payloads: one row per `Payload`, of this run and all before it.
        downloaded: source to how many answers this run fetched from the network.
        retries: how many requests had to be repeated.
    """

    root: Path
    payloads: pl.DataFrame
    downloaded: dict[str, int] = field(default_factory=dict)
    retries: int = 0

    def per_source(self) -> pl.DataFrame:
        """One row per source: answers kept, of which fetched in this run, records and bytes."""
        new = pl.DataFrame(
            {"source": list(self.downloaded), "fetched_now": list(self.downloaded.values())},
            schema={"source": pl.String, "fetched_now": pl.Int64},
        )
        return (
            self.payloads.group_by("source")
            .agg(answers=pl.len(), records=pl.col("ids").list.len().sum(), bytes=pl.sum("bytes"))
            .join(new, on="source", how="full", coalesce=True)
            .fill_null(0)
            .sort("source")
        )


def harvest(
    sources: Sequence[Source],
    root: Path,
    contact: str,
    *,
    patience: float = 900.0,
    longest_pause: float = 60.0,
) -> Harvest:
    """Fetch everything that the sources name and the store does not have.

    Args:
        sources: each runs in a thread of its own and has at most one request under way.
        root: the folder of all payloads, kept from run to run.
        contact: e-mail address for the operators of the servers.
        patience: seconds for which a failing request is repeated.
        longest_pause: upper bound in seconds of the pauses between attempts.

    Returns:
        What was done.

    Raises:
        ValueError: `contact` is no e-mail address.
        HarvestIncomplete: some steps failed in spite of all patience.
        WorkspaceError: another run is fetching into the same folder.
    """
    check_contact(contact)
    root.mkdir(parents=True, exist_ok=True)
    held = lock(root / LOCK, "a collection from live sources")
    try:
        with (
            Client(contact, patience=patience, longest_pause=longest_pause) as client,
            Progress("collect") as progress,
        ):
            runs = [_Run(source, root, client, progress) for source in sources]
            _run_all(runs)
        done = Harvest(
            root,
            payload_table(root),
            {run.source.name: run.fetch.downloaded for run in runs},
            client.retries,
        )
    finally:
        held.release()
    if failures := [line for run in runs for line in run.fetch.failures]:
        lines = "\n".join(failures[:20])
        raise HarvestIncomplete(
            f"{len(failures)} steps could not be fetched; everything else is kept in "
            f"{root}, and running again asks for these alone:\n{lines}"
        )
    return done


class _Run(threading.Thread):
    """One source at work."""

    def __init__(self, source: Source, root: Path, client: Client, progress: Progress) -> None:
        super().__init__(name=source.name, daemon=True)
        self.source = source
        self.stop = threading.Event()
        self.fetch = Fetch(Store(root, source.name), client, progress, self.stop)
        self.error: BaseException | None = None
        client.limit(source.base_url, source.per_second)

    def run(self) -> None:
        try:
            for _ in range(_PASSES):
                self.fetch.failures.clear()
                self._once()
                if not self.fetch.failures:
                    break
        except Stopped:
            pass
        except BaseException as error:  # handed over to the main thread
            self.error = error

    def _once(self) -> None:
        try:
            self.source.run(self.fetch)
        except FetchError as error:
            self.fetch.fail(self.source.name, error)


def _run_all(runs: Sequence[_Run]) -> None:
    for run in runs:
        run.start()
    try:
        for run in _finished(runs):
            if run.error:
                raise run.error
    finally:
        for run in runs:
            run.stop.set()


def _finished(runs: Sequence[_Run]) -> Iterator[_Run]:
    """The runs in the order in which they end; an interrupt gets through while waiting."""
    waiting = list(runs)
    while waiting:
        for run in list(waiting):
            run.join(0.05)
            if not run.is_alive():
                waiting.remove(run)
                yield run

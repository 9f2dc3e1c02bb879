"""Run live sources side by side, each step at most once, however often a run is broken off.

A source is written as if it were run in one go: it asks for a step and gets the answer, from the
store when an earlier run has fetched it and from the network otherwise. To continue after an
interruption is therefore nothing special: the source runs again and finds its steps answered.

An answer is held against what it says of itself, and one that is odd without contradicting itself
(a search that finds nothing) is believed when it comes twice. Every source ends with an account of
what it was promised and what came. What is missing is named, and asked for by the next run.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from elara.collect.live.accounts import Account, Failure, Harvest
from elara.collect.live.client import Client, FetchError, Request, accept
from elara.collect.live.store import INCOMPLETE, LOCK, Store, payload_table
from elara.display.progress import Progress
from elara.records import frame
from elara.workspace import lock

_PASSES = 2  # what failed while a server was down gets another chance at the end
ASKS = 5  # times that a request is sent whose answers contradict themselves
_GONE = (404, 410)
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


class Incomplete(FetchError):
    """However often it is asked for, an answer lacks what it should hold."""


@dataclass(slots=True)
class Fetch:
    """A source's way to the network and to what it fetched before.

    Args:
        store: the source's payloads.
        client: the client that all sources share.
        progress: told how many records there are and have come.
        stop: set when the run is to end.
        told: what answers of this run say of themselves, with the source and the request that
            each came for; a server that confuses requests gives the same answer to another one.
        failures: what the source did not get.
        accounts: what of it was promised and came.
        downloaded: how many answers came from the network.
        counted: what the progress knows.
        doubted: requests whose answer is also all that another source gets for its own.
    """

    store: Store
    client: Client
    progress: Progress
    stop: threading.Event
    told: dict[tuple[object, ...], tuple[Fetch, tuple[str, ...]]]
    failures: list[Failure] = field(default_factory=list)
    accounts: dict[str, Account] = field(default_factory=dict)
    downloaded: int = 0
    counted: set[str] = field(default_factory=set)
    doubted: set[tuple[str, ...]] = field(default_factory=set)

    def get(
        self,
        step: str,
        request: Request,
        *,
        suffix: str = "xml",
        ids: Callable[[bytes], Sequence[str]] | None = None,
        lacks: Callable[[bytes], str] = accept,
        odd: Callable[[bytes], str] = accept,
    ) -> bytes:
        """The answer to a step, from the store or from the network.

        One that lacks something is asked for again a few times. If it stays so, it is kept for
        the records that it holds, but the step stays open, so that the next run asks again. A
        stored answer is held to the same.

        Args:
            step: its name, unique within the source and the same in every run.
            request: what to ask where the store has no answer.
            suffix: what the body is: `xml`, `json`, `html`.
            ids: given the body, names the records that it holds; default none.
            lacks: given the body, says what is missing in it by its own words, or "".
            odd: given the body, says what may be missing in it, or "". An odd answer is asked for
                once more, and believed then.

        Raises:
            Incomplete: the answer still lacks something.
            FetchError: see `Client.fetch`.
            Stopped: the run is to end.
        """

        def wrong_with(body: bytes) -> str:
            nonlocal odd
            if wrong := lacks(body):
                return wrong
            if doubt := odd(body):
                odd = accept
            return doubt

        if step in self.store.steps:
            body = self.store.read(step)
            if not wrong_with(body):
                self.seen(step)
                return body
            self.store.reopen(step)
        body, wrong = self.ask(request, wrong_with)
        found = ids(body) if ids else ()
        if found or not wrong:
            self.store.forget(INCOMPLETE + step)
            self.store.add(INCOMPLETE * bool(wrong) + step, request.url, body, suffix, found)
            self.downloaded += 1
        if wrong:
            raise Incomplete(f"{wrong}, {ASKS} times in a row", body=body)
        self.seen(step)
        return body

    def ask(self, request: Request, lacks: Callable[[bytes], str] = accept) -> tuple[bytes, str]:
        """The answer to a request, which is not kept, and what it lacks.

        Args:
            request: what to ask.
            lacks: as for `get`; after some attempts the last answer is returned as it is.

        Raises:
            FetchError: see `Client.fetch`.
            Stopped: the run is to end.
        """
        for attempt in self.attempts():
            self.wait(0)
            body = self.client.fetch(request)
            self.wait(0)  # nothing is stored after an interruption: a new run may go on
            wrong = lacks(body)
            if not wrong:
                break
            if attempt < ASKS:
                self.client.repeated()
        return body, wrong

    def attempts(self) -> Iterator[int]:
        """Numbers from 1, after each of which but the last a growing pause is made."""
        started = time.monotonic()
        for attempt in range(1, ASKS + 1):
            yield attempt
            pause = min(self.client.longest_pause, 0.5 * 2 ** (attempt - 1))
            if attempt < ASKS and time.monotonic() + pause - started <= self.client.patience:
                self.wait(pause)

    def confused(self, words: tuple[object, ...], request: tuple[str, ...]) -> bool:
        """Whether an answer with these words has come for another request, of any source.

        Args:
            words: by which the answer says what it is an answer to.
            request: what was asked.
        """
        return self.told.setdefault(words, (self, request))[1] != request

    def doubt(self, words: tuple[object, ...]) -> None:
        """Doubt the answer with these words that another source has: it may be meant for this one.

        Sources run side by side, so that it is chance which of them got the answer first. Both
        ask again in the next pass. (Within a source the first has it by right: the second request
        was not yet sent then.)
        """
        holder, request = self.told.get(words, (self, ()))
        if holder is not self:
            holder.doubted.add(request)

    def unlearn(self, request: tuple[str, ...]) -> None:
        """Forget what answers have said to a request: they were not meant for it."""
        for words in [w for w, (_, asked) in list(self.told.items()) if asked == request]:
            self.told.pop(words, None)

    def unsettled(self) -> bool:
        """Whether something is open or doubted that may come when it is asked for again."""
        return bool(self.doubted) or not all(failure.gone for failure in self.failures)

    def seen(self, step: str) -> None:
        """Count the records of a stored step as done, once."""
        if step not in self.counted:
            self.counted.add(step)
            self.progress.advance(len(self.store.steps[step].ids))

    def wait(self, seconds: float) -> None:
        """Pause because a source asks for it; when the run is to end, end the source at once."""
        if self.stop.wait(seconds):
            raise Stopped

    def expect(self, what: str, records: int) -> None:
        """Say, once for each `what`, how many records will come, for the progress."""
        if what not in self.counted:
            self.counted.add(what)
            self.progress.expect(records)

    def fail(self, what: str, error: FetchError, ids: Sequence[str] = ()) -> None:
        """Note that something could not be had; the source goes on with the next step.

        Args:
            what: see `Failure`.
            error: why not.
            ids: of the records that are missing, where they are known.
        """
        self.failures.append(Failure(what, str(error), error.status in _GONE, tuple(ids)))

    def account(self, what: str, expected: int, received: int, said: str = "") -> None:
        """Close the account of a search, list or folder; see `Account`.

        It notes no failure: where something is missing, the source has said what.
        """
        self.accounts[what] = Account(self.store.source, what, expected, received, said)


@dataclass(frozen=True, slots=True)
class Source:
    """A live source: knows what to ask; everything else is done for it.

    Args:
        name: name of the source and of the folder of its payloads.
        base_url: address of the service or of a mirror of it.
        until: last day that is searched, `YYYY-MM-DD`. A later day in a later run adds what came
            in between.
        most: how many records, pages or files, the most relevant or the newest; 0 means all.
        per_second: requests per second that the service allows; 0 means no limit (a mirror of
            yours).
    """

    name: str
    _: KW_ONLY
    base_url: str
    until: str = ""
    most: int = 0
    per_second: int = 1

    def run(self, fetch: Fetch) -> None:
        """Ask for every step in a fixed order.

        Raises:
            FetchError: the source cannot go on. What can be skipped goes to `fetch.fail`.
        """
        raise NotImplementedError


class HarvestIncomplete(RuntimeError):
    """Something could not be fetched; the message lists it. Run again to continue."""


def harvest(
    sources: Sequence[Source],
    root: Path,
    contact: str,
    *,
    patience: float = 900.0,
    longest_pause: float = 60.0,
    strict: bool = True,
) -> Harvest:
    """Fetch everything that the sources name and the store does not have.

    Args:
        sources: each runs in a thread of its own and has at most one request under way. Without
            any, nothing is asked.
        root: the folder of all payloads, kept from run to run.
        contact: e-mail address for the operators of the servers.
        patience: seconds for which a failing request is repeated.
        longest_pause: upper bound in seconds of the pauses between attempts.
        strict: whether it is an error when something is missing in spite of all patience. If not,
            `Harvest.missing` names it; that nothing at all came is an error in any case.

    Returns:
        What was done.

    Raises:
        ValueError: `contact` is no e-mail address.
        HarvestIncomplete: see `strict`.
        WorkspaceError: another run is fetching into the same folder.
    """
    if not sources:
        return Harvest(root, payload_table(root))
    check_contact(contact)
    root.mkdir(parents=True, exist_ok=True)
    held = lock(root / LOCK, "a collection from live sources")
    try:
        with (
            Client(contact, patience=patience, longest_pause=longest_pause) as client,
            Progress("collect") as progress,
        ):
            stop = threading.Event()
            told: dict[tuple[object, ...], tuple[Fetch, tuple[str, ...]]] = {}
            runs = [(s, Fetch(Store(root, s.name), client, progress, stop, told)) for s in sources]
            for source in sources:
                client.limit(source.base_url, source.per_second)
            _run_all(runs, stop)
        done = Harvest(
            root,
            payload_table(root),
            {source.name: fetch.downloaded for source, fetch in runs},
            client.retries,
            frame((a for _, fetch in runs for a in fetch.accounts.values()), Account),
            {source.name: fetch.failures for source, fetch in runs if fetch.failures},
        )
    finally:
        held.release()
    lines = done.missing()
    if lines and (strict or not done.payloads["ids"].list.len().sum()):
        shown = "\n".join(lines[:20])
        raise HarvestIncomplete(
            f"{len(lines)} things could not be fetched; everything else is kept in "
            f"{root}, and running again asks for these alone:\n{shown}"
        )
    return done


def _run_all(runs: Sequence[tuple[Source, Fetch]], stop: threading.Event) -> None:
    """Run all sources; what failed or is doubted is asked for once more when all have ended."""
    again = runs
    try:
        for _ in range(_PASSES):
            for _, fetch in again:
                for request in fetch.doubted:
                    fetch.unlearn(request)
            _run_once(again)
            again = [(source, fetch) for source, fetch in runs if fetch.unsettled()]
    finally:
        stop.set()
    for _, fetch in again:
        for request in fetch.doubted:
            error = FetchError("another source got the same answer: run again.")
            fetch.fail(f"search {' '.join(request)}", error)


def _run_once(runs: Sequence[tuple[Source, Fetch]]) -> None:
    """Run each source in a thread, until all have ended or one has failed."""
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    for run in runs:
        threading.Thread(target=_run, args=(*run, ended), daemon=True).start()
    for _ in runs:
        while ended.empty():  # an interrupt gets through meanwhile
            time.sleep(0.05)
        if error := ended.get():
            raise error


def _run(source: Source, fetch: Fetch, ended: queue.SimpleQueue[BaseException | None]) -> None:
    """Run a source once; what it could not get is in `fetch.failures`."""
    fetch.failures.clear()
    try:
        try:
            source.run(fetch)
        except FetchError as error:
            fetch.fail(source.base_url, error)
        if not fetch.failures:
            fetch.store.tidy()
        ended.put(None)
    except BaseException as error:  # handed over to the main thread
        ended.put(error)

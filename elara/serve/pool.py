"""Share questions among upstreams: the least loaded healthy one answers, another if it fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from elara.serve.asking import Client, UpstreamFailed
from elara.serve.backends import (
    Ask,
    BrokenOff,
    End,
    GenerationFailed,
    ModelUnavailable,
    Piece,
    QueueFull,
    TookTooLong,
)
from elara.serve.upstream import Upstream

log = logging.getLogger("elara.serve")

_TOO_LATE = "The time for this answer ran out: ask for fewer tokens, or ask again later."


@dataclass(frozen=True)
class UpstreamState:
    """How an upstream is doing.

    Args:
        url: its address.
        model: the model's name there.
        problem: why it is out of service; "" while it is in service.
        under_way: answers that it is writing.
        answered: answers that it has completed.
        failed: answers that it has not.
    """

    url: str
    model: str
    problem: str
    under_way: int
    answered: int
    failed: int


@dataclass(eq=False)
class _Member:
    """An upstream with what is known of it."""

    upstream: Upstream
    client: Client
    problem: str = "it was not checked yet"
    busy: bool = False
    turn: int = 0  # of the last question that it got
    under_way: int = 0
    answered: int = 0
    failed: int = 0
    setbacks: int = 0  # since its last complete answer
    slips: int = 0  # since then, too
    next_check: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def schedule(self, seconds: float) -> None:
        self.next_check = time.monotonic() + seconds
        self.changed.set()

    async def rest(self) -> None:
        """Wait until the next check, which a failure may bring forward or put off."""
        while (left := self.next_check - time.monotonic()) > 0:
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self.changed.wait()


class Upstreams:
    """The backend of one or more OpenAI-compatible servers.

    A question goes to the upstream with the fewest answers under way for its weight. If it fails
    before its first text, the next one is asked; each at most once. After the first text nobody
    else is asked: an answer never has two authors. Whoever fails is left alone for a pause, which
    doubles from one setback to the next, and comes back when it passes a health check. One answer
    that goes wrong is not enough for that, if the server was there and said so.

    Args:
        upstreams: from `read_upstreams`.
        slips: answers in a row that go wrong before it is left alone.
        check_seconds: between two health checks of one that is in service.
        first_pause: seconds out of service after a first setback.
        longest_pause: seconds that a pause grows to.
    """

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        *,
        slips: int = 3,
        check_seconds: float = 10.0,
        first_pause: float = 1.0,
        longest_pause: float = 60.0,
    ) -> None:
        self._upstreams = upstreams
        self._slips, self._check_seconds = slips, check_seconds
        self._first_pause, self._longest_pause = first_pause, longest_pause
        self._members: list[_Member] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._turns = 0
        self._checked = asyncio.Event()  # once, so that it is known whom to ask

    @property
    def ready(self) -> bool:
        """Whether at least one upstream is in service."""
        return any(not member.problem for member in self._members)

    @property
    def reads_pictures(self) -> bool:
        """Whether at least one upstream is described as reading pictures."""
        return any(upstream.images for upstream in self._upstreams)

    @property
    def models(self) -> str:
        """Names of the models, as the servers know them."""
        return ", ".join(sorted({upstream.model for upstream in self._upstreams}))

    def states(self) -> list[UpstreamState]:
        """How each upstream is doing, in the order of the description; for administrators."""
        return [
            UpstreamState(
                m.upstream.url, m.upstream.model, m.problem, m.under_way, m.answered, m.failed
            )
            for m in self._members
        ]

    async def start(self) -> None:
        """Check every upstream once, and from then on in the background.

        One that is down is no error: it is taken into service when it comes up.

        Raises:
            SettingsError: a key is not in the environment.
        """
        self._members = [_Member(upstream, Client(upstream)) for upstream in self._upstreams]
        for upstream in self._upstreams:
            if upstream.url.startswith("http:") and not upstream.local:
                log.warning("conversations travel unencrypted to %s: use https", upstream.url)
        await asyncio.gather(*(self._check(member) for member in self._members))
        self._checked.set()
        self._watchers = [asyncio.create_task(self._watch(member)) for member in self._members]

    async def stop(self) -> None:
        """End the checks and close every connection, also those of answers under way."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        members, self._members, self._watchers = self._members, [], []
        await asyncio.gather(*(member.client.close() for member in members))

    async def answer(self, ask: Ask) -> AsyncGenerator[Piece | End, None]:
        """Answer a conversation. Closing the iterator closes the connection to the upstream.

        Args:
            ask: the conversation and its limits.

        Raises:
            ModelUnavailable: no upstream is in service.
            QueueFull: every upstream asked to wait.
            GenerationFailed: whoever was asked refused this conversation.
            TookTooLong: the deadline passed.
            BrokenOff: the upstream failed after its first text.
        """
        tried: dict[_Member, UpstreamFailed] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ask.deadline - time.monotonic()):
                await self._checked.wait()  # a server that has just started
        while True:
            if time.monotonic() >= ask.deadline:
                raise TookTooLong(_TOO_LATE)
            member = self._pick(ask, tried)
            begun = False
            member.under_way += 1
            try:
                async with contextlib.aclosing(member.client.answer(ask)) as items:
                    async for item in items:
                        begun = True
                        if isinstance(item, End):
                            member.answered += 1
                            member.setbacks = member.slips = 0
                        yield item
                return
            except UpstreamFailed as failure:
                # Who had the whole time and wrote nothing may hang; a second one had only the rest.
                excused = failure.kind == "late" and bool(begun or tried)
                tried[member] = failure
                member.failed += 1
                # Of many answers that break off together, the first one takes it out.
                if not (member.problem or excused or failure.kind == "refused"):
                    self._judge(member, failure)
                _end_if_nobody_may_go_on(failure, begun)
            finally:
                member.under_way -= 1

    def _pick(self, ask: Ask, tried: dict[_Member, UpstreamFailed]) -> _Member:
        members = [m for m in self._members if m.upstream.images or not ask.pictures]
        able = [m for m in members if not m.problem and m not in tried]
        if not able:
            raise self._nobody(members, tried)
        member = min(able, key=lambda m: (m.under_way / m.upstream.weight, m.turn))
        self._turns += 1
        member.turn = self._turns
        return member

    def _nobody(
        self, members: Sequence[_Member], tried: dict[_Member, UpstreamFailed]
    ) -> Exception:
        # Addresses and reasons stay in the log: they are no business of whoever asks.
        if any(failure.kind == "refused" for failure in tried.values()):
            return GenerationFailed(
                "The model's server refused this conversation, most likely because it is longer "
                "than the model can read: send a shorter one, or ask for fewer tokens."
            )
        if any(not m.problem for m in members):
            return ModelUnavailable(
                "Every server that could answer failed at this question: ask again in a second. "
                "The log of this server says why.",
                1,
            )
        first = min((m.next_check for m in members), default=time.monotonic())
        wait = max(1, math.ceil(first - time.monotonic()))
        if members and all(m.busy for m in members):
            return QueueFull(f"The model is asked too often: ask again in {wait} seconds.", wait)
        return ModelUnavailable(
            f"None of the {len(members)} servers that answer is in service: ask again in "
            f"{wait} seconds. The log of this server says why.",
            wait,
        )

    def _judge(self, member: _Member, failure: UpstreamFailed) -> None:
        member.slips += 1
        if failure.kind != "slip" or member.slips >= self._slips:
            self._take_out(member, failure)
        else:
            log.warning("%s: an answer failed: %s", member.upstream.url, failure.reason)

    def _take_out(self, member: _Member, failure: UpstreamFailed) -> None:
        pause = self._first_pause * 2.0 ** min(member.setbacks, 30)
        member.setbacks += 1
        wait = min(pause, self._longest_pause)
        if failure.retry_after is not None:
            wait = max(failure.retry_after, self._first_pause)
        if member.problem != failure.reason:  # once, not at every try of a night
            log.warning(
                "%s is out of service: %s; tried again in %.0f s, and then on and on",
                member.upstream.url,
                failure.reason,
                wait,
            )
        member.problem, member.busy = failure.reason, failure.kind == "busy"
        member.schedule(wait)

    async def _watch(self, member: _Member) -> None:
        while True:
            await member.rest()
            await self._check(member)

    async def _check(self, member: _Member) -> None:
        due = member.next_check
        try:
            await member.client.check()
        except UpstreamFailed as failure:
            if member.next_check == due:
                self._take_out(member, failure)
            return
        if member.next_check != due:
            return  # an answer failed while this check went well: that weighs more
        if member.problem:
            log.info("%s is in service", member.upstream.url)
        member.problem, member.busy = "", False
        member.schedule(self._check_seconds)


def _end_if_nobody_may_go_on(failure: UpstreamFailed, begun: bool) -> None:
    if failure.kind == "late":
        raise TookTooLong(_TOO_LATE) from None
    if begun:
        raise BrokenOff(
            f"The server that wrote this answer failed in the middle of it: {failure.reason}. "
            f"What came before is incomplete: ask again."
        ) from None

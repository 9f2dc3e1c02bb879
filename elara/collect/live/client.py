"""Fetch over HTTP for all sources: polite, patient, and sure of what was received."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import functools
import json
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import stamina

import elara

# A retry is counted in the harvest's report; a log line for each would bury everything else.
logging.getLogger("stamina").setLevel(logging.ERROR)
# httpx logs every address, and an address may hold a key.
logging.getLogger("httpx").setLevel(logging.WARNING)

_BODY_SECONDS = 3600.0  # for a whole body: a server that trickles must not hold a run for days
_LONGEST_WAIT = 6 * 3600.0  # for a host that asks for a pause; for longer ones, run again later
_A_YEAR = 365 * 86_400.0
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class FetchError(RuntimeError):
    """A request cannot be fulfilled; the message names its URL (without query) and the remedy.

    Args:
        message: what to tell the user.
        status: the HTTP status of a refusal, or 0 when patience ran out.
        body: of the refusal, or of an answer that lacks something.
    """

    def __init__(self, message: str, status: int = 0, body: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class _Trouble(Exception):
    """What may be gone at the next attempt."""


def accept(body: bytes) -> str:
    """The check of a body that may be anything: nothing is wrong with it."""
    return ""


@functools.lru_cache(maxsize=2)  # an answer is looked at several times, but not kept for long
def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that an answer is, or an empty one for anything else; do not change it."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def are_objects(found: Any) -> bool:
    """Whether a part of a JSON answer is a list of objects."""
    return isinstance(found, list) and all(isinstance(item, dict) for item in found)


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask for, and how to tell a good answer from a bad one with status 200.

    Args:
        url: without query.
        query: parameters in the URL.
        form: parameters in the body; makes it a POST.
        headers: beyond those that every request has.
        check: given the body, says what is wrong with it, or "".
    """

    url: str
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[bytes], str] = accept


class Limit:
    """At most so many requests in any second, as the server sees them, and none while it rests.

    A slot is taken when a request is sent and freed one second after its answer began. The server
    received the request in between, so that no two clocks and no network delay can bring more
    requests into one second than there are slots.

    Args:
        per_second: how many; 0 means no limit.
    """

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._answered: deque[float] = deque()
        self._open = 0
        self._rests_until = 0.0
        self._refusal = ""
        self._change = threading.Condition()

    def pause(self, seconds: float, refusal: str = "") -> None:
        """Send nothing for so long, whoever wants to; a longer pause that is under way stays.

        Args:
            seconds: counted from now.
            refusal: what to tell those who come before it is over; "" lets them wait.
        """
        with self._change:
            until = time.monotonic() + seconds
            if until > self._rests_until:
                self._rests_until, self._refusal = until, refusal
            self._change.notify_all()

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Wait until a request may be sent; leave when its answer begins or fails.

        Raises:
            FetchError: the host rests for longer than a run should wait.
        """
        with self._change:
            while (wait := self._seconds_to_wait()) is not None:
                self._change.wait(wait)
            self._open += 1
        try:
            yield
        finally:
            with self._change:
                self._open -= 1
                self._answered.append(time.monotonic())
                self._change.notify_all()

    def _seconds_to_wait(self) -> float | None:
        now = time.monotonic()
        if now < self._rests_until:
            if self._refusal:
                raise FetchError(self._refusal)
            return self._rests_until - now
        while self._answered and now - self._answered[0] > 1.0:
            self._answered.popleft()
        if not self.per_second or self._open + len(self._answered) < self.per_second:
            return None
        return 1.001 - (now - self._answered[0]) if self._answered else 1.0


class Client:
    """Fetches, with retries, limits per host, timeouts and an honest user agent.

    Args:
        contact: e-mail address that servers may write to when a run troubles them.
        patience: seconds for which a failing request is repeated before it is given up.
        longest_pause: upper bound in seconds of the exponential pauses between attempts.
    """

    def __init__(
        self, contact: str, *, patience: float = 900.0, longest_pause: float = 60.0
    ) -> None:
        self.retries = 0
        self.patience = patience
        self.longest_pause = longest_pause
        self._limits: dict[str, Limit] = {}
        self._lock = threading.Lock()
        self._http = httpx.Client(
            headers={"User-Agent": f"elara/{elara.__version__} (mailto:{contact})"},
            timeout=httpx.Timeout(60.0, connect=15.0),  # so long without a byte: it is dead
            follow_redirects=True,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def limit(self, url: str, per_second: int) -> None:
        """Ask at most so often of the host of a URL; the lowest limit that was named counts.

        Args:
            url: any address on that host.
            per_second: requests in any second; 0 means no limit.
        """
        host = httpx.URL(url).netloc.decode()
        known = self._limits.get(host)
        if known is None or (per_second and not 0 < known.per_second <= per_second):
            self._limits[host] = Limit(per_second)

    def pause(self, url: str, seconds: float, refusal: str = "") -> None:
        """Let the host of a URL rest, for every source that asks it.

        Args:
            url: any address on that host.
            seconds: counted from now.
            refusal: what a request in that time fails with, instead of waiting. Pauses of more
                than six hours get one in any case.
        """
        if seconds > _LONGEST_WAIT and not refusal:
            moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
            refusal = (
                f"{httpx.URL(url).host} wants no requests before {moment:%Y-%m-%d %H:%M} UTC: run "
                f"again after that; what was fetched is kept."
            )
        self._limit(url).pause(seconds, refusal)

    def _limit(self, url: str) -> Limit:
        return self._limits.setdefault(httpx.URL(url).netloc.decode(), Limit(1))

    def repeated(self) -> None:
        """Count one more request that has to be sent again."""
        with self._lock:
            self.retries += 1

    def fetch(self, request: Request) -> bytes:
        """Ask until a good answer comes.

        Args:
            request: what to ask for.

        Returns:
            The body, unpacked.

        Raises:
            FetchError: the server refuses (a status of 400 to 499 that will not pass), or its
                answers stay bad for longer than `patience`.

        Source: Retry-After, RFC 9110, section 10.2.3, https://www.rfc-editor.org/rfc/rfc9110
        """

        def attempt() -> bytes:
            with self._answer(request) as response:
                body = b"".join(_pieces(response))
                self._refuse(response, body)
            if wrong := request.check(body):
                raise _Trouble(wrong)
            return body

        def passing(error: Exception) -> bool:
            if isinstance(error, _Trouble):
                self.repeated()
            return isinstance(error, _Trouble)

        try:
            return stamina.RetryingCaller(
                attempts=None,
                timeout=self.patience,
                wait_initial=min(0.5, self.longest_pause),
                wait_max=self.longest_pause,
                wait_jitter=min(1.0, self.longest_pause),
            )(passing, attempt)
        except _Trouble as error:
            raise FetchError(
                f"{request.url} gave no usable answer within {self.patience:.0f} s (last: {error}):"
                f" check the connection and run again; what was fetched is kept."
            ) from error

    @contextlib.contextmanager
    def _answer(self, request: Request) -> Iterator[httpx.Response]:
        built = self._http.build_request(
            "POST" if request.form else "GET",
            request.url,
            params=request.query or None,
            data=request.form,
            headers=request.headers,
        )
        try:
            with self._limit(request.url).slot():
                response = self._http.send(built, stream=True)
            with contextlib.closing(response):
                yield response
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _Trouble(f"{type(error).__name__}: {error}") from error

    def _refuse(self, response: httpx.Response, body: bytes) -> None:
        """Raise unless all went well, and keep to the pause that the host asks for."""
        status = response.status_code
        if status in _TRANSIENT:
            if seconds := _retry_after(response):
                # The host that refused may be another one than was asked, after a redirection.
                for asked in {response.url, *(earlier.url for earlier in response.history)}:
                    self.pause(str(asked), seconds)
            raise _Trouble(f"status {status}")
        if status >= 300:
            url = response.url.copy_with(query=None)  # the query may hold an API key
            message = f"{url} answered with status {status}: check the address and the parameters."
            raise FetchError(message, status, body)


def _pieces(response: httpx.Response) -> Iterator[bytes]:
    started = time.monotonic()
    for piece in response.iter_bytes(1 << 20):
        yield piece
        if time.monotonic() - started > _BODY_SECONDS:
            raise _Trouble(f"the answer was not complete after {_BODY_SECONDS:.0f} s")


def _retry_after(response: httpx.Response) -> float:
    """The pause that the server asks for in seconds, given as a number or as a date; 0 for none."""
    value = response.headers.get("Retry-After", "").strip()
    seconds = 0.0
    with contextlib.suppress(ValueError, OverflowError):
        date = email.utils.parsedate_tz(value)  # `-0000` is UTC to it, as in HTTP
        seconds = email.utils.mktime_tz(date) - time.time() if date else float(value)
    return min(max(seconds, 0.0), _A_YEAR) if math.isfinite(seconds) else 0.0

"""One HTTP client for all sources: polite, patient, and sure of what it received."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
import stamina

import elara

# A retry is counted in the harvest's report; a log line for each would bury everything else.
logging.getLogger("stamina").setLevel(logging.ERROR)
# httpx logs every address, and an address may hold a key.
logging.getLogger("httpx").setLevel(logging.WARNING)

_CONNECT_SECONDS = 15.0
_SILENCE_SECONDS = 60.0  # without a byte: the connection is dead
_BODY_SECONDS = 900.0  # for a whole body: a server that trickles must not hold a run for days
_LONGEST_RETRY_AFTER = 6 * 3600.0
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


Result = TypeVar("Result")


class FetchError(RuntimeError):
    """A request cannot be fulfilled; the message names its URL (without query) and the remedy.

    Args:
        message: what to tell the user.
        status: the HTTP status of a refusal, or 0 when patience ran out.
        body: the beginning of the refusal's body.
    """

    def __init__(self, message: str, status: int = 0, body: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class _Trouble(Exception):
    """What may be gone at the next attempt."""

    def __init__(self, reason: str, delay: float | None = None) -> None:
        super().__init__(reason)
        self.delay = delay


def accept(body: bytes) -> str:
    """The check of a request whose body may be anything: nothing is wrong with it."""
    return ""


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask for, and how to tell a good answer from a bad one with status 200.

    Args:
        url: without query.
        query: parameters in the URL.
        form: parameters in the body; makes it a POST.
        check: given the body, says what is wrong with it, or "".
    """

    url: str
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] | None = None
    check: Callable[[bytes], str] = accept


class Limit:
    """At most so many requests in any second, as the server sees them.

    A slot is taken when a request is sent and freed one second after its answer began. The server
    received the request in between, so that no two clocks and no network delay can bring more
    requests into one second than there are slots. A token or leaky bucket, which lets a burst
    pass before it slows down, would not give that.

    Args:
        per_second: how many; 0 means no limit.
    """

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._answered: deque[float] = deque()
        self._open = 0
        self._change = threading.Condition()

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Wait until a request may be sent; leave when its answer begins or fails."""
        if not self.per_second:
            yield
            return
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
        while self._answered and now - self._answered[0] > 1.0:
            self._answered.popleft()
        if self._open + len(self._answered) < self.per_second:
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
        self._patience = patience
        self._longest_pause = longest_pause
        self._limits: dict[str, Limit] = {}
        self._lock = threading.Lock()
        self._http = httpx.Client(
            headers={"User-Agent": f"elara/{elara.__version__} (mailto:{contact})"},
            timeout=httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS),
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
        with self._lock:
            known = self._limits.get(host)
            if known is None or (per_second and not 0 < known.per_second <= per_second):
                self._limits[host] = Limit(per_second)

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
                _raise_for_status(response, body)
            if wrong := request.check(body):
                raise _Trouble(wrong)
            return body

        return self._persist(attempt, request.url)

    def download(self, request: Request, path: Path) -> None:
        """Fetch a large file to disk; what an earlier attempt left there is continued.

        Args:
            request: what to ask for; its `check` is not applied.
            path: where to; an incomplete file may be there.

        Raises:
            FetchError: as for `fetch`.

        Source: Range requests, RFC 9110, section 14, https://www.rfc-editor.org/rfc/rfc9110
        """

        def attempt() -> None:
            have = path.stat().st_size if path.exists() else 0
            headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
            with self._answer(request, headers if have else {"Accept-Encoding": "identity"}) as got:
                if got.status_code == 416:  # nothing is left to fetch
                    return
                if got.status_code >= 400:
                    _raise_for_status(got, got.read())
                with path.open("ab" if got.status_code == 206 else "wb") as handle:
                    for piece in _pieces(got):
                        handle.write(piece)

        self._persist(attempt, request.url)

    def _persist(self, attempt: Callable[[], Result], url: str) -> Result:
        def delay(error: Exception) -> bool | float:
            if not isinstance(error, _Trouble):
                return False
            with self._lock:
                self.retries += 1
            return True if error.delay is None else error.delay

        try:
            return stamina.RetryingCaller(
                attempts=None,
                timeout=self._patience,
                wait_initial=min(0.5, self._longest_pause),
                wait_max=self._longest_pause,
                wait_jitter=min(1.0, self._longest_pause),
            )(delay, attempt)
        except _Trouble as error:
            raise FetchError(
                f"{url} gave no usable answer within {self._patience:.0f} s (last: {error}): "
                f"check the connection and run again; what was fetched is kept."
            ) from error

    @contextlib.contextmanager
    def _answer(
        self, request: Request, headers: Mapping[str, str] | None = None
    ) -> Iterator[httpx.Response]:
        with self._lock:
            host = httpx.URL(request.url).netloc.decode()
            limit = self._limits.setdefault(host, Limit(1))
        built = self._http.build_request(
            "GET" if request.form is None else "POST",
            request.url,
            params=dict(request.query) or None,
            data=None if request.form is None else dict(request.form),
            headers=dict(headers or {}),
        )
        try:
            with limit.slot():
                response = self._http.send(built, stream=True)
            with contextlib.closing(response):
                yield response
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _Trouble(f"{type(error).__name__}: {error}") from error


def _pieces(response: httpx.Response) -> Iterator[bytes]:
    started = time.monotonic()
    for piece in response.iter_bytes(1 << 20):
        yield piece
        if time.monotonic() - started > _BODY_SECONDS:
            raise _Trouble(f"the answer was not complete after {_BODY_SECONDS:.0f} s")


def _raise_for_status(response: httpx.Response, body: bytes) -> None:
    status = response.status_code
    if status in _TRANSIENT:
        raise _Trouble(f"status {status}", _retry_after(response))
    if status >= 300:
        text = body[:500].decode("utf-8", "replace")
        url = response.url.copy_with(query=None)  # the query may hold an API key
        message = f"{url} answered with status {status}: check the address and the parameters."
        raise FetchError(message, status, text)


def _retry_after(response: httpx.Response) -> float | None:
    """The pause that the server asks for in seconds, given as a number or as a date."""
    value = response.headers.get("Retry-After", "")
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (moment - datetime.datetime.now(datetime.UTC)).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)

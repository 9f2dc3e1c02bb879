"""Which requests go wrong, and how: the same for the same seed."""

from __future__ import annotations

import datetime
import email.utils
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from elara.mirror.messages import HTML, JSON, Answer

# The last four come with status 200 and in the right form: see `elara.mirror.spoil`;
# `stale` is the answer to an earlier request.
KINDS = ("429", "500", "truncated", "slow", "html", "reset", "empty", "short", "repeated", "stale")
GONE = "gone"  # a page that does not come back, whoever asks for it
MOST = 2  # faults for the same request: who asks again gets through
# What tells one client or session from another, but not what is asked for.
_NOT_IDENTITY = ("api_key", "email", "key", "tool")
_STATUSES = (500, 502, 503)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Args:
        kind: one of `KINDS` or `GONE`, or "" where all goes well.
        variant: from 0 to 255; which of its forms the fault takes.
        share: from 0 to 1; how much of a truncated body is sent.
    """

    kind: str = ""
    variant: int = 0
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Faults:
    """How often requests go wrong.

    Args:
        seed: another seed hits other requests.
        rate: from 0 to 1, share of the requests that go wrong; at most two attempts at the same
            request do.
        kinds: which of `KINDS` occur, all equally often.
        gone: from 0 to 1, share of what can be asked for that is answered with 404 every time.
        retry_after: seconds to wait after a 429.
        slow_seconds: how much longer a slow answer takes.
    """

    seed: int = 0
    rate: float = 0.0
    kinds: tuple[str, ...] = KINDS
    retry_after: float = 0.3
    slow_seconds: float = 0.5
    gone: float = 0.0

    def __post_init__(self) -> None:
        if unknown := set(self.kinds) - set(KINDS):
            raise ValueError(f"Unknown kinds of fault {sorted(unknown)}: choose from {KINDS}.")

    def draw(self, identity: str, attempt: int) -> Fault:
        """What goes wrong with an attempt at a request, if anything.

        Args:
            identity: of `identity`.
            attempt: counted from 0.
        """
        if self._digest(GONE, identity) < self.gone:
            return Fault(GONE)
        seed = f"{self.seed}|{attempt}|{identity}".encode()
        digest = hashlib.blake2b(seed, digest_size=16).digest()
        if not self.kinds or int.from_bytes(digest[:6]) >= self.rate * 2**48:
            return Fault()
        kind = self.kinds[int.from_bytes(digest[6:8]) % len(self.kinds)]
        return Fault(kind, digest[8], 0.05 + 0.9 * digest[9] / 255)

    def _digest(self, what: str, identity: str) -> float:
        digest = hashlib.blake2b(f"{self.seed}|{what}|{identity}".encode(), digest_size=6).digest()
        return int.from_bytes(digest) / 2**48


class Attempts:
    """Counts attempts and faults per request.

    Args:
        faults: how often they occur.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._seen: dict[str, tuple[int, int]] = {}

    def next_fault(self, identity: str) -> Fault:
        """Count one more attempt, and say what goes wrong with it.

        Args:
            identity: of the request.
        """
        attempts, struck = self._seen.get(identity, (0, 0))
        fault = self._faults.draw(identity, attempts)
        if struck >= MOST and fault.kind != GONE:
            fault = Fault()
        self._seen[identity] = attempts + 1, struck + bool(fault.kind)
        return fault


def identity(service: str, path: str, parameters: Mapping[str, str]) -> str:
    """What makes two requests attempts at the same thing.

    Args:
        service: first part of the path.
        path: the rest of the path.
        parameters: of the query string or form.
    """
    asked = sorted((k, v) for k, v in parameters.items() if k not in _NOT_IDENTITY)
    return f"{service}/{path}?{asked}"


def refusal(service: str, retry_after: float, variant: int) -> Answer:
    """The answer to a client that asks too often, as the service writes it.

    Args:
        service: first part of the path.
        retry_after: seconds to wait.
        variant: odd ones name the moment instead of the seconds, where a header says it.

    Source: Retry-After, RFC 9110, section 10.2.3, https://www.rfc-editor.org/rfc/rfc9110
    """
    if service == "stackexchange":
        seconds = math.ceil(retry_after)
        return throttled(f"too many requests from this IP, more requests available in {seconds} "
                         "seconds")  # fmt: skip
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=retry_after)
    # An HTTP date has whole seconds: round up, so that it is never too early.
    date = email.utils.format_datetime(
        moment.replace(microsecond=0) + datetime.timedelta(seconds=1), usegmt=True
    )
    content = {"error": "API rate limit exceeded", "api-key": "127.0.0.1", "count": "4",
               "limit": "3"}  # fmt: skip
    answer = Answer(json.dumps(content).encode(), JSON, 429)
    answer.headers["Retry-After"] = date if variant % 2 else f"{retry_after:g}"
    return answer


def throttled(message: str) -> Answer:
    """The Stack Exchange API's answer to a client that asks too often.

    Args:
        message: says how long to wait.

    Source: https://api.stackexchange.com/docs/throttle
    """
    content = {"error_id": 502, "error_message": message, "error_name": "throttle_violation"}
    return Answer(json.dumps(content).encode(), JSON, 400)


def breakdown(variant: int) -> Answer:
    """The answer of a server that does not work.

    Args:
        variant: chooses the status.
    """
    status = _STATUSES[variant % len(_STATUSES)]
    page = f"<html><head><title>Error {status}</title></head><body>Try again later.</body></html>"
    return Answer(page.encode(), HTML, status)


def wrong_page(expected: str, variant: int) -> Answer:
    """A web page with status 200 where data was asked for.

    Args:
        expected: content type of the data; odd variants claim it for the page as well.
        variant: chooses the form.
    """
    page = (
        b"<!DOCTYPE html>\n<html><head><title>Service temporarily unavailable</title></head>"
        b"<body><h1>We are sorry</h1><p>The service is being maintained.</p></body></html>"
    )
    return Answer(page, expected if variant % 2 else HTML)

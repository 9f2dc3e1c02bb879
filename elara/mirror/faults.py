"""Decide which requests go wrong, and how: the same for the same seed."""

from __future__ import annotations

import email.utils
import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from elara.mirror.messages import HTML, Answer, json_answer
from elara.mirror.stackexchange import refused

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
        digest = hashlib.blake2b(f"{self.seed}|{GONE}|{identity}".encode(), digest_size=6).digest()
        if int.from_bytes(digest) < self.gone * 2**48:
            return Fault(GONE)
        seed = f"{self.seed}|{attempt}|{identity}".encode()
        digest = hashlib.blake2b(seed, digest_size=16).digest()
        if not self.kinds or int.from_bytes(digest[:6]) >= self.rate * 2**48:
            return Fault()
        kind = self.kinds[int.from_bytes(digest[6:8]) % len(self.kinds)]
        return Fault(kind, digest[8], 0.05 + 0.9 * digest[9] / 255)


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

    Source: Retry-After, RFC 9110, section 10.2.3, https://www.rfc-editor.org/rfc/rfc9110, and
        https://api.stackexchange.com/docs/throttle
    """
    if service == "stackexchange":
        wait = f"more requests available in {math.ceil(retry_after)} seconds"
        return refused(502, "throttle_violation", f"too many requests from this IP, {wait}")
    # An HTTP date has whole seconds: round up, so that it is never too early.
    date = email.utils.formatdate(math.ceil(time.time() + retry_after), usegmt=True)
    answer = json_answer({"error": "API rate limit exceeded", "count": "4", "limit": "3"}, 429)
    answer.headers["Retry-After"] = date if variant % 2 else f"{retry_after:g}"
    return answer


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

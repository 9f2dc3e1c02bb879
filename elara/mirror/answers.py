"""Define what the services of the mirror return, and decide what goes wrong with it and when."""

from __future__ import annotations

import email.utils
import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

XML = "text/xml; charset=UTF-8"
JSON = "application/json; charset=UTF-8"
HTML = "text/html; charset=UTF-8"
TEXT = "text/plain; charset=UTF-8"
GZIP = "application/x-gzip"  # a file as it is; other answers are packed on the way

Asked = Mapping[str, str]  # the parameters of the query string and of a posted form

# The last four come with status 200 and in the right form: see `spoil`; `stale` is the answer to
# an earlier request.
KINDS = ("429", "500", "truncated", "slow", "html", "reset", "empty", "short", "repeated", "stale")
GONE = "gone"  # a page that does not come back, whoever asks for it
# What an answer counts, by a sign that tells the answer.
_COUNTED = {
    b"<eSearchResult": re.compile(rb"<Id>\d+</Id>\n?"),
    b"<PubmedArticleSet": re.compile(
        rb"<PubmedArticle>.*?</PubmedArticle>|<PubmedBookArticle>.*?</PubmedBookArticle>", re.DOTALL
    ),
    b"<pmc-articleset": re.compile(rb"<article\b.*?</article>", re.DOTALL),
    b"<health-topics": re.compile(rb"<health-topic\b.*?</health-topic>", re.DOTALL),
}
_KEPT: dict[str, Callable[[Sequence[Any]], list[Any]]] = {
    "empty": lambda records: [],
    "short": lambda records: list(records[: len(records) // 2]),
    "repeated": lambda records: ([*records[: (len(records) + 1) // 2]] * 2)[: len(records)],
}


@dataclass(slots=True)
class Answer:
    """What a service returns.

    Args:
        body: the content, not packed.
        content_type: for the header of that name.
        status: HTTP status.
        headers: further headers.
    """

    body: bytes
    content_type: str = HTML
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def number(asked: Asked, name: str, default: int) -> int:
    """A parameter as a whole number from 0, or the default where it is not one."""
    text = asked.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else default


def json_answer(content: Any, status: int = 200) -> Answer:
    """An answer in JSON."""
    return Answer(json.dumps(content, ensure_ascii=False).encode(), JSON, status)


def page(title: str, body: str, status: int = 200) -> Answer:
    """A web page, given its title and the content of its body."""
    head = f'<!DOCTYPE html>\n<html lang="en"><head><title>{title}</title></head>\n'
    return Answer(f"{head}<body>{body}</body></html>\n".encode(), HTML, status)


def not_found(path: str) -> Answer:
    """The answer for a path that the service does not have."""
    return page("404 Not Found", path, 404)


def listing(title: str, links: Iterable[str]) -> Answer:
    """A page of links, given its heading and their addresses."""
    lines = "\n".join(f'<li><a href="{href}">{href}</a></li>' for href in links)
    return page(title, f"<h1>{title}</h1>\n<ul>\n{lines}\n</ul>\n")


def refused(status: int, name: str, message: str) -> Answer:
    """The API's answer to a request that it does not fulfil, with its number and name for why.

    Source: https://api.stackexchange.com/docs/error-handling
    """
    content = {"error_id": status, "error_message": message, "error_name": name}
    return json_answer(content, 400)


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

    def draw(self, identity: str, attempt: int) -> tuple[str, int]:
        """What goes wrong with an attempt at a request.

        Args:
            identity: what makes two requests attempts at the same thing.
            attempt: counted from 0.

        Returns:
            One of `KINDS`, `GONE` or "", and a number from 0 to 255 for the form of the fault.
        """
        digest = hashlib.blake2b(f"{self.seed}|{GONE}|{identity}".encode(), digest_size=6).digest()
        if int.from_bytes(digest) < self.gone * 2**48:
            return GONE, 0
        seed = f"{self.seed}|{attempt}|{identity}".encode()
        digest = hashlib.blake2b(seed, digest_size=16).digest()
        if not self.kinds or int.from_bytes(digest[:6]) >= self.rate * 2**48:
            return "", 0
        return self.kinds[int.from_bytes(digest[6:8]) % len(self.kinds)], digest[8]


def refusal(service: str, retry_after: float, form: int) -> Answer:
    """The answer to a client that asks too often, as the service writes it.

    Args:
        service: first part of the path.
        retry_after: seconds to wait.
        form: an odd one names the moment instead of the seconds, where a header says it.

    Source: Retry-After, RFC 9110, section 10.2.3, https://www.rfc-editor.org/rfc/rfc9110, and
        https://api.stackexchange.com/docs/throttle
    """
    if service == "stackexchange":
        wait = f"more requests available in {math.ceil(retry_after)} seconds"
        return refused(502, "throttle_violation", f"too many requests from this IP, {wait}")
    # An HTTP date has whole seconds: round up, so that it is never too early.
    date = email.utils.formatdate(math.ceil(time.time() + retry_after), usegmt=True)
    answer = json_answer({"error": "API rate limit exceeded", "count": "4", "limit": "3"}, 429)
    answer.headers["Retry-After"] = date if form % 2 else f"{retry_after:g}"
    return answer


def wrong_page(expected: str, form: int) -> Answer:
    """A web page with status 200 instead of data, whose content type odd forms claim."""
    answer = page("Service temporarily unavailable", "The service is being maintained.")
    answer.content_type = expected if form % 2 else answer.content_type
    return answer


def spoil(kind: str, body: bytes) -> bytes | None:
    """Leave records out of an answer, so that it still looks whole: form and counts stay right.

    Args:
        kind: `empty`, `short` (the first half of the records) or `repeated` (that half twice).
        body: the whole answer.

    Returns:
        The spoilt answer; None where nothing could tell it from a whole one, such as a list of
        files, which says nowhere how many there are.
    """
    if body.startswith(b"{"):
        content = json.loads(body)
        records = content.get("items") or content.get("resultList", {}).get("result") or []
        whole = list(records)
        records[:] = _KEPT[kind](whole)
        return None if all(record in records for record in whole) else json.dumps(content).encode()
    counted = next((part for sign, part in _COUNTED.items() if sign in body[:2000]), None)
    if counted and (found := list(counted.finditer(body))):
        kept = _KEPT[kind](whole := [match[0] for match in found])
        changed = b"".join([body[: found[0].start()], *kept, body[found[-1].end() :]])
        return changed if set(kept) < set(whole) else None
    if kind != "empty":
        return None
    return page("", "").body if b"</html>" in body[-4096:].lower() else b""

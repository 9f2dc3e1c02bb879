"""Define what the services of the mirror return, and what its log holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

XML = "text/xml; charset=UTF-8"
JSON = "application/json; charset=UTF-8"
HTML = "text/html; charset=UTF-8"
TEXT = "text/plain; charset=UTF-8"

Asked = Mapping[str, str]  # the parameters of the query string and of a posted form


@dataclass(frozen=True, slots=True)
class Request:
    """One line of the mirror's log.

    Args:
        time: seconds of the system's monotonic clock when the request line arrived.
        service: first part of the path, for example `eutils`.
        path: the rest of the path.
        parameters: of the query string and of a posted form.
        status: HTTP status of the answer; 0 where the connection was reset before one.
        fault: the kind of fault that was injected, or "".
    """

    time: float
    service: str
    path: str
    parameters: dict[str, str]
    status: int
    fault: str


@dataclass(slots=True)
class Answer:
    """What a service returns.

    Args:
        body: the content, not packed.
        content_type: for the header of that name.
        status: HTTP status.
        stored: whether it is a file that stays the same, so that parts of it can be asked for.
        headers: further headers.
    """

    body: bytes
    content_type: str = HTML
    status: int = 200
    stored: bool = False
    headers: dict[str, str] = field(default_factory=dict)


def number(asked: Asked, name: str, default: int) -> int:
    """A parameter as a whole number from 0, or the default where it is not one."""
    text = asked.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else default


def json_answer(content: Any, status: int = 200) -> Answer:
    """An answer in JSON.

    Args:
        content: what is to be written.
        status: HTTP status.
    """
    return Answer(json.dumps(content, ensure_ascii=False).encode(), JSON, status)


def not_found(path: str) -> Answer:
    """The answer for a path that the service does not have."""
    page = f"<html><head><title>404 Not Found</title></head><body>{path}</body></html>"
    return Answer(page.encode(), HTML, 404)


def listing(title: str, links: list[str]) -> Answer:
    """A page of links.

    Args:
        title: its heading.
        links: their addresses.
    """
    lines = "\n".join(f'<li><a href="{href}">{href}</a></li>' for href in links)
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><title>{title}</title></head>\n'
        f"<body><h1>{title}</h1>\n<ul>\n{lines}\n</ul>\n</body></html>\n"
    )
    return Answer(page.encode(), HTML, stored=True)

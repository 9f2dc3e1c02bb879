"""Define what the services of the mirror return."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

XML = "text/xml; charset=UTF-8"
JSON = "application/json; charset=UTF-8"
HTML = "text/html; charset=UTF-8"
TEXT = "text/plain; charset=UTF-8"
GZIP = "application/x-gzip"  # a file as it is; other answers are packed on the way

Asked = Mapping[str, str]  # the parameters of the query string and of a posted form


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

"""Leave records out of an answer, so that it still looks whole: form and counts stay right."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

# What an answer counts, by a sign that tells the answer.
_COUNTED = {
    b"<eSearchResult": re.compile(rb"<Id>\d+</Id>\n?"),
    b"<PubmedArticleSet": re.compile(
        rb"<PubmedArticle>.*?</PubmedArticle>|<PubmedBookArticle>.*?</PubmedBookArticle>", re.DOTALL
    ),
    b"<pmc-articleset": re.compile(rb"<article\b.*?</article>", re.DOTALL),
    b"<health-topics": re.compile(rb"<health-topic\b.*?</health-topic>", re.DOTALL),
}
# Where an answer in JSON keeps its records.
_LISTS = (("items",), ("resultList", "result"))
_NO_PAGE = b"<!DOCTYPE html>\n<html><head><title></title></head><body></body></html>"
_CHOICES: dict[str, Callable[[Sequence[Any]], list[Any]]] = {
    "empty": lambda records: [],
    "short": lambda records: list(records[: len(records) // 2]),
    "repeated": lambda records: [*records[: (len(records) + 1) // 2]] * 2,
}


def spoil(kind: str, body: bytes) -> bytes | None:
    """An answer without some of its records.

    Args:
        kind: `empty`, `short` (the first half of the records) or `repeated` (that half twice).
        body: the whole answer.

    Returns:
        The spoilt answer; None where nothing could tell it from a whole one, such as a list of
        files, which says nowhere how many there are.
    """
    choose = _CHOICES[kind]
    if body.lstrip()[:1] == b"{":
        return _spoil_json(body, choose)
    counted = next((part for sign, part in _COUNTED.items() if sign in body[:2000]), None)
    found = list(counted.finditer(body)) if counted else []
    if found:
        records = [match[0] for match in found]
        kept = choose(records)[: len(records)]
        changed = b"".join([body[: found[0].start()], *kept, body[found[-1].end() :]])
        return changed if set(kept) < set(records) else None
    if kind != "empty":
        return None
    return _NO_PAGE if b"</html>" in body[-4096:].lower() else b""


def _spoil_json(body: bytes, choose: Callable[[Sequence[Any]], list[Any]]) -> bytes | None:
    content = json.loads(body)
    for *way, name in _LISTS:
        place = content
        for part in way:
            place = place.get(part, {})
        if records := place.get(name):
            place[name] = choose(records)[: len(records)]
            missing = any(record not in place[name] for record in records)
            return json.dumps(content).encode() if missing else None
    return None

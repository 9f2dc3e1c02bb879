"""Answer as the Stack Exchange API does: the questions in a folder's API files, with answers."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

from elara.collect.payload import PayloadError, open_chunks
from elara.mirror.answers import Answer, Asked, json_answer, not_found, number
from elara.mirror.records import recognised

Item = dict[str, Any]

_QUOTA = 10_000  # requests a day, with a key
_LARGEST_PAGE = 100


class StackExchange:
    """Answers requests below `/stackexchange/`: every site has all questions of the folder.

    Args:
        folder: where answers of the API are, at any depth.

    Source: https://api.stackexchange.com/docs
    """

    def __init__(self, folder: Path) -> None:
        found: dict[int, Item] = {}
        for path in recognised(folder, "api"):
            with contextlib.suppress(PayloadError, ValueError):  # not as the API could have sent it
                for item in json.loads(b"".join(open_chunks(path)))["items"]:
                    if {"question_id", "creation_date"} <= item.keys() and "answer_id" not in item:
                        found.setdefault(item["question_id"], item)
        self._questions = sorted(
            found.values(), key=lambda q: (q["creation_date"], q["question_id"])
        )
        self._used = itertools.count(1)

    def __call__(self, path: str, asked: Asked) -> Answer:
        left = max(1, _QUOTA - next(self._used))
        method = path.partition("/")[2]
        if method == "filters/create":
            name = hashlib.sha256(asked.get("include", "").encode()).hexdigest()[:16]
            content: Item = {"items": [{"filter": f"!{name}"}], "has_more": False}
        elif method == "questions":
            size, page = number(asked, "pagesize", 30), number(asked, "page", 1)
            if not asked.get("site") or not 1 <= size <= _LARGEST_PAGE or not page:
                return refused(400, "bad_parameter", "site, pagesize or page")
            chosen = self._chosen(asked)
            more = page * size < len(chosen)
            shown = chosen[(page - 1) * size : page * size]
            content = {"items": shown, "has_more": more, "total": len(chosen)}
        else:
            return not_found(path)
        return json_answer({**content, "quota_max": _QUOTA, "quota_remaining": left})

    def _chosen(self, asked: Asked) -> list[Item]:
        """Questions by their days; bodies and answers only come with a filter of one's own."""
        earliest, latest = number(asked, "fromdate", 0), number(asked, "todate", 1 << 40)
        left_out = set() if asked.get("filter", "").startswith("!") else {"answers", "body"}
        found = [
            {key: value for key, value in question.items() if key not in left_out}
            for question in self._questions
            if earliest <= question["creation_date"] <= latest
        ]
        return found if asked.get("order") == "asc" else found[::-1]


def refused(status: int, name: str, message: str) -> Answer:
    """The API's answer to a request that it does not fulfil, with its number and name for why.

    Source: https://api.stackexchange.com/docs/error-handling
    """
    content = {"error_id": status, "error_message": message, "error_name": name}
    return json_answer(content, 400)

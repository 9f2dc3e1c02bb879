"""The Stack Exchange API: questions and answers of the folder's dumps and API files."""

from __future__ import annotations

import datetime
import hashlib
import html
import json
import re
import threading
from pathlib import Path
from typing import Any

from lxml import etree

from elara.collect.payload import PayloadError, open_chunks
from elara.collect.recognise import recognise
from elara.collect.xmlrecords import read_record, split_records
from elara.mirror.faults import throttled
from elara.mirror.messages import Answer, Call, json_answer
from elara.mirror.packing import gzip_bytes

Item = dict[str, Any]

_QUOTA, _QUOTA_WITH_KEY = 300, 10_000
_LARGEST_PAGE = 100
_LAST_PAGE = 25  # without a key
_BACKOFF = 1  # seconds
_HOST = re.compile(r"https?://([^/?#]+)")
_QUESTIONS = re.compile(r"2\.\d/questions(?:/([\d;]+))?(/answers)?")
_SORTS = {"activity": "last_activity_date", "creation": "creation_date", "votes": "score"}


class StackExchange:
    """Answers requests below `/stackexchange/`.

    A site that the folder has no posts of stands for all that it has.

    Args:
        folder: where Posts.xml files (in folders named after their sites) and API answers are.
        backoff_every: each so many-th answer asks the client to pause; 0 for none.

    Source: https://api.stackexchange.com/docs
    """

    def __init__(self, folder: Path, backoff_every: int) -> None:
        self._questions, self._answers = _posts(folder)
        self._sites = {_site(q) for q in self._questions.values()}
        self._backoff_every = backoff_every
        self._used: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> Answer:
        """Answer one request; the API packs every answer, asked to or not.

        Args:
            call: the request.
        """
        answer = self._answer(call)
        answer.body = gzip_bytes(answer.body)
        answer.encoding = "gzip"
        return answer

    def _answer(self, call: Call) -> Answer:
        asked = call.parameters
        if call.path.endswith("/filters/create"):
            used, quota = self._count(asked.get("key", ""))
            made = {
                "filter": f"!{hashlib.sha256(asked.get('include', '').encode()).hexdigest()[:16]}"
            }
            return json_answer({"items": [made | {"filter_type": "safe"}], "has_more": False,
                                "quota_max": quota, "quota_remaining": quota - used})  # fmt: skip
        found = _QUESTIONS.fullmatch(call.path.strip("/"))
        if not found:
            return _error(404, "no_method", "no method found with this name")
        if not (site := asked.get("site", "").removesuffix(".stackexchange.com")):
            return _error(400, "bad_parameter", "site is required")
        size, page = call.number("pagesize", 30), call.number("page", 1)
        if not 1 <= size <= _LARGEST_PAGE:
            return _error(400, "bad_parameter", "pagesize")
        if page < 1 or asked.get("sort", "activity") not in _SORTS:
            return _error(400, "bad_parameter", "page" if page < 1 else "sort")
        if page > _LAST_PAGE and "key" not in asked:
            message = "page above 25 requires access token or app key"
            return _error(403, "access_denied", message)
        used, quota = self._count(asked.get("key", ""))
        if used > quota:
            return throttled("too many requests from this IP, more requests available in 60 "
                             "seconds")  # fmt: skip
        items = self._chosen(site, found[1], bool(found[2]), call)
        shown = items[(page - 1) * size : page * size]
        content: Item = {
            "items": [_filtered(item, asked.get("filter", "default")) for item in shown],
            "has_more": page * size < len(items),
            "total": len(items),
            "quota_max": quota,
            "quota_remaining": quota - used,
        }
        if self._backoff_every and used % self._backoff_every == 0:
            content["backoff"] = _BACKOFF
        return json_answer(content)

    def _count(self, key: str) -> tuple[int, int]:
        with self._lock:
            self._used[key] = self._used.get(key, 0) + 1
            return self._used[key], _QUOTA_WITH_KEY if key else _QUOTA

    def _chosen(self, site: str, ids: str | None, answers: bool, call: Call) -> list[Item]:
        asked = call.parameters
        known = site in self._sites
        questions = [q for q in self._questions.values() if not known or _site(q) == site]
        if ids is not None:
            named = {int(i) for i in ids.split(";")[:100] if i}
            questions = [q for q in questions if q["question_id"] in named]
        items = questions
        if answers:
            items = [a for q in questions for a in self._answers.get(_key(q), [])]
        else:
            items = [{**q, "answers": self._answers.get(_key(q), [])} for q in questions]
        earliest, latest = call.number("fromdate", 0), call.number("todate", 1 << 40)
        tags = {tag for tag in asked.get("tagged", "").split(";") if tag}
        items = [
            i
            for i in items
            if earliest <= i["creation_date"] <= latest and tags <= set(i.get("tags", tags))
        ]
        sort = _SORTS[asked.get("sort", "activity")]
        items.sort(key=lambda i: (i[sort], i.get("answer_id", i["question_id"])))
        return items if asked.get("order") == "asc" else items[::-1]


def _key(question: Item) -> tuple[str, int]:
    return _site(question), question["question_id"]


def _site(item: Item) -> str:
    host = _HOST.match(str(item.get("link", "")))
    return host[1].removesuffix(".stackexchange.com").removesuffix(".com") if host else ""


def _filtered(item: Item, name: str) -> Item:
    """Bodies come with `withbody` or a filter of the client's own, answers with the latter."""
    left_out = {"answers"} if name == "withbody" else {"answers", "body"}
    return item if name.startswith("!") else {k: v for k, v in item.items() if k not in left_out}


def _error(number: int, name: str, message: str) -> Answer:
    content = {"error_id": number, "error_message": message, "error_name": name}
    return json_answer(content, 400)


def _posts(folder: Path) -> tuple[dict[tuple[str, int], Item], dict[tuple[str, int], list[Item]]]:
    """Questions, and answers of each, by site and question."""
    questions: dict[tuple[str, int], Item] = {}
    answers: dict[tuple[str, int], list[Item]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        for item in _items(path):
            if not {"question_id", "creation_date", "last_activity_date"} <= item.keys():
                continue
            replies = item.pop("answers", []) if "answer_id" not in item else [item]
            if "answer_id" not in item:
                questions.setdefault(_key(item), item)
            for reply in replies:
                reply = {"link": item.get("link", ""), **reply}
                known = answers.setdefault(_key(reply), [])
                if all(reply["answer_id"] != other["answer_id"] for other in known):
                    known.append(reply)
    return questions, answers


def _items(path: Path) -> list[Item]:
    try:
        kind, _ = recognise(next(open_chunks(path), b"")[:65_536])
        if kind == "api":
            return list(json.loads(b"".join(open_chunks(path)))["items"])
        if kind == "posts":
            rows = map(read_record, split_records(open_chunks(path), ("row",)))
            found = (_item({str(k): str(v) for k, v in r.attrib.items()}, path) for r in rows)
            return [item for item in found if item]
    except (PayloadError, ValueError, etree.XMLSyntaxError):
        return []  # not a file that the API could have sent
    return []


def _item(row: dict[str, str], path: Path) -> Item:
    """A row of a dump as the API shows it; tag wikis and the like give nothing."""
    host = path.parent.name if "." in path.parent.name else "example.stackexchange.com"
    number = int(row.get("Id", 0))
    kind = row.get("PostTypeId")
    item: Item = {
        "owner": _owner(row, host),
        "score": int(row.get("Score", 0)),
        "creation_date": _seconds(row.get("CreationDate", "")),
        "last_activity_date": _seconds(row.get("LastActivityDate") or row.get("CreationDate", "")),
        "content_license": row.get("ContentLicense", "CC BY-SA 4.0"),
        "body": row.get("Body", ""),
    }
    if kind == "1":
        title = html.escape(row.get("Title", "")).replace("&#x27;", "&#39;")
        item["question_id"] = number
        item["tags"] = [tag for tag in re.split(r"[<>|]+", row.get("Tags", "")) if tag]
        item |= {"is_answered": row.get("AnswerCount", "0") != "0", "title": title}
        item |= {"view_count": int(row.get("ViewCount", 0))}
        item |= {"answer_count": int(row.get("AnswerCount", 0))}
        if accepted := row.get("AcceptedAnswerId"):
            item["accepted_answer_id"] = int(accepted)
    elif kind == "2" and row.get("ParentId"):
        item |= {"question_id": int(row["ParentId"]), "answer_id": number, "is_accepted": False}
    else:
        return {}
    item["link"] = f"https://{host}/questions/{item['question_id']}"
    return item


def _owner(row: dict[str, str], host: str) -> Item:
    if user := row.get("OwnerUserId"):
        name, link = f"user{user}", f"https://{host}/users/{user}"
        return {"user_id": int(user), "user_type": "registered", "display_name": name,
                "link": link}  # fmt: skip
    return {"user_type": "does_not_exist", "display_name": row.get("OwnerDisplayName", "anonymous")}


def _seconds(moment: str) -> int:
    """Seconds since 1970 of a dump's date, which is in UTC."""
    parsed = datetime.datetime.fromisoformat(moment or "1970-01-01")
    return int(parsed.replace(tzinfo=datetime.UTC).timestamp())

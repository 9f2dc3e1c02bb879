"""Collect a site's questions with their answers from the Stack Exchange API, oldest first.

Questions come in the order in which they were asked, up to a fixed moment, and each page begins at
the last question of the page before it. So neither new questions nor deleted ones shift what a
page holds, and no page lies so deep that the API asks for a key. Each page says whether there are
more, and the last one how many there should be: what contradicts this is asked for again, and so,
once, is a last page that is full where the API does not say how many there should be.

Source: https://api.stackexchange.com/docs
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any

from elara.collect.live.client import FetchError, Request, are_objects, read_object
from elara.collect.live.harvest import Fetch, Source

MEDICAL_SCIENCES = "medicalsciences"  # the site, as the API calls it
BASE_URL = "https://api.stackexchange.com/2.3"
_PAGE = 100  # questions per request, the most that the API gives
# Added to the default fields, so that one request gives questions with their answers.
_FIELDS = "question.body;question.answers;answer.body;.total"
_LONGEST_WAIT = 900.0  # seconds; who is refused for longer goes on another day
_ATTEMPTS = 5  # at a request that is refused for a short time
_SHORT_REFUSAL = 30.0  # seconds to wait where a refusal does not say how long it lasts
_TRANSIENT = ("throttle_violation", "temporarily_unavailable", "internal_error")
_SECONDS = re.compile(r"available in (\d+) second")


@dataclass(frozen=True, slots=True)
class StackExchange(Source):
    """One site behind the Stack Exchange API, which cuts off who sends more than 30 a second.

    A later `until` (UTC) adds no later answers to earlier questions, and no further page is fetched
    after `most` questions.

    Args:
        site: the API's name for the site, e.g. `medicalsciences`.
        api_key: raises the quota from 300 to 10,000 requests a day.
    """

    site: str = MEDICAL_SCIENCES
    _: KW_ONLY
    base_url: str = BASE_URL
    api_key: str = field(default="", repr=False)
    per_second: int = 5

    def run(self, fetch: Fetch) -> None:
        """Fetch page after page until the site has no more.

        Where the API refuses for longer than a run should wait, e.g. since the quota of the day
        is used up, the failure says when to go on.
        """
        until = datetime.datetime.fromisoformat(f"{self.until}T23:59:59+00:00")
        query = {
            "site": self.site,
            "sort": "creation",
            "order": "asc",
            "todate": f"{until.timestamp():.0f}",
            "pagesize": str(_PAGE),
            "filter": self._filter(fetch),
        }
        seen: set[str] = set()
        start, page, more = 0, 1, True
        while more and not 0 < self.most <= len(seen):
            place = {"fromdate": str(start), "page": str(page)}
            try:
                found = self._page(fetch, query | place, seen)
                more = bool(found.get("has_more"))
            except FetchError as error:
                day = datetime.datetime.fromtimestamp(start, datetime.UTC)
                fetch.fail(f"questions since {day:%Y-%m-%d}", error)
                found = _kept(error)
                new = set(_questions(found["items"])) - seen
                more = bool(new and found.get("has_more") and not _misplaced(found["items"], start))
            seen.update(_questions(found["items"]))
            newest = _newest(found["items"], start)
            # Where all questions of a page are of one second, the rest of that second follows.
            start, page = (newest, 1) if newest > start else (start, page + 1)
        unknown = max(1, int(found.get("total") or 0) - len(found["items"]))
        fetch.account("questions", len(seen) + unknown * bool(fetch.failures), len(seen))

    def _page(self, fetch: Fetch, query: dict[str, str], seen: set[str]) -> dict[str, Any]:
        """One page. The last one of a run up to an earlier day may have been filled up since."""
        start, page = int(query["fromdate"]), int(query["page"])

        def new(body: bytes) -> list[str]:
            # The first question of a page is mostly the last one of the page before.
            known = fetch.store.ids()
            return [i for i in _questions(read_object(body)["items"]) if i not in known]

        begin = f"questions/{self.site}/{query['fromdate']}/{query['page']}/"
        here = [step for step in fetch.store.steps if step.startswith(begin)]
        going_on = (s for s in here if read_object(fetch.store.read(s)).get("has_more"))
        step = next(going_on, begin + self.until)
        lacks = partial(_lacks, start=start, page=page, seen=seen)
        odd = partial(_odd, seen=seen)
        return self._get(fetch, step, "questions", query, ids=new, lacks=lacks, odd=odd)

    def _filter(self, fetch: Fetch) -> str:
        """The name of a filter with bodies and answers. It never expires, so one is enough.

        Source: https://api.stackexchange.com/docs/create-filter
        """
        query = {"include": _FIELDS, "unsafe": "false"}
        found = self._get(fetch, f"filter/{_FIELDS}", "filters/create", query, lacks=_no_filter)
        return str(found["items"][0]["filter"])

    def _get(
        self, fetch: Fetch, step: str, method: str, query: Mapping[str, str], **checks: Any
    ) -> dict[str, Any]:
        """The answer to a step; the network is used no sooner than the API allows."""
        key = {"key": self.api_key} if self.api_key else {}
        check = partial(self._check, fetch)
        request = Request(f"{self.base_url}/{method}", {**query, **key}, check=check)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                body = fetch.get(step, request, suffix="json", **checks)
                break
            except FetchError as error:
                self._refused(fetch, method, error, last_try=attempt == _ATTEMPTS)
        fetch.expect(step, len(fetch.store.steps[step].ids))
        return read_object(body)

    def _check(self, fetch: Fetch, body: bytes) -> str:
        """What is wrong with a new answer of status 200; what it asks for is kept to.

        Source: https://api.stackexchange.com/docs/throttle
        """
        found = read_object(body)
        if not are_objects(found.get("items")):
            return f"an answer without items: {body[:60]!r}"
        if backoff := float(found.get("backoff") or 0):
            fetch.client.pause(self.base_url, backoff)
        if found.get("quota_remaining") == 0:
            now = datetime.datetime.now(datetime.UTC)
            midnight = now.replace(hour=0, minute=0, second=0) + datetime.timedelta(days=1)
            reason = f"all {found.get('quota_max', '')} requests of the day are used"
            self._close(fetch, (midnight - now).total_seconds(), reason)
        return ""

    def _refused(self, fetch: Fetch, method: str, error: FetchError, last_try: bool) -> None:
        """Wait where a refusal will pass, and say what is wrong where it will not."""
        refusal = read_object(error.body)
        name, message = refusal.get("error_name", ""), f"{refusal.get('error_message', '')}"
        if not name:
            raise error
        if name not in _TRANSIENT:
            raise FetchError(
                f"the API refuses `{method}` for the site {self.site!r} "
                f"({name}: {message}): check the name of the site and the key.",
                error.status,
                error.body,
            ) from error
        stated = _SECONDS.search(message)
        seconds = float(stated[1]) if stated else _SHORT_REFUSAL
        if seconds > _LONGEST_WAIT or last_try:
            raise FetchError(self._close(fetch, seconds, message)) from error
        fetch.client.pause(self.base_url, seconds)

    def _close(self, fetch: Fetch, seconds: float, reason: str) -> str:
        """Ask nothing more for so long; what a request in that time fails with."""
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
        remedy = "" if self.api_key else ", or give an API key, which allows 10,000 requests a day"
        moment = f"{until:%Y-%m-%d %H:%M} UTC"
        refusal = f"{reason}. Run again after {moment}{remedy}; what was fetched is kept."
        fetch.client.pause(self.base_url, seconds, refusal)
        return refusal


def _questions(items: Iterable[Mapping[str, Any]]) -> list[str]:
    return [str(item["question_id"]) for item in items if "question_id" in item]


def _kept(error: FetchError) -> dict[str, Any]:
    """What of a page can be used although it lacks something."""
    found = read_object(error.body)
    items = found.get("items", [])
    whole = [i for i in items if isinstance(i.get("creation_date"), int) and "question_id" in i]
    return found | {"items": whole}


def _newest(items: Iterable[Mapping[str, Any]], start: int = 0) -> int:
    return max((int(item["creation_date"]) for item in items), default=start)


def _misplaced(items: Iterable[Mapping[str, Any]], start: int) -> bool:
    """Whether questions are older than was asked for, or not in their order."""
    moments = [start, *(int(item["creation_date"]) for item in items)]
    return moments != sorted(moments)


def _lacks(body: bytes, start: int, page: int, seen: set[str]) -> str:
    """What a page lacks, given where it begins and the questions of the pages before it."""
    found = read_object(body)
    items = found["items"]
    if not all(isinstance(i.get("creation_date"), int) and "question_id" in i for i in items):
        return "a page holds something else than questions"
    if _misplaced(items, start):
        return "a page holds questions of another one"
    if found.get("has_more") and len(set(_questions(items))) < _PAGE:
        return f"a page holds {len(items)} questions and says that there are more"
    # The page before has said that there are more, which only a second that fills it may put off.
    filled = found.get("has_more") and page == 1 and items[0]["creation_date"] == _newest(items)
    if seen and not filled and not set(_questions(items)) - seen:
        return "a page brings no new question, though there are more"
    total, here = found.get("total"), (page - 1) * _PAGE + len(set(_questions(items)))
    if not found.get("has_more") and isinstance(total, int) and here < total:
        return f"the last page ends with question {here} of {total}"
    return ""


def _odd(body: bytes, seen: set[str]) -> str:
    """What a last page may lack, although nothing in it contradicts that it is the last."""
    found = read_object(body)
    if not found["items"] and not seen:
        return "a site without any question"
    ended = not found.get("has_more") and not isinstance(found.get("total"), int)
    full = len(set(_questions(found["items"]))) >= _PAGE
    return "a full page says that it is the last, and not how many there are" * (ended and full)


def _no_filter(body: bytes) -> str:
    items = read_object(body)["items"]
    return "" if items and items[0].get("filter") else "no filter"

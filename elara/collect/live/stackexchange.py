"""The Stack Exchange API: a site's questions with their answers, oldest first.

Questions come in the order in which they were asked, up to a fixed moment, and each page begins at
the last question of the page before it. So neither new questions nor deleted ones shift what a
page holds, and no page lies so deep that the API asks for a key.

Source: https://api.stackexchange.com/docs
"""

from __future__ import annotations

import datetime
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from elara.collect.live.client import FetchError, Request
from elara.collect.live.harvest import Fetch

MEDICAL_SCIENCES = "medicalsciences"  # the site, as the API calls it
BASE_URL = "https://api.stackexchange.com/2.3"
_PAGE = 100  # questions per request, the most that the API gives
# Added to the default fields, so that one request gives questions with their answers.
_FIELDS = "question.body;question.answers;answer.body"
_LONGEST_WAIT = 900.0  # seconds; who is refused for longer goes on another day
_ATTEMPTS = 5  # at a request that is refused for a short time
_SHORT_REFUSAL = 30.0  # seconds to wait where a refusal does not say how long it lasts
_TRANSIENT = ("throttle_violation", "temporarily_unavailable", "internal_error")
_SECONDS = re.compile(r"available in (\d+) second")


@dataclass(slots=True)
class _Pace:
    """What the API asked this client to wait for; it outlives a second pass over the steps."""

    ready: dict[str, float] = field(default_factory=dict)  # method to monotonic seconds
    closed_until: float = 0.0  # seconds since 1970
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StackExchange:
    """One site behind the Stack Exchange API.

    Args:
        name: name of the source and of the folder of its payloads.
        until: last day (UTC) whose questions are fetched, `YYYY-MM-DD`. A later day in a later
            run adds what was asked in between, but no later answers to earlier questions.
        site: the API's name for the site, e.g. `medicalsciences`.
        most: fetch no further page after so many questions; 0 means all of them.
        base_url: address of the service or of a mirror.
        api_key: raises the quota from 300 to 10,000 requests a day.
        per_second: requests per second; the API cuts off who sends more than 30.
    """

    name: str
    until: str
    site: str = MEDICAL_SCIENCES
    most: int = 0
    base_url: str = BASE_URL
    api_key: str = field(default="", repr=False)
    per_second: int = 5
    _pace: _Pace = field(default_factory=_Pace, init=False, repr=False, compare=False)

    def run(self, fetch: Fetch) -> None:
        """Fetch page after page until the site has no more.

        Raises:
            FetchError: the API refuses for longer than a run should wait, e.g. since the quota
                of the day is used up; the message says when to go on.
        """
        last = datetime.date.fromisoformat(self.until) + datetime.timedelta(days=1)
        until = int(datetime.datetime.combine(last, datetime.time(), datetime.UTC).timestamp()) - 1
        query = {
            "site": self.site,
            "sort": "creation",
            "order": "asc",
            "todate": str(until),
            "pagesize": str(_PAGE),
            "filter": self._filter(fetch),
        }
        seen: set[str] = set()
        start, page = 0, 1
        while not 0 < self.most <= len(seen):
            place = {"fromdate": str(start), "page": str(page)}
            found = self._page(fetch, query | place)
            items = found["items"]
            seen.update(str(i["question_id"]) for i in items)
            if not found.get("has_more") or not items:
                break
            newest = int(items[-1]["creation_date"])
            # Where all questions of a page are of one second, the rest of that second follows.
            start, page = (newest, 1) if newest > start else (start, page + 1)

    def _page(self, fetch: Fetch, query: dict[str, str]) -> dict[str, Any]:
        """One page. The last one of a run up to an earlier day may have been filled up since."""
        begin = f"questions/{self.site}/{query['fromdate']}/{query['page']}/"
        for step in [s for s in fetch.store.steps if s.startswith(begin)]:
            if json.loads(fetch.store.read(step)).get("has_more"):
                return self._get(fetch, step, "questions", query)

        def new(body: bytes) -> list[str]:
            # The first question of a page is mostly the last one of the page before.
            known = {i for payload in fetch.store.steps.values() for i in payload.ids}
            ids = (str(i["question_id"]) for i in json.loads(body)["items"])
            return [i for i in ids if i not in known]

        return self._get(fetch, begin + self.until, "questions", query, new)

    def _filter(self, fetch: Fetch) -> str:
        """The name of a filter with bodies and answers. It never expires, so one is enough.

        Source: https://api.stackexchange.com/docs/create-filter
        """
        query = {"include": _FIELDS, "unsafe": "false"}
        found = self._get(fetch, f"filter/{_FIELDS}", "filters/create", query)
        return str(found["items"][0]["filter"])

    def _get(
        self,
        fetch: Fetch,
        step: str,
        method: str,
        query: Mapping[str, str],
        ids: Callable[[bytes], list[str]] | None = None,
    ) -> dict[str, Any]:
        """The answer to a step; the network is used no sooner than the API allows."""
        known = step in fetch.store.steps
        key = {"key": self.api_key} if self.api_key else {}
        request = Request(f"{self.base_url}/{method}", {**query, **key}, check=_wrong)
        for attempt in range(1, _ATTEMPTS + 1):
            if not known:
                self._wait(fetch, method)
            try:
                body = fetch.get(step, request, suffix="json", ids=ids)
                break
            except FetchError as error:
                self._refused(method, error, last_try=attempt == _ATTEMPTS)
        fetch.expect(step, len(fetch.store.steps[step].ids))
        found: dict[str, Any] = json.loads(body)
        if not known:
            self._take_note(method, found)
        return found

    def _wait(self, fetch: Fetch, method: str) -> None:
        if self._pace.closed_until > time.time():
            raise FetchError(self._pace.reason)
        pause = self._pace.ready.get(method, 0.0) - time.monotonic()
        if pause > 0:
            fetch.wait(pause)

    def _take_note(self, method: str, found: Mapping[str, Any]) -> None:
        """Keep to what an answer asks for.

        Source: https://api.stackexchange.com/docs/throttle
        """
        if backoff := float(found.get("backoff") or 0):
            self._pace.ready[method] = time.monotonic() + backoff
        if found.get("quota_remaining") == 0:
            now = datetime.datetime.now(datetime.UTC)
            midnight = now.replace(hour=0, minute=0, second=0) + datetime.timedelta(days=1)
            self._close(midnight, f"all {found.get('quota_max', '')} requests of the day are used")

    def _refused(self, method: str, error: FetchError, last_try: bool) -> None:
        """Wait where a refusal will pass, and say what is wrong where it will not."""
        refusal = _refusal(error.body)
        name, message = refusal.get("error_name", ""), refusal.get("error_message", "")
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
            moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
            self._close(moment, message)
            raise FetchError(self._pace.reason, error.status, error.body) from error
        self._pace.ready[method] = time.monotonic() + seconds

    def _close(self, until: datetime.datetime, reason: str) -> None:
        self._pace.closed_until = until.timestamp()
        remedy = "" if self.api_key else ", or give an API key, which allows 10,000 requests a day"
        moment = f"{until:%Y-%m-%d %H:%M} UTC"
        self._pace.reason = f"{reason}. Run again after {moment}{remedy}; what was fetched is kept."


def _wrong(body: bytes) -> str:
    """What is wrong with an answer of status 200."""
    try:
        found = json.loads(body)
    except ValueError:
        return f"no JSON but {body[:60]!r}"
    if not isinstance(found, dict) or not isinstance(found.get("items"), list):
        return f"an answer without items: {body[:60]!r}"
    return ""


def _refusal(body: str) -> dict[str, str]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return {k: str(v) for k, v in found.items()} if isinstance(found, dict) else {}

"""Collect from Europe PMC, whose search answers with the records themselves.

Each answer says how many hits the search has, so that a page which is too short, empty or the same
as one before shows, and a search ends when all hits are here or those that are not are counted.

Source: https://europepmc.org/RestfulWebService
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field

from elara.collect.live.client import FetchError, Request, accept, are_objects, read_object
from elara.collect.live.entrez import Query
from elara.collect.live.harvest import Fetch, Incomplete, Source
from elara.collect.live.store import INCOMPLETE, short_name

BASE_URL = "https://www.ebi.ac.uk/europepmc/webservices/rest"
_FIRST_DAY = datetime.date(1800, 1, 1)
_RANGE = re.compile(r"/(\d{4}-\d\d-\d\d)/(\d{4}-\d\d-\d\d)/\*$")


@dataclass(frozen=True, slots=True)
class EuropePmc(Source):
    """Searches of Europe PMC; `until` is a day of entry into it.

    Args:
        queries: what to search for, in this order.
        page: records per request, at most 1,000.
    """

    queries: Sequence[Query]
    _: KW_ONLY
    base_url: str = BASE_URL
    per_second: int = 10
    page: int = 500

    def run(self, fetch: Fetch) -> None:
        """Search and fetch, search by search."""
        for query in self.queries:
            begin = f"search/{query.name}/{short_name(query.term)}/{self.most}/{self.page}"
            for days in self._ranges(fetch, begin):
                self._search(fetch, query, days, "/".join((begin, *days, "")))

    def _ranges(self, fetch: Fetch, begin: str) -> list[tuple[str, str]]:
        """Ranges of days that earlier runs searched, and what is left up to `until`."""
        following = f"{_FIRST_DAY}"
        if self.most:
            return [(following, self.until)]
        steps = (step for step in fetch.store.steps if step.startswith(begin))
        begun = [(found[1], found[2]) for step in steps if (found := _RANGE.search(step))]
        ranges = sorted(days for days in begun if days[1] <= self.until)
        if ranges:
            last = datetime.date.fromisoformat(ranges[-1][1])
            following = f"{last + datetime.timedelta(days=1)}"
        return ranges + [(following, self.until)] * (following <= self.until)

    def _search(self, fetch: Fetch, query: Query, days: tuple[str, str], begin: str) -> None:
        """All pages of a search; once more from the start where its count changed meanwhile."""
        walk = _Walk(self, fetch, query, days, begin)
        walk.run()
        if len(walk.counts) > 1 and walk.missing() and isinstance(walk.refusal, Incomplete):
            for step in list(fetch.store.steps):
                if step.removeprefix(INCOMPLETE).startswith(begin):
                    fetch.store.forget(step)
            walk = _Walk(self, fetch, query, days, begin)
            walk.run()
        wanted, here, refusal = walk.wanted(), len(walk.seen), walk.refusal
        fetch.account(f"search {query.name}, entered {days[0]} to {days[1]}", wanted, here)
        if refusal or walk.missing():
            count = f"{here} of {wanted} records came" if wanted else "no answer"
            reason = f"{count}: {refusal or 'run again.'}"
            status = refusal.status if refusal else 0
            fetch.fail(f"search {query.name}", FetchError(reason, status))


@dataclass(slots=True)
class _Walk:
    """One way through the pages of a search."""

    source: EuropePmc
    fetch: Fetch
    query: Query
    days: tuple[str, str]  # first and last day of entry
    begin: str  # of the steps of its pages
    seen: set[str] = field(default_factory=set)  # records that came
    counts: set[int] = field(default_factory=set)  # of hits, as the pages state them
    position: int = 0  # how many records the pages before should have brought
    size: int = 0  # how many this page is asked for
    refusal: FetchError | None = None

    def wanted(self) -> int:
        hits = max(self.counts, default=0)
        return min(hits, self.source.most or hits)

    def missing(self) -> bool:
        return len(self.seen) < self.wanted()

    def run(self) -> None:
        """Follow the marks that each page gives for the next one, until all hits are here."""
        mark = "*"
        while mark:
            most = self.source.most
            self.size = min(self.source.page, most - len(self.seen) if most else 1_000)
            try:
                body = self._page(mark)
            except FetchError as error:
                self.refusal = error
                return
            found = read_object(body)
            self.counts.add(int(found["hitCount"]))
            self.fetch.expect(self.begin, self.wanted())
            before = len(self.seen)
            self.seen.update(_ids(body))
            self.position += self.size
            following = str(found.get("nextCursorMark") or "")
            # When all have come, asking on would only give an empty page.
            passed = len(self.seen) == before and self.position >= max(self.counts)
            mark = "" if not self.missing() or passed or following == mark else following

    def _page(self, mark: str) -> bytes:
        first, last = self.days
        asked = {
            "query": f"({self.query.term}) AND (CREATION_DATE:[{first} TO {last}])",
            "resultType": "core",
            "format": "json",
            "cursorMark": mark,
            "pageSize": str(self.size),
        }
        step = self.begin + mark
        own = self.source.base_url, step

        def lacks(body: bytes) -> str:
            found = read_object(body)
            echo = found.get("request")
            if isinstance(echo, dict) and echo.get("queryString"):
                words = [str(echo.get(k)) for k in ("queryString", "cursorMark", "pageSize")]
                if self.fetch.confused((own[0], *words), own):
                    return "the answer to another request"
            hits = max(self.counts | {int(found["hitCount"])})
            expected = max(0, min(self.size, hits - self.position))
            new = len(set(_ids(body)) - self.seen)
            short = f"a page brings {new} new records, where {expected} should follow"
            return short if new < expected else ""

        request = Request(own[0] + "/search", asked, check=_wrong)
        odd = accept if self.position else _nothing
        try:
            return self.fetch.get(step, request, suffix="json", ids=_ids, lacks=lacks, odd=odd)
        except Incomplete as error:
            self.refusal = error
            return error.body


def _nothing(body: bytes) -> str:
    return "" if int(read_object(body)["hitCount"]) else "a search that finds nothing at all"


def _wrong(body: bytes) -> str:
    """What is wrong with an answer of status 200.

    Raises:
        FetchError: it is a refusal that will not pass.
    """
    found = read_object(body)
    if code := int(found.get("errCode") or 0):
        message = f"Europe PMC refuses the search ({found.get('errMsg', code)})"
        if 400 <= code < 500:
            raise FetchError(f"{message}: check the query.", code)
        return message
    results = are_objects((found.get("resultList") or {}).get("result"))
    counted = str(found.get("hitCount", "")).isdecimal()
    return "" if results and counted else f"no search answer but {body[:60]!r}"


def _ids(body: bytes) -> list[str]:
    results = read_object(body)["resultList"]["result"]
    return [f"{r.get('source', '')}:{r.get('id', '')}" for r in results]

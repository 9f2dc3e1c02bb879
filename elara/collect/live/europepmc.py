"""Collect from Europe PMC, whose search answers with the records themselves.

Each answer says how many hits the search has, so that a page which is too short, empty or the same
as one before shows, and a search ends when all hits are here or those that are not are counted.

Source: https://europepmc.org/RestfulWebService
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from elara.collect.live.client import FetchError, Request, accept, read_json
from elara.collect.live.entrez import Query
from elara.collect.live.harvest import Fetch, Incomplete
from elara.collect.live.store import INCOMPLETE, short_name

BASE_URL = "https://www.ebi.ac.uk/europepmc/webservices/rest"
_FIRST_DAY = datetime.date(1800, 1, 1)
_RANGE = re.compile(r"/(\d{4}-\d\d-\d\d)/(\d{4}-\d\d-\d\d)/\*$")


@dataclass(frozen=True, slots=True)
class EuropePmc:
    """Searches of Europe PMC.

    Args:
        name: name of the source and of the folder of its payloads.
        queries: what to search for, in this order.
        until: last day (of entry into Europe PMC) that is searched, `YYYY-MM-DD`. A later day in
            a later run adds what came in between.
        most: records per search, the most relevant first; 0 means all of them.
        base_url: address of the service or of a mirror.
        per_second: requests per second.
        page: records per request, at most 1,000.
    """

    name: str
    queries: Sequence[Query]
    until: str
    most: int = 0
    base_url: str = BASE_URL
    per_second: int = 10
    page: int = 500

    def run(self, fetch: Fetch) -> None:
        """Search and fetch, search by search."""
        for query in self.queries:
            for first, last in self._ranges(fetch, query):
                self._search(fetch, query, first, last)

    def _ranges(self, fetch: Fetch, query: Query) -> list[tuple[str, str]]:
        """Ranges of days that earlier runs searched, and what is left up to `until`."""
        if self.most:
            return [(_FIRST_DAY.isoformat(), self.until)]
        begun = (
            found.groups()
            for step in fetch.store.steps
            if step.startswith(self._step(query)) and (found := _RANGE.search(step))
        )
        ranges = sorted((first, last) for first, last in begun if last <= self.until)
        following = _FIRST_DAY
        if ranges:
            following = datetime.date.fromisoformat(ranges[-1][1]) + datetime.timedelta(days=1)
        if following.isoformat() <= self.until:
            ranges.append((following.isoformat(), self.until))
        return ranges

    def _step(self, query: Query) -> str:
        return f"search/{query.name}/{short_name(query.term)}/{self.most}/{self.page}"

    def _search(self, fetch: Fetch, query: Query, first: str, last: str) -> None:
        """All pages of a search; once more from the start where its count changed meanwhile."""
        what = f"{self._step(query)}/{first}/{last}/"
        counts, seen, refusal = self._walk(fetch, query, first, last, what)
        if len(counts) > 1 and len(seen) < self._wanted(counts) and isinstance(refusal, Incomplete):
            for step in [
                s for s in fetch.store.steps if s.removeprefix(INCOMPLETE).startswith(what)
            ]:
                fetch.store.forget(step)
            counts, seen, refusal = self._walk(fetch, query, first, last, what)
        wanted = self._wanted(counts)
        fetch.account(f"search {query.name}, entered {first} to {last}", wanted, len(seen))
        if refusal or len(seen) < wanted:
            count = f"{len(seen)} of {wanted} records came" if wanted else "no answer"
            reason = f"{count}: {refusal or 'run again.'}"
            status = refusal.status if refusal else 0
            fetch.fail(f"search {query.name}", FetchError(reason, status))

    def _wanted(self, counts: set[int]) -> int:
        hits = max(counts, default=0)
        return min(hits, self.most or hits)

    def _walk(
        self, fetch: Fetch, query: Query, first: str, last: str, what: str
    ) -> tuple[set[int], set[str], FetchError | None]:
        """Follow the marks that each page gives for the next one, until all hits are here.

        Returns:
            How many hits the pages counted, which records came, and what stood in the way.
        """
        seen: set[str] = set()
        counts: set[int] = set()
        mark, position = "*", 0
        refusal: FetchError | None = None
        while mark:
            size = min(self.page, self.most - len(seen) if self.most else 1_000)
            step = f"{what}{mark}"
            lacks = partial(
                _lacks,
                fetch=fetch,
                asked=(self.base_url, step),
                seen=seen,
                position=position,
                size=size,
                hits=max(counts, default=0),
            )
            odd = accept if position else _nothing
            request = self._request(query, first, last, mark, size)
            try:
                body = fetch.get(step, request, suffix="json", ids=_ids, lacks=lacks, odd=odd)
            except Incomplete as error:
                body, refusal = error.answer, error
            except FetchError as error:
                refusal = error
                break
            found = read_json(body)
            counts.add(int(found["hitCount"]))
            wanted = self._wanted(counts)
            fetch.expect(what, wanted)
            before = len(seen)
            seen.update(_ids(body))
            position += size
            following = str(found.get("nextCursorMark") or "")
            # When all have come, asking on would only give an empty page.
            ended = len(seen) >= wanted or (len(seen) == before and position >= max(counts))
            mark = "" if ended or following == mark else following
        return counts, seen, refusal

    def _request(self, query: Query, first: str, last: str, mark: str, size: int) -> Request:
        asked = {
            "query": f"({query.term}) AND (CREATION_DATE:[{first} TO {last}])",
            "resultType": "core",
            "format": "json",
            "cursorMark": mark,
            "pageSize": str(size),
        }
        return Request(f"{self.base_url}/search", asked, check=_wrong)


def _lacks(
    body: bytes,
    fetch: Fetch,
    asked: tuple[str, str],
    seen: set[str],
    position: int,
    size: int,
    hits: int,
) -> str:
    """What a page lacks.

    Args:
        body: the page.
        fetch: knows the answers to other requests.
        asked: service and step.
        seen: records of the pages before it.
        position: how many there should have been on those.
        size: how many were asked for.
        hits: of the search, as the pages before it counted them.
    """
    found = read_json(body)
    echo = found.get("request")
    if isinstance(echo, dict) and echo.get("queryString"):
        words = (asked[0], *(str(echo.get(k)) for k in ("queryString", "cursorMark", "pageSize")))
        if fetch.confused(words, asked):
            return "the answer to another request"
    expected = max(0, min(size, max(hits, int(found["hitCount"])) - position))
    new = len(set(_ids(body)) - seen)
    if new >= expected:
        return ""
    return f"a page brings {new} new records, where {expected} should follow"


def _nothing(body: bytes) -> str:
    return "" if int(read_json(body)["hitCount"]) else "a search that finds nothing at all"


def _wrong(body: bytes) -> str:
    """What is wrong with an answer of status 200.

    Raises:
        FetchError: it is a refusal that will not pass.
    """
    try:
        found = read_json(body)
    except ValueError:
        return f"no JSON but {body[:60]!r}"
    if not isinstance(found, dict):
        return f"no search answer but {body[:60]!r}"
    if code := int(found.get("errCode") or 0):
        message = f"Europe PMC refuses the search ({found.get('errMsg', code)})"
        if 400 <= code < 500:
            raise FetchError(f"{message}: check the query.", code)
        return message
    results = (found.get("resultList") or {}).get("result")
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        return "a search answer without results"
    counted = str(found.get("hitCount", "")).isdecimal()
    return "" if counted else "a search answer without a count of its hits"


def _ids(body: bytes) -> list[str]:
    results = read_json(body)["resultList"]["result"]
    return [f"{r.get('source', '')}:{r.get('id', '')}" for r in results]

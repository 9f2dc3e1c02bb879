"""Europe PMC's search, which answers with the records themselves.

Source: https://europepmc.org/RestfulWebService
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from elara.collect.live.client import FetchError, Request
from elara.collect.live.entrez import Query
from elara.collect.live.harvest import Fetch

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
            try:
                for first, last in self._ranges(fetch, query):
                    self._search(fetch, query, first, last)
            except FetchError as error:
                fetch.fail(f"search {query.name}", error)

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
        short = hashlib.sha256(query.term.encode()).hexdigest()[:16]
        return f"search/{query.name}/{short}/{self.most}/{self.page}"

    def _search(self, fetch: Fetch, query: Query, first: str, last: str) -> None:
        """Follow the marks that each page gives for the next one, to the page without results."""
        what = f"{self._step(query)}/{first}/{last}"
        mark, received = "*", 0
        while mark and not 0 < self.most <= received:
            request = Request(
                f"{self.base_url}/search",
                {
                    "query": f"({query.term}) AND (CREATION_DATE:[{first} TO {last}])",
                    "resultType": "core",
                    "format": "json",
                    "cursorMark": mark,
                    "pageSize": str(min(self.page, self.most - received if self.most else 1_000)),
                },
                check=_wrong,
            )
            step = f"{what}/{mark}"
            found = json.loads(fetch.get(step, request, suffix="json", ids=_ids))
            hits = int(found.get("hitCount") or 0)
            fetch.expect(what, min(hits, self.most) if self.most else hits)
            records = len(fetch.store.steps[step].ids)
            received += records
            following = str(found.get("nextCursorMark") or "")
            # When all have come, asking on would only give an empty page.
            mark = following if records and received < hits and following != mark else ""


def _wrong(body: bytes) -> str:
    """What is wrong with an answer of status 200.

    Raises:
        FetchError: it is a refusal that will not pass.
    """
    try:
        found = json.loads(body)
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
    return "" if isinstance(results, list) else "a search answer without results"


def _ids(body: bytes) -> list[str]:
    results = json.loads(body)["resultList"]["result"]
    return [f"{r.get('source', '')}:{r.get('id', '')}" for r in results]

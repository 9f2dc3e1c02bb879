"""Collect from PubMed and PubMed Central through the E-utilities.

A search gives ids, sliced by date where it has more than one answer may hold. The records that are
not here yet are then asked for by id, so many at a time. A record that belongs to several searches
is fetched once.

A search says how many records it has found, so that an answer with too few ids is a bad one, and
records that an answer leaves out are asked for again until all have come or can be named.

Source: https://www.ncbi.nlm.nih.gov/books/NBK25499/
"""

from __future__ import annotations

import datetime
import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import NamedTuple

from lxml import etree

from elara.collect.live.client import FetchError, Request, accept
from elara.collect.live.harvest import ASKS, Fetch, Incomplete, Source
from elara.collect.live.store import short_name

BASE_URL = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils"
LARGEST = 9_998  # ids that one search gives; past them the answer is an error with status 200
_FIRST_DAY = datetime.date(1800, 1, 1)
_NOT_GIVEN = "the service lists them, but does not give them: run again."
_ENDS = {"pubmed": (b"</PubmedArticleSet>", b"<PubmedArticleSet/>"), "pmc": (b"</pmc-articleset>",)}
_ID = {
    "pubmed": re.compile(
        rb"<(?:MedlineCitation|BookDocument)\b[^>]*>\s*<PMID\b[^>]*>\s*(\d+)\s*</PMID>"
    ),
    "pmc": re.compile(
        rb"<article-id\s[^>]*pub-id-type=\"(?:pmc|pmcid|pmcaid)\"[^>]*>\s*(?:PMC)?(\d+)"
    ),
}
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)


@dataclass(frozen=True, slots=True)
class Query:
    """One search.

    Args:
        name: names the search in the store and in the coverage table.
        term: the query in the syntax of the database.
    """

    name: str
    term: str


@dataclass(frozen=True, slots=True)
class Entrez(Source):
    """A database behind the E-utilities; `until` is an entry date.

    Args:
        queries: what to search for, in this order.
        contact: e-mail address, which the service asks for.
        database: `pubmed` or `pmc`.
        api_key: lets the service answer 10 instead of 3 requests per second.
        page: records per request.
    """

    queries: Sequence[Query]
    contact: str
    database: str = "pubmed"
    _: KW_ONLY
    base_url: str = BASE_URL
    api_key: str = field(default="", repr=False)
    per_second: int = 3
    page: int = 500

    def run(self, fetch: Fetch) -> None:
        """Search and fetch, search by search."""
        known = fetch.store.ids()
        for step in [s for s in fetch.store.steps if s.startswith("records/")]:
            fetch.seen(step)
        for query in self.queries:
            search = _Search(self, fetch, query)
            if search.asked in fetch.doubted:
                search.forget()
            self._query(fetch, query.name, search, known)
            if fetch.failures and fetch.failures[-1].reason == _NOT_GIVEN:
                # The ids may be those of another search, though they came as the answer to this.
                search.forget()
                self._query(fetch, query.name, search, known)

    def _query(self, fetch: Fetch, name: str, search: _Search, known: set[str]) -> None:
        """Search, fetch what is not known yet, and close the account."""
        what = f"search {name}"
        try:
            found = search.ids()
        except FetchError as error:
            fetch.fail(what, error)
            return fetch.account(what, search.count, 0, search.said)
        expected = min(search.count, self.most or search.count)
        if len(found) < expected and not search.too_many:
            fetch.fail(what, FetchError(f"{len(found)} of {expected} ids came: run again."))
        new = [i for i in found if i not in known]
        fetch.expect(name, len(new))
        known |= set(new) - self._records(fetch, name, new)
        fetch.account(what, expected, len(set(found) & known), search.said)

    def _records(self, fetch: Fetch, name: str, ids: Sequence[str]) -> set[str]:
        """Fetch records that are not here yet; the ids of those that did not come."""
        missing: set[str] = set()
        for start in range(0, len(ids), self.page):
            left, reason = set(ids[start : start + self.page]), FetchError(_NOT_GIVEN)
            try:
                for _ in fetch.attempts():
                    left -= self._by_id(fetch, sorted(left))
                    if not left:
                        break
            except FetchError as error:
                reason = error
            if left:
                fetch.fail(f"{name}: {len(left)} records", reason, sorted(left))
            missing |= left
        return missing

    def _by_id(self, fetch: Fetch, ids: Sequence[str]) -> set[str]:
        """Ask for records, and keep the answer for those of them that it holds."""
        request = self._request("efetch", self._wrong, id=",".join(ids), retmode="xml")
        body, _ = fetch.ask(request)
        found = {i.decode() for i in _ID[self.database].findall(body)} & set(ids)
        if found:
            step = f"records/{short_name(','.join(ids))}"
            fetch.store.add(step, request.url, body, "xml", sorted(found))
            fetch.downloaded += 1
            fetch.seen(step)
        return found

    def _wrong(self, body: bytes) -> str:
        whole = body.rstrip().endswith(_ENDS[self.database])
        return "" if whole else f"no complete set of records but {body[:60]!r}"

    def _request(self, tool: str, check: Callable[[bytes], str], **form: str) -> Request:
        """A request to one of the E-utilities, such as `esearch`."""
        own = {"db": self.database, "tool": "elara", "email": self.contact}
        key = {"api_key": self.api_key} if self.api_key else {}
        return Request(f"{self.base_url}/{tool}.fcgi", form=own | form | key, check=check)


class _Search:
    """One query, sliced by date where it has more records than one answer holds."""

    def __init__(self, source: Entrez, fetch: Fetch, query: Query) -> None:
        self.source, self.fetch, self.query = source, fetch, query
        self.count = 0
        self.said = ""
        self.too_many = False  # on a single day
        self._wanted = min(source.most or LARGEST, LARGEST)
        self._begin = f"search/{query.name}/{short_name(query.term)}/"
        self.asked = source.database, query.term

    def ids(self) -> list[str]:
        """The ids, without repetition, the most relevant or the newest first."""
        last = datetime.date.fromisoformat(self.source.until)
        found = itertools.chain.from_iterable(self._slices(_FIRST_DAY, last))
        return list(itertools.islice(dict.fromkeys(found), self.source.most or None))

    def _slices(self, first: datetime.date, last: datetime.date) -> Iterator[tuple[str, ...]]:
        """Search a range of days; halve it while it has more than one answer can hold."""
        count, ids = self._answer(first, last)[:2]
        if self._whole(first, last):
            self.count = count
        if count <= len(ids) or 0 < self.source.most <= len(ids):
            yield ids
        elif first == last:
            yield ids
            reason = (
                f"{count} records were entered on {first} alone, of which the service gives "
                f"{len(ids)}: make the query narrower, or use the bulk files."
            )
            self.too_many = True
            self.fetch.fail(self.query.name, FetchError(reason))
        else:
            middle = first + (last - first) // 2
            halves = ((middle + datetime.timedelta(days=1), last), (first, middle))
            self._agree(count, halves)
            for half in halves:
                yield from self._slices(*half)

    def forget(self) -> None:
        """Have the next call of `ids` ask again."""
        for step in [s for s in self.fetch.store.steps if s.startswith(self._begin)]:
            self.fetch.store.forget(step)
        self.fetch.unlearn(self.asked)
        self.fetch.doubted.discard(self.asked)

    def _agree(self, count: int, halves: Sequence[tuple[datetime.date, datetime.date]]) -> None:
        """Ask for both halves of a range until they have as many records as the whole."""
        known = all(self._step(*half) in self.fetch.store.steps for half in halves)
        for attempt in self.fetch.attempts():
            parts = sum(self._answer(*half).total for half in halves)
            # Records that came in since the whole was asked for make no bad answer in the end.
            if parts == count or (parts > count and (known or attempt == ASKS)):
                return
            for half in halves:
                self.fetch.store.forget(self._step(*half))
        raise FetchError(f"{count} records, but only {parts} when asked for by date: run again.")

    def _whole(self, first: datetime.date, last: datetime.date) -> bool:
        return first == _FIRST_DAY and f"{last}" == self.source.until

    def _step(self, first: datetime.date, last: datetime.date) -> str:
        return f"{self._begin}{first}/{last}/{self._wanted}"

    def _answer(self, first: datetime.date, last: datetime.date) -> SearchAnswer:
        whole = self._whole(first, last)

        def lacks(body: bytes) -> str:
            answer = search_answer(body)
            if whole:
                self.said = answer.said
            listed = len(set(answer.ids))
            if listed != min(answer.total, self._wanted):
                self.count = max(self.count, answer.total)
                heard = f" ({self.said})" if self.said else ""
                return f"a search answer counts {answer.total} records and lists {listed}{heard}"
            told = answer.translation and answer.ids
            confused = told and self.fetch.confused(answer, self.asked)
            return "the answer to another search" if confused else ""

        request = self.source._request(
            "esearch",
            _wrong_search,
            term=self.query.term,
            retmode="xml",
            retmax=str(self._wanted),
            datetype="edat",
            mindate=f"{first:%Y/%m/%d}",
            maxdate=f"{last:%Y/%m/%d}",
            **({"sort": "relevance"} if self.source.most else {}),
        )
        # That a part has none is held against the whole, which has nothing to be held against.
        odd = _finds_nothing if whole else accept
        try:
            body = self.fetch.get(self._step(first, last), request, lacks=lacks, odd=odd)
        except Incomplete as error:
            self.fetch.doubt(search_answer(error.body))
            raise
        return search_answer(body)


class SearchAnswer(NamedTuple):
    """What a search answer says.

    Args:
        total: how many records there are.
        ids: those that it lists.
        translation: how the service understood the query: two that differ have two of them.
        said: what of the query it could not use, and searched without.

    Source: https://eutils.ncbi.nlm.nih.gov/eutils/dtd/20060628/esearch.dtd
    """

    total: int
    ids: tuple[str, ...]
    translation: str
    said: str


@functools.lru_cache(maxsize=4)  # it is looked at several times, but not kept for long
def search_answer(body: bytes) -> SearchAnswer:
    """What an answer of esearch says.

    Raises:
        ValueError: it is no whole answer; the message says what is wrong.
    """
    try:
        tree = etree.fromstring(body, _PARSER)
    except etree.XMLSyntaxError:
        tree = etree.Element("none")
    if tree.tag != "eSearchResult":
        raise ValueError(f"no search result but {body[:60]!r}")
    if error := tree.findtext("ERROR"):
        raise ValueError(f"the search failed: {error}")
    if not (tree.findtext("Count") or "").isdecimal():
        raise ValueError("a search result without a count")
    remarks = (e for kind in ("ErrorList", "WarningList") for e in tree.iterfind(f"{kind}/*"))
    return SearchAnswer(
        int(tree.findtext("Count") or 0),
        tuple(i.text or "" for i in tree.iterfind("IdList/Id")),
        tree.findtext("QueryTranslation") or "",
        "; ".join(f"{remark.tag}: {(remark.text or '').strip()}" for remark in remarks),
    )


def _wrong_search(body: bytes) -> str:
    try:
        search_answer(body)
    except ValueError as error:
        return str(error)
    return ""


def _finds_nothing(body: bytes) -> str:
    """Why an answer of esearch is odd: it may be right, but is worth asking for twice."""
    return "" if search_answer(body).total else "a search that finds nothing at all"

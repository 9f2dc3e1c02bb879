"""The E-utilities of the National Library of Medicine, which serve PubMed and PubMed Central.

A search gives ids, sliced by date where it has more than one answer may hold. Ids that are not
here yet are posted to the History server, and their records fetched from it page by page. A record
that belongs to several searches is fetched once.

Source: https://www.ncbi.nlm.nih.gov/books/NBK25499/
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from lxml import etree

from elara.collect.live.client import FetchError, Request
from elara.collect.live.harvest import Fetch
from elara.collect.live.store import payload_table, read_payload

BASE_URL = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils"
LARGEST = 9_998  # ids that one search gives; past them the answer is an error with status 200
_FIRST_DAY = datetime.date(1800, 1, 1)
_MOST_RECORDS = {"pubmed": 500, "pmc": 20}  # per page: some megabytes each
_ENDS = {"pubmed": (b"</PubmedArticleSet>", b"<PubmedArticleSet/>"), "pmc": (b"</pmc-articleset>",)}
_ID = {
    "pubmed": re.compile(
        rb"<(?:MedlineCitation|BookDocument)\b[^>]*>\s*<PMID\b[^>]*>\s*(\d+)\s*</PMID>"
    ),
    "pmc": re.compile(
        rb"<article-id\s[^>]*pub-id-type=\"(?:pmc|pmcid|pmcaid)\"[^>]*>\s*(?:PMC)?(\d+)"
    ),
}
_FORGOTTEN = ("unable to obtain query", "webenv", "query_key", "history")


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
class Entrez:
    """A database behind the E-utilities.

    Args:
        name: name of the source and of the folder of its payloads.
        queries: what to search for, in this order.
        contact: e-mail address, which the service asks for.
        database: `pubmed` or `pmc`.
        most: records per search, the most relevant first; 0 means all of them.
        until: last day (entry date) that is searched, `YYYY-MM-DD`. A later day in a later run
            adds what came in between.
        base_url: address of the service or of a mirror.
        api_key: raises the limit from 3 to 10 requests per second.
        per_second: requests per second; -1 means what the service allows.
        page: records per request; 0 means the default of the database.
    """

    name: str
    queries: Sequence[Query]
    contact: str
    until: str
    database: str = "pubmed"
    most: int = 0
    base_url: str = BASE_URL
    api_key: str = field(default="", repr=False)
    per_second: int = -1
    page: int = 0

    def __post_init__(self) -> None:
        if self.per_second < 0:
            object.__setattr__(self, "per_second", 10 if self.api_key else 3)
        if not self.page:
            object.__setattr__(self, "page", _MOST_RECORDS[self.database])

    def run(self, fetch: Fetch) -> None:
        """Search and fetch, search by search."""
        known = {i for payload in fetch.store.steps.values() for i in payload.ids}
        for step in [s for s in fetch.store.steps if s.startswith("records/")]:
            fetch.seen(step)
        for query in self.queries:
            try:
                found = self._search(fetch, query)
            except FetchError as error:
                fetch.fail(f"search {query.name}", error)
                continue
            new = [i for i in found if i not in known]
            fetch.expect(query.name, len(new))
            known |= set(new)
            self._records(fetch, query.name, new)

    def _search(self, fetch: Fetch, query: Query) -> list[str]:
        """The ids of a query, without repetition, the most relevant or the newest first."""
        last = datetime.date.fromisoformat(self.until)
        ids = itertools.chain.from_iterable(self._slices(fetch, query, _FIRST_DAY, last))
        most = self.most or None
        return list(itertools.islice(dict.fromkeys(ids), most))

    def _slices(
        self, fetch: Fetch, query: Query, first: datetime.date, last: datetime.date
    ) -> Iterator[list[str]]:
        """Search a range of days; halve it while it has more than one answer can hold."""
        wanted = min(self.most or LARGEST, LARGEST)
        step = f"search/{query.name}/{_short(query.term)}/{first}/{last}/{wanted}"
        body = fetch.get(step, self._search_request(query.term, first, last, wanted))
        count, ids = _search_answer(body)
        if count <= len(ids) or 0 < self.most <= len(ids):
            yield ids
        elif first == last:
            yield ids
            reason = (
                f"{count} records were entered on {first} alone, of which the service gives "
                f"{len(ids)}: make the query narrower, or use the bulk files."
            )
            fetch.fail(query.name, FetchError(reason))
        else:
            middle = first + (last - first) // 2
            yield from self._slices(fetch, query, middle + datetime.timedelta(days=1), last)
            yield from self._slices(fetch, query, first, middle)

    def _records(self, fetch: Fetch, name: str, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), LARGEST):
            batch = ids[start : start + LARGEST]
            history = _History(self, fetch, batch)
            failures = len(fetch.failures)
            for first in range(0, len(batch), self.page):
                try:
                    history.page(first)
                except FetchError as error:
                    fetch.fail(f"{name}: a page of {self.page} records", error)
            if len(fetch.failures) == failures:
                self._again(fetch, sorted(set(batch) - history.received))

    def _again(self, fetch: Fetch, ids: Sequence[str]) -> None:
        """Ask by id for what long answers left out; what is not there now does not exist."""
        for start in range(0, len(ids), self.page):
            page = ids[start : start + self.page]
            form = self._form({"id": ",".join(page), "retmode": "xml"})
            request = Request(f"{self.base_url}/efetch.fcgi", form=form, check=self._wrong_records)
            step = f"records/again/{_short(','.join(page))}"
            try:
                fetch.get(step, request, ids=lambda _, page=page: page)  # type: ignore[misc]
            except FetchError as error:
                fetch.fail(f"{len(page)} records that were left out", error)

    def _search_request(
        self, term: str, first: datetime.date, last: datetime.date, wanted: int
    ) -> Request:
        form = {
            "term": term,
            "retmode": "xml",
            "retmax": str(wanted),
            "datetype": "edat",
            "mindate": f"{first:%Y/%m/%d}",
            "maxdate": f"{last:%Y/%m/%d}",
        }
        if self.most:
            form["sort"] = "relevance"
        return Request(f"{self.base_url}/esearch.fcgi", form=self._form(form), check=_wrong_search)

    def _form(self, more: Mapping[str, str]) -> dict[str, str]:
        form = {"db": self.database, "tool": "elara", "email": self.contact, **more}
        return form | ({"api_key": self.api_key} if self.api_key else {})

    def _wrong_records(self, body: bytes) -> str:
        if not body.rstrip().endswith(_ENDS[self.database]):
            return f"no complete set of records but {_beginning(body)}"
        return ""


@dataclass(slots=True)
class _History:
    """Ids on the History server, posted when the first page is asked for, and again if forgotten.

    Source: EPost, https://www.ncbi.nlm.nih.gov/books/NBK25499/#chapter4.EPost
    """

    source: Entrez
    fetch: Fetch
    ids: Sequence[str]
    place: dict[str, str] = field(default_factory=dict)
    received: set[str] = field(default_factory=set)

    def page(self, start: int) -> None:
        """Fetch one page. The server may keep the ids in an order of its own."""
        step = f"records/{_short(','.join(self.ids))}/{start}"
        for last_try in (False, False, True):
            self.place = self.place or self._post()
            try:
                self.fetch.get(step, self._request(start), ids=self._received)
                return
            except FetchError as error:
                if last_try or not (error.status == 400 and _forgotten(error.body)):
                    raise
            except _Forgotten as error:
                if last_try:
                    raise FetchError(f"{error}: the History server forgets at once.") from error
            self.place = {}

    def _request(self, start: int) -> Request:
        size = str(self.source.page)
        form = {**self.place, "retmode": "xml", "retstart": str(start), "retmax": size}
        url = f"{self.source.base_url}/efetch.fcgi"
        return Request(url, form=self.source._form(form), check=self._wrong)

    def _received(self, body: bytes) -> list[str]:
        found = {i.decode() for i in _ID[self.source.database].findall(body)}
        received = [i for i in self.ids if i in found]
        self.received.update(received)
        return received

    def _wrong(self, body: bytes) -> str:
        wrong = self.source._wrong_records(body)
        if wrong and _forgotten(body[:2000].decode("utf-8", "replace")):
            raise _Forgotten(self.source.base_url)
        return wrong

    def _post(self) -> dict[str, str]:
        form = self.source._form({"id": ",".join(self.ids)})
        url = f"{self.source.base_url}/epost.fcgi"
        tree = etree.fromstring(self.fetch.ask(Request(url, form=form, check=_wrong_post)))
        return {
            "WebEnv": tree.findtext("WebEnv") or "",
            "query_key": tree.findtext("QueryKey") or "",
        }


class _Forgotten(Exception):
    """The History server does not know these ids any more."""


def _forgotten(message: str) -> bool:
    words = message.lower()
    return "error" in words and any(word in words for word in _FORGOTTEN)


def _tree(body: bytes) -> etree._Element | None:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.fromstring(body, parser)
    except etree.XMLSyntaxError:
        return None


def _wrong_search(body: bytes) -> str:
    tree = _tree(body)
    if tree is None or tree.tag != "eSearchResult":
        return f"no search result but {_beginning(body)}"
    if error := tree.findtext("ERROR"):
        return f"the search failed: {error}"
    return "" if tree.findtext("Count") else "a search result without a count"


def _wrong_post(body: bytes) -> str:
    tree = _tree(body)
    whole = tree is not None and tree.findtext("WebEnv") and tree.findtext("QueryKey")
    return "" if whole else f"no history key but {_beginning(body)}"


def _search_answer(body: bytes) -> tuple[int, list[str]]:
    tree = _tree(body)
    assert tree is not None  # checked when it came
    ids = [i.text or "" for i in tree.iterfind("IdList/Id")]
    return int(tree.findtext("Count") or 0), ids


def _beginning(body: bytes) -> str:
    return repr(body[:60].decode("utf-8", "replace")) if body.strip() else "an empty answer"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def topic_hits(root: Path, source: str = "pubmed") -> pl.DataFrame:
    """Which records the searches of a source found, read from the stored answers.

    Args:
        root: the folder of all payloads.
        source: name of an `Entrez` source.

    Returns:
        Columns topic (`Query.name`) and native_id, one row per pair.
    """
    kept = payload_table(root).filter(source=source).select("step", "file")
    pairs = dict.fromkeys(
        (step.split("/")[1], native_id)
        for step, file in kept.iter_rows()
        if step.startswith("search/")
        for native_id in _search_answer(read_payload(root / file))[1]
    )
    columns = {"topic": pl.String, "native_id": pl.String}
    return pl.DataFrame(list(pairs), schema=columns, orient="row")

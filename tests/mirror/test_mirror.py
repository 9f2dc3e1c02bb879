"""The local stand-in for the live sources keeps their protocols, and its faults come to an end."""

from __future__ import annotations

import collections
import contextlib
import email.utils
import gzip
import hashlib
import http.client
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from folders import read_folder

from elara.collect import jats, medlineplus, pubmed, sample_folder
from elara.mirror import Faults, Mirror
from elara.mirror.answers import KINDS
from elara.mirror.records import copied_id, read_raw

COPIES = 14  # of about 900 records: more than PubMed shows of one query


@pytest.fixture(scope="module")
def mirror(shared_data: Path) -> Iterator[Mirror]:
    """A large mirror without faults; a query with `everything` finds all of it."""
    with Mirror(shared_data, copies=COPIES, hits={"everything": 10**9}) as running:
        yield running


@pytest.fixture
def client(mirror: Mirror) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=mirror.url) as opened:
        yield opened


def search(client: httpx.Client, term: str, **more: Any) -> tuple[int, list[str]]:
    """How many records there are, and the ids that are listed."""
    asked = {"db": "pubmed", "term": term, "retmode": "xml", **more}
    text = client.post("/eutils/esearch.fcgi", data=asked).text
    (total,) = re.findall(r"<Count>(\d+)</Count>", text)
    return int(total), re.findall(r"<Id>(\d+)</Id>", text)


def fetch(client: httpx.Client, database: str = "pubmed", **more: Any) -> httpx.Response:
    return client.get("/eutils/efetch.fcgi", params={"db": database, "retmode": "xml", **more})


def test_a_search_finds_the_same_again_and_shares_records_with_others(client: httpx.Client) -> None:
    total, ids = search(client, "asthma", retmax=50)
    assert (total, len(ids)) == (400, 50)
    asked = {"db": "pubmed", "term": "asthma", "retmax": "50"}
    assert (
        re.findall(r"<Id>(\d+)</Id>", client.get("/eutils/esearch.fcgi", params=asked).text) == ids
    )
    found = [set(search(client, term, retmax=400)[1]) for term in ("asthma", "malaria")]
    assert 0 < len(found[0] & found[1]) < 100
    assert "<ERROR>" in client.get("/eutils/esearch.fcgi", params={"term": ""}).text


def test_records_come_by_id(client: httpx.Client) -> None:
    _, ids = search(client, "asthma", retmax=40)
    answer = fetch(client, id=",".join(["999", *ids]))  # there is no such record as the first
    assert answer.text.startswith('<?xml version="1.0" ?>\n<!DOCTYPE PubmedArticleSet PUBLIC')
    assert [p.native_id for p in pubmed.parse([answer.content])] == ids


def test_slices_by_date_add_up_to_the_whole(client: httpx.Client) -> None:
    whole, _ = search(client, "everything")
    assert whole > 10_000
    years = [
        search(client, "everything", mindate=f"{year}/01/01", maxdate=f"{year}/12/31")[0]
        for year in range(1990, 2026)
    ]
    assert sum(years) == whole
    assert min(years) > 0


def test_pubmed_shows_no_more_than_9999_hits(client: httpx.Client) -> None:
    assert len(search(client, "everything", retmax=100_000)[1]) == 9_999


def test_copies_are_articles_of_their_own(client: httpx.Client, shared_data: Path) -> None:
    *records, places = read_raw(shared_data)
    known = {record.number for found in records for record in found}
    for database, parse in (("pubmed", pubmed.parse), ("pmc", jats.parse)):
        _, found = search(client, "everything", db=database, retmax=3000)
        assert len(set(found)) == len(found)
        real = [i for i in found if int(i) in known][:40]
        copied = (copied_id(int(i), copy, places) for i in real for copy in (1, COPIES - 1))
        chosen = [*real, *map(str, copied)]
        content = fetch(client, database, id=",".join(chosen)).content
        articles = [p.article for p in parse([content]) if p.article]
        assert len({a.id for a in articles}) == len(chosen)
        assert len({(a.pmcid if database == "pmc" else a.pmid) for a in articles}) == len(chosen)
        for field in ("doi", "pmid", "pmcid"):
            stated = [value for a in articles if (value := getattr(a, field))]
            assert len(stated) == len(set(stated)) > 0
        assert len({a.title for a in articles}) <= len(real) > 20


def test_packed_and_plain_answers_are_the_same(client: httpx.Client) -> None:
    _, found = search(client, "everything", retmax=300)
    packed = fetch(client, id=",".join(found))
    assert packed.headers["Content-Encoding"] == "gzip"
    client.headers["Accept-Encoding"] = "identity"
    plain = fetch(client, id=",".join(found))
    assert "Content-Encoding" not in plain.headers
    assert plain.content == packed.content
    assert packed.num_bytes_downloaded < len(plain.content) / 3


def test_the_baseline_can_be_fetched_and_checked(client: httpx.Client, tmp_path: Path) -> None:
    listed = client.get("/pubmed/baseline/").text
    names = re.findall(r'href="(pubmed26n\d{4}\.xml\.gz)"', listed)
    assert names == [f"pubmed26n{n:04}.xml.gz" for n in range(1, len(names) + 1)]
    address = f"/pubmed/baseline/{names[0]}"
    whole = client.get(address).content
    digest = hashlib.md5(whole).hexdigest()
    assert client.get(f"{address}.md5").text == f"MD5({names[0]})= {digest}\n"
    (tmp_path / names[0]).write_bytes(whole)
    read = list(read_folder(tmp_path))
    assert len({p.article_id for p in read if p.article}) == 1_000


def test_update_files_revise_and_withdraw_records_of_the_baseline(client: httpx.Client) -> None:
    listed = client.get("/pubmed/updatefiles/").text
    names = re.findall(r'href="(pubmed26n\d{4}\.xml\.gz)"', listed)
    files = [gzip.decompress(client.get(f"/pubmed/updatefiles/{n}").content) for n in names]
    parsed = [list(pubmed.parse([content])) for content in files]
    revised = [p for found in parsed for p in found if p.status == "article"]
    withdrawn = [p.native_id for p in parsed[-1] if p.status == "deletion"]
    assert len(withdrawn) > 100
    before = fetch(client, id=",".join(p.native_id for p in revised[:50])).content
    for old, new in zip(pubmed.parse([before]), revised, strict=False):
        assert old.native_id == new.native_id
        assert new.revision > old.revision
        assert new.article
        assert new.article.title.startswith("Revised: ")


def test_europe_pmc_pages_by_cursor_to_the_end(client: httpx.Client) -> None:
    mark, ids, hits = "*", [], 0
    while True:
        asked = {"query": "asthma", "format": "json", "resultType": "core", "pageSize": 100}
        page = client.get("/europepmc/search", params={**asked, "cursorMark": mark}).json()
        ids += [(r["source"], r["id"]) for r in page["resultList"]["result"]]
        hits = page["hitCount"]
        if page["nextCursorMark"] == mark:
            break
        mark = page["nextCursorMark"]
        shown = page["resultList"]["result"]
        assert any("abstractText" in r for r in shown)
    assert len(ids) == len(set(ids)) == hits > 200
    largest = client.get("/europepmc/search", params={"query": "asthma", "pageSize": 1_001})
    assert (largest.status_code, largest.json()["errCode"]) == (200, 404)


def test_stack_exchange_pages_counts_and_refuses(shared_data: Path) -> None:
    with (
        Mirror(shared_data / "stackexchange/api") as mirror,
        httpx.Client(base_url=f"{mirror.url}/stackexchange/2.3") as client,
    ):
        made = client.get("/filters/create", params={"include": "answer.body"}).json()["items"][0]
        asked: dict[str, Any] = {"site": "coffee", "pagesize": 7, "order": "asc", "key": "k"}
        asked |= {"filter": made["filter"]}
        pages = []
        while not pages or pages[-1]["has_more"]:
            answer = client.get("/questions", params={**asked, "page": len(pages) + 1})
            assert answer.headers["Content-Encoding"] == "gzip"
            pages.append(answer.json())
        questions = [item for page in pages for item in page["items"]]
        assert len({q["question_id"] for q in questions}) == len(questions) > 20
        assert len(questions) == pages[0]["total"]
        moments = [q["creation_date"] for q in questions]
        assert moments == sorted(moments)
        asked |= {"fromdate": moments[5], "todate": moments[10]}
        assert client.get("/questions", params=asked).json()["total"] == 6
        plain = client.get("/questions", params={"site": "coffee"}).json()["items"][0]
        assert not {"body", "answers"} & plain.keys()
        refused = client.get("/questions", params={**asked, "pagesize": 101})
        assert (refused.status_code, refused.json()["error_name"]) == (400, "bad_parameter")


def test_pages_and_topics_are_served_as_stored(client: httpx.Client, shared_data: Path) -> None:
    links = re.findall(r'href="/([^"]+)"', client.get("/cdc/health-topics.html").text)
    files = [p.read_bytes() for p in (shared_data / "public_health/cdc").rglob("*.htm*")]
    assert sorted(client.get(f"/{link}").content for link in links) == sorted(files)
    assert "Disallow: /cdc/private/" in client.get("/robots.txt").text
    link = re.search(r'href="(xml/mplus_topics_\d{4}-\d\d-\d\d\.xml)"', client.get(
        "/medlineplus/xml.html").text)[1]  # fmt: skip
    topics = medlineplus.parse([client.get(f"/medlineplus/{link}").content])
    assert sum(p.status == "article" for p in topics) > 0
    assert client.get("/cdc/none.htm").status_code == 404


def outcome(client: httpx.Client, address: str) -> tuple[str, bytes]:
    """What a client sees of an answer, and the answer."""
    try:
        answer = client.get(address)
    except httpx.TransportError as error:
        return type(error).__name__, b""
    return str(answer.status_code), answer.content


def test_faults_hit_the_share_asked_for_and_then_stop(shared_data: Path) -> None:
    folder = shared_data / "pubmed/reciter"
    faults = Faults(seed=1, rate=0.3, slow_seconds=0.02)
    addresses = [f"/eutils/esearch.fcgi?db=pubmed&term={n}" for n in range(200)]
    logs = []
    for _ in range(2):
        with (
            Mirror(folder, faults) as mirror,
            Mirror(folder) as sound,
            httpx.Client(base_url=mirror.url) as client,
            httpx.Client(base_url=sound.url) as calm,
        ):
            first = [outcome(client, address) for address in addresses]
            hit = [r.fault for r in mirror.log]
            for address in addresses:
                expected = outcome(calm, address)
                assert any(outcome(client, address) == expected for _ in range(3))
        logs.append([(r.path, r.parameters, r.fault, r.status) for r in mirror.log])
        assert len(mirror.log) > len(first) + len(addresses)
    assert logs[0] == logs[1]
    assert 0.22 < sum(map(bool, hit)) / len(hit) < 0.38
    assert set(hit) == {"", *KINDS}
    seen = collections.Counter(kind for kind, _ in first)
    assert seen.keys() >= {"200", "429", "500", "502", "503", "ReadError", "RemoteProtocolError"}
    per_request = collections.Counter(json.dumps(p) for _, p, fault, _ in logs[0] if fault)
    assert max(per_request.values()) == 2


def test_an_answer_that_looks_whole_keeps_its_connection() -> None:
    """The client sends its next request on it, which would be lost if the mirror closed it."""
    kept = 0
    with Mirror(sample_folder(), Faults(rate=1.0, retry_after=0, slow_seconds=0)) as mirror:
        for number in range(60):
            connection = http.client.HTTPConnection(mirror.url.removeprefix("http://"), timeout=20)
            with contextlib.closing(connection):
                connection.request("GET", f"/eutils/esearch.fcgi?term={number}")
                try:
                    connection.getresponse().read()
                except (http.client.IncompleteRead, ConnectionResetError):
                    continue
                connection.auto_open = 0
                connection.request("GET", "/robots.txt")
                assert connection.getresponse().status == 200
                kept += 1
        assert {r.fault for r in mirror.log} == {"", *KINDS}
    assert 30 < kept < 60


def test_each_kind_of_fault_looks_as_its_source_shows_it(shared_data: Path) -> None:
    folder = shared_data / "pubmed/reciter"

    def answers(kind: str, service: str = "eutils/efetch.fcgi?id=") -> list[tuple[str, Any]]:
        faults = Faults(rate=1.0, kinds=(kind,), retry_after=0.2, slow_seconds=0.1)
        found: list[tuple[str, Any]] = []
        with Mirror(folder, faults) as mirror, httpx.Client(base_url=mirror.url) as client:
            for number in range(10):
                try:
                    found.append(("", client.get(f"/{service}{number}")))
                except httpx.TransportError as error:
                    found.append((type(error).__name__, error))
            assert {r.fault for r in mirror.log} == {kind}
        return found

    began = time.time()
    refused = [answer for _, answer in answers("429")]
    assert {a.status_code for a in refused} == {429}
    assert refused[0].json()["error"] == "API rate limit exceeded"
    waits = {a.headers["Retry-After"] for a in refused}
    assert "0.2" in waits
    dates = [email.utils.parsedate_to_datetime(w).timestamp() for w in waits - {"0.2"}]
    assert dates
    # The moment of the answer and 0.2 seconds, in whole seconds.
    assert all(began - 1 < date < time.time() + 2 for date in dates)
    throttled = answers("429", "stackexchange/2.3/questions?site=x&page=")[0][1]
    assert throttled.json()["error_id"] == 502
    pages = [answer for _, answer in answers("html")]
    assert {a.status_code for a in pages} == {200}
    assert all(a.content.startswith(b"<!DOCTYPE html>") for a in pages)
    assert len({a.headers["Content-Type"] for a in pages}) == 2
    assert {error for error, _ in answers("reset")} == {"ReadError"}
    cut = answers("truncated")
    assert {error for error, _ in cut} == {"", "RemoteProtocolError"}
    assert all(b"</PubmedArticleSet>" not in a.content for error, a in cut if not error)
    assert all(a.elapsed.total_seconds() > 0.09 for _, a in answers("slow"))


def test_the_embedded_sample_is_served_by_every_source() -> None:
    with Mirror(sample_folder()) as mirror, httpx.Client(base_url=mirror.url) as client:
        assert search(client, "malaria")[0] > 5
        assert search(client, "malaria", db="pmc")[0] >= 1
        for address in ("cdc/health-topics.html", "who/news-room/fact-sheets"):
            assert client.get(f"/{address}").text.count("<li>") > 5
        asked = {"site": "medicalsciences", "filter": "!x"}
        items = client.get("/stackexchange/2.3/questions", params=asked).json()["items"]
        assert len(items) > 3
        assert all(item["body"] for item in items)
        assert client.get("/europepmc/search?query=malaria").json()["hitCount"] > 1
        assert "mplus_topics_2026-01-01.xml" in client.get("/medlineplus/xml.html").text

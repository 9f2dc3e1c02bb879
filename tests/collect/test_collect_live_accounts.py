"""What sources promise and what comes: an answer with status 200 hides no missing record."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from live_run import CONTACT, UNTIL
from live_stub import Query as Asked
from live_stub import Stub

from elara.collect import sample_folder
from elara.collect.live.accounts import Harvest
from elara.collect.live.bulk import PubmedFiles
from elara.collect.live.entrez import Entrez, Query
from elara.collect.live.europepmc import EuropePmc
from elara.collect.live.government import SITES, Site
from elara.collect.live.harvest import ASKS, HarvestIncomplete, Source, harvest
from elara.collect.live.sources import topic_hits
from elara.collect.live.stackexchange import StackExchange
from elara.collect.live.store import INCOMPLETE, Store
from elara.mirror import Faults, Mirror

TOPICS = [Query(name, f'"{name}"[MeSH Terms]') for name in ("asthma", "malaria", "stroke")]
Spoil = Callable[[dict[str, Any], int], None]  # changes an answer, given its place from 0
FIRST = 1_400_000_000  # seconds since 1970, of the first question


def every_source(url: str) -> list[Source]:
    sites: list[Site] = [
        dataclasses.replace(site, until=UNTIL, per_second=0, base_url=f"{url}/{site.name}")
        for site in SITES[:3]
    ]
    usual: dict[str, Any] = {"until": UNTIL, "per_second": 0}
    asked = TOPICS, CONTACT
    return [
        Entrez("pubmed", *asked, base_url=f"{url}/eutils", **usual, page=20),
        Entrez("pmc", *asked, "pmc", base_url=f"{url}/eutils", **usual, page=5),
        EuropePmc("europepmc", TOPICS, base_url=f"{url}/europepmc", **usual, page=10),
        StackExchange("stackexchange", base_url=f"{url}/stackexchange/2.3", **usual),
        PubmedFiles(base_url=f"{url}/pubmed", per_second=0),
        *sites,
    ]


def records(done: Harvest) -> set[tuple[str, str]]:
    """Pairs of source and id; of a page the path, since each mirror has a port of its own."""
    table = done.payloads.select("source", "ids").explode("ids").drop_nulls()
    return {(source, "/".join(i.split("/")[3:]) or i) for source, i in table.iter_rows()}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Harvest:
    """What all sources give when nothing goes wrong."""
    with Mirror(sample_folder(), copies=3) as mirror:
        return harvest(every_source(mirror.url), tmp_path_factory.mktemp("sound"), CONTACT)


def test_without_faults_every_account_closes(sound: Harvest) -> None:
    assert len(records(sound)) > 300
    assert sound.accounts["source"].n_unique() == len(every_source(""))
    assert sound.accounts["received"].equals(sound.accounts["expected"])
    assert sound.open_accounts().is_empty()
    assert not sound.missing()


@pytest.mark.parametrize("seed", range(3))
def test_under_a_storm_every_source_gets_all_that_it_was_promised(
    sound: Harvest, tmp_path: Path, seed: int
) -> None:
    faults = Faults(seed=seed, rate=0.38, retry_after=0.02, slow_seconds=0.02)
    with Mirror(sample_folder(), faults, copies=3) as mirror:
        done = harvest(every_source(mirror.url), tmp_path, CONTACT, longest_pause=0.01)
        spoilt = sum(bool(request.fault) for request in mirror.log)
    assert spoilt > 20
    assert records(done) == records(sound)
    assert sorted(done.accounts.rows()) == sorted(sound.accounts.rows())


@pytest.mark.parametrize("seed", range(2))
def test_what_is_gone_for_good_is_named_and_leaves_the_rest(
    sound: Harvest, tmp_path: Path, seed: int
) -> None:
    faults = Faults(seed=seed, rate=0.38, gone=0.1, retry_after=0.02, slow_seconds=0.02)
    with Mirror(sample_folder(), faults, copies=3) as mirror:
        done = harvest(
            every_source(mirror.url), tmp_path, CONTACT, longest_pause=0.01, strict=False
        )
        assert any(request.fault == "gone" for request in mirror.log)
    left_out = records(sound) - records(done)
    by_id = {(source, i) for source, fs in done.failures.items() for f in fs for i in f.ids}
    by_address = [f.what for fs in done.failures.values() for f in fs if "://" in f.what]
    # Of a search or a list that is gone, nobody can say what it would have named.
    lists = ("health-topics.html", "xml.html", "fact-sheets", "/updatefiles/", "/baseline/")
    unknown = {
        source
        for source, failures in done.failures.items()
        if any("search" in f.what or f.what.endswith(lists) for f in failures)
    }
    assert left_out
    for source, native_id in left_out:
        named = (source, native_id) in by_id or any(w.endswith(native_id) for w in by_address)
        assert named or source in unknown
    assert records(done) <= records(sound)


def spoil_page(number: int, change: Callable[[list[Any]], list[Any]]) -> Spoil:
    def spoil(answer: dict[str, Any], place: int) -> None:
        if place == number:
            records = answer["items"] if "items" in answer else answer["resultList"]["result"]
            records[:] = change(records)

    return spoil


class Pages:
    """Europe PMC with 40 hits in pages of 10, and Stack Exchange with 300 questions."""

    def __init__(self, spoil: Spoil, times: int) -> None:
        self.spoil, self.times = spoil, times
        self.asked: dict[str, int] = {}

    def __call__(self, path: str, query: Asked) -> tuple[int, bytes]:
        if path == "filters/create":
            return 200, json.dumps({"items": [{"filter": "!f"}], "has_more": False}).encode()
        if path == "search":
            mark = query["cursorMark"]
            start = 0 if mark == "*" else int(mark[1:])
            found = [{"source": "MED", "id": str(i)} for i in range(start, min(start + 10, 40))]
            following = f"c{start + 10}" if start < 40 else mark
            answer: dict[str, Any] = {
                "hitCount": 40, "nextCursorMark": following, "resultList": {"result": found},
            }  # fmt: skip
            place = start // 10
        else:
            first = max(0, -(-(int(query["fromdate"]) - FIRST) // 1000))
            start = first + 100 * (int(query["page"]) - 1)
            numbers = range(start, min(start + 100, 300))
            items = [{"question_id": i, "creation_date": FIRST + 1000 * i} for i in numbers]
            answer = {"items": items, "has_more": start + 100 < 300, "total": 300 - first}
            place = first // 99
        identity = json.dumps(query)
        self.asked[identity] = self.asked.get(identity, 0) + 1
        if self.asked[identity] <= self.times:
            self.spoil(answer, place)
        return 200, json.dumps(answer).encode()


def paged(kind: str, stub: Stub) -> Source:
    usual: dict[str, Any] = {"until": UNTIL, "base_url": stub.url, "per_second": 0}
    if kind == "europepmc":
        return EuropePmc(kind, [Query("x", "q")], page=10, **usual)
    return StackExchange(kind, "h", **usual)


def run(source: Source, folder: Path, **options: Any) -> Harvest:
    return harvest([source], folder, CONTACT, patience=5, longest_pause=0.001, **options)


SPOILT = {
    "empty": lambda records: [],
    "short": lambda records: records[:-4],
    "first half missing": lambda records: records[len(records) // 2 :],
    "one missing": lambda records: records[1:],
    "repeated": lambda records: records[:5] * (len(records) // 5),
    "not in order": lambda records: records[::-1][: len(records) - 1],
}
TOTALS = {"europepmc": 40, "stackexchange": 300}


@pytest.mark.parametrize("kind", TOTALS)
@pytest.mark.parametrize("fault", SPOILT)
@pytest.mark.parametrize("page", [0, 1, 3])
def test_a_page_that_contradicts_itself_is_asked_for_again(
    kind: str, fault: str, page: int, tmp_path: Path
) -> None:
    with Stub(Pages(spoil_page(page, SPOILT[fault]), times=ASKS - 1)) as stub:
        done = run(paged(kind, stub), tmp_path)
    assert len(records(done)) == TOTALS[kind]
    assert done.retries == ASKS - 1
    assert done.open_accounts().is_empty()


@pytest.mark.parametrize("kind", TOTALS)
@pytest.mark.parametrize("fault", ["empty", "short", "repeated"])
def test_one_that_stays_bad_is_named_kept_open_and_had_by_a_later_run(
    kind: str, fault: str, tmp_path: Path
) -> None:
    pages = Pages(spoil_page(1, SPOILT[fault]), times=10**9)
    with Stub(pages) as stub:
        with pytest.raises(HarvestIncomplete, match="times in a row"):
            run(paged(kind, stub), tmp_path)
        assert len(stub.log) < 40  # bounded
        store = Store(tmp_path, kind)
        assert len(store.ids()) < TOTALS[kind]
        done = run(paged(kind, stub), tmp_path, strict=False)
        assert done.missing()
        account = done.open_accounts().row(0, named=True)
        assert account["received"] < account["expected"]
        pages.times = 0
        before = len(stub.log)
        done = run(paged(kind, stub), tmp_path)
        assert len(records(done)) == TOTALS[kind]
        assert len(stub.log) - before <= 3  # only what was missing, and what follows it
        assert run(paged(kind, stub), tmp_path).downloaded == {kind: 0}
    assert not [step for step in Store(tmp_path, kind).steps if step.startswith(INCOMPLETE)]


@pytest.mark.parametrize(("kind", "page"), [("europepmc", 2), ("stackexchange", 1)])
def test_what_an_older_version_took_for_whole_is_asked_for_again(
    kind: str, page: int, tmp_path: Path
) -> None:
    with Stub(Pages(spoil_page(page, SPOILT["empty"]), times=0)) as stub:
        run(paged(kind, stub), tmp_path)
        store = Store(tmp_path, kind)
        steps = [s for s in store.steps if not s.startswith("filter")]
        for step in steps[page:]:
            answer = json.loads(store.read(step))
            store.forget(step)
            if step == steps[page]:  # an empty answer ended the collection there
                answer.get("items", answer.get("resultList", {}).get("result"))[:] = []
                answer["has_more"] = True
                store.add(step, stub.url, json.dumps(answer).encode(), "json")
        done = run(paged(kind, stub), tmp_path)
    assert len(records(done)) == TOTALS[kind]


def search_answer(count: int, ids: list[int], more: str = "") -> bytes:
    listed = "".join(f"<Id>{i}</Id>" for i in ids)
    return (
        f"<eSearchResult><Count>{count}</Count><IdList>{listed}</IdList>{more}</eSearchResult>"
    ).encode()


def pubmed_set(ids: list[str]) -> bytes:
    articles = "".join(
        f"<PubmedArticle><MedlineCitation><PMID>{i}</PMID></MedlineCitation></PubmedArticle>"
        for i in ids
    )
    return f"<PubmedArticleSet>{articles}</PubmedArticleSet>".encode()


class Pubmed:
    """The E-utilities with one search; answers to it come from a list, the last one for ever."""

    def __init__(self, *searches: bytes, lost: tuple[str, ...] = ()) -> None:
        self.searches, self.lost = list(searches), lost

    def __call__(self, path: str, query: Asked) -> tuple[int, bytes]:
        if path == "esearch.fcgi":
            return 200, self.searches.pop(0) if len(self.searches) > 1 else self.searches[0]
        return 200, pubmed_set([i for i in query["id"].split(",") if i not in self.lost])


def search(stub: Stub, *names: str) -> Entrez:
    queries = [Query(name, f"term of {name}") for name in names or ("x",)]
    return Entrez("pubmed", queries, CONTACT, until=UNTIL, base_url=stub.url, per_second=0)


@pytest.mark.parametrize(
    ("count", "ids"),
    [(25, []), (25, [1, 2]), (3, [1, 1, 2]), (0, [1]), (2, [1, 2, 3]), (30_000, [1])],
)
def test_a_search_that_does_not_list_what_it_counts_fails_alone(
    count: int, ids: list[int], tmp_path: Path
) -> None:
    bad, good = search_answer(count, ids), search_answer(3, [1, 2, 3])
    with Stub(Pubmed(*[bad] * (ASKS - 1), good)) as stub:
        assert len(records(run(search(stub), tmp_path / "passing"))) == 3
    with Stub(Pubmed(bad)) as stub:
        with pytest.raises(HarvestIncomplete, match=f"counts {count} records and lists"):
            run(search(stub), tmp_path / "staying")
        assert len(stub.log) == 2 * ASKS  # and not thousands of days
    assert not Store(tmp_path / "staying", "pubmed").steps


@pytest.mark.parametrize(
    ("remark", "words"),
    [
        ("<ErrorList><PhraseNotFound>lassa fevr</PhraseNotFound></ErrorList>", "lassa fevr"),
        ("<ErrorList><FieldNotFound>titel</FieldNotFound></ErrorList>", "FieldNotFound: titel"),
        ('<WarningList><QuotedPhraseNotFound>"a b"</QuotedPhraseNotFound></WarningList>', '"a b"'),
        ("<WarningList><OutputMessage>No items.</OutputMessage></WarningList>", "No items."),
        ("<WarningList><PhraseIgnored>of</PhraseIgnored></WarningList>", "PhraseIgnored: of"),
    ],
)
def test_words_that_pubmed_left_out_are_told(remark: str, words: str, tmp_path: Path) -> None:
    with Stub(Pubmed(search_answer(1, [1], remark))) as stub:
        run(search(stub), tmp_path)
        done = run(search(stub), tmp_path)  # from the stored answer as well
    assert words in done.open_accounts()["said"].item()
    harmless = "OutputMessage" in remark
    assert [line[:19] for line in done.remarks()] == ["pubmed: search x le"] * (not harmless)
    (outcome,) = done.outcomes()
    status = "skipped" if harmless else "error"
    assert (outcome.file, outcome.status) == ("pubmed/search x", status)
    assert words in outcome.reason
    assert not done.missing()


def test_records_that_do_not_come_are_named_by_id_and_asked_for_again(tmp_path: Path) -> None:
    pubmed = Pubmed(search_answer(4, [1, 2, 3, 4]), lost=("2", "4"))
    with Stub(pubmed) as stub:
        done = run(search(stub), tmp_path, strict=False)
        assert {o.native_id for o in done.outcomes()} == {"2", "4"}
        assert done.accounts.select("expected", "received").rows() == [(4, 2)]
        assert topic_hits(tmp_path).height == 4
        pubmed.lost = ()
        assert len(records(run(search(stub), tmp_path))) == 4
        assert run(search(stub), tmp_path).downloaded == {"pubmed": 0}


def test_the_answer_to_another_search_is_no_answer(tmp_path: Path) -> None:
    told = "<QueryTranslation>{}</QueryTranslation>".format
    first, second = search_answer(1, [1], told("a")), search_answer(1, [2], told("b"))
    with Stub(Pubmed(first, first, first, second)) as stub:
        done = run(search(stub, "a", "b"), tmp_path)
    assert topic_hits(tmp_path).rows() == [("a", "1"), ("b", "2")]
    assert done.retries == 2


class TwoDatabases:
    """PubMed and PMC, each with one search and the same ids; PMC's answer comes to PubMed first."""

    def __init__(self, confusions: int) -> None:
        self.confusions = confusions
        self.searched = threading.Event()

    def __call__(self, path: str, query: Asked) -> tuple[int, bytes]:
        pubmed = query["db"] == "pubmed"
        if path == "esearch.fcgi":
            if not pubmed:  # PubMed is done with its first search
                assert self.searched.wait(20)
            confused, self.confusions = pubmed and self.confusions > 0, self.confusions - pubmed
            ids = [1, 2, 3] if pubmed and not confused else [3, 4]
            told = f"<QueryTranslation>t of {len(ids)}</QueryTranslation>"
            return 200, search_answer(len(ids), ids, told)
        posted = query["id"].split(",")
        if pubmed:
            self.searched.set()
            return 200, pubmed_set(posted)
        articles = "".join(
            f'<article><article-id pub-id-type="pmcid">PMC{i}</article-id></article>'
            for i in posted
        )
        return 200, f"<pmc-articleset>{articles}</pmc-articleset>".encode()

    def harvest(self, folder: Path, **options: Any) -> Harvest:
        with Stub(self) as stub:
            sources = [
                Entrez(
                    name,
                    [Query("x", "t")],
                    CONTACT,
                    name,
                    until=UNTIL,
                    base_url=stub.url,
                    per_second=0,
                )
                for name in ("pubmed", "pmc")
            ]
            return harvest(sources, folder, CONTACT, longest_pause=0.001, **options)


def test_an_answer_that_another_source_got_first_reaches_its_own(tmp_path: Path) -> None:
    done = TwoDatabases(confusions=1).harvest(tmp_path)
    assert not done.missing()
    assert done.accounts.select("source", "expected", "received").rows() == [
        ("pubmed", 3, 3),
        ("pmc", 2, 2),
    ]
    assert {("pubmed", "1"), ("pubmed", "2"), ("pmc", "4")} < records(done)


def test_an_answer_that_two_sources_keep_getting_is_open_and_had_by_a_later_run(
    tmp_path: Path,
) -> None:
    done = TwoDatabases(confusions=10**9).harvest(tmp_path, strict=False)
    assert any("another" in line for line in done.missing())
    later = TwoDatabases(confusions=0)
    later.searched.set()
    done = later.harvest(tmp_path)
    assert sorted(done.accounts.select("source", "received").rows()) == [("pmc", 2), ("pubmed", 3)]


def test_when_nothing_at_all_came_it_is_an_error_in_any_case(tmp_path: Path) -> None:
    with (
        Stub(lambda path, query: (404, b"")) as stub,
        pytest.raises(HarvestIncomplete, match="404"),
    ):
        run(search(stub), tmp_path, strict=False)


@pytest.mark.parametrize(
    ("files", "folder"),
    [("0001 0003", "baseline"), ("0002 0003", "baseline"), ("0001 0002", "updatefiles")],
)
def test_a_list_with_gaps_is_asked_for_again(files: str, folder: str, tmp_path: Path) -> None:
    """Updates are numbered from where the baseline ends, here at 3."""
    whole = {"baseline": "0001 0002 0003", "updatefiles": "0004"}
    bad = [True, True]

    def answer(path: str, query: Asked) -> tuple[int, bytes]:
        if path.endswith(".gz.md5"):
            return 404, b""
        listed = files if path == folder and bad and bad.pop() else whole[path]
        links = "".join(f'<a href="pubmed26n{n}.xml.gz">' for n in listed.split())
        return 200, f"<html>{links}</html>".encode()

    with Stub(answer) as stub, pytest.raises(HarvestIncomplete) as caught:
        run(PubmedFiles(base_url=stub.url, per_second=0), tmp_path)
    assert "too few" not in str(caught.value)
    assert not bad
    assert str(caught.value).count("md5 answered with status 404") == 4


def page(text: str) -> bytes:
    return f"<html><body>{text}</body></html>".encode()


@pytest.mark.parametrize("wrong", [page(""), page("<script>x</script>"), page("the first")])
def test_a_page_without_text_or_of_another_address_is_asked_for_again(
    wrong: bytes, tmp_path: Path
) -> None:
    answers = {"a": [page("the first")], "b": [wrong, wrong, page("the second")]}
    links = page('<a href="/a">A</a><a href="/b">B</a>')
    lists = [page("no links"), page("no links"), links]

    def answer(path: str, query: Asked) -> tuple[int, bytes]:
        if path not in answers:
            return (404, b"") if path else (200, lists.pop(0))
        return 200, answers[path].pop(0) if len(answers[path]) > 1 else answers[path][0]

    with Stub(answer) as stub:
        site = Site("cdc", "", "[ab]", base_url=stub.url, per_second=0)
        done = run(site, tmp_path)
        assert done.retries == 4
    assert done.accounts.select("expected", "received").rows() == [(2, 2)]


def test_a_file_of_topics_is_counted(tmp_path: Path) -> None:
    def topics(number: int) -> bytes:
        return b'<health-topics total="3">' + b"<health-topic/>" * number + b"</health-topics>"

    files = [topics(0), topics(2), topics(3)]

    def answer(path: str, query: Asked) -> tuple[int, bytes]:
        if path == "t.xml":
            return 200, files.pop(0)
        return (404, b"") if path else (200, page('<a href="t.xml">topics</a>'))

    with Stub(answer) as stub:
        site = Site("medlineplus", "", r"t\.xml", "xml", base_url=stub.url, per_second=0)
        assert run(site, tmp_path).retries == 2


@pytest.mark.parametrize("change", [1, -1])
def test_a_search_whose_hits_change_meanwhile_is_walked_again(change: int, tmp_path: Path) -> None:
    asked = 0

    def answer(path: str, query: Asked) -> tuple[int, bytes]:
        nonlocal asked
        asked += 1
        # A record appears before the pages that have come, or vanishes from those that follow.
        ids = [*range(40)] if asked < 3 else [99, *range(40)] if change > 0 else [*range(39)]
        mark = query["cursorMark"]
        page = ids[0 if mark == "*" else ids.index(int(mark)) + 1 :][:10]
        found = [{"source": "MED", "id": str(i)} for i in page]
        return 200, json.dumps({
            "hitCount": len(ids),
            "nextCursorMark": str(page[-1]) if page else mark,
            "resultList": {"result": found},
        }).encode()  # fmt: skip

    with Stub(answer) as stub:
        done = run(paged("europepmc", stub), tmp_path)
        assert done.accounts.select("expected", "received").row(0) == (40 + change,) * 2
        before = asked
        run(paged("europepmc", stub), tmp_path)
        assert asked == before


def without_any(answer: dict[str, Any], place: int) -> None:
    answer |= {"hitCount": 0, "total": 0, "has_more": False}
    answer |= {"items": [], "resultList": {"result": []}}


def ended_without_a_total(answer: dict[str, Any], place: int) -> None:
    answer["has_more"] = False
    answer.pop("total", None)


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("europepmc", without_any),
        ("stackexchange", without_any),
        ("stackexchange", ended_without_a_total),
    ],
)
def test_what_is_odd_is_doubted_once(kind: str, spoil: Spoil, tmp_path: Path) -> None:
    with Stub(Pages(spoil, times=1)) as stub:
        assert len(records(run(paged(kind, stub), tmp_path / "passing"))) == TOTALS[kind]
    pages = Pages(spoil, times=10**9)
    with Stub(pages) as stub:
        done = run(paged(kind, stub), tmp_path / "staying")
        assert done.open_accounts().is_empty()
        assert done.retries == 1
        pages.times = 0  # what an earlier run was told is asked for again
        assert len(records(run(paged(kind, stub), tmp_path / "staying"))) == TOTALS[kind]


def test_that_pubmed_finds_nothing_is_doubted_once(tmp_path: Path) -> None:
    nothing = search_answer(0, [])
    with Stub(Pubmed(nothing, search_answer(2, [1, 2]))) as stub:
        assert len(records(run(search(stub), tmp_path / "passing"))) == 2
    with Stub(Pubmed(nothing)) as stub:
        assert run(search(stub), tmp_path / "staying").open_accounts().is_empty()
        assert len(stub.log) == 2

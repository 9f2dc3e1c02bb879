"""Europe PMC: its search, what the parser makes of its answers, and how they join others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from folders import read_folder
from live_stub import Query as Asked
from live_stub import Stub

from elara.collect import europepmc, pubmed
from elara.collect.live.accounts import Harvest
from elara.collect.live.entrez import Query
from elara.collect.live.europepmc import EuropePmc
from elara.collect.live.harvest import HarvestIncomplete, harvest
from elara.collect.live.store import Store, payload_table
from elara.collect.merge import merge
from elara.collect.recognise import recognise
from elara.mirror import Faults, Mirror
from elara.records import Article

CONTACT = "name@example.org"
QUERIES = [Query("malaria", "KW:malaria"), Query("tb", 'TITLE_ABS:"tuberculosis"')]
RESULT: dict[str, Any] = {
    "id": "31452104",
    "source": "MED",
    "pmid": "31452104",
    "pmcid": "PMC123",
    "doi": "10.1000/ABC",
    "title": "Fever in <i>Plasmodium</i> &amp; others.",
    "authorString": "Byron A, Malaria Group.",
    "authorList": {
        "author": [
            {"fullName": "Byron A", "firstName": "Ada", "lastName": "Byron", "initials": "A"},
            {"collectiveName": "Malaria Group"},
        ]
    },
    "journalInfo": {
        "dateOfPublication": "2019 Aug",
        "printPublicationDate": "2019-08-01",
        "journal": {"title": "Malaria journal"},
    },
    "abstractText": "<h4>Background</h4>Counts of 10<sup>9</sup>/L,  p&lt;0.05. "
    "<h4>Methods and results:</h4>We <b>saw</b>.<h4>Empty</h4>",
    "language": "eng",
    "pubTypeList": {"pubType": ["Retracted Publication", "Journal Article"]},
    "keywordList": {"keyword": ["Fever"]},
    "meshHeadingList": {"meshHeading": [{"majorTopic_YN": "Y", "descriptorName": "Malaria"}]},
    "license": "cc by-nc-nd",
    "dateOfRevision": "2020-01-02",
    "firstPublicationDate": "2019-07-30",
}


def answer(results: list[dict[str, Any]], **more: Any) -> bytes:
    content = {"version": "6.9", "hitCount": len(results), "request": {}} | more
    return json.dumps(content | {"resultList": {"result": results}}).encode()


def read(result: dict[str, Any]) -> Article:
    (found,) = europepmc.parse([answer([result])])
    assert found.article, found.reason
    return found.article


def test_a_result_gives_all_that_it_says() -> None:
    article = read(RESULT)
    assert (article.id, article.source) == ("europepmc:MED:31452104", "europepmc")
    assert (article.pmid, article.pmcid, article.doi) == ("31452104", "PMC123", "10.1000/abc")
    assert article.title == "Fever in Plasmodium & others."
    assert article.abstract.splitlines() == [
        "BACKGROUND: Counts of 10⁹/L, p<0.05.",
        "METHODS AND RESULTS: We saw.",
    ]
    assert article.authors == ["Ada Byron", "Malaria Group"]
    assert (article.journal, article.published) == ("Malaria journal", "2019-08")
    assert (article.language, article.keywords, article.mesh) == ("en", ["Fever"], ["Malaria"])
    assert (article.licence, article.redistributable) == ("CC-BY-NC-ND", False)
    assert article.retracted


def test_preprints_have_a_server_instead_of_a_journal() -> None:
    preprint = {
        "id": "PPR1", "source": "PPR", "title": "T", "license": "cc by",
        "authorString": "Byron A, Curie M.", "firstPublicationDate": "2024-02-03",
        "bookOrReportDetails": {"publisher": "medRxiv", "yearOfPublication": 2024},
    }  # fmt: skip
    article = read(preprint)
    assert (article.journal, article.published) == ("medRxiv", "2024-02-03")
    assert article.authors == ["Byron A", "Curie M"]
    assert (article.licence, article.redistributable) == ("CC-BY", True)
    assert not article.retracted


def test_signs_that_look_like_tags_stay() -> None:
    text = 'a<b c<sub>2</sub>, <i class="x">n</i> <20<br/>p<0.05 > q <p>end</p>'
    assert read(RESULT | {"abstractText": text}).abstract == "a<b c2, n <20 p<0.05 > q end"


@pytest.mark.parametrize("kind", ["Retraction in", "Erratum in"])
def test_a_retraction_notice_marks_the_article(kind: str) -> None:
    notices = {"commentCorrectionList": {"commentCorrection": [{"type": kind, "id": "9"}]}}
    article = read(RESULT | {"pubTypeList": {"pubType": ["Journal Article"]}} | notices)
    assert article.retracted == (kind == "Retraction in")


def test_results_that_cannot_be_read_are_named() -> None:
    results = [RESULT, {"id": "1"}, RESULT | {"journalInfo": "odd"}, "odd"]
    found = list(europepmc.parse([answer(results)]))  # type: ignore[arg-type]
    assert [p.status for p in found] == ["article", "skipped", "error", "skipped"]
    (broken,) = europepmc.parse([answer([RESULT])[:-9]])
    assert (broken.status, "fetch it again" in broken.reason) == ("error", True)
    assert recognise(answer([RESULT])) == ("europepmc", "")


def test_the_record_of_pubmed_and_of_europe_pmc_become_one() -> None:
    record = b"""<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID>31452104</PMID><Article>
    <ArticleTitle>Fever</ArticleTitle></Article></MedlineCitation></PubmedArticle>
    </PubmedArticleSet>"""
    parsed = [*pubmed.parse([record]), *europepmc.parse([answer([RESULT])])]
    (article,), outcomes, _ = merge(parsed)
    # The abstract is Europe PMC's, and with it the article's id and licence.
    assert article.id == "europepmc:MED:31452104"
    assert (article.mesh, article.doi, article.licence) == (
        ["Malaria"], "10.1000/abc", "CC-BY-NC-ND",
    )  # fmt: skip
    assert "same PMID 31452104" in "".join(o.reason for o in outcomes)


class Search:
    """Europe PMC with some records for each query; `KW:malaria` and the others share a few."""

    def __init__(self) -> None:
        self.records = {"KW:malaria": range(0, 25), 'TITLE_ABS:"tuberculosis"': range(20, 32)}
        self.later = range(100, 103)  # entered after the first day that is searched
        self.instead: list[bytes] = []

    def __call__(self, path: str, query: Asked) -> tuple[int, bytes]:
        if self.instead:
            return 200, self.instead.pop(0)
        assert (path, query["format"], query["resultType"]) == ("search", "json", "core")
        term, _, days = query["query"].partition(" AND (CREATION_DATE:[")
        first, last = days.removesuffix("])").split(" TO ")
        numbers = list(self.records[term[1:-1]]) if first == "1800-01-01" else []
        numbers += list(self.later) if last == "2026-11-23" else []
        start = 0 if query["cursorMark"] == "*" else int(query["cursorMark"].removeprefix("A=/"))
        shown = numbers[start : start + int(query["pageSize"])]
        mark = f"A=/{start + len(shown)}" if shown else query["cursorMark"]
        results = [RESULT | {"id": str(i), "pmid": str(i)} for i in shown]
        return 200, answer(results, hitCount=len(numbers), nextCursorMark=mark)


def run(stub: Stub, folder: Path, until: str = "2026-11-22", most: int = 0) -> Harvest:
    source = EuropePmc(
        "europepmc", QUERIES, until=until, most=most, base_url=stub.url, per_second=0, page=10
    )
    return harvest([source], folder, CONTACT, patience=5.0, longest_pause=0.01)


def found_by(folder: Path) -> pl.DataFrame:
    """Which records each search found: columns topic and ids."""
    topic = pl.col("step").str.split("/").list.get(1).alias("topic")
    kept = payload_table(folder).select(topic, "ids").explode("ids").drop_nulls()
    return kept.unique(maintain_order=True)


def hits(done: Harvest) -> dict[str, int]:
    return dict(found_by(done.root).group_by("topic").len().iter_rows())


def test_every_page_of_every_search_is_fetched_once(tmp_path: Path) -> None:
    with Stub(Search()) as stub:
        done = run(stub, tmp_path)
        assert hits(done) == {"malaria": 25, "tb": 12}
        assert len(stub.log) == 3 + 2
        assert run(stub, tmp_path).downloaded == {"europepmc": 0}
        assert len(stub.log) == 3 + 2
    assert sum(p.article is not None for p in read_folder(tmp_path)) == 37


def test_a_later_day_adds_what_came_in_between(tmp_path: Path) -> None:
    with Stub(Search()) as stub:
        run(stub, tmp_path)
        done = run(stub, tmp_path, until="2026-11-23")
        assert stub.log[-1].query["query"].endswith("(CREATION_DATE:[2026-11-23 TO 2026-11-23])")
        assert len(stub.log) == 5 + 2
    assert hits(done) == {"malaria": 28, "tb": 15}


def test_a_search_stops_at_the_most_that_is_wanted(tmp_path: Path) -> None:
    with Stub(Search()) as stub:
        assert hits(run(stub, tmp_path, most=13)) == {"malaria": 13, "tb": 12}
        assert [asked.query["pageSize"] for asked in stub.log[:2]] == ["10", "3"]


@pytest.mark.parametrize(
    "bad", [b"<html>Sorry</html>", b'{"version": "6.9", "hit', b'{"errCode": 500}', b"[]", b"{}"]
)
def test_bad_answers_are_asked_for_again(bad: bytes, tmp_path: Path) -> None:
    search = Search()
    search.instead = [bad, bad]
    with Stub(search) as stub:
        done = run(stub, tmp_path)
    assert done.retries == 2
    assert hits(done) == {"malaria": 25, "tb": 12}


def test_a_refused_search_is_named_and_the_next_one_goes_on(tmp_path: Path) -> None:
    wrong = b'{"errCode": 404, "errMsg": "Invalid query"}'
    search = Search()

    def refusing(path: str, query: Asked) -> tuple[int, bytes]:
        return (200, wrong) if "malaria" in query["query"] else search(path, query)

    with (
        Stub(refusing) as stub,
        pytest.raises(HarvestIncomplete, match=r"search malaria: .*\(Invalid query\)"),
    ):
        run(stub, tmp_path)
    assert len(Store(tmp_path, "europepmc").steps) == 2


def test_a_troubled_service_gives_the_same_records_as_a_sound_one(
    shared_data: Path, tmp_path: Path
) -> None:
    found = {}
    for name, rate in {"sound": 0.0, "troubled": 0.5}.items():
        faults = Faults(seed=5, rate=rate, retry_after=0.05, slow_seconds=0.05)
        with Mirror(shared_data / "pubmed", faults, per_query=200) as mirror:
            source = EuropePmc(
                "europepmc", QUERIES, until="2026-11-22", base_url=f"{mirror.url}/europepmc",
                per_second=0, page=10,
            )  # fmt: skip
            done = harvest([source], tmp_path / name, CONTACT, longest_pause=0.05)
        assert bool(done.retries) == bool(rate)
        found[name] = found_by(tmp_path / name).rows()
    assert found["troubled"] == found["sound"]
    assert len(found["sound"]) > 100

"""PubMed and PMC through the E-utilities: slicing, overlaps, later days."""

from __future__ import annotations

from pathlib import Path

import live_run
import pytest

from elara.collect.live import entrez
from elara.collect.live.entrez import Entrez, Query
from elara.collect.live.harvest import HarvestIncomplete, harvest
from elara.collect.live.sources import topic_hits
from elara.mirror import Mirror

CONTACT = live_run.CONTACT


def searches(mirror: Mirror) -> list[dict[str, str]]:
    return [r.parameters for r in mirror.log if r.path == "esearch.fcgi"]


def test_a_search_with_more_than_one_answer_holds_is_sliced_by_date(
    sample: Path, tmp_path: Path
) -> None:
    with Mirror(sample, copies=250, hits={"everything": 12_000}) as mirror:
        source = Entrez(
            "pubmed", [Query("all", "everything")], CONTACT, until=live_run.UNTIL,
            base_url=f"{mirror.url}/eutils", per_second=0, page=5000,
        )  # fmt: skip
        harvest([source], tmp_path, CONTACT)
    assert len(searches(mirror)) > 1
    assert len(live_run.ids(tmp_path)) == len(set(live_run.ids(tmp_path))) == 12_000
    assert topic_hits(tmp_path).height >= 12_000


def test_a_day_with_too_many_records_is_named_and_its_first_ones_are_kept(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrez, "LARGEST", 1)  # as if one answer held a single id
    with Mirror(sample, copies=3) as mirror:
        with pytest.raises(HarvestIncomplete, match="make the query narrower"):
            harvest([live_run.pubmed(mirror.url, ("asthma",))], tmp_path, CONTACT)
        assert live_run.ids(tmp_path)


def test_records_of_several_searches_are_fetched_once(sample: Path, tmp_path: Path) -> None:
    with Mirror(sample, copies=2, per_query=60) as mirror:
        names = ("asthma", "malaria", "stroke", "anaemia", "sepsis")
        harvest([live_run.pubmed(mirror.url, names)], tmp_path, CONTACT)
    hits = topic_hits(tmp_path)
    assert hits["topic"].n_unique() == 5
    assert hits.height > hits["native_id"].n_unique()
    assert live_run.ids(tmp_path) == sorted(hits["native_id"].unique())


def test_the_most_relevant_records_are_taken_where_there_is_a_limit(
    sample: Path, tmp_path: Path
) -> None:
    with Mirror(sample, copies=3) as mirror:
        harvest([live_run.pubmed(mirror.url, ("asthma",), most=7)], tmp_path, CONTACT)
        assert searches(mirror)[0]["sort"] == "relevance"
        assert len(live_run.ids(tmp_path)) == 7
        harvest([live_run.pubmed(mirror.url, ("asthma",), most=20)], tmp_path, CONTACT)
    fetched = [r.parameters["id"].split(",") for r in mirror.log if r.path == "efetch.fcgi"]
    assert len(live_run.ids(tmp_path)) == len(set(live_run.ids(tmp_path))) == 20
    assert [len(ids) for ids in fetched] == [7, 13]  # what the first run had is not fetched again


def test_a_later_day_adds_what_came_in_between(sample: Path, tmp_path: Path) -> None:
    with Mirror(sample, copies=3) as mirror:
        harvest([live_run.pubmed(mirror.url, until="2022-06-30")], tmp_path, CONTACT)
        early = live_run.ids(tmp_path)
        harvest([live_run.pubmed(mirror.url)], tmp_path, CONTACT)
    assert 0 < len(early) < len(live_run.ids(tmp_path)) == len(set(live_run.ids(tmp_path)))
    assert set(early) <= set(live_run.ids(tmp_path))


def test_full_texts_come_from_pmc(sample: Path, tmp_path: Path) -> None:
    with Mirror(sample) as mirror:
        harvest([live_run.full_texts(mirror.url)], tmp_path, CONTACT)
    assert live_run.ids(tmp_path) == sorted(topic_hits(tmp_path, "pmc")["native_id"])
    assert {r.parameters["db"] for r in mirror.log} == {"pmc"}

"""Health agencies: lists, pages, robots.txt, links to nowhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import live_run
import pytest

from elara import collect
from elara.collect.live.government import SITES, Site
from elara.collect.live.harvest import HarvestIncomplete, harvest
from elara.collect.live.store import Store, payload_table
from elara.mirror import Faults, Mirror

CONTACT = live_run.CONTACT
NAMES = ("medlineplus", "cdc", "who")


def mirrored(mirror: Mirror, **changes: object) -> list[Site]:
    """The first three known sites on a mirror."""
    return [
        dataclasses.replace(
            site,
            per_second=0,
            base_url=f"{mirror.url}/{site.name}",
            **{"until": "2026-11-23"} | changes,  # type: ignore[arg-type]
        )
        for site in SITES[:3]
    ]


def test_topics_and_pages_become_articles_with_their_licence(sample: Path, tmp_path: Path) -> None:
    faults = Faults(seed=1, rate=0.4, retry_after=0.05, slow_seconds=0.1)
    with Mirror(sample, faults) as mirror:
        harvest(mirrored(mirror), tmp_path / "raw", CONTACT, longest_pause=0.05)
    articles = collect.collect_folder(tmp_path / "raw").articles.collect()
    whole = collect.collect_folder(sample).articles.collect()
    assert articles["id"].to_list() == [
        i for i, source in whole.select("id", "source").iter_rows() if source in NAMES
    ]
    assert (articles["licence"] != "unknown").all()
    assert (articles["body"].list.len() > 0).all()


def test_what_robots_txt_forbids_is_not_asked_for(sample: Path, tmp_path: Path) -> None:
    with Mirror(sample) as mirror:
        site = dataclasses.replace(mirrored(mirror)[1], pages=r".+")
        with pytest.MonkeyPatch.context() as patch:
            links = [f"{mirror.url}/cdc/private/notes.html", f"{mirror.url}/cdc/hand-hygiene.html"]
            patch.setattr(Site, "_links", lambda *_: links)
            harvest([site], tmp_path, CONTACT)
        asked = [f"{request.service}/{request.path}" for request in mirror.log]
    assert "robots.txt" in asked[0]
    assert "hand-hygiene.html" in asked[-1]
    assert not any("private" in path for path in asked)


def test_a_link_to_nowhere_is_named_and_leaves_the_rest(sample: Path, tmp_path: Path) -> None:
    """Kept as an empty file, as it once was, it would pass for done, here and in old folders."""
    with Mirror(sample) as mirror:
        site = mirrored(mirror)[1]
        nowhere = f"{mirror.url}/cdc/nowhere.html"
        links = [nowhere, f"{mirror.url}/cdc/hand-hygiene.html"]
        old = Store(tmp_path, "cdc")
        old.add("page//nowhere.html", nowhere, b"", "html")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Site, "_links", lambda *_: links)
            done = harvest([site], tmp_path, CONTACT, strict=False)
            before = len(mirror.log)
            harvest([site], tmp_path, CONTACT, strict=False)
        later = [request.path for request in mirror.log[before:]]
        assert later == ["", "nowhere.html"]  # the rules at the root, and what is missing
    (line,) = done.missing()
    assert line.startswith(f"cdc: {nowhere} answered with status 404")
    assert done.accounts.select("expected", "received").rows() == [(2, 1)]
    collection = collect.collect_folder(tmp_path, tmp_path / "t", more=done.outcomes())
    outcomes = collection.outcomes.collect()
    reason = outcomes.filter(file=nowhere, status="error")["reason"].item()
    assert reason.startswith("not received: ")
    assert collection.counts()["articles"] == 1
    assert collection.counts()["files"] == outcomes["file"].n_unique() - 1


def test_a_site_that_has_changed_is_named(sample: Path, tmp_path: Path) -> None:
    with Mirror(sample) as mirror:
        site = dataclasses.replace(mirrored(mirror)[2], pages="fact-sheets/[A-Z]+")
        with pytest.raises(HarvestIncomplete, match="the site has changed"):
            harvest([site], tmp_path, CONTACT, longest_pause=0.01)
    assert not Store(tmp_path, "who").steps  # or it would be changed for ever


def test_a_later_day_reads_the_list_anew_and_known_pages_stay(sample: Path, tmp_path: Path) -> None:
    with Mirror(sample) as mirror:
        harvest([mirrored(mirror)[2]], tmp_path, CONTACT)
        done = harvest([mirrored(mirror, until="2027-01-01")[2]], tmp_path, CONTACT)
    assert done.downloaded == {"who": 1}
    assert payload_table(tmp_path)["step"].str.starts_with("list/").sum() == 2


def test_an_agency_cannot_be_asked_for_too_many_pages(sample: Path, tmp_path: Path) -> None:
    with Mirror(sample) as mirror:
        done = harvest([mirrored(mirror, most=2)[1]], tmp_path, CONTACT)
    assert done.downloaded == {"cdc": 3}  # the list and two pages

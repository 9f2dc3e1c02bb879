"""PubMed's files: checksums, updates, deletions."""

from __future__ import annotations

from pathlib import Path

import live_run
import pytest
from live_stub import Stub

from elara import collect
from elara.collect.live.bulk import PubmedFiles
from elara.collect.live.harvest import HarvestIncomplete, harvest
from elara.collect.live.store import Store
from elara.mirror import Faults, Mirror

CONTACT = live_run.CONTACT


def files(mirror: Mirror, **options: object) -> PubmedFiles:
    return PubmedFiles(base_url=f"{mirror.url}/pubmed", per_second=0, **options)  # type: ignore[arg-type]


def test_baseline_and_updates_give_the_current_state(sample: Path, tmp_path: Path) -> None:
    with Mirror(sample) as mirror:
        harvest([files(mirror, folders=("baseline",))], tmp_path / "old", CONTACT)
        harvest([files(mirror)], tmp_path / "new", CONTACT)
    old = collect.collect_folder(tmp_path / "old", into=tmp_path / "old-tables")
    new = collect.collect_folder(tmp_path / "new", into=tmp_path / "new-tables")
    before, after = (c.articles.collect() for c in (old, new))
    withdrawn = new.outcomes.collect()["reason"].str.contains("DeleteCitation").sum()
    assert withdrawn
    assert set(after["pmid"]) < set(before["pmid"])
    revised = after.join(before, on="pmid", suffix="_before")
    assert (revised["abstract"] != revised["abstract_before"]).any() or (
        revised["title"] != revised["title_before"]
    ).any()


def test_faults_do_not_harm_a_file(sample: Path, tmp_path: Path) -> None:
    faults = Faults(seed=5, rate=0.8, retry_after=0.05, slow_seconds=0.1)
    with Mirror(sample, faults, copies=20) as mirror:
        harvest([files(mirror)], tmp_path, CONTACT, longest_pause=0.05)
        assert sum(bool(request.fault) for request in mirror.log) > 3
    assert not live_run.damaged(tmp_path)
    with Mirror(sample, copies=20) as mirror:
        harvest([files(mirror)], tmp_path / "calm", CONTACT)
    kept = [Store(folder, "pubmed_files") for folder in (tmp_path, tmp_path / "calm")]
    assert {s: p.sha256 for s, p in kept[0].steps.items()} == {
        s: p.sha256 for s, p in kept[1].steps.items()
    }


def test_the_list_is_read_anew_and_only_new_files_are_fetched(sample: Path, tmp_path: Path) -> None:
    with Mirror(sample) as mirror:
        harvest([files(mirror, folders=("baseline",))], tmp_path, CONTACT)
        before = len(mirror.log)
        done = harvest([files(mirror)], tmp_path, CONTACT)
        later = [request.path for request in mirror.log[before:]]
    assert done.downloaded["pubmed_files"] > 0
    assert "baseline" in later
    assert not any(path.startswith("baseline/pubmed") for path in later)


def test_a_wrong_checksum_is_never_accepted(tmp_path: Path) -> None:
    def answer(path: str, query: dict[str, str]) -> tuple[int, bytes]:
        if path == "baseline":
            return 200, b'<html><a href="pubmed26n0001.xml.gz"></html>'
        return 200, b"0" * 32 if path.endswith(".md5") else b"content"

    with Stub(answer) as stub:
        source = PubmedFiles(folders=("baseline",), base_url=stub.url, per_second=0)
        with pytest.raises(HarvestIncomplete, match="MD5 sum"):
            harvest([source], tmp_path, CONTACT, longest_pause=0.01)
    assert not Store(tmp_path, "pubmed_files").steps

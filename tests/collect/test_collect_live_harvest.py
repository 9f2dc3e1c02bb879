"""A harvest keeps what it gets, fetches nothing twice, and says what it could not get."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path

import live_run
import pytest

from elara import collect
from elara.collect.live.harvest import Fetch, HarvestIncomplete, harvest
from elara.collect.live.store import JOURNAL, payload_table
from elara.mirror import Faults, Mirror
from elara.workspace import WorkspaceError

CONTACT = live_run.CONTACT


def test_faults_change_nothing_but_the_number_of_requests(sample: Path, tmp_path: Path) -> None:
    quiet, stormy = tmp_path / "quiet", tmp_path / "stormy"
    with Mirror(sample) as mirror:
        harvest([live_run.pubmed(mirror.url)], quiet, CONTACT)
    faults = Faults(seed=2, rate=0.6, retry_after=0.05, slow_seconds=0.1)
    with Mirror(sample, faults) as mirror:
        done = harvest([live_run.pubmed(mirror.url)], stormy, CONTACT, longest_pause=0.05)
    assert done.retries > 0
    assert live_run.ids(stormy) == live_run.ids(quiet)
    assert len(live_run.ids(quiet)) == len(set(live_run.ids(quiet))) > 40


def test_a_second_run_asks_for_nothing(sample: Path, tmp_path: Path) -> None:
    with Mirror(sample) as mirror:
        first = harvest([live_run.pubmed(mirror.url)], tmp_path, CONTACT)
        before = len(mirror.log)
        second = harvest([live_run.pubmed(mirror.url)], tmp_path, CONTACT)
    assert len(mirror.log) == before
    assert first.downloaded["pubmed"] > 0
    assert second.downloaded["pubmed"] == 0
    assert second.payloads.equals(first.payloads)


def test_parsing_the_payloads_again_gives_the_same_bytes(sample: Path, tmp_path: Path) -> None:
    with Mirror(sample) as mirror:
        harvest([live_run.pubmed(mirror.url)], tmp_path / "here", CONTACT)
    shutil.copytree(tmp_path / "here", tmp_path / "there", copy_function=shutil.copyfile)
    for path in (tmp_path / "there").rglob("*.gz"):
        os.utime(path, (0, 0))  # a copy need not keep the times of its files
    tables = []
    for folder in ("here", "there"):
        collection = collect.collect_folder(tmp_path / folder, into=tmp_path / f"{folder}-tables")
        assert collection.articles.collect().height == len(live_run.ids(tmp_path / "here"))
        tables.append((tmp_path / f"{folder}-tables" / "articles.parquet").read_bytes())
    assert tables[0] == tables[1]


def test_a_lost_or_shortened_payload_is_fetched_again(sample: Path, tmp_path: Path) -> None:
    with Mirror(sample) as mirror:
        harvest([live_run.pubmed(mirror.url)], tmp_path, CONTACT)
        before = live_run.ids(tmp_path)
        pages = sorted((tmp_path / "pubmed").glob("*.xml.gz"))
        pages[-1].unlink()
        pages[-2].write_bytes(b"short")
        assert len(live_run.damaged(tmp_path)) == 2
        harvest([live_run.pubmed(mirror.url)], tmp_path, CONTACT)
    assert live_run.ids(tmp_path) == before


def test_a_journal_cut_in_the_middle_of_a_line_loses_that_line_alone(
    sample: Path, tmp_path: Path
) -> None:
    with Mirror(sample) as mirror:
        harvest([live_run.pubmed(mirror.url)], tmp_path, CONTACT)
        before = live_run.ids(tmp_path)
        journal = tmp_path / "pubmed" / JOURNAL
        journal.write_bytes(journal.read_bytes()[:-30])
        done = harvest([live_run.pubmed(mirror.url)], tmp_path, CONTACT)
    assert done.downloaded["pubmed"] == 1
    assert live_run.ids(tmp_path) == before


def test_a_damaged_journal_is_named_with_its_line(sample: Path, tmp_path: Path) -> None:
    with Mirror(sample) as mirror:
        harvest([live_run.pubmed(mirror.url)], tmp_path, CONTACT)
        journal = tmp_path / "pubmed" / JOURNAL
        journal.write_text("nonsense\n" + journal.read_text())
        with pytest.raises(ValueError, match=r"journal\.jsonl, line 1 is damaged"):
            harvest([live_run.pubmed(mirror.url)], tmp_path, CONTACT)


class OneBadStep:
    """A source of three steps, of which the second is refused."""

    name = "steps"
    per_second = 0

    def __init__(self, url: str) -> None:
        self.base_url = url

    def run(self, fetch: Fetch) -> None:
        from elara.collect.live.client import FetchError, Request

        for path in ("cdc/health-topics.html", "nowhere", "who/news-room/fact-sheets"):
            try:
                fetch.get(path, Request(f"{self.base_url}/{path}"), suffix="html")
            except FetchError as error:
                fetch.fail(path, error)


def test_one_failing_step_does_not_stop_the_others_and_is_named(
    sample: Path, tmp_path: Path
) -> None:
    with Mirror(sample) as mirror, pytest.raises(HarvestIncomplete, match=r"nowhere: .*404"):
        harvest([OneBadStep(mirror.url)], tmp_path, CONTACT)
    assert payload_table(tmp_path)["step"].to_list() == [
        "cdc/health-topics.html",
        "who/news-room/fact-sheets",
    ]


def test_an_error_in_a_source_reaches_the_caller(sample: Path, tmp_path: Path) -> None:
    class Broken(OneBadStep):
        def run(self, fetch: Fetch) -> None:
            raise ZeroDivisionError("a bug")

    with Mirror(sample) as mirror, pytest.raises(ZeroDivisionError, match="a bug"):
        harvest([Broken(mirror.url)], tmp_path, CONTACT)


def test_an_interrupt_gets_through_and_stops_every_source(sample: Path, tmp_path: Path) -> None:
    stopped = threading.Event()

    class Resting(OneBadStep):
        def run(self, fetch: Fetch) -> None:
            try:
                fetch.wait(60)
            finally:
                stopped.set()

    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with Mirror(sample) as mirror, pytest.raises(KeyboardInterrupt):
            harvest([Resting(mirror.url)], tmp_path, CONTACT)
    finally:
        signal.signal(signal.SIGINT, earlier)
    assert stopped.wait(20)


def test_two_runs_cannot_fetch_into_the_same_folder(sample: Path, tmp_path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    class Slow(OneBadStep):
        def run(self, fetch: Fetch) -> None:
            entered.set()
            leave.wait(20)

    with Mirror(sample) as mirror:
        first = threading.Thread(target=harvest, args=([Slow(mirror.url)], tmp_path, CONTACT))
        first.start()
        entered.wait(20)
        with pytest.raises(WorkspaceError, match="already running"):
            harvest([live_run.pubmed(mirror.url)], tmp_path, CONTACT)
        leave.set()
        first.join()


def test_without_a_contact_nothing_is_asked(sample: Path, tmp_path: Path) -> None:
    with Mirror(sample) as mirror:
        for contact in ("", "nobody", "a@b"):
            with pytest.raises(ValueError, match="Parameter `email`"):
                harvest([live_run.pubmed(mirror.url)], tmp_path, contact)
    assert not mirror.log


def test_an_api_key_is_sent_and_never_stored(sample: Path, tmp_path: Path) -> None:
    with Mirror(sample) as mirror:
        harvest([live_run.pubmed(mirror.url, api_key="secret-key")], tmp_path, CONTACT)
    assert all(request.parameters["api_key"] == "secret-key" for request in mirror.log)
    assert "secret-key" not in repr(live_run.pubmed(mirror.url, api_key="secret-key"))
    for path in (tmp_path / "pubmed").iterdir():
        assert b"secret-key" not in path.read_bytes()

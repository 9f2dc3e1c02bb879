"""A collection that is killed again and again ends with what an undisturbed one has."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import live_run
import pytest

from elara.collect.live.store import payload_table
from elara.mirror import Faults, Mirror

KILLS = 20


def records(folder: Path) -> set[tuple[str, str]]:
    """What a store holds: pairs of source and id."""
    table = payload_table(folder).select("source", "ids").explode("ids").drop_nulls()
    return set(table.iter_rows())


def run_and_kill(mirror: Mirror, folder: Path, requests: int | None) -> None:
    """Start a run and kill it after so many requests; None lets it end.

    Requests, not seconds, so that a fast and a slow machine are struck at the same moments.
    """
    command = [sys.executable, live_run.__file__, mirror.url, str(folder)]
    last = len(mirror.log) + (requests or 0)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        if requests is not None:
            while len(mirror.log) < last and process.poll() is None:
                time.sleep(0.001)
            process.kill()
        else:
            assert process.stdout.readline() == "done\n"


@pytest.mark.long
def test_killed_at_random_moments_it_ends_with_the_same_records(
    shared_data: Path, tmp_path: Path
) -> None:
    faults = Faults(seed=3, rate=0.4, retry_after=0.05, slow_seconds=0.3)
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    with Mirror(shared_data, faults, copies=3, per_query=700) as mirror:
        run_and_kill(mirror, undisturbed, None)
        all_requests = len(mirror.log)
    moment = random.Random(7)
    unfinished = 0
    with Mirror(shared_data, faults, copies=3, per_query=700) as mirror:
        for _ in range(KILLS):
            run_and_kill(mirror, killed, moment.randint(0, all_requests // KILLS))
            unfinished += len(records(killed)) < len(records(undisturbed))
        run_and_kill(mirror, killed, None)
        good = Counter(
            request.parameters["db"]
            for request in mirror.log
            if request.path == "efetch.fcgi" and request.status == 200 and not request.fault
        )
    assert unfinished >= KILLS // 2  # most kills struck while there was work to do
    assert records(killed) == records(undisturbed)
    assert not live_run.damaged(killed)
    stored = payload_table(killed)
    kept = Counter(stored.filter(stored["step"].str.starts_with("records/"))["source"].to_list())
    # At most one page per source and kill was fetched in vain.
    assert good["pubmed"] <= kept["pubmed"] + KILLS
    assert good["pmc"] <= kept["pmc"] + KILLS

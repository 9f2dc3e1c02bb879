"""What was measured of the server under load holds its bars, and can be measured again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

WHOLE = "Whole: nothing was changed, removed, moved, added or cut off up to what is signed."


def test_the_recorded_load_holds_its_bars(project: Path) -> None:
    found = json.loads((project / "benchmarks" / "serve.json").read_text())["load"]
    two = found["two processes"]
    assert found["clients"] == 64
    assert two["answers per second"] >= 1500
    assert two["p99 ms"] < 100
    for setup in ("one process", "two processes", "two processes with an API key"):
        told = found[setup]
        assert told["errors"] == 0
        assert told["log"] == WHOLE
        # wrk does not wait for the last answers; those of its warming up count as well.
        assert told["records"]["answered"] >= told["answers"]
        before, after = told["memory MiB"]
        assert after <= 1.05 * before


def test_the_recorded_faults_lost_nothing(project: Path) -> None:
    found = json.loads((project / "benchmarks" / "serve.json").read_text())["faults"]
    assert (found["requests"], sum(found["faults"].values())) == (10_000, 100)
    before, after = found["memory MiB"]
    assert after <= 1.05 * before
    _lost_nothing(found)


def test_eight_chats_together_are_faster(project: Path) -> None:
    found = json.loads((project / "benchmarks" / "serve_batch.json").read_text())
    assert (found["chats"], found["speedup"] >= 2.5) == (8, True)


@pytest.mark.long
def test_clients_upstreams_and_processes_fail_and_nothing_is_lost(
    project: Path, tmp_path: Path
) -> None:
    out = tmp_path / "serve.json"
    command = [sys.executable, "benchmarks/serve.py", "--part", "faults", "--requests", "1000"]
    subprocess.run([*command, "--out", str(out)], cwd=project, check=True, capture_output=True)
    _lost_nothing(json.loads(out.read_text())["faults"])


def _lost_nothing(found: dict[str, object]) -> None:
    assert found["processes killed"] == 3
    assert found["of them without records"] == 0
    assert found["errors without a cause"] == 0
    assert found["of them got whole by a client"] == 0
    assert found["exit status"] == 0
    assert found["log"] == WHOLE

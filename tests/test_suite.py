"""Every test runs in exactly one part of the suite, and `make` runs every part once."""

from __future__ import annotations

import re
import subprocess
import tomllib
from itertools import product
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def parts(project: Path) -> dict[str, str]:
    """The names of the parts, and what each gives to `pytest -m`."""
    text = (project / "Makefile").read_text(encoding="utf-8")
    return dict(re.findall(r"^(FAST|LONG|AFTER|SLOW) := (.+)$", text, re.MULTILINE))


def test_whatever_its_markers_a_test_belongs_to_one_part(
    parts: dict[str, str], project: Path
) -> None:
    settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    lines = settings["tool"]["pytest"]["ini_options"]["markers"]
    markers = [line.split(":")[0] for line in lines]
    assert len(markers) >= 5
    for marked in product([False, True], repeat=len(markers)):
        has = dict(zip(markers, marked, strict=True))
        # The expressions are Python's own as well as pytest's.
        assert sum(eval(part, {}, has) for part in parts.values()) == 1, has


def test_make_runs_each_part_once(parts: dict[str, str], project: Path) -> None:
    def run_by(*targets: str) -> str:
        command = ["make", "--dry-run", *targets]
        return subprocess.run(
            command, cwd=project, check=True, capture_output=True, text=True
        ).stdout

    fast, long, after, slow = (parts[name] for name in ("FAST", "LONG", "AFTER", "SLOW"))
    for target, expected in {
        "test-fast": [fast],
        "test": [fast, long, after],
        "test-slow": [slow],
    }.items():
        assert re.findall(r'-m "(.+)"', run_by(target)) == expected, target
    assert run_by("test").count("--nbval-lax") == 1
    hardware = run_by("test-slow")
    for runs in (r"pytest tests/train", r"make\S* nbval"):
        settings = re.findall(rf"^env (.*) OMP_NUM_THREADS=(\d).* \S*{runs}", hardware, re.M)
        assert settings == [("ONEDNN_MAX_CPU_ISA=AVX2", "1"), ("-u ONEDNN_MAX_CPU_ISA", "4")]


def test_one_room_is_tested_by_its_name(parts: dict[str, str], project: Path) -> None:
    def make(room: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "--dry-run", "unit", f"ROOM={room}"]
        return subprocess.run(command, cwd=project, capture_output=True, text=True)

    assert f'pytest tests/clean -q -m "{parts["FAST"]}"' in make("clean").stdout
    for wrong in ("", "cleen"):
        assert re.search(r"Name a room, .*: .*clean.*workspace", make(wrong).stderr), wrong

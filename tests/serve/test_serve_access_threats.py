"""The page of threats names a test for every risk, and each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

STRIDE = ("Spoofing", "Tampering", "Repudiation", "Information", "Denial", "Elevation")
# Built and tested with the parts that they are about.
ELSEWHERE = ("test_serve_journal*", "test_serve_engine*", "test_serve_upstream*")


def test_every_risk_has_a_test(project: Path) -> None:
    page = (project / "book" / "threats.md").read_text(encoding="utf-8")
    parts = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    assert {word for word in STRIDE for part in parts if part.startswith(word)} == {*STRIDE}
    for part in parts:
        if not part.startswith(STRIDE):
            continue
        rows = [line.split("|") for line in part.splitlines() if line.startswith("|")][2:]
        assert rows
        for row in rows:
            named = re.findall(r"`(test_\S+)`", row[3])
            assert named, row
            for name in named:
                if name not in ELSEWHERE:
                    file, _, test = name.partition("::")
                    (path,) = (project / "tests").rglob(f"{file}.py")
                    assert f"def {test}(" in path.read_text(encoding="utf-8"), name

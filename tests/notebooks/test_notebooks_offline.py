"""The guard that shows that the notebooks need no network does see an attempt."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_an_attempt_fails_and_is_written_down(project: Path, tmp_path: Path) -> None:
    log = tmp_path / "network.log"
    code = "import urllib.request; urllib.request.urlopen('http://elara.invalid/', timeout=5)"
    environment = os.environ | {
        "PYTHONPATH": str(project / "tests" / "offline"),
        "ELARA_NETWORK_LOG": str(log),
    }
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 1
    assert "the network is off: elara.invalid" in said.stderr
    assert log.read_text().startswith("elara.invalid ")

"""Training runs as another user, on a read-only checkout, and without shared memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import elsewhere
import pytest

from elara.model.packaged import packaged_folder


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may do this")
@pytest.mark.parametrize("place", elsewhere.PLACES)
def test_training_in_another_place(
    place: str, tiny_folder: Path, tmp_path: Path, project: Path
) -> None:
    home = elsewhere.folder_for_anyone(tmp_path)
    script = project / "tests" / "tiny_run.py"
    done = subprocess.run(
        [*elsewhere.prefix(place, project), sys.executable, script, tiny_folder, home],
        env=os.environ
        | {
            "PYTHONPATH": str(project),
            "HOME": str(home / "none"),
            "ELARA_CACHE": str(packaged_folder().parent),
        },
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (home / "adapter" / "adapter_model.safetensors").is_file()

"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

from elara.workspace import Workspace

PROJECT = Path(__file__).resolve().parents[1]

# How long an example takes says more about the machine than about Elara.
hypothesis.settings.register_profile("elara", deadline=None)
hypothesis.settings.load_profile("elara")


@pytest.fixture(scope="session")
def project() -> Path:
    """The checkout."""
    return PROJECT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data written by others; it lives outside the project and may be absent."""
    named = os.environ.get("ELARA_SHARED_DATA")
    folder = Path(named) if named else PROJECT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared test data at {folder} (set ELARA_SHARED_DATA)")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return Workspace(tmp_path / "workspace")

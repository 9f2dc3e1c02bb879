"""What the tests of live sources share."""

from __future__ import annotations

from pathlib import Path

import pytest

from elara.collect import sample_folder


@pytest.fixture
def sample() -> Path:
    """The embedded sample, for a mirror to serve."""
    return sample_folder()

"""An adapter of the tiny model, sealed once, to be read or copied."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def sealed_run(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A sealed adapter folder with its passport, and the run that made it. Not to be changed."""
    import tiny_run

    from elara.audit.certificate import certify
    from elara.audit.passport import write_passport

    out = tmp_path_factory.mktemp("sealed")
    training = tiny_run.run(tiny_folder, out)
    splits = {"train": tiny_run.examples(16), "validation": tiny_run.examples(4, start=100)}
    held_out = {"validation": splits["validation"], "test": tiny_run.examples(4, start=200)}
    certificate = certify(splits["train"], held_out)
    config = tiny_run.config(tiny_folder)
    write_passport(out / "adapter", training, config, splits, certificate)
    return out / "adapter", training


@pytest.fixture
def sealed(sealed_run: tuple[Path, Any]) -> Path:
    """The sealed adapter folder. Not to be changed."""
    return sealed_run[0]


@pytest.fixture
def copy(sealed: Path, tmp_path: Path) -> Path:
    """A copy of the sealed adapter folder, to be damaged."""
    return Path(shutil.copytree(sealed, tmp_path / "copy" / "adapter"))

"""The made-up corpus of the benchmarks, small, and what inspection leaves of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from elara.inspection import inspect_files


@pytest.fixture(scope="session")
def generator(project: Path) -> ModuleType:
    """The corpus generator of the benchmarks."""
    spec = importlib.util.spec_from_file_location("corpus", project / "benchmarks" / "corpus.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def corpus(generator: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3,000 made-up articles in 11 files, with the truth about their copies."""
    folder: Path = generator.generate(tmp_path_factory.mktemp("corpus"), articles=3000, seed=7)
    return folder


@pytest.fixture(scope="session")
def inspected(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `inspect_files` filled from the corpus."""
    into = tmp_path_factory.mktemp("inspected")
    inspect_files(corpus, into)
    return into

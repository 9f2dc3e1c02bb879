"""Fixtures that every room's tests share."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from elara.collect import sample_folder
from elara.workspace import Workspace

PROJECT = Path(__file__).resolve().parents[1]

# How long an example takes says more about the machine than about Elara.
hypothesis.settings.register_profile("elara", deadline=None)
hypothesis.settings.load_profile("elara")


@pytest.fixture(scope="module", autouse=True)
def _quick_collections() -> None:
    """Trainers and servers collect garbage; what is loaded by now is none, and takes a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def project() -> Path:
    """The checkout."""
    return PROJECT


def _shared() -> Path:
    named = os.environ.get("ELARA_SHARED_DATA")
    return Path(named) if named else PROJECT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data written by others; it lives outside the project and may be absent."""
    folder = _shared()
    if not folder.is_dir():
        pytest.skip(f"no shared test data at {folder} (set ELARA_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def source_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every source: the real ones, or else synthetic ones in folders of the same names.

    The synthetic ones are `tests/data` and the embedded sample.
    """
    if _shared().is_dir():
        return _shared()
    folder = tmp_path_factory.mktemp("source-files") / "data"
    shutil.copytree(PROJECT / "tests" / "data", folder)
    sample = sample_folder()
    for name, place in {
        "pubmed": "pubmed/sample",
        "jats": "jats/sample",
        "stackexchange": "stackexchange/api",
        "medlineplus": "public_health/medlineplus",
        "cdc": "public_health/cdc",
    }.items():
        shutil.copytree(sample / name, folder / place)
    return folder


@pytest.fixture(scope="session")
def least() -> Callable[[int], int]:
    """How many a test that reads `source_files` has to meet: of real files so many, else one."""
    return (lambda number: number) if _shared().is_dir() else (lambda number: 1)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model that trains in a second: random layers, SmolLM2's tokenizer and template."""
    import torch
    import transformers

    from elara.model import packaged_folder

    folder = tmp_path_factory.mktemp("tiny-model")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=49152,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(packaged_folder()).save_pretrained(folder)
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return Workspace(tmp_path / "workspace")


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

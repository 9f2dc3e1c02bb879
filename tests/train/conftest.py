"""A language model small enough to train in a second, with the real tokenizer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from elara.model import packaged_folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two random layers and SmolLM2's tokenizer and chat template."""
    import torch
    import transformers

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


@pytest.fixture(scope="session")
def sealed_run(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A sealed adapter folder with its passport, and the run that made it. Not to be changed."""
    import tiny_run

    from elara.train.audit.certificate import certify
    from elara.train.audit.passport import write_passport

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

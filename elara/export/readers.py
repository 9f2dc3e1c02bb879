"""Programs that read an export back, behind one face, so that each is asked the same."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from elara.export.drafts import ExportError
from elara.model import load_adapter, load_base, quiet_libraries
from elara.model.marks import as_data
from elara.model.packaged import cut_digits

if TYPE_CHECKING:
    import torch


class Reader(Protocol):
    """A program that can read an export."""

    name: str

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids of a prompt, by the export's own template and tokenizer."""

    def logits(self, ids: list[int]) -> torch.Tensor:
        """Logits (positions by vocabulary) after each token."""

    def answer(self, ids: list[int], limit: int) -> list[int]:
        """The most likely continuation, token by token, stop token included."""


class TransformersReader:
    """Reads folders and GGUF files with transformers.

    Args:
        model: a causal language model in evaluation mode.
        tokenizer: its tokenizer.
    """

    name = "transformers"

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids of a prompt."""
        return list(
            self._tokenizer.apply_chat_template(
                as_data(self._tokenizer, messages), add_generation_prompt=True, return_dict=False
            )
        )

    def logits(self, ids: list[int]) -> torch.Tensor:
        """Logits after each token."""
        import torch

        with torch.inference_mode():
            batch = torch.tensor([ids], device=self._model.device)
            logits: torch.Tensor = self._model(batch, use_cache=False).logits[0].float().cpu()
        return logits

    def answer(self, ids: list[int], limit: int) -> list[int]:
        """The most likely continuation. `generate` would apply penalties from the folder."""
        import torch

        answer: list[int] = []
        batch = torch.tensor([ids], device=self._model.device)
        memory = None
        with torch.inference_mode():
            while len(answer) < limit:
                out = self._model(batch, past_key_values=memory, use_cache=True)
                memory = out.past_key_values
                batch = out.logits[:, -1:].argmax(-1)
                answer.append(int(batch))
                if answer[-1] == self._tokenizer.eos_token_id:
                    break
        return answer


class LlamaCppReader:
    """Reads a GGUF file with llama.cpp itself, where its Python binding is installed.

    Args:
        path: the file.
        tokenizer: the tokenizer in it, for the chat template: llama.cpp renders its own.
        context: tokens to make room for.

    Source: https://llama-cpp-python.readthedocs.io/en/latest/api-reference/
    """

    name = "llama.cpp"

    def __init__(self, path: Path, tokenizer: Any, context: int = 1024) -> None:
        binding: Any = importlib.import_module("llama_cpp")
        self._model = binding.Llama(
            str(path), n_ctx=context, logits_all=True, verbose=False, n_gpu_layers=0
        )
        self._tokenizer = tokenizer

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids of a prompt; the start token is in the template where there is one."""
        text = self._tokenizer.apply_chat_template(
            as_data(self._tokenizer, messages), add_generation_prompt=True, tokenize=False
        )
        return list(self._model.tokenize(text.encode(), add_bos=False, special=True))

    def logits(self, ids: list[int]) -> torch.Tensor:
        """Logits after each token."""
        import torch

        self._model.reset()
        self._model.eval(ids)
        return torch.from_numpy(self._model.scores[: len(ids)].copy())

    def answer(self, ids: list[int], limit: int) -> list[int]:
        """The most likely continuation."""
        answer: list[int] = []
        self._model.reset()
        batch = ids
        while len(answer) < limit:
            self._model.eval(batch)
            batch = [int(self._model.scores[self._model.n_tokens - 1].argmax())]
            answer += batch
            if batch[0] == self._model.token_eos():
                break
        return answer


def open_export(path: Path) -> list[tuple[Reader, str]]:
    """Open an export with every program at hand.

    Args:
        path: a transformers folder, an adapter folder or a GGUF file.

    Returns:
        Readers, each with the number format of the weights: `float32`, `bfloat16`, `float16`, or
        GGUF's `F32`, `F16`, `Q8_0`.

    Raises:
        ExportError: the export cannot be read.
    """
    try:
        if path.suffix == ".gguf":
            return _read_gguf(path)
        if (path / "adapter_config.json").exists():
            return [_read_adapter(path)]
        return [_read_folder(path)]
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, ExportError):
            raise
        raise ExportError(f"{path} cannot be read back ({error}): export again.") from error


def _read_folder(folder: Path) -> tuple[Reader, str]:
    lm = load_base(str(folder), precision="float32")
    weights = json.loads((folder / "config.json").read_text(encoding="utf-8"))["dtype"]
    return TransformersReader(lm.model, lm.tokenizer), weights


def _read_adapter(folder: Path) -> tuple[Reader, str]:
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    base = load_base(record["base_model"], quantisation=record["quantisation"], precision="float32")
    lm = load_adapter(folder, base=base)
    return TransformersReader(lm.model, lm.tokenizer), "float32"


def _read_gguf(path: Path) -> list[tuple[Reader, str]]:
    import gguf
    import torch
    import transformers

    fields = gguf.GGUFReader(path).fields
    weights = gguf.LlamaFileType(fields["general.file_type"].contents()).name
    weights = weights.removeprefix("ALL_").removeprefix("MOSTLY_")
    where = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    with quiet_libraries(), _without_bar():
        tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
        model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    if fields["tokenizer.ggml.pre"].contents() == "smollm":
        cut_digits(tokenizer)
    readers: list[Reader] = [TransformersReader(model.eval(), tokenizer)]
    if importlib.util.find_spec("llama_cpp"):
        readers.append(LlamaCppReader(path, tokenizer))
    return [(reader, weights) for reader in readers]


@contextlib.contextmanager
def _without_bar() -> Iterator[None]:
    """Keep transformers' bar over the tensors away; its switch for bars does not reach it."""
    from transformers import modeling_gguf_pytorch_utils as reading

    bar = reading.tqdm
    reading.tqdm = lambda items, **_: items
    try:
        yield
    finally:
        reading.tqdm = bar

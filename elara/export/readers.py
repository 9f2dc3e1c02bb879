"""Read an export back with each program at hand, and ask it for ids, logits and an answer."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from elara.export.errors import ExportError
from elara.model import load_adapter, load_base, quiet_libraries
from elara.model.marks import as_data
from elara.model.packaged import cut_digits

if TYPE_CHECKING:
    import torch


class Reader:
    """Reads folders and GGUF files with transformers.

    Args:
        model: a causal language model in evaluation mode.
        tokenizer: its tokenizer.
    """

    name = "transformers"

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids of a prompt, by the export's own template and tokenizer."""
        return list(
            self._tokenizer.apply_chat_template(
                as_data(self._tokenizer, messages), add_generation_prompt=True, return_dict=False
            )
        )

    def logits(self, ids: list[int]) -> torch.Tensor:
        """Logits (positions by vocabulary) after each token."""
        import torch

        with torch.inference_mode():
            batch = torch.tensor([ids], device=self._model.device)
            logits: torch.Tensor = self._model(batch, use_cache=False).logits[0].float().cpu()
        return logits

    def answer(self, ids: list[int], limit: int) -> list[int]:
        """The most likely continuation, token by token, stop token included.

        `generate` would apply penalties from the folder.
        """
        import torch

        answer: list[int] = []
        batch = torch.tensor([ids], device=self._model.device)
        cache = None
        with torch.inference_mode():
            while len(answer) < limit:
                out = self._model(batch, past_key_values=cache, use_cache=True)
                cache = out.past_key_values
                batch = out.logits[:, -1:].argmax(-1)
                answer.append(int(batch))
                if answer[-1] == self._tokenizer.eos_token_id:
                    break
        return answer


class LlamaCppReader(Reader):
    """Reads a GGUF file with llama.cpp itself, where its Python binding is installed.

    Args:
        path: the file.
        tokenizer: the tokenizer in it, for the chat template: llama.cpp renders its own.

    Source: https://llama-cpp-python.readthedocs.io/en/latest/api-reference/
    """

    name = "llama.cpp"

    def __init__(self, path: Path, tokenizer: Any) -> None:
        binding: Any = importlib.import_module("llama_cpp")
        model = binding.Llama(str(path), n_ctx=1024, logits_all=True, verbose=False, n_gpu_layers=0)
        super().__init__(model, tokenizer)

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids of a prompt; the start token is in the template where there is one."""
        text = self._tokenizer.apply_chat_template(
            as_data(self._tokenizer, messages), add_generation_prompt=True, tokenize=False
        )
        return list(self._model.tokenize(text.encode(), add_bos=False, special=True))

    def logits(self, ids: list[int]) -> torch.Tensor:
        """Logits (positions by vocabulary) after each token."""
        import torch

        self._model.reset()
        self._model.eval(ids)
        return torch.from_numpy(self._model.scores[: len(ids)].copy())

    def answer(self, ids: list[int], limit: int) -> list[int]:
        """The most likely continuation, token by token, stop token included."""
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
            return _open_gguf(path)
        if (path / "adapter_config.json").exists():
            record = json.loads((path / "training.json").read_text(encoding="utf-8"))
            quantisation = record["quantisation"]
            base = load_base(record["base_model"], quantisation=quantisation, precision="float32")
            lm, weights = load_adapter(path, base=base), "float32"
        else:
            lm = load_base(str(path), precision="float32")
            weights = json.loads((path / "config.json").read_text(encoding="utf-8"))["dtype"]
        return [(Reader(lm.model, lm.tokenizer), weights)]
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ExportError(f"{path} cannot be read back ({error}): export again.") from error


def _open_gguf(path: Path) -> list[tuple[Reader, str]]:
    import gguf
    import torch
    import transformers
    from transformers import modeling_gguf_pytorch_utils as reading

    fields = gguf.GGUFReader(path).fields
    weights = gguf.LlamaFileType(fields["general.file_type"].contents()).name
    weights = weights.removeprefix("ALL_").removeprefix("MOSTLY_")
    # transformers' switch for bars does not reach the one over the tensors.
    where = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    with quiet_libraries(), mock.patch.object(reading, "tqdm", lambda items, **_: items):
        tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
        model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    if fields["tokenizer.ggml.pre"].contents() == "smollm":
        cut_digits(tokenizer)
    readers = [Reader(model.eval(), tokenizer)]
    if importlib.util.find_spec("llama_cpp"):
        readers.append(LlamaCppReader(path, tokenizer))
    return [(reader, weights) for reader in readers]

"""Prove that an exported model answers like the adapter it was made from.

An export can load, talk fluently and still be wrong: the adapter is missing, two tensors are
swapped, a template has lost a space. So each export is read back from disk with the programs that
will read it, and its probabilities are compared with the original's on the same questions.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import polars as pl

from elara.model import (
    SYSTEM_PROMPT,
    LanguageModel,
    ModelError,
    load_adapter,
    load_base,
    quiet_libraries,
)
from elara.model.chat import as_data
from elara.model.packaged import cut_digits

if TYPE_CHECKING:
    import torch

# Questions of our own, with what templates and tokenizers stumble over: numbers, units, lists,
# blank lines, quotation marks, accents.
PROMPTS = (
    "What are the early signs of sepsis in an adult?",
    "A patient takes 5 mg of warfarin daily. Which foods change its effect, and why?",
    "Explain the difference between type 1 and type 2 diabetes to a newly diagnosed patient.",
    "Lab results:\n\n1. Sodium 128 mmol/L\n2. Potassium 5.9 mmol/L\n\nWhat should be checked next?",
    'What does "ejection fraction of 35–40 %" mean for someone with heart failure?',
    "How is Sjögren's syndrome told apart from other causes of dry eyes?",
)

# An export may not lose more than this share of what the adapter itself changed.
_SHARE_OF_ADAPTER = 0.5
_MEASURABLE = 1e-6


class ExportError(ModelError):
    """A model cannot be exported as asked; the message says why and what to do."""


class ParityError(ExportError):
    """An export differs from the original by more than its bound; the message says how far."""


@dataclass(frozen=True)
class Bound:
    """The worst that an export may be.

    Args:
        kl: mean Kullback-Leibler divergence over answer positions, in nats.
        top1: share of answer positions where both name the same most likely token.
        answers: mean share of an answer up to the first different token.
    """

    kl: float
    top1: float
    answers: float


# By number format of the weights; `… llama.cpp` where llama.cpp reads them, which also rounds the
# activations. Measured values and margins are in the guide on exporting. One token that flips at a
# tie changes the rest of an answer, so bounds on whole answers are wide.
BOUNDS: dict[str, Bound] = {
    "float32": Bound(kl=1e-6, top1=0.99, answers=0.9),
    "bfloat16": Bound(kl=2e-3, top1=0.9, answers=0.2),
    "float16": Bound(kl=1e-4, top1=0.97, answers=0.4),
    "F32": Bound(kl=1e-6, top1=0.99, answers=0.9),
    "F16": Bound(kl=1e-4, top1=0.97, answers=0.4),
    "Q8_0": Bound(kl=1e-2, top1=0.9, answers=0.2),
    "F32 llama.cpp": Bound(kl=1e-4, top1=0.97, answers=0.4),
    "F16 llama.cpp": Bound(kl=2e-4, top1=0.97, answers=0.4),
    "Q8_0 llama.cpp": Bound(kl=3e-2, top1=0.85, answers=0.2),
}
# Added where the original runs on 4-bit weights: their kernels round the activations (on CPUs with
# AVX-512, to bfloat16), so the original itself is this far from its own numbers.
FOUR_BIT = Bound(kl=2e-3, top1=0.93, answers=0.2)


@dataclass(frozen=True)
class Observed:
    """What the original answers, kept so that it need not stay in memory.

    Args:
        messages: the questions as conversations.
        prompts: token ids of each prompt, chat template included.
        answers: token ids of each greedy answer.
        logprobs: per prompt, log-probabilities (answer tokens by vocabulary) of the original.
        adapter_kl: mean divergence of the base model without the adapter, in nats: what an export
            that forgot the adapter would show. None when the original is not an adapter.
        four_bit: whether the original's base weights are in 4 bits.
    """

    messages: list[list[dict[str, str]]]
    prompts: list[list[int]]
    answers: list[list[int]]
    logprobs: list[torch.Tensor]
    adapter_kl: float | None
    four_bit: bool


def observe(
    original: LanguageModel, prompts: Sequence[str] = PROMPTS, *, answer_tokens: int = 32
) -> Observed:
    """Let the original answer, and keep its probabilities.

    Args:
        original: the adapter on its base model, in float32 for bounds as tight as `BOUNDS`.
        prompts: questions to compare on.
        answer_tokens: longest answer, in tokens.
    """
    import torch

    reader = _Reader(original.model, original.tokenizer)
    system = {"role": "system", "content": SYSTEM_PROMPT}
    chats = [[system, {"role": "user", "content": prompt}] for prompt in prompts]
    asked = [reader.encode(chat) for chat in chats]
    answers = [reader.answer(ids, answer_tokens) for ids in asked]
    logprobs = [_logprobs(reader, p, a) for p, a in zip(asked, answers, strict=True)]
    adapter_kl = None
    if hasattr(original.model, "disable_adapter"):
        with original.model.disable_adapter():
            bare = [_logprobs(reader, p, a) for p, a in zip(asked, answers, strict=True)]
        adapter_kl = float(torch.cat([*map(_kl, logprobs, bare)]).mean())
    four_bit = bool(getattr(original.model, "is_loaded_in_4bit", False))
    return Observed(chats, asked, answers, logprobs, adapter_kl, four_bit)


def _logprobs(reader: _Reader, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """Log-probabilities at the positions that predict the answer's tokens."""
    logits = reader.logits(prompt + answer)[len(prompt) - 1 : -1]
    return logits.double().log_softmax(-1).float()


def _kl(original: torch.Tensor, exported: torch.Tensor) -> torch.Tensor:
    p, q = original.double(), exported.double()
    return (p.exp() * (p - q)).sum(-1).clamp(min=0)


def parity(
    original: Observed, exports: Mapping[str, Path], *, answer_tokens: int = 32
) -> pl.DataFrame:
    """Compare exports with the original on the same prompts.

    The answers compared are the original's own greedy ones: at each of their tokens, the exported
    model's probabilities for the next token are held against the original's. Then each export
    answers by itself.

    Args:
        original: what `observe` kept of the adapter on its base model.
        exports: format name to its folder or GGUF file. GGUF files are read by transformers, and
            by llama.cpp too where `llama_cpp` can be imported.
        answer_tokens: longest answer, in tokens.

    Returns:
        One row per export and reader: format, reader, weights, prompts, positions (answer tokens
        compared), same_prompt_tokens (share of prompts with the same ids), kl and max_kl (nats),
        kl_bound, adapter_kl (what the base without the adapter would show), top1_agreement,
        answer_agreement (share of each answer up to the first different token, averaged), bytes.

    Raises:
        ParityError: an export is worse than its bound in `BOUNDS`.
        ExportError: an export cannot be read back.

    Source: Kullback and Leibler (1951), https://doi.org/10.1214/aoms/1177729694.
    """
    rows, problems = [], []
    for name, path in exports.items():
        files = [path] if path.is_file() else path.glob("*.safetensors")
        size = sum(file.stat().st_size for file in files)
        for reader, weights in _open(path):
            bound = _bound(reader, weights, four_bit=original.four_bit)
            row = {"format": name, "reader": reader.name, "weights": weights}
            row |= _compare(original, reader, answer_tokens, bound.kl) | {"bytes": size}
            rows.append(row)
            problems += _problems(row, bound)
    table = pl.DataFrame(rows)
    if problems:
        raise ParityError(" ".join(problems))
    return table


def _bound(reader: _Reader, weights: str, *, four_bit: bool) -> Bound:
    bound = BOUNDS[weights if reader.name == "transformers" else f"{weights} {reader.name}"]
    if not four_bit:
        return bound
    top1, answers = min(bound.top1, FOUR_BIT.top1), min(bound.answers, FOUR_BIT.answers)
    return Bound(bound.kl + FOUR_BIT.kl, top1, answers)


def _compare(
    observed: Observed, reader: _Reader, answer_tokens: int, kl_bound: float
) -> dict[str, Any]:
    import torch

    same_ids, divergences, same_top, agreed = [], [], [], []
    for i, messages in enumerate(observed.messages):
        prompt, answer, expected = observed.prompts[i], observed.answers[i], observed.logprobs[i]
        same_ids.append(reader.encode(messages) == prompt)
        found = _logprobs(reader, prompt, answer)
        if found.shape != expected.shape:
            raise ExportError(
                f"An export read by {reader.name} has {found.shape[-1]} tokens, the original "
                f"{expected.shape[-1]}: its vocabulary is damaged. Export again."
            )
        divergences.append(_kl(expected, found).nan_to_num(nan=float("inf")))
        same_top.append((expected.argmax(-1) == found.argmax(-1)).double())
        own = reader.answer(prompt, min(answer_tokens, len(answer)))
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(answer, own, strict=False))
        agreed.append(sum(1 for _ in same) / len(answer))
    kl = torch.cat(divergences)
    return {
        "prompts": len(same_ids),
        "positions": len(kl),
        "same_prompt_tokens": sum(same_ids) / len(same_ids),
        "kl": float(kl.mean()),
        "max_kl": float(kl.max()),
        "kl_bound": kl_bound,
        "adapter_kl": observed.adapter_kl,
        "top1_agreement": float(torch.cat(same_top).mean()),
        "answer_agreement": sum(agreed) / len(agreed),
    }


def _problems(row: dict[str, Any], bound: Bound) -> list[str]:
    """What in a row is worse than its bound, each with a remedy."""
    who = f"{row['format']} ({row['weights']}, read by {row['reader']})"
    effect, found = row["adapter_kl"], []
    if row["same_prompt_tokens"] < 1:
        found.append(
            f"{who}: {row['same_prompt_tokens']:.0%} of the prompts have the original's token ids, "
            "all must: tokenizer or chat template was not exported right. Please report it."
        )
    if not row["kl"] <= bound.kl:
        found.append(
            f"{who}: KL divergence {row['kl']:.2g} is above the bound {bound.kl:.2g}: "
            f"{_suspect(row)}"
        )
    elif effect is not None and effect > _MEASURABLE and row["kl"] > _SHARE_OF_ADAPTER * effect:
        found.append(
            f"{who}: KL divergence {row['kl']:.2g} is more than half of what the adapter changed "
            f"({effect:.2g}): this format rounds the adapter away. Choose a finer one (float32, "
            "F32) or train longer."
        )
    if row["top1_agreement"] < bound.top1:
        found.append(
            f"{who}: the most likely token agrees at {row['top1_agreement']:.1%} of the positions, "
            f"bound {bound.top1:.0%}: {_suspect(row)}"
        )
    if row["answer_agreement"] < bound.answers:
        found.append(
            f"{who}: answers agree for {row['answer_agreement']:.0%} of their length, bound "
            f"{bound.answers:.0%}: {_suspect(row)}"
        )
    return found


def _suspect(row: dict[str, Any]) -> str:
    effect = row["adapter_kl"]
    if effect is not None and effect > _MEASURABLE and 0.8 < row["kl"] / effect < 1.25:
        return "as far away as the base model, so the adapter seems missing. Export again."
    return "export again, or choose a finer number format (float32, F32)."


class _Reader:
    """Reads folders and GGUF files with transformers."""

    name = "transformers"

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer, self._cache = model, tokenizer, None
        self._stop = tokenizer.eos_token_id

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids of a prompt, by the export's own template and tokenizer."""
        return list(self._prompt(messages, return_dict=False))

    def _prompt(self, messages: list[dict[str, str]], **how: Any) -> Any:
        turns = as_data(self._tokenizer, messages)
        return self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, **how)

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
        answer: list[int] = []
        while len(answer) < limit and answer[-1:] != [self._stop]:
            answer.append(self._next(answer[-1:] or ids, first=not answer))
        return answer

    def _next(self, ids: list[int], *, first: bool) -> int:
        import torch

        batch, cache = torch.tensor([ids], device=self._model.device), self._cache
        with torch.inference_mode():
            out = self._model(batch, past_key_values=None if first else cache, use_cache=True)
        self._cache = out.past_key_values
        return int(out.logits[0, -1].argmax())


class _LlamaCppReader(_Reader):
    """Reads a GGUF file with llama.cpp itself, where its Python binding is installed.

    The chat template comes from the tokenizer in the file: llama.cpp renders its own.

    Source: https://llama-cpp-python.readthedocs.io/en/latest/api-reference/
    """

    name = "llama.cpp"

    def __init__(self, path: Path, tokenizer: Any) -> None:
        binding: Any = importlib.import_module("llama_cpp")
        model = binding.Llama(str(path), n_ctx=1024, logits_all=True, verbose=False, n_gpu_layers=0)
        super().__init__(model, tokenizer)
        self._stop = model.token_eos()

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids of a prompt; the start token is in the template where there is one."""
        text = self._prompt(messages, tokenize=False)
        return list(self._model.tokenize(text.encode(), add_bos=False, special=True))

    def logits(self, ids: list[int]) -> torch.Tensor:
        """Logits (positions by vocabulary) after each token."""
        import torch

        self._model.reset()
        self._model.eval(ids)
        return torch.from_numpy(self._model.scores[: len(ids)].copy())

    def _next(self, ids: list[int], *, first: bool) -> int:
        if first:
            self._model.reset()
        self._model.eval(ids)
        return int(self._model.scores[self._model.n_tokens - 1].argmax())


def _open(path: Path) -> list[tuple[_Reader, str]]:
    """Open an export with every program at hand; each reader with the weights' number format."""
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
        return [(_Reader(lm.model, lm.tokenizer), weights)]
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ExportError(f"{path} cannot be read back ({error}): export again.") from error


def _open_gguf(path: Path) -> list[tuple[_Reader, str]]:
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
    readers = [_Reader(model.eval(), tokenizer)]
    if importlib.util.find_spec("llama_cpp"):
        readers.append(_LlamaCppReader(path, tokenizer))
    return [(reader, weights) for reader in readers]

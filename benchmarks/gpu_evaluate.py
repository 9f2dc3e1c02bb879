"""How fast a model of some shape is evaluated: `gpu_evaluate.py VARIANT.json OUT.json`.

The scorers are those of notebook 06, the weights are random, and the texts are read with the
packaged model's tokenizer, to whose vocabulary the shape is widened. Random weights hardly ever say
the stop token, so the answers that are written have their full length. What is measured:

- `answer loss, 1` and `answer loss, N`: held-out examples of mixed length, one at a time as on a
  laptop, and several at a time as `06-evaluate` of the GPU profile sets it;
- `letters`: Elara's own exam items; `pairs`: safe and unsafe answers of the release gate, in which
  both sides are read; `answers`: written answers, eight at a time.
"""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gpu_model
from gpu_run import TARGETS

from elara.evaluate.choices import own_choices, sound
from elara.evaluate.gate_behavior import read_sets
from elara.evaluate.generated import generate_batch
from elara.evaluate.letters import score_letters
from elara.evaluate.pairs import measure_pairs
from elara.model import SYSTEM_PROMPT, Encoded, LanguageModel, load_tokenizer
from elara.model.base import Precision
from elara.model.losses import batch_losses

TOGETHER = 8  # written answers


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What one run is set to.

    Args:
        shape: a key of `gpu_model.SHAPES`.
        quantisation: `none` or `nf4`.
        batch: examples read at once.
        length: tokens of the longest example.
        items: of each kind, at most.
        new_tokens: of a written answer.
    """

    shape: str = "mistral-7b"
    quantisation: str = "none"
    batch: int = 8
    length: int = 1024
    items: int = 64
    new_tokens: int = 96


def model(variant: Variant) -> LanguageModel:
    """The model with a LoRA adapter whose update is not zero."""
    import peft
    import torch

    on_gpu = torch.cuda.is_available()
    device, dtype = ("cuda", "bfloat16") if on_gpu else ("cpu", "float32")
    tokenizer = load_tokenizer("smollm2-135m-instruct")
    shape = gpu_model.SHAPES[variant.shape] | {"vocab_size": len(tokenizer)}
    base = gpu_model.build(shape, quantisation=variant.quantisation, device=device, dtype=dtype)
    lora = peft.LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(base, lora).eval()
    adapted.config.use_cache = True
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.01)
    why = "of the benchmark"
    return LanguageModel(adapted, tokenizer, variant.shape, Precision(device, dtype, why))


def measure(variant: Variant) -> dict[str, Any]:
    """Seconds, items and tokens of each kind, and how much a batch changes a loss."""
    import torch

    lm = model(variant)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    losses: dict[int, list[float]] = {}
    found: dict[str, Any] = {"variant": asdict(variant)}
    for size in (1, variant.batch):
        rows = held_out(lm, variant)
        told, losses[size] = timed(lambda size=size, rows=rows: [*in_batches(lm, rows, size)])  # type: ignore[misc]
        found[f"answer loss, {size}"] = told | rate(sum(len(r.input_ids) for r in rows), told)
    alone, together = losses[1], losses[variant.batch]
    changes = [abs(a - b) for a, b in zip(alone, together, strict=True)]
    found["largest_change_of_a_loss"] = round(max(changes), 6)
    choices = sound(own_choices())[0][: variant.items]
    found["letters"], _ = timed(lambda: score_letters(lm, choices))
    pairs = [pair for pairs in read_sets().pairs.values() for pair in pairs][: variant.items]
    found["pairs"], _ = timed(lambda: measure_pairs(lm, pairs))
    chats = [_chat(pair.prompt) for pair in pairs[:TOGETHER]]
    told, said = timed(lambda: generate_batch(lm, chats, max_new_tokens=variant.new_tokens))
    found["answers"] = told | rate(sum(answer.new_tokens for answer in said), told)
    if torch.cuda.is_available():
        found["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return found


def held_out(lm: LanguageModel, variant: Variant) -> list[Encoded]:
    """Random examples of mixed length, the longest first, as the notebook reads them."""
    shape = {"vocab_size": len(lm.tokenizer)}
    made = gpu_model.examples(shape, variant.items, variant.length, mixed=True)
    return sorted((Encoded(**one) for one in made), key=lambda row: -len(row.input_ids))


def in_batches(lm: LanguageModel, rows: list[Encoded], size: int) -> Iterator[float]:
    """The adapter's loss on each example."""
    for start in range(0, len(rows), size):
        yield from batch_losses(lm, rows[start : start + size], adapter=True)


def timed(work: Callable[[], Any]) -> tuple[dict[str, Any], Any]:
    """Do it, and say for how many items and seconds; the device is waited for."""
    import torch

    started = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return {"items": len(result), "seconds": round(time.perf_counter() - started, 2)}, result


def rate(tokens: int, told: dict[str, Any]) -> dict[str, Any]:
    """Tokens, and tokens per second."""
    return {"tokens": tokens, "tokens_per_second": round(tokens / max(told["seconds"], 0.01), 1)}


def _chat(question: str) -> list[dict[str, str]]:
    system = {"role": "system", "content": SYSTEM_PROMPT}
    return [system, {"role": "user", "content": question}]


if __name__ == "__main__":
    asked = Variant(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    answer = measure(asked)
    Path(sys.argv[2]).write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")

"""One measured run of the GPU benchmark: `gpu_run.py VARIANT.json OUT.json`.

A process of its own gives the memory figures a clean start, and an out-of-memory error ends one run
and not the benchmark. Elara trains the way its notebook does, by `fine_tune`; TRL and Unsloth train
as their users have them.
"""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import contextlib
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import gpu_model

HERE = Path(__file__).resolve().parent
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# Tokens of a run that is long enough for the plan to compile.
LONG = 10**8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """What one run is set to.

    Args:
        trainer: `elara`, `trl` (its defaults) or `unsloth`.
        shape: a key of `gpu_model.SHAPES`.
        quantisation: `none` or `nf4`.
        batch: examples (packed: rows) per forward pass, planned for by `elara`; 0: the trainer's
            default.
        memory_gib: of the card that Elara plans for; 0: the card's own.
        compiled: whether Elara compiles, which its plan would choose by the length of the run.
        packing: whether TRL packs; Elara chooses for itself.
        dropout: of the adapter.
        mixed: whether examples have mixed lengths, an eighth of `length` to all of it.
        length: tokens of the longest example.
        warmup: steps before those that are measured.
        steps: measured optimiser steps.
    """

    trainer: str = "elara"
    shape: str = "mistral-7b"
    quantisation: str = "none"
    batch: int = 4
    memory_gib: float = 0
    compiled: bool = False
    packing: bool = False
    dropout: float = 0.0
    mixed: bool = False
    length: int = 2048
    warmup: int = 3
    steps: int = 8


def measure(variant: Variant) -> dict[str, Any]:
    """Train for some steps and say how fast they were and what memory they took."""
    import torch
    from gpu_meter import Meter

    from elara.train.devices.cards import peak_flops

    on_gpu = torch.cuda.is_available()
    meter = Meter(variant.warmup, variant.steps, on_gpu=on_gpu)
    found = ours(variant, meter) if variant.trainer == "elara" else theirs(variant, meter)
    if on_gpu and variant.compiled and not (meter.running and meter.running.compiled):
        raise SystemExit("The layers could not be compiled, so this was a run that is not; see log")
    peak = peak_flops(torch.cuda.get_device_name(0))[0] if on_gpu else None
    shape = gpu_model.SHAPES[variant.shape]
    return {"variant": dataclasses.asdict(variant)} | found | meter.result(shape, peak)


def ours(variant: Variant, watcher: Any) -> dict[str, Any]:
    """Train as notebook 5 does, with a callback that watches and stops it.

    Returns:
        The plan of a GPU's run with its predicted peak, what was decided about batches, the loss.
    """
    import polars as pl

    from elara.model import Encoded, LanguageModel
    from elara.model.base import choose_precision
    from elara.train import TokenData, choose_batching, sft
    from elara.train.devices import gpu

    shape, where, config = gpu_model.SHAPES[variant.shape], choose_precision(), settings(variant)
    base = gpu_model.build(
        shape, quantisation=variant.quantisation, device=where.device, dtype=where.dtype
    )
    lm = LanguageModel(base, gpu_model.tokenizer(shape), variant.shape, where)
    # Packed rows hold almost two examples of mixed length.
    count = (variant.warmup + variant.steps + 1) * variant.batch * (2 if variant.mixed else 1)
    made = gpu_model.examples(shape, count, variant.length, mixed=variant.mixed)
    rows = [Encoded(**one) for one in made]
    data = TokenData(rows, [], [f"r{i}" for i in range(count)], pl.DataFrame())
    batching, why = choose_batching(lm, config)
    found: dict[str, Any] = {"batching": f"{batching}: {why}", "plan": None}
    found |= {"examples_per_step": variant.batch}
    with planned(variant) as plans, tempfile.TemporaryDirectory() as folder:
        training = sft.fine_tune(lm, data, config, Path(folder), watchers=[watcher])
    if where.device == "cuda":
        plan = plans[0]  # an IndexError here says that `fine_tune` no longer asks for a plan
        found |= {"plan": dataclasses.asdict(plan), "examples_per_step": plan.batch}
        found |= {"predicted_gib": round(plan.bytes / 2**30, 2)}
        shown = by_shape(variant, base.config, config, gpu.device_memory(), gpu.device_name())
        found |= {"predicted_by_shape_gib": round(shown.bytes / 2**30, 2)}
    losses = training.losses.filter(split="train")["loss"]
    return found | {"loss": round(float(losses[-1]), 4)}


def settings(variant: Variant) -> Any:
    """The `TrainingConfig` of one of Elara's runs."""
    from elara.train import TrainingConfig

    return TrainingConfig(
        quantisation=variant.quantisation,
        batch_size=variant.batch,
        gradient_accumulation=1,
        max_length=variant.length,
        lora_dropout=variant.dropout,
        epochs=1.0,
        save_steps=10**6,
        trackers=(),
    )


def by_shape(variant: Variant, shape: Any, config: Any, memory: int, card: str) -> Any:
    """The plan that is predicted for a run from the model's shape, without its weights.

    Args:
        variant: the run.
        shape: the model's configuration.
        config: the run's `TrainingConfig`.
        memory: the card's, in bytes, where the variant names none.
        card: what the driver calls it.
    """
    from elara.train.devices import gpu

    return gpu.predict(
        shape,
        config,
        memory=int(variant.memory_gib * 2**30) or memory,
        card=card,
        quantised=variant.quantisation == "nf4",
        tokens=LONG if variant.compiled else 0,
    )


@contextlib.contextmanager
def planned(variant: Variant) -> Iterator[list[Any]]:
    """Let the product plan for the variant's memory, compiled or not; gives the plans it makes."""
    from elara.train.devices import gpu

    choose, made = gpu.choose_plan, []

    def chosen(*args: Any, **named: Any) -> Any:
        if variant.memory_gib:
            named["memory"] = int(variant.memory_gib * 2**30)
        named["tokens"] = LONG if variant.compiled else 0
        plan = choose(*args, **named)
        made.append(dataclasses.replace(plan, compiled=variant.compiled))
        return made[-1]

    with mock.patch.object(gpu, "choose_plan", chosen):
        yield made


def theirs(variant: Variant, watcher: Any) -> dict[str, Any]:
    """Train with TRL or Unsloth, with a callback that watches and stops it.

    TRL recommends FlashAttention for packed examples; where it is not installed, PyTorch's
    attention keeps them apart by a mask.
    """
    import datasets
    import peft
    import torch
    import transformers
    import trl

    datasets.disable_progress_bars()
    on_gpu, shape = torch.cuda.is_available(), gpu_model.SHAPES[variant.shape]
    flash = on_gpu and transformers.utils.is_flash_attn_2_available()
    attention = "flash_attention_2" if variant.packing and flash else "sdpa"
    lora: dict[str, Any] = {"r": 16, "lora_alpha": 32, "lora_dropout": variant.dropout}
    lora |= {"target_modules": TARGETS, "bias": "none"}
    if variant.trainer == "unsloth":
        model = _unsloth(shape, variant, lora)
    else:
        where = ("cuda", "bfloat16") if on_gpu else ("cpu", "float32")
        base = gpu_model.build(
            shape,
            quantisation=variant.quantisation,
            device=where[0],
            dtype=where[1],
            attention=attention,
        )
        model = peft.get_peft_model(base, peft.LoraConfig(**lora, task_type="CAUSAL_LM"))
    size = {"per_device_train_batch_size": variant.batch} if variant.batch else {}
    steps = variant.warmup + variant.steps + 1
    with tempfile.TemporaryDirectory() as folder:
        arguments = trl.SFTConfig(
            output_dir=folder,
            max_length=variant.length,
            packing=variant.packing,
            bf16=on_gpu,
            use_cpu=not on_gpu,
            save_strategy="no",
            report_to="none",
            logging_steps=1000,
            logging_first_step=True,
            disable_tqdm=True,
            **size,
        )
        each = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps
        count = steps * each * (2 if variant.packing else 1)
        trainer = trl.SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=datasets.Dataset.from_list(
                gpu_model.examples(shape, count, variant.length, mixed=variant.mixed)
            ),
            processing_class=gpu_model.tokenizer(shape),
            callbacks=[watcher],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    found = {"plan": None, "examples_per_step": each, "loss": round(losses[-1], 4)}
    return found | {"attention": "its own" if variant.trainer == "unsloth" else attention}


def _unsloth(shape: dict[str, Any], variant: Variant, lora: dict[str, Any]) -> Any:
    """Unsloth loads from disk alone, so for it the random model is written out once."""
    from unsloth import FastLanguageModel

    folder = HERE.parent / "_build" / "gpu" / f"shape-{variant.shape}"
    if not (folder / "tokenizer.json").exists():
        model = gpu_model.build(shape, quantisation="none", device="cuda", dtype="bfloat16")
        model.save_pretrained(folder)
        gpu_model.tokenizer(shape).save_pretrained(folder)
        del model
        import torch

        torch.cuda.empty_cache()
    model, _ = FastLanguageModel.from_pretrained(
        str(folder),
        max_seq_length=variant.length,
        load_in_4bit=variant.quantisation == "nf4",
    )
    return FastLanguageModel.get_peft_model(model, **lora, use_gradient_checkpointing="unsloth")


if __name__ == "__main__":
    asked = Variant(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    answer = measure(asked)
    Path(sys.argv[2]).write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")

"""One measured run of the GPU benchmark: `gpu_run.py VARIANT.json OUT.json`.

A process of its own gives the memory figures a clean start, and an out-of-memory error ends one run
and not the benchmark.
"""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import dataclasses
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gpu_model

HERE = Path(__file__).resolve().parent
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """What one run is set to.

    Args:
        trainer: `elara`, `trl` (its defaults) or `unsloth`.
        shape: a key of `gpu_model.SHAPES`.
        quantisation: `none` or `nf4`.
        batch: examples per forward pass; for `elara` with `memory_gib`, what is planned for.
        checkpointed_layers: layers that are checkpointed; -1: as many as `memory_gib` asks for.
        memory_gib: the memory to plan for; 0: the device's.
        lean: Elara's lean layers.
        compiled: compile each decoder layer.
        dropout: of LoRA; the same for every trainer.
        mixed: examples of mixed length instead of full ones.
        length: tokens of the longest example.
        warmup: optimiser steps before the clock starts.
        steps: measured optimiser steps.
    """

    trainer: str = "elara"
    shape: str = "mistral-7b"
    quantisation: str = "none"
    batch: int = 4
    checkpointed_layers: int = -1
    memory_gib: float = 0
    lean: bool = True
    compiled: bool = False
    dropout: float = 0.0
    mixed: bool = False
    length: int = 2048
    warmup: int = 3
    steps: int = 8


class Meter:
    """Time and non-padding tokens of each optimiser step, the device waited for."""

    def __init__(self, on_gpu: bool) -> None:
        self.on_gpu = on_gpu
        self.seconds: list[float] = []
        self.tokens: list[int] = []
        self._counts: list[Any] = []

    def wait(self) -> None:
        import torch

        if self.on_gpu:
            torch.cuda.synchronize()

    def count(self, _module: Any, given: Any) -> None:
        self._counts.append((given[0] != gpu_model.PAD).sum())  # on the device: no waiting here

    def begin(self) -> None:
        self.wait()
        self._counts.clear()
        self._started = time.perf_counter()

    def end(self) -> None:
        self.wait()
        self.seconds.append(time.perf_counter() - self._started)
        self.tokens.append(sum(int(count) for count in self._counts))

    def callback(self) -> Any:
        import transformers

        meter = self

        class Callback(transformers.TrainerCallback):
            def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
                given["model"].get_input_embeddings().register_forward_pre_hook(meter.count)

            def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                meter.begin()

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                meter.end()

        return Callback()


def measure(variant: Variant) -> dict[str, Any]:
    """Train for some steps and say how fast they were and what memory they took."""
    import datasets
    import peft
    import torch
    import transformers
    import trl

    from elara.train.config import TrainingConfig
    from elara.train.devices import gpu

    datasets.disable_progress_bars()
    on_gpu = torch.cuda.is_available()
    shape = gpu_model.SHAPES[variant.shape]
    dtype = "bfloat16" if on_gpu else "float32"
    lora: dict[str, Any] = {"r": 16, "lora_alpha": 32, "lora_dropout": variant.dropout}
    lora |= {"target_modules": TARGETS, "bias": "none"}
    if variant.trainer == "unsloth":
        model = _unsloth(shape, variant, lora)
    else:
        base = gpu_model.build(
            shape,
            quantisation=variant.quantisation,
            device="cuda" if on_gpu else "cpu",
            dtype=dtype,
        )
        model = peft.get_peft_model(base, peft.LoraConfig(**lora, task_type="CAUSAL_LM"))
    plan, settings = None, {}
    if variant.trainer == "elara":
        config = TrainingConfig(
            batch_size=variant.batch,
            gradient_accumulation=1,
            max_length=variant.length,
            lora_dropout=variant.dropout,
        )
        plan = _plan(gpu, model, config, variant)
        settings = {
            "per_device_train_batch_size": plan.batch,
            "gradient_accumulation_steps": plan.accumulation,
            "activation_checkpointing": False,  # the plan says which layers
            "optim": "adamw_torch_fused",
            "tf32": True if on_gpu else None,
        }
    elif variant.batch:
        settings = {"per_device_train_batch_size": variant.batch}
    steps = variant.warmup + variant.steps
    with tempfile.TemporaryDirectory() as folder:
        arguments = trl.SFTConfig(
            output_dir=folder,
            max_length=variant.length,
            max_steps=steps,
            bf16=on_gpu,
            use_cpu=not on_gpu,
            save_strategy="no",
            report_to="none",
            logging_steps=steps,
            disable_tqdm=True,
            **settings,
        )
        each = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps
        made = gpu_model.examples(shape, steps * each, variant.length, mixed=variant.mixed)
        meter = Meter(on_gpu)
        trainer = trl.SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=datasets.Dataset.from_list(made),
            processing_class=gpu_model.tokenizer(shape),
            callbacks=[meter.callback()],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        if plan:
            gpu.apply(model, plan)
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return _result(variant, plan, meter, each, losses, shape)


def _plan(gpu: Any, model: Any, config: Any, variant: Variant) -> Any:
    memory = int(variant.memory_gib * 2**30) or gpu.device_memory() or 2**62
    shape, fixed = model.config.get_text_config(), gpu.fixed_bytes(model)
    plan = gpu.choose_plan(shape, config, fixed=fixed, memory=memory)
    if variant.checkpointed_layers >= 0:
        needed = gpu.activation_bytes(shape, config, variant.batch, variant.checkpointed_layers)
        plan = gpu.GpuPlan(
            batch=variant.batch,
            accumulation=1,
            checkpointed_layers=variant.checkpointed_layers,
            bytes=fixed + needed,
        )
    return dataclasses.replace(plan, lean=variant.lean, compiled=variant.compiled)


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


def _result(
    variant: Variant,
    plan: Any,
    meter: Meter,
    each: int,
    losses: list[float],
    shape: dict[str, Any],
) -> dict[str, Any]:
    import torch

    seconds, tokens = meter.seconds[variant.warmup :], meter.tokens[variant.warmup :]
    rates = [n / s for n, s in zip(tokens, seconds, strict=True)]
    # The median step; of examples of mixed length, whose steps differ, all of them together.
    rate = sum(tokens) / sum(seconds) if variant.mixed else statistics.median(rates)
    found = {
        "variant": dataclasses.asdict(variant),
        "plan": dataclasses.asdict(plan) if plan else None,
        "tokens_per_second": round(rate, 1),
        "slowest_and_fastest_step": [round(min(rates), 1), round(max(rates), 1)],
        "examples_per_step": each,
        "loss": round(losses[-1], 4),
    }
    if torch.cuda.is_available():
        peak, _ = gpu_model.peak_flops(torch.cuda.get_device_name(0))
        mfu = gpu_model.utilisation(shape, rate, peak)
        found |= {
            "mfu_percent": None if mfu is None else round(100 * mfu, 1),
            "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
            "reserved_gib": round(torch.cuda.max_memory_reserved() / 2**30, 2),
        }
    return found


if __name__ == "__main__":
    asked = Variant(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    answer = measure(asked)
    Path(sys.argv[2]).write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")

"""Measure the laptop profile's training against plain TRL, and the estimate against what happens.

`python benchmarks/train.py` trains the packaged model with LoRA on the same examples in three ways,
alternating, each run in a process of its own, and writes `benchmarks/train.json`:

- `elara`: `elara.train.sft` with the laptop profile (batch 1, accumulation 4, float32);
- `trl`: `trl.SFTTrainer` with TRL's own defaults (batch 8, bfloat16 autocast, activation
  checkpointing, linear schedule). Set are only: the same LoRA, the same learning rate, one epoch
  over the same examples, the CPU, no checkpoints and no report;
- `trl_same_batch`: the same with Elara's batch, accumulation, schedule and warm-up, so that both
  take the same optimiser steps and their held-out losses can be compared.

Tokens per second count question and answer tokens, never padding, over the whole training call.
The held-out loss is measured after training by one function for all, in float32. The estimate is
made in Elara's process just before its training, and compared with that run's seconds and with
the process's highest resident memory.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
PLACES = ("workspace/training_data", "_build/test-workspace/training_data")
WAYS = ("elara", "trl", "trl_same_batch")
AIM_PERCENT = 20  # how far the estimate may be off, on a quiet machine
LEARNING_RATE = 1e-3
SECONDS_PER_TOKEN = {"elara": 1 / 160, "trl": 1 / 40, "trl_same_batch": 1 / 60}  # for the forecast


def one_run(way: str, folder: Path, tokens: int, seed: int) -> dict[str, Any]:
    """Train once and say how it went (run as a process by `main`)."""
    import polars as pl

    from elara import train
    from elara.model import load_base
    from elara.train.estimate import estimate

    config = train.TrainingConfig(
        base_model="smollm2-135m-instruct", quantisation="none", lora_dropout=0.0,
        learning_rate=LEARNING_RATE, epochs=1.0, max_length=1024, max_train_tokens=tokens,
        save_steps=10_000, trackers=(), seed=seed,
    )  # fmt: skip
    lm = load_base(config.base_model, quantisation=config.quantisation, precision=config.precision)
    rows = {s: pl.read_ndjson(folder / f"{s}.jsonl") for s in ("train", "validation")}
    data = train.tokenise(lm.tokenizer, rows["train"], rows["validation"], config)
    held, data.validation[:] = list(data.validation), []
    before = held_out_loss(lm.model, held)
    used = sum(len(e.input_ids) for e in data.train)
    found: dict[str, Any] = {"way": way, "tokens": used, "loss_before": before}
    with tempfile.TemporaryDirectory() as temporary:
        if way == "elara":
            started = time.perf_counter()
            expected = estimate(lm, data, config)
            found["estimate"] = {
                "seconds": expected.seconds,
                "peak_mib": expected.memory.peak / 2**20,
                "took_seconds": time.perf_counter() - started,
            }
            training = train.fine_tune(lm, data, config, Path(temporary))
            found["seconds"], model = training.seconds, training.model.model
            found["steps"] = training.steps
        else:
            trainer = plain_trl(lm, data, config, Path(temporary), same=way != "trl")
            started = time.perf_counter()
            trainer.train()
            found["seconds"] = time.perf_counter() - started
            found["steps"], model = trainer.state.global_step, trainer.model
    found["peak_mib"] = peak_mib()
    found["loss_after"] = held_out_loss(model, held)
    return found


def peak_mib() -> float:
    """Highest use of memory by this program. `ru_maxrss` would count that of who started it too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def plain_trl(lm: Any, data: Any, config: Any, folder: Path, *, same: bool) -> Any:
    """TRL's trainer as it comes; `same` gives it Elara's batch and schedule."""
    import peft
    import trl
    from datasets import Dataset

    from elara.train import TARGETS

    settings: dict[str, Any] = {}
    if same:
        settings = {
            "per_device_train_batch_size": config.batch_size,
            "gradient_accumulation_steps": config.gradient_accumulation,
            "lr_scheduler_type": "cosine",
            "warmup_steps": config.warmup_share,
        }
    lora = peft.LoraConfig(
        r=config.lora_r, lora_alpha=config.lora_alpha, lora_dropout=config.lora_dropout,
        target_modules=list(TARGETS), bias="none", task_type="CAUSAL_LM",
    )  # fmt: skip
    rows = [{"input_ids": e.input_ids, "labels": e.labels} for e in data.train]
    return trl.SFTTrainer(
        model=lm.model,
        args=trl.SFTConfig(
            output_dir=str(folder), learning_rate=config.learning_rate, num_train_epochs=1,
            use_cpu=True, save_strategy="no", report_to="none", seed=config.seed, **settings,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=lm.tokenizer,
        peft_config=lora,
    )  # fmt: skip


def held_out_loss(model: Any, examples: list[Any]) -> float:
    """Nats per answer token, in float32."""
    import torch

    model.eval()
    total, targets = 0.0, 0
    with torch.inference_mode():
        for example in examples:
            scores = model(input_ids=torch.tensor([example.input_ids]), use_cache=False).logits
            labels = torch.tensor(example.labels[1:])
            loss = torch.nn.functional.cross_entropy(
                scores[0, :-1].float(), labels, reduction="sum"
            )
            total += float(loss)
            targets += int((labels != -100).sum())
    return total / targets


def measured(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and spread of a way's runs."""
    rates = [run["tokens"] / run["seconds"] for run in runs]
    return {
        "tokens_per_second": [round(r, 1) for r in rates],
        "median_tokens_per_second": round(statistics.median(rates), 1),
        "spread_percent": round(100 * (max(rates) - min(rates)) / statistics.median(rates), 1),
        "seconds": [round(run["seconds"], 1) for run in runs],
        "peak_mib": [round(run["peak_mib"]) for run in runs],
        "steps": runs[0]["steps"],
        "held_out_loss": [round(run["loss_after"], 4) for run in runs],
        "median_held_out_loss": round(statistics.median(r["loss_after"] for r in runs), 4),
    }


def find_data() -> Path:
    for place in PLACES:
        if (PROJECT / place / "train.jsonl").exists():
            return PROJECT / place
    return PROJECT / PLACES[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=find_data(), help="folder of train.jsonl …")
    parser.add_argument("--tokens", type=int, default=12_000, help="tokens per run")
    parser.add_argument("--runs", type=int, default=3, help="runs per way")
    parser.add_argument("--out", type=Path, default=PROJECT / "benchmarks" / "train.json")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (options.data / "train.jsonl").exists():
        sys.exit(f"No examples in {options.data}: `make run` leaves them there, or use --data.")
    if options.one:
        print(
            "RESULT " + json.dumps(one_run(options.one, options.data, options.tokens, options.seed))
        )
        return
    forecast = options.runs * sum(options.tokens * s + 25 for s in SECONDS_PER_TOKEN.values())
    print(f"about {forecast / 60:.0f} minutes on two cores", flush=True)
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for number in range(options.runs):
        for way in WAYS:  # alternating, so that a busy minute hits all ways alike
            command = [sys.executable, __file__, "--one", way, "--seed", str(number)]
            command += ["--data", str(options.data), "--tokens", str(options.tokens)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            line = next(x for x in done.stdout.splitlines() if x.startswith("RESULT "))
            runs[way].append(json.loads(line.removeprefix("RESULT ")))
            found = runs[way][-1]
            print(way, f"{found['tokens'] / found['seconds']:.1f} tokens/s, loss", end=" ")
            print(f"{found['loss_after']:.4f}, {found['seconds']:.0f} s", flush=True)
    ways = {way: measured(found) for way, found in runs.items()}
    speed = {way: ways[way]["median_tokens_per_second"] for way in WAYS}
    losses = {way: ways[way]["median_held_out_loss"] for way in WAYS}
    ours = runs["elara"]
    names = ("torch", "transformers", "trl", "peft", "accelerate")
    result = {
        "command": f"python benchmarks/train.py --tokens {options.tokens} --runs {options.runs}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in names},
        "examples_tokens": ours[0]["tokens"],
        "held_out_loss_before": round(ours[0]["loss_before"], 4),
        **ways,
        "times_trl": round(speed["elara"] / speed["trl"], 2),
        "times_trl_same_batch": round(speed["elara"] / speed["trl_same_batch"], 2),
        "loss_minus_trl_same_batch": round(losses["elara"] - losses["trl_same_batch"], 4),
        "estimate": [
            {
                "seconds": round(run["estimate"]["seconds"], 1),
                "actual_seconds": round(run["seconds"], 1),
                "seconds_off_percent": off(run["estimate"]["seconds"], run["seconds"]),
                "peak_mib": round(run["estimate"]["peak_mib"]),
                "actual_peak_mib": round(run["peak_mib"]),
                "peak_off_percent": off(run["estimate"]["peak_mib"], run["peak_mib"]),
                "took_seconds": round(run["estimate"]["took_seconds"], 1),
            }
            for run in ours
        ],
    }
    print(json.dumps(result, indent=2))
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    for what in ("seconds", "peak"):
        most = max((run[f"{what}_off_percent"] for run in result["estimate"]), key=abs)
        print(f"estimate of the {what}: off by at most {most:+} %, the aim is {AIM_PERCENT} %")


def off(expected: float, actual: float) -> float:
    return round(100 * (expected / actual - 1), 1)


if __name__ == "__main__":
    main()

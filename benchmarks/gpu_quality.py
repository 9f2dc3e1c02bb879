"""Compare Elara's adapter with TRL's on unseen cases: `gpu_quality.py VARIANT.json OUT.json`.

Both train the packaged model on the same curated cases with the same settings, TRL with its own
loss, attention and recomputation; both adapters are then read in the same way on cases that neither
has seen. The noise is what TRL's own loss changes by from seed to seed.
"""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gpu_model
import polars as pl

from elara.expand.curated import curated_examples
from elara.model import SYSTEM_PROMPT, Encoded, LanguageModel, load_base, load_tokenizer
from elara.model.base import choose_precision
from elara.model.losses import batch_losses
from elara.model.packaged import PACKAGED
from elara.train import TokenData, TrainingConfig, choose_batching, sft, tokenise
from elara.train.lora import add_lora, restoring

HELD_OUT = 4  # every fourth case


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What is compared.

    Args:
        shape: `tiny` puts random weights of that shape in the packaged model's place.
        seeds: how many at most.
        seconds: no further seed is started that would not end before so much time has gone.
        epochs: of the training cases.
        length: tokens; longer cases are left out.
        cases: at most so many.
    """

    shape: str = "mistral-7b"
    seeds: int = 3
    seconds: float = 60
    epochs: float = 3
    length: int = 1536
    cases: int = 100


def measure(variant: Variant) -> dict[str, Any]:
    """Held-out losses of both, seed by seed, and their difference beside the noise."""
    begun, longest = time.monotonic(), 0.0
    cases = curated_examples(SYSTEM_PROMPT).head(variant.cases).with_row_index()
    seeds: list[dict[str, Any]] = []
    for seed in range(variant.seeds):
        started = time.monotonic()
        if seeds and started - begun + longest > variant.seconds:
            break
        seeds.append({"seed": seed} | one_seed(variant, cases, seed))
        longest = max(longest, time.monotonic() - started)
    found = {"variant": asdict(variant), "seeds": seeds}
    found["seeds_not_run"] = list(range(len(seeds), variant.seeds))
    differences = [row["elara"] - row["trl"] for row in seeds]
    found["difference"] = round(statistics.mean(differences), 5)
    if len(seeds) > 1:
        found["spread_of_difference"] = round(statistics.stdev(differences), 5)
        found["noise"] = round(statistics.stdev(row["trl"] for row in seeds), 5)
    return found


def one_seed(variant: Variant, cases: pl.DataFrame, seed: int) -> dict[str, Any]:
    """Train both from the same start, and read the held-out cases with both."""
    held_out = cases["index"] % HELD_OUT == 0
    splits = cases.filter(~held_out), cases.filter(held_out)
    found: dict[str, Any] = {}
    for name, train in (("elara", _elara), ("trl", _trl)):
        lm = small_model(variant)
        config = TrainingConfig(
            base_model=PACKAGED,
            quantisation="none",
            lora_dropout=0.0,
            learning_rate=1e-3,
            epochs=variant.epochs,
            max_length=variant.length,
            save_steps=10**6,
            trackers=(),
            seed=seed,
        )
        data = tokenise(lm.tokenizer, *splits, config)
        watched, data = data.validation, TokenData(data.train, [], data.ids, data.table)
        with tempfile.TemporaryDirectory() as folder:
            trained, steps = train(lm, data, config, Path(folder))
        found |= {name: round(_held_out_loss(trained, watched), 5), f"{name}_steps": steps}
    found |= {"untrained": round(_held_out_loss(trained, watched, adapter=False), 5)}
    found |= {"cases": len(data.train), "held_out_cases": len(watched)}
    return found


def small_model(variant: Variant) -> LanguageModel:
    """The packaged model, or for a rehearsal random weights with its vocabulary."""
    if variant.shape != "tiny":
        return load_base(PACKAGED)
    import torch

    tokenizer, where = load_tokenizer(PACKAGED), choose_precision()
    shape = gpu_model.SHAPES["tiny"] | {"vocab_size": len(tokenizer)}
    torch.manual_seed(0)
    base = gpu_model.build(shape, quantisation="none", device=where.device, dtype=where.dtype)
    return LanguageModel(base, tokenizer, PACKAGED, where)


def _elara(lm: LanguageModel, data: TokenData, config: TrainingConfig, folder: Path) -> Any:
    training = sft.fine_tune(lm, data, config, folder)
    return training.model, training.steps


def _trl(lm: LanguageModel, data: TokenData, config: TrainingConfig, folder: Path) -> Any:
    """Train by TRL's own trainer with the settings of the run; rows are packed where Elara does."""
    import datasets
    import transformers
    import trl

    datasets.disable_progress_bars()
    packed = choose_batching(lm, config)[0] == "packed"
    model = add_lora(lm, config)
    arguments = trl.SFTConfig(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup_share,
        max_length=config.max_length,
        packing=packed,
        bf16=lm.dtype == "bfloat16",
        use_cpu=lm.device == "cpu",
        seed=config.seed,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    with restoring(model):
        trainer = trl.SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=datasets.Dataset.from_list([asdict(one) for one in data.train]),
            processing_class=lm.tokenizer,
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return LanguageModel(model, lm.tokenizer, lm.name, lm.precision), trainer.state.global_step


def _held_out_loss(lm: LanguageModel, rows: list[Encoded], *, adapter: bool = True) -> float:
    """The mean loss per answer token, over all held-out cases."""
    tokens = [sum(label != -100 for label in row.labels) for row in rows]
    losses = [batch_losses(lm, [row], adapter=adapter)[0] for row in rows]
    total = sum(loss * n for loss, n in zip(losses, tokens, strict=True))
    return total / sum(tokens)


if __name__ == "__main__":
    asked = Variant(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    answer = measure(asked)
    Path(sys.argv[2]).write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")

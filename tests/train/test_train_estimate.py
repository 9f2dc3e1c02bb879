"""The estimate before training, the advice when memory runs out, and the fast way's numbers."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_run
import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from elara import train
from elara.model import LanguageModel, load_base
from elara.train import cpu_kernels, trials
from elara.train.config import TrainingConfig, TrainingError
from elara.train.data import TokenData
from elara.train.devices import gpu
from elara.train.estimate import count_memory, estimate, is_out_of_memory
from elara.train.lora import add_lora, restoring
from elara.train.sft import _gpu_plan
from elara.train.trainer import Trainer
from elara.train.trials import _second_of_another_length


def prepared(model: Path, **changes: Any) -> tuple[LanguageModel, TokenData, TrainingConfig]:
    settings = tiny_run.config(model, **changes)
    lm = load_base(str(model))
    data = train.tokenise(
        lm.tokenizer, tiny_run.examples(16), tiny_run.examples(4, start=100), settings
    )
    return lm, data, settings


def test_the_estimate_leaves_the_model_as_it_was(tiny_folder: Path) -> None:
    lm, data, settings = prepared(tiny_folder)
    own = vars(lm.model).keys() | set()
    before = {name: value.clone() for name, value in lm.model.state_dict().items()}
    torch.manual_seed(7)
    state = torch.get_rng_state()
    found = estimate(lm, data, settings)
    assert torch.equal(torch.get_rng_state(), state)
    after = lm.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not lm.model.training
    assert vars(lm.model).keys() == own
    assert all(p.requires_grad for p in lm.model.parameters())
    assert found.steps == 8
    assert found.tokens == 2 * sum(len(e.input_ids) for e in data.train)
    assert found.seconds > 0
    assert re.search(r"8 steps over [\d,]+ tokens: about .* MiB", str(found))


def test_memory_grows_with_what_uses_it(tiny_folder: Path) -> None:
    lm, data, settings = prepared(tiny_folder)
    one = count_memory(lm, data, settings)
    longer = count_memory(lm, data, tiny_run.config(tiny_folder, batch_size=4))
    assert longer.activations > 2 * one.activations
    wider = count_memory(lm, data, tiny_run.config(tiny_folder, lora_r=64))
    assert wider.adapter == 4 * one.adapter
    quantised = load_base(str(tiny_folder), quantisation="nf4")
    assert count_memory(quantised, data, settings).base < one.base


@pytest.mark.parametrize("mib", [2**15, 800, 0])
def test_on_a_gpu_it_counts_the_plan_that_training_will_choose(
    mib: int,
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lm, data, settings = prepared(tiny_folder, max_length=2000)
    lm = dataclasses.replace(lm, precision=dataclasses.replace(lm.precision, device="cuda"))
    monkeypatch.setattr(gpu, "device_memory", lambda: mib * 2**20)
    counted = count_memory(lm, data, settings)
    plan = _gpu_plan(lm, add_lora(lm, settings), settings, data)
    assert counted.peak == plan.bytes
    assert counted.other == 0
    said = capsys.readouterr().out
    assert f"GPU: {plan}" in said
    assert ("The smallest plan" in said) == (mib == 0)


@pytest.mark.parametrize("packed", [True, False])
def test_what_is_timed_is_what_the_plan_will_run(
    packed: bool, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, data, settings = prepared(tiny_folder, max_length=128)
    plan = gpu.GpuPlan(batch=4, accumulation=1, checkpointed_layers=1)
    timed: list[Any] = []
    trials_of = trials._trials

    def watched(lm: Any, model: Any, batches: Any, tokens: Any, warm: int) -> Any:
        layers = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
        assert [layer.gradient_checkpointing for layer in layers] == [True, False]
        timed.extend(zip(batches, tokens, strict=True))
        return trials_of(lm, model, batches, tokens, warm)

    monkeypatch.setattr(trials, "_trials", watched)
    assert min(trials.timed(lm, data, settings, packed=packed, plan=plan)) > 0
    assert len(timed) == 8
    longest = max(len(e.input_ids) for e in data.train)
    for batch, tokens in timed:
        if packed:  # up to the next multiple of the padding's
            assert 4 * 128 - longest < tokens <= 4 * 128
            assert batch["input_ids"].numel() == 4 * 128
        else:
            assert len(batch["cu_seq_lens_q"]) - 1 in (4, 5)  # the padding is one of its own
    assert not any("forward" in module.__dict__ for module in lm.model.modules())


def test_both_lengths_are_compiled_before_the_clock_starts() -> None:
    import torch

    def timed_in_order(lengths: list[int]) -> list[int]:
        rows = [{"input_ids": torch.zeros(1, n)} for n in lengths]
        tokens = [*lengths]
        _second_of_another_length(rows, tokens)
        assert [row["input_ids"].shape[1] for row in rows] == tokens
        return tokens

    assert timed_in_order([8, 8, 8, 6, 7]) == [8, 6, 8, 8, 7]
    assert timed_in_order([8, 7, 6]) == [8, 7, 6]
    assert timed_in_order([8, 8, 8]) == [8, 8, 8]


def test_steps_are_counted_in_packed_rows(tiny_folder: Path, tmp_path: Path) -> None:
    lm, data, settings = prepared(tiny_folder, batching="packed", batch_size=2, epochs=3)
    found = estimate(lm, data, settings)
    assert found.steps < 3 * len(data.train) / (2 * settings.gradient_accumulation)
    assert train.fine_tune(lm, data, settings, tmp_path).steps == found.steps


def test_running_out_of_memory_is_told_apart() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"))
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60)
    assert is_out_of_memory(raised.value)
    assert not is_out_of_memory(RuntimeError("size mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_names_the_parameters_to_change(
    error: Exception, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Trainer, "training_step", failing)
    lm, data, settings = prepared(tiny_folder, batch_size=4)
    with pytest.raises(TrainingError) as raised:
        train.fine_tune(lm, data, settings, tmp_path)
    said = str(raised.value)
    assert said.startswith("Memory ran out. Lower `batch_size` (it is 4;")


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import tiny_run, torch
from elara import train
from elara.model import load_base
model, out = Path(sys.argv[2]), Path(sys.argv[3])
tiny_run.run(model, out / "first", epochs=0.25)  # everything is imported now
settings = tiny_run.config(model, batch_size=16, max_length=2000, gradient_accumulation=1)
lm = load_base(str(model))
rows = tiny_run.examples(16)
messages = rows["messages"].to_list()
for chat in messages:
    chat[-1]["content"] *= 100
import polars as pl
rows = rows.with_columns(pl.Series("messages", messages, rows.schema["messages"]))
data = train.tokenise(lm.tokenizer, rows, rows.head(0), settings)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 60 * 2**20,) * 2)
try:
    train.fine_tune(lm, data, settings, out / "second")
except train.TrainingError as error:
    print("TOLD", error)
"""


@pytest.mark.long
def test_memory_that_really_runs_out(tiny_folder: Path, tmp_path: Path, project: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("limits a process the Linux way")
    here = str(Path(tiny_run.__file__).parent)
    command = [sys.executable, "-c", LIMITED, here, str(tiny_folder), str(tmp_path)]
    log = tmp_path / "network.log"
    offline = {"PYTHONPATH": str(project / "tests" / "offline"), "ELARA_NETWORK_LOG": str(log)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | offline
    )
    assert not log.exists(), log.read_text()
    assert "TOLD Memory ran out" in done.stdout, done.stderr[-2000:]
    assert "`batch_size` (it is 16;" in done.stdout


def loss_and_gradients(lm: LanguageModel, data: TokenData, *, quickly: bool) -> tuple[Any, Any]:
    model = lm.model
    model.zero_grad()
    total = torch.zeros(())
    for example in data.train[:4]:
        ids, labels = torch.tensor([example.input_ids]), torch.tensor([example.labels])
        if quickly:
            found = model(input_ids=ids, labels=labels, answers_only=True)
            loss = found["loss_sum"] / found["target_tokens"]
        else:
            loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        total += loss.detach()
    return total, {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("variant", ["lora", "rslora", "dora"])
def test_the_fast_way_gives_the_same_loss_and_gradients(variant: str, tiny_folder: Path) -> None:
    lm, data, settings = prepared(tiny_folder, lora_dropout=0.0, lora_variant=variant)
    lm.model = train.add_lora(lm, settings)
    for name, parameter in lm.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    lm.model.train()
    plain_loss, plain = loss_and_gradients(lm, data, quickly=False)
    before = [m.__dict__.get("forward") for m in lm.model.modules()]
    with restoring(lm.model):
        changed = cpu_kernels.replace_forwards(lm.model, cpu_kernels.fused_lora)
        lm.model.train()
        assert changed == (0 if variant == "dora" else 14)
        assert cpu_kernels.add_answer_loss(lm.model.get_base_model())
        quick_loss, quick = loss_and_gradients(lm, data, quickly=True)
    assert abs(float(plain_loss - quick_loss)) < 1e-4
    for name, gradient in plain.items():
        assert float((gradient - quick[name]).abs().max()) < 1e-5, name
    assert [m.__dict__.get("forward") for m in lm.model.modules()] == before
    assert not lm.model.training


@pytest.mark.model
@pytest.mark.slow
def test_the_benchmark_compares_the_estimate_with_what_came(tmp_path: Path, project: Path) -> None:
    """How far it is off is for a quiet machine: `make bench` says that."""
    for split, rows in (("train", tiny_run.examples(20)), ("validation", tiny_run.examples(4, 90))):
        rows.write_ndjson(tmp_path / f"{split}.jsonl")
    command = [sys.executable, str(project / "benchmarks" / "train.py"), "--one", "elara"]
    command += ["--data", str(tmp_path), "--tokens", "1000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    line = next(x for x in done.stdout.splitlines() if x.startswith("RESULT "))
    found = json.loads(line.removeprefix("RESULT "))
    assert found["tokens"] <= 1000
    for name in ("seconds", "peak_mib"):
        assert min(found[name], found["estimate"][name]) > 0

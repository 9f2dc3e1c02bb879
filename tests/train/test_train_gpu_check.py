"""The GPU check on a CPU: every step with a tiny shape, its arithmetic, its bundles, its page."""

from __future__ import annotations

import argparse
import functools
import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from elara.train import TrainingConfig
from elara.train.devices import cards, gpu
from elara.train.lora import restoring

PROJECT = Path(__file__).resolve().parents[2]
BENCHMARKS = PROJECT / "benchmarks"
sys.path.append(str(BENCHMARKS))

import gpu as gpu_check  # noqa: E402
import gpu_bundle  # noqa: E402
import gpu_meter  # noqa: E402
import gpu_model  # noqa: E402
import gpu_profile  # noqa: E402
import gpu_report  # noqa: E402
import gpu_run  # noqa: E402
import gpu_steps  # noqa: E402

TINY = gpu_model.SHAPES["tiny"]
PLAIN = {"quantisation": "none", "device": "cpu", "dtype": "float32"}


def test_parameters_and_utilisation_by_hand() -> None:
    # Mistral 7B: 32 layers of q and o (4096 x 4096), k and v (4096 x 1024), three of MLP
    # (4096 x 14336), and the head (4096 x 32768).
    layer = 2 * 16_777_216 + 2 * 4_194_304 + 3 * 58_720_256
    mistral = SimpleNamespace(**gpu_model.SHAPES["mistral-7b"])
    assert cards.multiplied_parameters(mistral) == 32 * layer + 134_217_728
    # 10,000 tokens/s x 4 x 7.114 billion = 284.5 TFLOP/s, of 989 are 28.8 %.
    share = gpu_model.utilisation(gpu_model.SHAPES["mistral-7b"], 10_000, 989e12)
    assert share == pytest.approx(0.2877, abs=1e-4)
    assert gpu_model.utilisation(TINY, 10_000, None) is None


def test_devices_are_told_apart() -> None:
    assert cards.peak_flops("NVIDIA H100 80GB HBM3")[0] == 989e12
    assert cards.peak_flops("NVIDIA H100 PCIe")[0] == 756e12
    assert cards.peak_flops("NVIDIA L40S")[0] == 362e12
    assert cards.peak_flops("NVIDIA GeForce RTX 3060")[0] == 25.5e12
    assert cards.peak_flops("Some other card") == (None, "")
    # A name that goes on is another card: none of these is taken for the one that it resembles.
    for other in ("NVIDIA L40", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 3060 Ti"):
        assert cards.peak_flops(other) == (None, "")


def test_the_shape_has_the_parameters_that_are_counted() -> None:
    model = gpu_model.build(TINY, quantisation="none", device="cpu", dtype="float32")
    linear = sum(p.numel() for n, p in model.named_parameters() if "proj" in n or "lm_head" in n)
    assert linear == cards.multiplied_parameters(SimpleNamespace(**TINY))


@pytest.fixture
def quantised() -> Any:
    return gpu_model.build(TINY, quantisation="nf4", device="cpu", dtype="float32")


def test_nf4_weights_are_made_on_the_device(quantised: Any) -> None:
    from bitsandbytes.functional import dequantize_4bit

    weight = quantised.model.layers[0].mlp.up_proj.weight
    assert weight.bnb_quantized
    assert weight.nbytes == 64 * 128 / 2
    assert weight.quant_state.nested
    assert dequantize_4bit(weight.data, weight.quant_state).std().item() == pytest.approx(0.02, 0.1)
    assert quantised.lm_head.weight.dtype.is_floating_point


def gradients(model: Any, plan: gpu.GpuPlan | None) -> tuple[float, dict[str, Any]]:
    import torch

    rows = gpu_model.examples(TINY, 2, 24, mixed=False)
    ids = torch.tensor([row["input_ids"] for row in rows])
    labels = torch.tensor([row["labels"] for row in rows])
    model.zero_grad()
    with restoring(model):
        if plan:
            gpu.apply(model.train(), plan)
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
    trained = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    return loss.item(), trained


def adapted(quantisation: str) -> Any:
    import peft
    import torch

    base = gpu_model.build(TINY, quantisation=quantisation, device="cpu", dtype="float32")
    lora = peft.LoraConfig(r=4, lora_alpha=6, target_modules=gpu_run.TARGETS, task_type="CAUSAL_LM")
    model = peft.get_peft_model(base, lora).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zero at the start, which would hide a wrong update
            torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.mark.parametrize("quantisation", ["none", "nf4"])
@pytest.mark.parametrize(("lean", "checkpointed"), [(True, 0), (True, 2), (False, 3)])
def test_a_plan_changes_no_gradient(quantisation: str, lean: bool, checkpointed: int) -> None:
    import torch

    model = adapted(quantisation)
    plan = gpu.GpuPlan(batch=2, accumulation=1, checkpointed_layers=checkpointed, lean=lean)
    loss, wanted = gradients(model, None)
    found_loss, found = gradients(model, plan)
    assert found_loss == pytest.approx(loss, abs=1e-5)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-6)
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_lean_layers_are_really_used_and_recompute_where_they_should() -> None:
    model = adapted("none")
    plan = gpu.GpuPlan(batch=2, accumulation=1, checkpointed_layers=2)
    with restoring(model):
        gpu.apply(model, plan)
        forms = [m for m in model.modules() if "forward" in m.__dict__]
        kinds = {type(m).__name__ for m in forms}
        assert kinds == {"Linear", "MistralMLP", "MistralRMSNorm"}
        assert len(forms) == 3 * (7 + 1 + 2) + 1
        layers = model.base_model.model.model.layers
        assert [layer.gradient_checkpointing for layer in layers] == [True, True, False]
    assert not any(layer.gradient_checkpointing for layer in layers)


def test_a_plan_keeps_the_effective_batch_and_fits() -> None:
    model = adapted("none")
    config = TrainingConfig(lora_dropout=0.0)
    fixed = gpu.fixed_bytes(model)
    choose = functools.partial(gpu.choose_plan, model.config, config, fixed=fixed)
    roomy = choose(memory=2**36)
    assert (roomy.batch, roomy.accumulation, roomy.checkpointed_layers) == (4, 1, 0)
    assert roomy.bytes == fixed + gpu.activation_bytes(model.config, config, 4, 0)
    tight = choose(memory=int((roomy.bytes - 2**20) / gpu.USABLE))
    assert tight.batch * tight.accumulation == 4
    assert tight.bytes < roomy.bytes
    assert (tight.batch, tight.checkpointed_layers) != (roomy.batch, roomy.checkpointed_layers)
    assert choose(memory=2**36, itemsize=4).bytes > roomy.bytes
    least = choose(memory=1)
    assert least.batch == 1


# --- both scripts on a CPU, with the tiny shape and a real run that only pretends ---

FAKE = """import json, pathlib, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
seeds, result = int(given["--seeds"]), pathlib.Path(given["--result"])
if seeds > 2:
    sys.exit("seed 2: not run: 3 s are left")
assert float(given["--seconds"]) > 100 and pathlib.Path(given["--folder"]).is_dir()
result.write_text(json.dumps({"seeds": {str(n): {} for n in range(seeds)}}))
"""


def in_this_process(command: list[str]) -> str:
    """What a step's process does, without the seconds that each needs to load the libraries."""
    module = importlib.import_module(Path(command[1]).stem)
    asked = module.Variant(**json.loads(Path(command[2]).read_text(encoding="utf-8")))
    Path(command[3]).write_text(json.dumps(module.measure(asked)), encoding="utf-8")
    return ""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What scripts A and B leave in a folder: `gpu.json` and `real_run.json`."""
    folder = tmp_path_factory.mktemp("gpu")
    (folder / "text").mkdir()
    (folder / "real_run.py").write_text(FAKE)
    call = gpu_check.call

    def called(command: list[str], log: Path, limit: float | None) -> str:
        # One run as the check does it, in a process of its own.
        own = Path(command[1]).parent == BENCHMARKS and log.stem != "trl-bf16"
        return in_this_process(command) if own else call(command, log, limit)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_check, "BUILD", folder)
        patch.setattr(gpu_check, "SITE", folder / "site")
        patch.setattr(gpu_check, "REAL_RUN", folder / "real_run.py")
        patch.setattr(gpu_check, "call", called)
        patch.setattr(gpu_check, "notebooks", lambda *_: {"not_run": "minutes on a CPU"})
        arguments = ["--result", str(folder / "gpu.json"), "--shape", "tiny", "--seconds", "900"]
        assert gpu_check.main([*arguments, "--text", str(folder / "text")]) == 0
    return folder


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "gpu.json").read_text())
    return found


@pytest.mark.long
def test_both_scripts_leave_a_result_or_a_reason_for_every_step(finished: Path) -> None:
    found = results(finished)
    assert found["environment"]["device"] == "none (CPU)"
    why = {name: found[name]["not_run"] for name in gpu_check.STEPS if "not_run" in found[name]}
    assert why == {
        "unsloth-bf16-mixed": "unsloth is not installed",
        "unsloth-qlora": "unsloth is not installed",
        "notebooks": "minutes on a CPU",
        "real-run-3": "seed 2: not run: 3 s are left",
    }
    assert not [name for name in gpu_check.STEPS if "error" in found[name]]
    assert found["real-run-2"]["result"] == "real_run.json"
    assert json.loads((finished / "real_run.json").read_text())["seeds"].keys() == {"0", "1"}
    table = gpu_report.table(found)
    assert all(f"| {name} | not run: {reason} |" in table for name, reason in why.items())


@pytest.mark.long
def test_a_run_says_speed_and_settings(finished: Path) -> None:
    found = results(finished)
    runs = [found[n] for n in ("lora-bf16-mixed", "qlora", "trl-bf16", "trl-bf16-packed")]
    for run in runs:
        assert run["tokens_per_second"] > 0
        assert run["measured_seconds"] > 0
        assert 5 < run["loss"] < 8  # ln 512 = 6.2: the labels are random
        assert "mfu_percent" not in run  # no device, no peak
        assert run["plan"] is None
    assert runs[0]["batching"].startswith("length_grouped")
    assert runs[3]["attention"] == "sdpa"
    times = gpu_report.ratios(found)
    assert ("lora-bf16-mixed", "trl-bf16-packed") in {(row["of"], row["to"]) for row in times}
    assert not any(row["holds"] for row in found["bars"]["rows"] if "percent" in row["bar"])


@pytest.mark.long
def test_where_time_goes_is_grouped_and_adds_up(finished: Path) -> None:
    found = results(finished)
    for name in ("time-bf16", "time-qlora"):
        spent = found[name]["time"]
        assert list(spent) == list(gpu_profile.ORDER)
        assert sum(spent.values()) == pytest.approx(found[name]["profiled_seconds"], abs=1e-3)
        assert all(spent[group] > 0 for group in gpu_profile.ORDER[:2])
    assert found["time-qlora"]["time"]["dequantisation"] > 0
    assert found["time-bf16"]["time"]["dequantisation"] == 0
    assert "| time-qlora |" in gpu_report.time_table(found)


@pytest.mark.long
def test_both_trainers_learn_the_same_from_the_same_cases(finished: Path) -> None:
    found = results(finished)["held-out-loss"]
    assert [row["seed"] for row in found["seeds"]] == [0, 1]
    assert found["seeds_not_run"] == []
    for row in found["seeds"]:
        assert row["elara_steps"] == row["trl_steps"] == 2
        assert (row["cases"], row["held_out_cases"]) == (2, 1)
        assert 10 < row["untrained"] < 12  # ln 49,152 = 10.8: random weights
        learned = row["untrained"] - row["elara"]
        assert learned > 0
        assert abs(row["elara"] - row["trl"]) < 0.05 * learned
    assert found["noise"] >= 0


@pytest.mark.long
def test_an_evaluation_says_speed_and_what_batches_change(finished: Path) -> None:
    found = results(finished)["evaluate-bf16"]
    alone, together = found["answer loss, 1"], found["answer loss, 2"]
    assert alone["tokens"] == together["tokens"] > 0
    assert 0 <= found["largest_change_of_a_loss"] < 1e-4  # float32
    counts = {part: found[part]["items"] for part in ("letters", "pairs", "answers")}
    assert counts == {"letters": 6, "pairs": 12, "answers": 6}
    assert found["answers"]["tokens"] == 6 * 4  # random weights do not stop
    table = gpu_report.evaluation_table({"evaluated": found})
    assert all(f"| evaluated | {part} | " in table for part in counts)


# --- the budget, and what goes wrong ---


def options(folder: Path, **changes: Any) -> argparse.Namespace:
    given = {"shape": "mistral-7b", "seconds": 100.0, "limit": 60.0, "again": False}
    given |= {"result": folder / "gpu.json", "workspace": folder, "text": folder / "text"}
    return argparse.Namespace(**given | changes)


def test_nothing_is_started_that_would_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[tuple[str, float]] = []

    def run(name: str, step: gpu_steps.Step, given: argparse.Namespace, left: float) -> Any:
        started.append((name, left))
        return {"tokens_per_second": 1}

    monkeypatch.setattr(gpu_check, "run", run)
    steps = {name: gpu_steps.Step(seconds=s) for name, s in (("a", 30), ("b", 80), ("c", 50))}
    record = gpu_check.Record(tmp_path / "gpu.json")
    begun = time.perf_counter() - 40  # so that 57 of 100 s are left, 3 of them for the report
    assert gpu_check.script(record, steps, options(tmp_path), begun)
    assert [name for name, _ in started] == ["a", "c"]
    assert started[0][1] == pytest.approx(57, abs=2)
    reason = record.found["b"]["not_run"]
    assert reason.endswith("s of 100 were left, and it is expected to take 80")
    assert "b: not run: " in capsys.readouterr().out
    # In another call the rest is run, and a result is kept where there is no time to repeat it.
    started.clear()
    assert gpu_check.script(record, steps, options(tmp_path), time.perf_counter())
    assert [name for name, _ in started] == ["b"]
    again = options(tmp_path, again=True)
    assert gpu_check.script(record, steps, again, time.perf_counter() - 40)
    assert record.found["b"] == {"tokens_per_second": 1}
    started.clear()
    unlimited = options(tmp_path, again=True, seconds=0)
    assert gpu_check.script(record, steps, unlimited, time.perf_counter() - 10_000)
    assert [name for name, _ in started] == ["a", "b", "c"]


def test_a_rehearsal_is_no_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "BUILD", tmp_path)
    monkeypatch.setattr(gpu_check, "RESULT", tmp_path / "gpu.json")
    assert gpu_check.main(["--shape", "tiny", "--steps"]) == 0
    assert not (tmp_path / "gpu.json").exists()  # which the book shows
    found = json.loads((tmp_path / "rehearsal.json").read_text())
    assert {found[name]["not_run"] for name in gpu_steps.ELARA | gpu_steps.PEERS} == {
        "not asked for"
    }


def test_every_bar_is_measured_before_time_runs_out() -> None:
    seconds, needed = 0.0, {name for _, names, _ in gpu_report.BARS for name in names}
    for name, step in gpu_steps.ELARA.items():
        seconds += step.seconds
        needed.discard(name)
        assert step.seconds <= 60
        if not needed:
            break
    assert seconds < 280 - 30  # what comes first takes some seconds too
    assert not needed


def test_a_step_that_takes_too_long_ends_with_what_it_started(tmp_path: Path) -> None:
    child = "import pathlib, time; time.sleep(3); pathlib.Path('late').touch()"
    code = f"import os, subprocess, sys; os.chdir({str(tmp_path)!r}); "
    code += f"subprocess.run([sys.executable, '-c', {child!r}])"
    said = gpu_check.call([sys.executable, "-c", code], tmp_path / "log", 1.0)
    assert said == "took longer than 1 s"
    time.sleep(3)
    assert not (tmp_path / "late").exists()


def test_a_failing_run_is_named_and_tried_again(tmp_path: Path) -> None:
    said = gpu_check.call(
        [sys.executable, "-c", "raise SystemExit('no memory')"], tmp_path / "l", 9
    )
    assert said == "no memory"
    record = gpu_check.Record(tmp_path / "gpu.json")
    record.keep("lora-bf16", {"error": said})
    again = gpu_check.Record(tmp_path / "gpu.json")
    assert not again.done("lora-bf16")
    assert "| lora-bf16 | no memory |" in gpu_report.table(again.found)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = options(tmp_path)
    monkeypatch.setattr(gpu_check, "BUILD", tmp_path)
    monkeypatch.setattr(gpu_check, "ROOT", tmp_path)  # a copy without the sample
    assert gpu_check.notebooks(tmp_path / "w", 9)["not_run"].endswith("no sample to make it from")
    monkeypatch.setattr(gpu_check, "REAL_RUN", tmp_path / "real_run.py")
    assert gpu_check.real_run(1, given, 9) == {"not_run": "real_run.py is not here"}
    (tmp_path / "real_run.py").touch()
    assert gpu_check.real_run(1, given, 9)["not_run"].startswith("no real text in ")
    # What was prepared elsewhere is enough; without a search engine, answers have no sources.
    (tmp_path / "_build" / "real-run" / "workspace" / "training_data").mkdir(parents=True)
    (tmp_path / "_build/real-run/workspace/training_data/manifest.json").touch()
    asked: list[list[str]] = []
    monkeypatch.setattr(gpu_check, "call", lambda command, *_: asked.append(command) or "")
    monkeypatch.setattr(gpu_check, "_there", lambda name: name != "lancedb")
    assert gpu_check.real_run(1, given, 9) == {"seeds": 1, "result": "real_run.json"}
    assert asked[0][2:5] == ["--prepared", "-p", "evaluate.sources_each=0"]
    step = gpu_steps.Step(seconds=1, needs=("lancedb",))
    said = gpu_check.run("unsloth-qlora", step, given, 9)
    assert said == {"not_run": "lancedb is not installed"}


def test_the_meter_counts_no_padding_and_stops_training() -> None:
    import torch
    import transformers

    model, control = gpu_model.build(TINY, **PLAIN), transformers.TrainerControl()
    meter = gpu_meter.Meter(1, 2, on_gpu=False)
    meter.on_train_begin(None, None, control, model=model)
    ids = torch.tensor([[5, 6, gpu_model.PAD], [7, 8, 9]])
    for _ in range(3):
        assert not control.should_training_stop
        meter.on_step_begin(None, None, control)
        model(input_ids=ids)
        meter.on_step_end(None, None, control, model=model)
    assert control.should_training_stop
    model(input_ids=ids)  # no longer counted
    assert [sum(map(int, step)) for step in meter.counts] == [5, 5, 5, 0]
    found = meter.result(TINY, None)
    assert found["tokens_per_second"] == pytest.approx(10 / meter.seconds, rel=0.01)


def test_a_run_that_ends_early_is_no_measurement() -> None:
    meter = gpu_meter.Meter(1, 2, on_gpu=False)
    meter.on_step_begin(None, None, None)
    with pytest.raises(SystemExit, match="after 0 steps, and 3 were to be measured"):
        meter.result(TINY, None)


@pytest.mark.parametrize(
    ("kernel", "group"),
    [
        ("nvjet_tst_192x192_64x4_2x1_v_bz_coopA_NNT", "matrix products"),
        ("void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm>", "matrix products"),
        ("triton_tem_fused_mm_3", "matrix products"),
        ("triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_0", gpu_profile.ELEMENTWISE),
        ("void pytorch_flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel", "attention"),
        ("cutlass::device_kernel<flash::FlashAttnFwdSm90>", "attention"),
        ("void kDequantizeBlockwise<__nv_bfloat16, 512, 64, 8>(float*)", "dequantisation"),
        ("void at::native::multi_tensor_apply_kernel<FusedAdamMathFunctor>", "optimiser"),
        ("Memcpy HtoD (Pinned -> Device)", "copies"),
        ("void at::native::elementwise_kernel<at::native::mul>", gpu_profile.ELEMENTWISE),
        ("aten::addmm", "matrix products"),
        ("mkldnn::_linear_pointwise", "matrix products"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("aten::copy_", "copies"),
    ],
)
def test_kernels_have_a_group(kernel: str, group: str) -> None:
    assert gpu_profile.group_of(kernel) == group


def test_a_plan_is_asked_for_what_a_run_is_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def choose(**named: Any) -> gpu.GpuPlan:
        asked.append(named)
        return gpu.GpuPlan(batch=2, accumulation=1, bytes=7 * 2**30)

    monkeypatch.setattr(gpu, "choose_plan", choose)
    with gpu_run.planned(gpu_run.Variant(memory_gib=7.4, compiled=True)) as plans:
        assert gpu.choose_plan(memory=2**40, tokens=5).compiled
    assert asked[0]["memory"] == int(7.4 * 2**30)
    assert asked[0]["tokens"] == gpu_run.LONG
    assert [plan.compiled for plan in plans] == [True]
    with gpu_run.planned(gpu_run.Variant()):
        assert not gpu.choose_plan(memory=2**40).compiled
    assert asked[1] == {"memory": 2**40, "tokens": 0}
    assert gpu.choose_plan is choose


def test_the_plans_of_the_check_take_what_is_to_be_measured() -> None:
    import transformers

    shape = transformers.MistralConfig(**gpu_model.SHAPES["mistral-7b"])
    barred = {name for _, names, _ in gpu_report.BARS for name in names}
    for name, step in gpu_steps.ELARA.items():
        variant = gpu_run.Variant(**step.settings)
        plan = gpu_run.by_shape(variant, shape, gpu_run.settings(variant), 139 * 2**30, "H200")
        assert plan.compiled == variant.compiled, name
        assert plan.bytes < (variant.memory_gib or 139) * 2**30, name
        if name in barred:
            assert plan.batch == variant.batch, name


# --- bars and tables, from figures that were made up ---


def planned(batch: int, layers: int, predicted: float, peak: float, **more: Any) -> dict[str, Any]:
    plan = {"batch": batch, "checkpointed_layers": layers, "compiled": True}
    run = {"variant": {"quantisation": "none"}, "plan": plan, "predicted_gib": predicted}
    return run | {"predicted_by_shape_gib": predicted, "peak_gib": peak} | more


def measured(**runs: tuple[float, float]) -> dict[str, Any]:
    return {
        n.replace("_", "-"): {"mfu_percent": m, "peak_gib": g, "examples_per_step": 2}
        for n, (m, g) in runs.items()
    }


def test_bars_hold_only_together() -> None:
    rows = gpu_report.check(measured(lora_bf16=(51, 60), qlora=(39, 7.1), lora_bf16_mixed=(42, 9)))
    assert [row["holds"] for row in rows[:5]] == [True] * 5
    # The one is fast, the other small: neither is both.
    split = measured(qlora=(20, 7), qlora_compiled=(40, 12))
    rows = gpu_report.check(split)
    assert [row["holds"] for row in rows[2:4]] == [True, False]
    assert rows[3]["run"] == "qlora-compiled"
    assert not any(row["holds"] for row in gpu_report.check({}))
    # A plan that takes one example at a time says nothing about two.
    split["qlora-compiled"] |= {"peak_gib": 7, "examples_per_step": 1}
    assert not gpu_report.check(split)[4]["holds"]


def test_bars_compare_with_trl_with_the_plan_and_with_noise() -> None:
    speeds = {"lora-bf16-mixed": 22.0, "trl-bf16-mixed": 10.0, "trl-bf16-packed": 17.0}
    found: dict[str, Any] = {name: {"tokens_per_second": s} for name, s in speeds.items()}
    found |= {"lora-bf16": planned(4, 0, 30.0, 32.9), "qlora": planned(2, 32, 7.0, 6.2)}
    found["held-out-loss"] = {"difference": -0.01, "noise": 0.02}
    rows = {row["bar"]: row for row in gpu_report.check(found)}
    assert rows["times as fast as trl-bf16-mixed"]["holds"]
    assert not rows["times as fast as trl-bf16-packed"]["holds"]  # 1.29
    memory = rows["peak memory beside the plan's, %"]
    assert (memory["measured"], memory["run"], memory["holds"]) == (-11.4, "qlora", False)
    assert rows["held-out loss beside TRL's"]["holds"]
    found["held-out-loss"]["noise"] = 0.005
    assert not gpu_report.check(found)[-1]["holds"]
    del found["held-out-loss"]["noise"]
    assert "at least two seeds" in gpu_report.check(found)[-1]["wanted"]


def test_predicted_and_measured_memory_stand_side_by_side() -> None:
    found = {"lora-bf16": planned(4, 0, 30.0, 32.9), "trl-bf16": {"peak_gib": 23.0, "plan": None}}
    table = gpu_report.memory_table(found).splitlines()
    assert table[0].startswith("| run | weights | batch | checkpointed_layers | compiled | ")
    assert table[2:] == ["| lora-bf16 | bf16 | 4 | 0 | True | 30.0 | 30.0 | 32.9 | 9.7 |"]
    assert gpu_report.memory_table({}) == ""


def test_check_fails_without_measurements_and_writes_nothing(tmp_path: Path) -> None:
    assert gpu_check.main(["--check", "--result", str(tmp_path / "gpu.json")]) == 1
    assert not (tmp_path / "gpu.json").exists()


def test_without_a_card_nothing_large_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = {"device": "none (CPU)"}
    monkeypatch.setattr(gpu_check, "BUILD", tmp_path)
    monkeypatch.setattr(gpu_check, "environment", lambda: here)
    result = tmp_path / "gpu.json"
    arguments = ["--steps", "environment", "lora-bf16", "--result", str(result)]
    assert gpu_check.main(arguments) == 1
    assert "No CUDA device is found" in capsys.readouterr().out
    assert not result.exists()
    # Results of two machines are never mixed.
    result.write_text(json.dumps({"environment": {"device": "NVIDIA H100"}}))
    assert gpu_check.main([*arguments, "--shape", "tiny"]) == 1
    assert "was measured on NVIDIA H100" in capsys.readouterr().out


def files_to_carry(folder: Path) -> list[Path]:
    import io
    import tarfile
    import zipfile

    site, model = folder / "site.tar.xz", folder / "model-1-py3-none-any.whl"
    with tarfile.open(site, "w:xz") as archive:
        for name, content in (("package/__init__.py", b"x = 1\n"), ("noise", bytes(range(256)))):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    with zipfile.ZipFile(model, "w") as wheel:
        wheel.writestr("weights", bytes(i * i % 251 for i in range(90_000)))
    return [site, model]


def test_bundles_stay_below_the_limit_and_come_back_whole(tmp_path: Path) -> None:
    files = files_to_carry(tmp_path)
    there = tmp_path / "there"
    there.mkdir()
    limit = 50_000
    bundles = gpu_bundle.pack(files, there, limit)
    assert len(bundles) > 2
    for bundle in bundles:
        assert sum(path.stat().st_size for path in bundle.iterdir()) <= limit
    away = bundles[-1].rename(tmp_path / "not-there-yet")
    assert gpu_bundle.unpack(there) == {"whole": ["site.tar.xz"], "missing parts": [files[1].name]}
    assert (there / "site" / "package" / "__init__.py").exists()
    away.rename(bundles[-1])
    assert gpu_bundle.unpack(there)["missing parts"] == []
    content = (there / "site" / "weights").read_bytes()
    assert content == bytes(i * i % 251 for i in range(90_000))


def test_real_text_comes_back_into_a_folder_of_its_own(tmp_path: Path) -> None:
    import tarfile

    there = tmp_path / "there"
    there.mkdir()
    (tmp_path / "note.txt").write_text("real\n")
    with tarfile.open(tmp_path / "text.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "note.txt", "note.txt")
    gpu_bundle.pack([tmp_path / "text.tar.xz"], there, 50_000)
    gpu_bundle.unpack(there)
    assert [path.name for path in (there / "text").glob("*.txt")] == ["note.txt"]
    assert not (there / "site").exists()


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    bundles = gpu_bundle.pack(files_to_carry(tmp_path), tmp_path, 50_000)
    part = next(path for path in sorted(bundles[-1].iterdir()) if path.suffix != ".json")
    part.write_bytes(part.read_bytes()[:-1] + b"!")
    with pytest.raises(SystemExit, match="is damaged: carry the bundles again"):
        gpu_bundle.unpack(tmp_path)


def imported(folder: Path) -> set[str]:
    """The distributions that the modules of a folder import, wherever they do."""
    code = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    names = re.findall(r"^ *(?:from|import) (\w+)", code, re.M)
    known = importlib.metadata.packages_distributions()
    found = {dist for name in names for dist in known.get(name, ())}
    return {canonicalize_name(dist) for dist in found} - {"elara"}


def test_what_is_there_is_not_carried() -> None:
    everything = gpu_bundle.lacking({}, "3.12")
    assert "torch" not in everything
    assert {"numpy", "dill", "ipykernel"} <= everything.keys()
    # What the rooms of notebooks 01 to 06 import, but for kinds of files that others bring along.
    rooms = ("collect", "inspection", "clean", "expand", "train", "evaluate", "model", "workspace")
    named = {name for room in rooms for name in imported(PROJECT / "elara" / room)}
    others = {"torch", "mammoth", "pypdf", "py7zr", "lancedb"}
    assert named - everything.keys() - others == set()
    present = gpu_bundle.read_present("numpy==2.5.2\npyarrow scipy, dill\n")
    assert present == {"numpy": "2.5.2", "pyarrow": "", "scipy": "", "dill": ""}
    fewer = gpu_bundle.lacking(present, "3.12")
    assert not present.keys() & fewer.keys()
    too_old = gpu_bundle.lacking({"huggingface-hub": "0.1"}, "3.12")
    assert "huggingface-hub" in too_old


def test_the_command_lists_its_steps() -> None:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--steps", "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "unknown step 'nonsense'" in done.stderr

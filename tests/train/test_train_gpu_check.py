"""The GPU check on a CPU: every step with a tiny shape, its arithmetic, its bundles, its page."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from elara.train import TrainingConfig
from elara.train.devices import gpu
from elara.train.lora import restoring

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import gpu as gpu_check  # noqa: E402
import gpu_bundle  # noqa: E402
import gpu_model  # noqa: E402
import gpu_report  # noqa: E402
import gpu_run  # noqa: E402

TINY = gpu_model.SHAPES["tiny"]
SHORT = {"length": 32, "warmup": 1, "steps": 2, "batch": 2}


def test_parameters_and_utilisation_by_hand() -> None:
    # Mistral 7B: 32 layers of q and o (4096 x 4096), k and v (4096 x 1024), three of MLP
    # (4096 x 14336), and the head (4096 x 32768).
    layer = 2 * 16_777_216 + 2 * 4_194_304 + 3 * 58_720_256
    assert gpu_model.multiplied_parameters(gpu_model.SHAPES["mistral-7b"]) == (
        32 * layer + 134_217_728
    )
    # 10,000 tokens/s x 4 x 7.114 billion = 284.5 TFLOP/s, of 989 are 28.8 %.
    share = gpu_model.utilisation(gpu_model.SHAPES["mistral-7b"], 10_000, 989e12)
    assert share == pytest.approx(0.2877, abs=1e-4)
    assert gpu_model.utilisation(TINY, 10_000, None) is None


def test_devices_are_told_apart() -> None:
    assert gpu_model.peak_flops("NVIDIA H100 80GB HBM3")[0] == 989e12
    assert gpu_model.peak_flops("NVIDIA H100 PCIe")[0] == 756e12
    assert gpu_model.peak_flops("NVIDIA L40S")[0] == 362e12
    assert gpu_model.peak_flops("Some other card") == (None, "")


def test_the_shape_has_the_parameters_that_are_counted() -> None:
    model = gpu_model.build(TINY, quantisation="none", device="cpu", dtype="float32")
    linear = sum(p.numel() for n, p in model.named_parameters() if "proj" in n or "lm_head" in n)
    assert linear == gpu_model.multiplied_parameters(TINY)


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


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The check's own main on a CPU, with two runs; the second one stopped and begun again."""
    folder = tmp_path_factory.mktemp("gpu")
    variants = {
        "ours": SHORT,
        "evaluated": {"script": gpu_check.EVALUATE, "batch": 2, "length": 32}
        | {"items": 6, "new_tokens": 4},
        "theirs": SHORT | {"trainer": "trl", "quantisation": "nf4", "mixed": True},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_check, "BUILD", folder)
        patch.setattr(gpu_check, "SITE", folder / "site")
        arguments = ["--result", str(folder / "gpu.json"), "--shape", "tiny"]
        arguments += ["--steps", "install", "environment"]
        first = json.dumps({"ours": variants["ours"]})
        assert gpu_check.main([*arguments, "--variants", first]) == 0
        marked = json.loads((folder / "gpu.json").read_text())
        marked["ours"]["mark"] = "kept"
        (folder / "gpu.json").write_text(json.dumps(marked))
        assert gpu_check.main([*arguments, "--variants", json.dumps(variants)]) == 0
    return folder


@pytest.mark.long
def test_a_run_says_speed_and_settings(finished: Path) -> None:
    found = json.loads((finished / "gpu.json").read_text())
    assert found["environment"]["device"] == "none (CPU)"
    assert found["environment"]["flops_per_token"] == 4 * 7_113_539_584
    ours, theirs = found["ours"], found["theirs"]
    assert ours["plan"]["batch"] == 2
    assert theirs["plan"] is None
    for run in (ours, theirs):
        assert run["tokens_per_second"] > 0
        assert 5 < run["loss"] < 8  # ln 512 = 6.2: the labels are random
        assert "mfu_percent" not in run  # no device, no peak
    assert "| ours | 2 | 0 |" in gpu_report.table(found)


@pytest.mark.long
def test_an_evaluation_says_speed_and_what_batches_change(finished: Path) -> None:
    found = json.loads((finished / "gpu.json").read_text())["evaluated"]
    alone, together = found["answer loss, 1"], found["answer loss, 2"]
    assert alone["tokens"] == together["tokens"] > 0
    assert 0 <= found["largest_change_of_a_loss"] < 1e-4  # float32
    counts = {part: found[part]["items"] for part in ("letters", "pairs", "answers")}
    assert counts == {"letters": 6, "pairs": 12, "answers": 6}
    assert found["answers"]["tokens"] == 6 * 4  # random weights do not stop
    table = gpu_report.table({"evaluated": found})
    assert all(f"| evaluated | {part} | " in table for part in counts)


@pytest.mark.long
def test_steps_with_a_result_are_not_run_again(finished: Path) -> None:
    assert json.loads((finished / "gpu.json").read_text())["ours"]["mark"] == "kept"


def test_a_failing_run_is_named_and_tried_again(tmp_path: Path) -> None:
    record = gpu_check.Record(tmp_path / "gpu.json")
    record.keep("lora-bf16", {"error": "out of memory"})
    again = gpu_check.Record(tmp_path / "gpu.json")
    assert not again.done("lora-bf16")
    assert "out of memory" in gpu_report.table(again.found)


def test_padding_is_not_counted() -> None:
    import torch

    meter = gpu_run.Meter(on_gpu=False)
    meter.begin()
    meter.count(None, (torch.tensor([[5, 6, gpu_model.PAD], [7, 8, 9]]),))
    meter.end()
    assert meter.tokens == [5]


def measured(**runs: tuple[float, float]) -> dict[str, Any]:
    return {n.replace("_", "-"): {"mfu_percent": m, "peak_gib": g} for n, (m, g) in runs.items()}


def test_bars_hold_only_together() -> None:
    rows = gpu_report.check(measured(lora_bf16=(38, 60), qlora_10gib=(26, 9.1)))
    assert [row["holds"] for row in rows] == [True, True, True]
    # The one is fast, the other small: neither is both.
    split = measured(qlora_10gib=(20, 9), qlora_10gib_compiled=(30, 12))
    rows = gpu_report.check(split)
    assert [row["holds"] for row in rows] == [False, True, False]
    assert rows[1]["run"] == "qlora-10gib-compiled"
    assert not any(row["holds"] for row in gpu_report.check({}))


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


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    bundles = gpu_bundle.pack(files_to_carry(tmp_path), tmp_path, 50_000)
    part = next(path for path in sorted(bundles[-1].iterdir()) if path.suffix != ".json")
    part.write_bytes(part.read_bytes()[:-1] + b"!")
    with pytest.raises(SystemExit, match="is damaged: carry the bundles again"):
        gpu_bundle.unpack(tmp_path)


def test_what_is_there_is_not_carried() -> None:
    everything = gpu_bundle.lacking({}, "3.12")
    assert "torch" not in everything
    assert {"numpy", "dill", "ipykernel"} <= everything.keys()
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

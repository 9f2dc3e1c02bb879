"""A model split over two processes trains to the same weights as a whole one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_run
from safetensors.torch import load_file

from elara import train
from elara.train.devices.launch import finished, profile_file, write_job

WORKER = Path(__file__).with_name("split_on_cpu.py")


@pytest.mark.long
def test_a_split_model_trains_like_a_whole_one(tiny_folder: Path, tmp_path: Path) -> None:
    whole = tiny_run.run(tiny_folder, tmp_path / "whole", lora_dropout=0.0, save_steps=100)
    settings = tiny_run.config(tiny_folder, lora_dropout=0.0, save_steps=5)
    job = write_job(tmp_path / "job", settings, tiny_run.examples(16), tiny_run.examples(4, 100))
    run = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"),
            *("--config_file", str(profile_file("fsdp2")), "--main_process_port", "0"),
            *(str(WORKER), str(job)),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    for rank in range(2):
        numbers, here = json.loads((job / f"split-{rank}.json").read_text())
        assert here == numbers / 2
    split = finished(job)
    assert split.steps == whole.steps
    both = whole.losses.join(split.losses, on=["step", "split"], suffix="_split")
    assert len(both) == len(whole.losses)
    # float32 keeps 7 digits; only the order of the sums differs, at losses of about 10
    assert (both["loss"] - both["loss_split"]).abs().max() < 1e-4  # type: ignore[operator]
    expected = load_file(tmp_path / "whole" / "adapter" / "adapter_model.safetensors")
    found = load_file(job / "adapter" / "adapter_model.safetensors")
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert (weight - found[name]).abs().max() < 1e-4, name


def test_splitting_needs_gpus(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from elara.train.devices.worker import _profile

    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    settings = tiny_run.config(tiny_folder)
    assert _profile(settings, "DistributedType.MULTI_CPU") == "data_parallel"
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(train.TrainingError, match="this machine offers none"):
        _profile(settings, "DistributedType.MULTI_CPU")


@pytest.mark.parametrize("name", ["patience", "loraplus_ratio"])
def test_what_needs_the_whole_adapter_is_refused(
    name: str, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from elara.train.devices.worker import _profile

    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    settings = tiny_run.config(tiny_folder, **{name: 2})
    with pytest.raises(train.TrainingError, match=f"`{name}` needs the whole adapter"):
        _profile(settings, "DistributedType.FSDP")

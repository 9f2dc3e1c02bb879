"""Two processes train what one does, end with their launcher, and say why they cannot."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import tiny_run
from safetensors.torch import load_file

from elara import train
from elara.model import load_base
from elara.train.devices.launch import (
    PROFILES,
    _run,
    _why,
    finished,
    launch,
    per_process,
    profile_file,
    read_job,
    write_job,
)

HERE = Path(__file__).parent


def job(model: Path, folder: Path, **changes: Any) -> Path:
    settings = tiny_run.config(model, **({"lora_dropout": 0.0} | changes))
    return write_job(folder, settings, tiny_run.examples(16), tiny_run.examples(5, start=97))


@pytest.fixture(scope="module")
def one(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> train.Training:
    """The same run in one process."""
    folder = tmp_path_factory.mktemp("one")
    config, examples, validation = read_job(job(tiny_folder, folder / "job"))
    lm = load_base(str(tiny_folder))
    data = train.tokenise(lm.tokenizer, examples, validation, config)
    return train.fine_tune(lm, data, config, folder / "checkpoints")


def _workers(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        if str(folder) in command and "elara.train.devices.worker" in command:
            found.append(process)
    return found


@pytest.mark.long
def test_two_killed_processes_go_on_to_the_loss_of_one(
    tiny_folder: Path, tmp_path: Path, one: train.Training
) -> None:
    folder = job(tiny_folder, tmp_path / "job")
    code = "import sys, pathlib; from elara.train.devices.launch import launch as go"
    code += "; go(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as launcher:
        deadline = time.monotonic() + 180
        while not list(folder.glob("checkpoints/*/*/checkpoint-3/trainer_state.json")):
            assert time.monotonic() < deadline, (folder / "log.txt").read_text()
            assert launcher.poll() is None, (folder / "log.txt").read_text()
            time.sleep(0.01)
        assert len(_workers(folder)) >= 2
        launcher.kill()
    deadline = time.monotonic() + 30
    while _workers(folder):
        assert time.monotonic() < deadline, "the workers outlive their launcher"
        time.sleep(0.1)
    with pytest.raises(train.TrainingError, match="has not finished"):
        finished(folder)

    launch(folder)
    two = finished(folder)
    assert 3 <= two.resumed_at < 8
    assert two.steps == one.steps
    both = one.losses.join(two.losses, on=["step", "split"], suffix="_two")
    assert len(both) == len(one.losses) == len(two.losses)
    # float32 keeps 7 digits; only the order of the sums differs, at losses of about 10
    assert (both["loss"] - both["loss_two"]).abs().max() < 1e-4  # type: ignore[operator]
    trained = {
        name.replace(".default", ""): weight
        for name, weight in one.model.model.state_dict().items()
        if "lora_" in name
    }
    weights = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert weights.keys() == trained.keys()
    for name, weight in weights.items():
        # AdamW divides by the gradient's size, so a rounding in it can move a weight by more
        assert (weight - trained[name]).abs().max() < 1e-4, name
    assert not (folder / "checkpoints").exists()


def test_each_process_takes_its_share_of_the_accumulation(tiny_folder: Path) -> None:
    settings = tiny_run.config(tiny_folder, gradient_accumulation=4)
    shared = per_process(settings, 2)
    assert shared == dataclasses.replace(settings, gradient_accumulation=2)
    with pytest.raises(train.TrainingError, match=r"`gradient_accumulation` 4 cannot .* 3 proc"):
        per_process(settings, 3)


def test_a_job_folder_keeps_everything(tiny_folder: Path, tmp_path: Path) -> None:
    folder = job(tiny_folder, tmp_path / "job", trackers=())
    settings, examples, validation = read_job(folder)
    assert settings == tiny_run.config(tiny_folder, lora_dropout=0.0, trackers=())
    assert examples.equals(tiny_run.examples(16).select(examples.columns))
    empty = write_job(tmp_path / "none", settings, examples, validation.clear())
    assert read_job(empty)[2].is_empty()


def test_only_a_changed_job_loses_its_checkpoints(tiny_folder: Path, tmp_path: Path) -> None:
    folder = job(tiny_folder, tmp_path / "job")
    (folder / "checkpoints").mkdir()
    job(tiny_folder, folder)
    assert (folder / "checkpoints").exists()
    job(tiny_folder, folder, learning_rate=1e-4)
    assert not (folder / "checkpoints").exists()


def test_what_cannot_start_is_refused_at_once(tiny_folder: Path, tmp_path: Path) -> None:
    folder = job(tiny_folder, tmp_path / "job")
    with pytest.raises(train.TrainingError, match="Unknown profile 'fsdp9'"):
        launch(folder, profile="fsdp9")
    with pytest.raises(train.TrainingError, match="cannot be shared by 3"):
        launch(folder, processes=3)
    with pytest.raises(train.TrainingError, match="is no job folder that can be read"):
        launch(tmp_path)
    (folder / "config.json").write_text('{"no_such_setting": 1}')
    with pytest.raises(train.TrainingError, match="no_such_setting"):
        launch(folder)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("Traceback\nelara: No example is left.\nChildFailedError: x", "No example is left."),
        ("[rank1]: Traceback\n[rank1]: ValueError: odd\nx.ChildFailedError: y", "ValueError: odd"),
        ("[rank0]: torch.OutOfMemoryError: CUDA out of memory.", "CUDA out of memory"),
        ("  exitcode  : -9 (pid: 12)\n", "ended by SIGKILL; .* memory most often ran out"),
        ("nothing\nknown", "nothing known"),
    ],
)
def test_the_reason_is_found_in_the_output(output: str, reason: str) -> None:
    assert re.search(reason, _why(output))


def test_lines_are_shown_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = "import sys; print('step 1'); print('odd', file=sys.stderr); sys.exit(3)"
    assert _run([sys.executable, "-c", code], tmp_path / "log.txt") == 3
    assert capsys.readouterr().out == "step 1\n"
    assert set((tmp_path / "log.txt").read_text().split("\n")) == {"step 1", "odd", ""}


def test_workers_draw_no_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "x")
    code = "from elara.display.progress import watched; raise SystemExit(watched())"
    assert _run([sys.executable, "-c", code], tmp_path / "log.txt") == 0


@pytest.mark.parametrize("profile", PROFILES)
def test_accelerate_reads_the_profiles(profile: str) -> None:
    from accelerate.commands.config import load_config_from_file

    config = load_config_from_file(str(profile_file(profile)))
    kind = {"data_parallel": "MULTI_GPU", "fsdp2": "FSDP"}[profile]
    assert config.distributed_type == kind
    assert config.mixed_precision == "no"  # the precision is chosen by elara.model

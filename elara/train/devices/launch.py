"""Train on more than one device: a job folder, and `accelerate` processes that work on it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl

from elara.machine.cores import usable_cores
from elara.model import TRAINING_FILE, load_adapter
from elara.records import Example, schema
from elara.train.config import TrainingConfig, TrainingError
from elara.train.sft import Training
from elara.workspace.formats import json_text, read_table

PROFILES = ("data_parallel", "fsdp2")
FOLLOW = "ELARA_FOLLOWS_LAUNCHER"  # set: a worker ends when its standard input closes
REASON = "elara: "  # begins the line by which a worker says why it stopped

_FOLDER = Path(__file__).with_name("profiles")
_SETTINGS = "config.json"
_SPLITS = ("train", "validation")


def write_job(
    folder: Path, config: TrainingConfig, train: pl.DataFrame, validation: pl.DataFrame
) -> Path:
    """Write a folder that holds all that a training run needs, apart from the base model.

    It can be copied to another machine and started there. Checkpoints of an earlier, different
    job in the same folder are removed; those of the same job are what a rerun continues from.

    Args:
        folder: where to; made when needed.
        config: the settings of the whole run, all processes together.
        train: `Example` rows to learn from.
        validation: `Example` rows to watch the loss on; may be empty.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {_SETTINGS: json_text(config).encode()}
    for split, rows in zip(_SPLITS, (train, validation), strict=True):
        files[f"{split}.jsonl"] = rows.write_ndjson().encode()
    for name, content in files.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != content:
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
            path.write_bytes(content)
    return folder


def read_job(folder: Path) -> tuple[TrainingConfig, pl.DataFrame, pl.DataFrame]:
    """Read a job folder.

    Args:
        folder: what `write_job` left.

    Returns:
        The settings of the whole run, and the `Example` rows to train on and to watch.

    Raises:
        TrainingError: a file is missing or cannot be read.
    """
    try:
        config = TrainingConfig(**json.loads((folder / _SETTINGS).read_text(encoding="utf-8")))
        paths = [folder / f"{split}.jsonl" for split in _SPLITS]
        train, validation = (read_table(path, schema(Example)) for path in paths)
    except (OSError, ValueError, TypeError, pl.exceptions.PolarsError) as error:
        raise TrainingError(
            f"{folder} is no job folder that can be read ({error}): write it with "
            "`elara.train.write_job` of the same version of Elara."
        ) from error
    return config, train, validation


def per_process(config: TrainingConfig, processes: int) -> TrainingConfig:
    """Settings of one of several processes, so that together they do what `config` says.

    The effective batch stays: each process takes its share of the gradient accumulation.

    Args:
        config: the settings of the whole run.
        processes: how many processes share it.

    Raises:
        TrainingError: the accumulation cannot be shared out evenly.
    """
    share, left = divmod(config.gradient_accumulation, processes)
    if left:
        raise TrainingError(
            f"`gradient_accumulation` {config.gradient_accumulation} cannot be shared by "
            f"{processes} processes: use a number of processes that divides it, or a multiple of "
            f"{processes} for it and a smaller `batch_size`."
        )
    return dataclasses.replace(config, gradient_accumulation=share)


def profile_file(profile: str) -> Path:
    """The `accelerate` configuration of a profile.

    Args:
        profile: `data_parallel` or `fsdp2`.

    Raises:
        TrainingError: there is no such profile.
    """
    if profile not in PROFILES:
        raise TrainingError(f"Unknown profile {profile!r}: use one of {', '.join(PROFILES)}.")
    return _FOLDER / f"{profile}.yaml"


def launch(job: Path, *, profile: str = "data_parallel", processes: int = 2) -> Path:
    """Train the job in a folder with several processes on this machine.

    Runs `accelerate launch` with the profile, shows the workers' progress, and waits. Interrupting
    or killing this process ends the workers. Launching again continues from the last checkpoint
    of the same job with the same profile and number of processes.

    Args:
        job: a folder that `write_job` left.
        profile: `data_parallel` or `fsdp2`.
        processes: one per GPU; on a machine without GPUs, CPU processes (data_parallel only).

    Returns:
        The adapter folder, inside the job folder; `finished` loads it.

    Raises:
        TrainingError: the run cannot start, or failed; the message says why and what to do.

    Source: https://huggingface.co/docs/accelerate/basic_tutorials/launch
    """
    settings = profile_file(profile)
    _check(read_job(job)[0], processes)
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(settings)),
        *("--num_processes", str(processes), "--main_process_port", "0"),
        *("--num_cpu_threads_per_process", str(max(1, usable_cores() // processes))),
        *("--module", "elara.train.devices.worker", str(job)),
    ]
    log = job / "log.txt"
    if _run(command, log):
        why = _why(log.read_text(encoding="utf-8"))
        raise TrainingError(
            f"Training with {processes} processes ({profile}) failed: {why} "
            f"All output is in {log}; checkpoints are kept, so launch again to continue."
        )
    return job / "adapter"


def finished(job: Path) -> Training:
    """Load what the workers of a job left, as if `fine_tune` had run here.

    Args:
        job: the job folder, after `launch` or after a run on a cluster.

    Raises:
        TrainingError: the job has not finished.
    """
    try:
        record = json.loads((job / "adapter" / TRAINING_FILE).read_text(encoding="utf-8"))
        losses = pl.read_parquet(job / "losses.parquet")
    except OSError as error:
        raise TrainingError(
            f"The job in {job} has not finished ({error}): launch it again to continue."
        ) from error
    names = ("steps", "resumed_at_step", "tokens", "seconds", "best_step")
    return Training(load_adapter(job / "adapter"), losses, *(record[name] for name in names))


def _check(config: TrainingConfig, processes: int) -> None:
    import torch

    gpus = torch.cuda.device_count()
    per_process(config, processes)
    if gpus and processes > gpus:
        raise TrainingError(f"{processes} processes need {processes} GPUs; here are {gpus}.")


def _run(command: list[str], log: Path) -> int:
    """Run to the end, showing standard output line by line; the log keeps both streams."""
    environment = os.environ | {FOLLOW: "1", "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    # Only the kernel of a notebook can draw a bar: its workers print lines.
    environment.pop("JPY_SESSION_NAME", None)
    with (
        log.open("w", encoding="utf-8", errors="replace") as kept,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,  # never written to: it closes when this process ends
            stdout=subprocess.PIPE,
            stderr=kept,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
                kept.write(line)
                kept.flush()
            return process.wait()
        finally:
            process.stdin.close()
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)


def _why(output: str) -> str:
    lines = [re.sub(r"^\[rank\d+\]:\s?", "", line).rstrip() for line in output.splitlines()]
    for line in lines:
        if line.startswith(REASON):
            return line.removeprefix(REASON)
    errors = [line for line in lines if re.match(r"[A-Za-z_][\w.]*(Error|Exception)\b", line)]
    errors = [line for line in errors if "ChildFailedError" not in line]
    if errors:
        return errors[0]
    if killed := re.search(r"exitcode\s*: -(\d+)", output):
        name = signal.Signals(int(killed[1])).name
        return f"a worker was ended by {name}; after SIGKILL, memory most often ran out: use fewer."
    return " ".join(line for line in lines[-3:] if line)

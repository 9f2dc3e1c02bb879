"""Train the tiny model on a few sentences: `python tiny_run.py MODEL OUT`, or by import."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl

from elara import train
from elara.model import load_base
from elara.records import Example, Message, frame


def examples(n: int, start: int = 0) -> pl.DataFrame:
    return frame(
        [
            Example(
                id=f"x:{i}/key_points/0",
                messages=[
                    Message("system", "You are a medical professional assistant."),
                    Message("user", f"What is condition {i}?"),
                    Message("assistant", f"Condition {i} is a condition with {i} signs."),
                ],
                specialty="General",
                origin="grounded",
                recipe="key_points",
                article_ids=[f"x:{i}"],
                licence="CC0-1.0",
                redistributable=True,
            )
            for i in range(start, start + n)
        ],
        Example,
    )


def config(model: Path, **changes: Any) -> train.TrainingConfig:
    settings: dict[str, Any] = {
        "base_model": str(model),
        "quantisation": "none",
        "learning_rate": 1e-2,
        "lora_dropout": 0.1,
        "epochs": 2,
        "max_length": 128,
        "save_steps": 1,
        "seed": 3,
    }
    return train.TrainingConfig(**(settings | changes))


def run(model: Path, out: Path, **changes: Any) -> train.Training:
    settings = config(model, **changes)
    lm = load_base(str(model))
    data = train.tokenise(lm.tokenizer, examples(16), examples(4, start=100), settings)
    training = train.fine_tune(lm, data, settings, out / "checkpoints")
    train.save_adapter(training, settings, data, {"CC0-1.0": 16}, out / "adapter")
    return training


def kill_at_checkpoint(command: list[str], folder: Path) -> None:
    """Start a run and kill it as soon as its third checkpoint is whole."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as killed:  # type: ignore[call-overload]
        deadline = time.monotonic() + 180
        while not list(folder.glob("checkpoints/*/checkpoint-3/trainer_state.json")):
            assert time.monotonic() < deadline
            assert killed.poll() is None, "ended before it could be killed"
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)


if __name__ == "__main__":
    print(run(Path(sys.argv[1]), Path(sys.argv[2])).resumed_at)

"""Curves are logged where asked for, and nothing that goes wrong there stops a run."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
import tiny_run

from elara import train
from elara.model import load_base
from elara.train import callbacks
from elara.train.callbacks import Tracker, environment


def needs(name: str) -> Any:
    """Skip without the package; it is not imported, as its settings are read then."""
    marks = pytest.mark.skipif(not importlib.util.find_spec(name), reason=f"needs {name}")
    return pytest.param(name, marks=marks)


@pytest.fixture(autouse=True)
def no_accounts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    starts = ("WANDB_", "MLFLOW_", "TRACKIO_", "TENSORBOARD_")
    for name in [n for n in os.environ if n.startswith(starts)]:
        monkeypatch.delenv(name)


def tracked(model: Path, out: Path, *names: str) -> train.Training:
    """A short run with trackers that write into `logs`."""
    settings = tiny_run.config(model, epochs=0.5, trackers=names)
    lm = load_base(str(model))
    rows = tiny_run.examples(8)
    data = train.tokenise(lm.tokenizer, rows, rows.head(2), settings)
    return train.fine_tune(lm, data, settings, out / "checkpoints", logs=out / "logs")


def test_nothing_leaves_the_machine_unless_the_user_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = environment(tmp_path / "logs", "run")
    assert (tmp_path / "logs").is_dir()
    assert told["WANDB_MODE"] == "offline"
    assert told["WANDB_ERROR_REPORTING"] == "false"
    assert told["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert told["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/logs/mlflow.db"
    assert told["TRACKIO_DIR"] == f"{tmp_path}/logs/trackio"
    monkeypatch.setenv("WANDB_API_KEY", "x")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")
    told = environment(tmp_path, "run")
    assert told["WANDB_MODE"] == "online"
    assert told.keys().isdisjoint({"MLFLOW_TRACKING_URI", "WANDB_ERROR_REPORTING"})


@pytest.mark.parametrize("host", ["api.wandb.ai", "api.forge.coreweave.com", "wandb.example.org"])
def test_wandb_finds_an_account_that_was_logged_in(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080")
    (tmp_path / ".netrc").write_text("machine other.example.org login user password x\n")
    assert environment(tmp_path, "run")["WANDB_MODE"] == "offline"
    (tmp_path / ".netrc").write_text(f"machine {host} login user password x\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert environment(tmp_path, "run")["WANDB_MODE"] == "online"


@pytest.mark.parametrize("name", [needs("wandb"), needs("mlflow"), needs("trackio")])
def test_the_real_package_writes_into_the_folder(
    name: str, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracked(tiny_folder, tmp_path, name)
    assert "continues without" not in capsys.readouterr().out
    files = {"wandb": "run-*.wandb", "mlflow": "mlflow.db", "trackio": "elara.db"}
    assert list((tmp_path / "logs").rglob(files[name]))


def test_a_tracker_that_fails_is_left_out_and_the_others_go_on(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from transformers.integrations import integration_utils

    class Unreachable:
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            assert os.environ["WANDB_MODE"] == "offline"

        def on_log(self, *_: Any, **__: Any) -> None:
            raise ConnectionError("no route to host")

    monkeypatch.setattr(callbacks, "find_spec", lambda name: None if name == "trackio" else name)
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "wandb", Unreachable)
    before = dict(os.environ)
    training = tracked(tiny_folder, tmp_path, "trackio", "wandb", "tensorboard")
    assert {**os.environ} == before
    said = capsys.readouterr().out
    assert said.count("trackio: not installed: `pip install trackio` to have it. The run") == 1
    assert said.count("wandb: no route to host. The run continues without it.") == 1
    (folder,) = (tmp_path / "logs" / "tensorboard").iterdir()
    read = EventAccumulator(str(folder))
    read.Reload()
    losses = training.losses.filter(split="train").select("step", "loss").rows()
    assert [(e.step, e.value) for e in read.Scalars("train/loss")] == [
        (step, pytest.approx(loss)) for step, loss in losses
    ]
    assert {"eval/loss", "train/learning_rate"} <= {*read.Tags()["scalars"]}


def test_a_tracker_says_what_it_is_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    tracker = Tracker("wandb")
    tracker._leave_out(ValueError("\n first\nsecond"))
    tracker._leave_out(ValueError())
    told = "The run continues without it.\n"
    assert capsys.readouterr().out == f"wandb: first. {told}wandb: ValueError. {told}"


def test_jupyterlab_shows_the_library_s_own_table_of_losses(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers.trainer
    from transformers.utils import notebook

    shown: list[str] = []
    monkeypatch.setenv("JPY_SESSION_NAME", "notebook")
    own = notebook.NotebookProgressCallback
    monkeypatch.setattr(transformers.trainer, "DEFAULT_PROGRESS_CALLBACK", own)
    monkeypatch.setattr(notebook.disp, "HTML", shown.append)
    monkeypatch.setattr(notebook.disp, "display", lambda *_, **__: None)
    tiny_run.run(tiny_folder, tmp_path, epochs=1)
    assert "Validation Loss" in shown[-1]
    assert "[4/4" in shown[-1]

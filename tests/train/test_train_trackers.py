"""Curves are logged where asked for, and nothing that goes wrong there stops a run."""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny_run

from elara import train
from elara.model import load_base
from elara.train.trackers import Trackers

SETTINGS: Mapping[str, Any] = {"learning_rate": 1e-3, "trackers": ("wandb",)}


def fake(monkeypatch: pytest.MonkeyPatch, name: str, **parts: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    for key, value in parts.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def needs(name: str) -> pytest.MarkDecorator:
    """Skip without the package; it is not imported, as its settings are read then."""
    return pytest.mark.skipif(not importlib.util.find_spec(name), reason=f"needs {name}")


@pytest.fixture(autouse=True)
def no_accounts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [n for n in os.environ if n.startswith(("WANDB_", "MLFLOW_", "TRACKIO_"))]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow", "trackio"])
def test_a_missing_package_is_named_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    if name == "tensorboard":  # where another test has imported it through torch
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    trackers = Trackers([name], tmp_path, "run", SETTINGS)
    for step in range(3):
        trackers.log({"train/loss": 1.0}, step)
    trackers.close()
    said = capsys.readouterr().out
    assert said.count("The run continues without it") == 1
    assert f"pip install {name}" in said


def test_tensorboard_writes_files_that_can_be_read(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trackers = Trackers(["tensorboard"], tmp_path, "run", SETTINGS)
    trackers.log({"train/loss": 2.5}, 1)
    trackers.log({"train/loss": 1.5}, 2)
    trackers.close()
    read = EventAccumulator(str(tmp_path / "tensorboard" / "run"))
    read.Reload()
    assert [(e.step, e.value) for e in read.Scalars("train/loss")] == [(1, 2.5), (2, 1.5)]


def test_wandb_without_an_account_stays_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[dict[str, Any]] = []
    logged: list[Any] = []
    run = types.SimpleNamespace(log=lambda v, step: logged.append((step, v)), finish=lambda: None)

    def init(**named: Any) -> Any:
        started.append(named)
        return run

    fake(monkeypatch, "wandb", init=init, Settings=lambda **named: named)
    trackers = Trackers(["wandb"], tmp_path, "run", SETTINGS)
    trackers.log({"train/loss": 1.0}, 7)
    assert started[0]["mode"] == "offline"
    assert logged == [(7, {"train/loss": 1.0})]
    assert "no account" in capsys.readouterr().out
    monkeypatch.setenv("WANDB_API_KEY", "x")
    Trackers(["wandb"], tmp_path, "run", SETTINGS)
    assert started[1]["mode"] == "online"


@pytest.mark.parametrize("host", ["api.wandb.ai", "api.forge.coreweave.com", "wandb.example.org"])
def test_wandb_finds_an_account_that_was_logged_in(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[str] = []
    fake(monkeypatch, "wandb", init=lambda **named: modes.append(named["mode"]), Settings=dict)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080")
    (tmp_path / ".netrc").write_text("machine other.example.org login user password x\n")
    Trackers(["wandb"], tmp_path, "run", SETTINGS)
    (tmp_path / ".netrc").write_text(f"machine {host} login user password x\n")
    (tmp_path / ".netrc").chmod(0o600)
    Trackers(["wandb"], tmp_path, "run", SETTINGS)
    assert modes == ["offline", "online"]


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("wandb", "WANDB_ERROR_REPORTING", "false"),
        ("mlflow", "MLFLOW_DISABLE_TELEMETRY", "true"),
        ("trackio", "TRACKIO_DIR", "{folder}/trackio"),
    ],
)
def test_what_a_package_reads_on_import_is_set_by_then(
    name: str, setting: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{name}.py").write_text(
        f"import os\nseen = os.environ['{setting}']\n"
        "def nothing(*_, **__): pass\n"
        "init = Settings = set_tracking_uri = set_experiment = start_run = log_params = nothing\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop(name, None)
    assert [*Trackers([name], tmp_path, "run", SETTINGS).open] == [name]
    seen = [sys.modules.pop(name).seen]  # type: ignore[attr-defined]
    monkeypatch.setenv(setting, "mine")
    assert [*Trackers([name], tmp_path, "run", SETTINGS).open] == [name]
    seen += [sys.modules.pop(name).seen]  # type: ignore[attr-defined]
    assert seen == [value.format(folder=tmp_path), "mine"]


def test_mlflow_writes_into_the_folder_unless_a_server_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[str] = []
    quiet = lambda *_, **__: None  # noqa: E731
    fake(
        monkeypatch, "mlflow", set_tracking_uri=places.append, set_experiment=quiet,
        start_run=quiet, log_params=quiet, log_metrics=quiet, end_run=quiet,
    )  # fmt: skip
    Trackers(["mlflow"], tmp_path, "run", SETTINGS)
    assert places == [f"sqlite:///{tmp_path}/mlflow/mlflow.db"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")
    Trackers(["mlflow"], tmp_path, "run", SETTINGS)
    assert len(places) == 1


@needs("mlflow")
def test_mlflow_itself_keeps_the_curve(tmp_path: Path) -> None:
    trackers = Trackers(["mlflow"], tmp_path, "run", SETTINGS)
    trackers.log({"train/loss": 2.5}, 1)
    trackers.log({"train/loss": 1.5}, 2)
    trackers.close()
    mlflow: Any = importlib.import_module("mlflow")
    run = mlflow.search_runs(experiment_names=["elara"]).iloc[0]
    assert (run["metrics.train/loss"], run["params.learning_rate"]) == (1.5, "0.001")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        pytest.param("trackio", "elara.db", marks=needs("trackio")),
        pytest.param("wandb", "run-*.wandb", marks=needs("wandb")),
    ],
)
def test_the_real_package_writes_into_the_folder(name: str, file: str, tmp_path: Path) -> None:
    trackers = Trackers([name], tmp_path, "run", SETTINGS)
    trackers.log({"train/loss": 2.5}, 1)
    trackers.close()
    assert list((tmp_path / name).rglob(file))


def test_a_tracker_that_fails_later_is_left_out_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to host")

    seen: list[int] = []
    quiet = lambda *_, **__: None  # noqa: E731
    fake(monkeypatch, "trackio", init=quiet, log=no_network, finish=quiet)
    fake(
        monkeypatch, "mlflow", set_tracking_uri=quiet, set_experiment=quiet, start_run=quiet,
        log_params=quiet, log_metrics=lambda v, step: seen.append(step), end_run=no_network,
    )  # fmt: skip
    trackers = Trackers(["trackio", "mlflow"], tmp_path, "run", SETTINGS)
    for step in range(3):
        trackers.log({"train/loss": 1.0}, step)
    trackers.close()
    assert seen == [0, 1, 2]
    said = capsys.readouterr().out
    assert said.count("trackio: no route to host") == 1
    assert said.count("mlflow: no route to host") == 1


def test_jupyterlab_shows_one_curve_that_is_redrawn_in_place(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import IPython.display

    from elara.train import callbacks

    shown: list[Any] = []
    redrawn: list[str] = []

    def display(figure: Any, *, display_id: bool) -> Any:
        shown.append((figure, display_id))
        update = lambda f: redrawn.append(f.axes[0].get_title())  # noqa: E731
        return types.SimpleNamespace(update=update)

    monkeypatch.setenv("JPY_SESSION_NAME", "notebook")
    monkeypatch.setattr(IPython.display, "display", display)
    monkeypatch.setattr(callbacks, "_PLOT_SECONDS", 0.0)
    tiny_run.run(tiny_folder, tmp_path, epochs=1)
    assert len(shown) == 1
    assert len(redrawn) >= 4
    assert "of 4" in redrawn[2]
    assert redrawn[-1] == "4 steps"


def test_a_run_logs_to_its_trackers_and_goes_on_without_a_missing_one(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: dict[str, float] = {}
    quiet = lambda *_, **__: None  # noqa: E731
    fake(monkeypatch, "trackio", init=quiet, finish=quiet, log=lambda v, step: seen.update(v))
    monkeypatch.setitem(sys.modules, "wandb", None)
    settings = tiny_run.config(tiny_folder, epochs=0.5, trackers=("wandb", "trackio"))
    lm = load_base(str(tiny_folder))
    rows = tiny_run.examples(8)
    data = train.tokenise(lm.tokenizer, rows, rows.head(2), settings)
    train.fine_tune(lm, data, settings, tmp_path / "checkpoints", logs=tmp_path / "logs")
    assert {"train/loss", "validation/loss", "train/learning_rate"} <= seen.keys()
    assert "pip install wandb" in capsys.readouterr().out

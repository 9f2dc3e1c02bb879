"""A run that is stopped anywhere ends with the weights of one that was not."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tiny_run
from safetensors.numpy import load_file

from elara import train
from elara.train import checkpoints as kept
from elara.train.trainer import Trainer

# Two passes, two checkpoints per pass, dropout, and early stopping that looks at every step.
RUN: dict[str, Any] = {"save_steps": 2, "lora_dropout": 0.2}
STOPS: dict[str, Any] = RUN | {"eval_steps": 1, "patience": 2, "learning_rate": 0.1, "epochs": 3}


class Killed(BaseException):
    """Nothing in the libraries catches this, as nothing catches a kill."""


def weights(out: Path) -> dict[str, np.ndarray]:
    return load_file(out / "adapter" / "adapter_model.safetensors")


@pytest.fixture
def held_out_is_different(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation answers that training makes less likely."""
    own = tiny_run.examples

    def examples(n: int, start: int = 0) -> pl.DataFrame:
        rows = own(n, start)
        if not start:
            return rows
        messages = rows["messages"].to_list()
        for chat in messages:
            chat[-1]["content"] = "Zebras quilt violet harbours."
        return rows.with_columns(pl.Series("messages", messages, rows.schema["messages"]))

    monkeypatch.setattr(tiny_run, "examples", examples)


def same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert left.keys() == right.keys()
    for name in left:
        assert abs(left[name] - right[name]).max() < 1e-6, name


def killed(
    monkeypatch: pytest.MonkeyPatch,
    how: Callable[[pytest.MonkeyPatch, int], None],
    when: int,
    model: Path,
    out: Path,
    **settings: Any,
) -> None:
    """Run until the kill."""
    with monkeypatch.context() as patch:
        how(patch, when)
        with pytest.raises(Killed):
            tiny_run.run(model, out, **settings)


def kill_at(monkeypatch: pytest.MonkeyPatch, forward_pass: int) -> None:
    """Die in the given training pass, counted from now."""
    own = Trainer.training_step
    passes = iter(range(1, 10_000))

    def dying(self: Any, *args: Any, **named: Any) -> Any:
        if next(passes) == forward_pass:
            raise Killed
        return own(self, *args, **named)

    monkeypatch.setattr(Trainer, "training_step", dying)


def kill_in_write(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Die in the middle of the given `torch.save` of a checkpoint, leaving half a file."""
    import torch

    own: Callable[..., None] = torch.save
    writes = iter(range(1, 10_000))

    def dying(content: Any, file: Any, *args: Any, **named: Any) -> None:
        own(content, file, *args, **named)
        if next(writes) == number:
            path = Path(file)
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            raise Killed

    monkeypatch.setattr(torch, "save", dying)


@pytest.fixture(scope="module")
def whole(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    tiny_run.run(tiny_folder, out, **RUN)
    return out


@pytest.mark.parametrize("seed", range(3))
def test_killed_in_any_step_it_ends_the_same(
    seed: int, whole: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    for _ in range(2):  # killed twice on the way
        killed(monkeypatch, kill_at, chance.randrange(9, 20), tiny_folder, tmp_path, **RUN)
    assert tiny_run.run(tiny_folder, tmp_path, **RUN).resumed_at > 0
    same(weights(tmp_path), weights(whole))


@pytest.mark.parametrize("number", [6, 8, 11])
def test_a_checkpoint_cut_in_half_is_skipped(
    number: int, whole: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(monkeypatch, kill_in_write, number, tiny_folder, tmp_path, **RUN)
    (folder,) = (tmp_path / "checkpoints").iterdir()
    steps = sorted(int(p.name.split("-")[1]) for p in folder.glob("checkpoint-*"))
    last = kept.last_checkpoint(folder)
    assert last is not None
    assert int(last.name.split("-")[1]) == steps[-2]
    assert tiny_run.run(tiny_folder, tmp_path, **RUN).resumed_at == steps[-2]
    same(weights(tmp_path), weights(whole))


def test_damage_of_every_file_is_noticed(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(monkeypatch, kill_at, 10, tiny_folder, tmp_path, **RUN)
    (folder,) = (tmp_path / "checkpoints").iterdir()
    (checkpoint,) = folder.glob("checkpoint-*")
    checked = 0
    for path in checkpoint.iterdir():
        if path.suffix in (".pt", ".pth", ".safetensors") or path.name == "trainer_state.json":
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2])
            assert kept.last_checkpoint(folder) is None, path.name
            path.write_bytes(content)
            assert kept.last_checkpoint(folder) == checkpoint
            checked += 1
    assert checked >= 5


@pytest.mark.usefixtures("held_out_is_different")
def test_stopping_early_keeps_the_best_weights_also_after_a_kill(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = tiny_run.run(tiny_folder, tmp_path / "straight", **STOPS)
    held = straight.losses.filter(split="validation")
    assert straight.steps < 12
    assert straight.best_step == held["step"][int(held["loss"].arg_min() or 0)]
    assert straight.steps - straight.best_step == 2
    again = tmp_path / "again"
    for forward_pass in (7, 4):
        settings = STOPS | {"save_steps": 1}
        killed(monkeypatch, kill_at, forward_pass, tiny_folder, again, **settings)
    resumed = tiny_run.run(tiny_folder, again, **settings)
    assert resumed.resumed_at > 0
    assert (resumed.steps, resumed.best_step) == (straight.steps, straight.best_step)
    same(weights(again), weights(tmp_path / "straight"))


@pytest.mark.usefixtures("held_out_is_different")
def test_killed_after_the_decision_to_stop_it_does_not_train_on(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = STOPS | {"save_steps": 1}

    def before_the_end(patch: pytest.MonkeyPatch, _: int) -> None:
        patch.setattr(kept, "load_best", lambda *_: (_ for _ in ()).throw(Killed()))

    killed(monkeypatch, before_the_end, 0, tiny_folder, tmp_path, **settings)
    resumed = tiny_run.run(tiny_folder, tmp_path, **settings)
    assert resumed.steps == resumed.resumed_at
    assert resumed.steps - resumed.best_step == 2


def test_length_groups_come_in_the_same_order_after_a_kill(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grouped = RUN | {"batching": "length_grouped", "batch_size": 2, "gradient_accumulation": 2}
    tiny_run.run(tiny_folder, tmp_path / "straight", **grouped)
    killed(monkeypatch, kill_at, 14, tiny_folder, tmp_path / "again", **grouped)
    assert tiny_run.run(tiny_folder, tmp_path / "again", **grouped).resumed_at == 6
    same(weights(tmp_path / "again"), weights(tmp_path / "straight"))


def test_an_interrupt_keeps_the_checkpoint(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "create_model_card", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tiny_run.run(tiny_folder, tmp_path, **RUN)
    assert "continue from the last checkpoint" in capsys.readouterr().out


def test_watching_needs_something_to_watch(tiny_folder: Path, tmp_path: Path) -> None:
    from elara.model import load_base

    settings = tiny_run.config(tiny_folder, patience=1)
    lm = load_base(str(tiny_folder))
    data = train.tokenise(lm.tokenizer, tiny_run.examples(4), tiny_run.examples(0), settings)
    with pytest.raises(train.TrainingError, match="`patience` needs validation examples"):
        train.fine_tune(lm, data, settings, tmp_path)

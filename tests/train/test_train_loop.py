"""What surrounds the passes: batches made beside, losses that are no numbers, steps counted."""

from __future__ import annotations

import dataclasses
import pickle
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_run
import torch
import transformers

from elara import train
from elara.model import load_base
from elara.train import sft
from elara.train.checkpoints import run_name
from elara.train.data import packed_rows
from elara.train.trainer import Trainer, on_one_device

PACKED = {"batching": "packed", "batch_size": 1, "gradient_accumulation": 2, "save_steps": 1}


class Stop(BaseException):
    """Nothing in the libraries catches this, as nothing catches a kill."""


class Watcher(transformers.TrainerCallback):  # type: ignore[misc]
    """Look at a run from inside; end it before a step, if one is named."""

    def __init__(self, stop_at: int = -1) -> None:
        self.stop_at = stop_at
        self.collator = b""

    def on_train_begin(self, *_: Any, train_dataloader: Any, **__: Any) -> None:
        self.collator = pickle.dumps(train_dataloader.collate_fn)

    def on_step_begin(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        if state.global_step == self.stop_at:
            raise Stop


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are made as for a GPU."""
    for_gpu = sft._loading("cuda")
    assert for_gpu.pop("accelerator_config") == {"non_blocking": True}  # of pinned memory alone
    assert sft._loading("cpu") == {}
    monkeypatch.setattr(sft, "_loading", lambda _: for_gpu)


def run(folder: Path, out: Path, *watchers: Any, **changes: Any) -> train.Training:
    config = tiny_run.config(folder, **(PACKED | changes))
    lm = load_base(str(folder))
    rows, held = tiny_run.examples(16), tiny_run.examples(4, start=100)
    data = train.tokenise(lm.tokenizer, rows, held, config)
    return train.fine_tune(lm, data, config, out, watchers=watchers)


def weights(training: train.Training) -> Any:
    named = training.model.model.named_parameters()
    return torch.cat([p.detach().flatten() for n, p in named if "lora_" in n])


@pytest.mark.usefixtures("beside")
def test_batches_made_beside_are_the_same_after_a_kill(
    tiny_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    watcher = Watcher()
    whole = run(tiny_folder, tmp_path / "whole", watcher)
    assert len(watcher.collator) < 2_000  # what another process would be given: no model
    with pytest.raises(Stop):
        run(tiny_folder, tmp_path / "again", Watcher(stop_at=4))
    again = run(tiny_folder, tmp_path / "again")
    assert again.resumed_at == 4
    torch.testing.assert_close(weights(again), weights(whole), rtol=0, atol=1e-6)
    assert "forked" not in capfd.readouterr().err  # as tokenizers would say of a process beside


def test_batches_made_beside_come_in_the_same_order(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: None
) -> None:
    """Without dropout, whose random numbers depend on how many the loader has drawn."""
    made_beside = run(tiny_folder, tmp_path / "beside", lora_dropout=0.0)
    monkeypatch.setattr(sft, "_loading", lambda _: {})
    plain = run(tiny_folder, tmp_path / "plain", lora_dropout=0.0)
    torch.testing.assert_close(weights(plain), weights(made_beside), rtol=0, atol=1e-6)


def test_a_loss_that_is_no_number_ends_the_run(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Trainer.compute_loss
    passes = iter(range(1, 1000))

    def compute_loss(self: Any, model: Any, inputs: Any, *args: Any, **named: Any) -> Any:
        loss = own(self, model, inputs, *args, **named)
        return loss * float("nan") if model.training and next(passes) == 5 else loss

    monkeypatch.setattr(Trainer, "compute_loss", compute_loss)
    with pytest.raises(train.TrainingError, match=r"not a finite number \(step 3\)"):
        run(tiny_folder, tmp_path)
    (folder,) = tmp_path.iterdir()
    # Its checkpoint was not written: what a rerun would go on from is sound.
    assert {p.name for p in folder.glob("checkpoint-*")} == {"checkpoint-1", "checkpoint-2"}


def test_a_held_out_loss_that_is_no_number_ends_the_run(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Trainer.compute_loss

    def compute_loss(self: Any, model: Any, inputs: Any, *args: Any, **named: Any) -> Any:
        loss = own(self, model, inputs, *args, **named)
        return loss if model.training else loss * float("inf")

    monkeypatch.setattr(Trainer, "compute_loss", compute_loss)
    with pytest.raises(train.TrainingError, match=r"not a finite number \(step 0\)"):
        run(tiny_folder, tmp_path)


def test_steps_and_tokens_of_a_packed_run(tiny_folder: Path, tmp_path: Path) -> None:
    config = tiny_run.config(tiny_folder, **PACKED)
    lm = load_base(str(tiny_folder))
    data = train.tokenise(lm.tokenizer, tiny_run.examples(16), tiny_run.examples(0), config)
    lengths = [len(e.input_ids) for e in data.train]
    rows = packed_rows(lengths, config.max_length)
    assert rows < 16
    training = train.fine_tune(lm, data, config, tmp_path)
    assert training.steps == 2 * -(-rows // 2)
    assert training.tokens == 2 * sum(lengths)  # padding is not counted


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_counted_by_best_fit(seed: int) -> None:
    chance = random.Random(seed)
    lengths = [chance.randint(1, 130) for _ in range(300)]

    def plain(lengths: list[int], most: int) -> int:
        room: list[int] = []
        for n in sorted((min(n, most) for n in lengths), reverse=True):
            fitting = [r for r in room if r >= n]
            if fitting:
                room.remove(min(fitting))
            room.append((min(fitting) if fitting else most) - n)
        return len(room)

    assert packed_rows(lengths, 128) == plain(lengths, 128)
    # TRL packs a thousand at a time.
    many = [chance.randint(1, 130) for _ in range(2_500)]
    parts = [many[:1000], many[1000:2000], many[2000:]]
    assert packed_rows(many, 128) == sum(plain(part, 128) for part in parts)
    assert packed_rows([5], 128) == 1


def test_a_process_uses_one_of_several_gpus() -> None:
    several = SimpleNamespace(n_gpu=8)
    assert on_one_device(several)._n_gpu == 1
    assert not hasattr(on_one_device(SimpleNamespace(n_gpu=0)), "_n_gpu")


def test_packed_and_unpacked_runs_have_different_names(tiny_folder: Path) -> None:
    config = tiny_run.config(tiny_folder, **PACKED)
    lm = load_base(str(tiny_folder))
    data = train.tokenise(lm.tokenizer, tiny_run.examples(4), tiny_run.examples(0), config)
    other = dataclasses.replace(config, batching="shuffled")
    assert run_name(data, config, None) != run_name(data, other, None)


def test_on_a_gpu_every_batch_is_one_row(tiny_folder: Path) -> None:
    lm = load_base(str(tiny_folder))
    gpu = dataclasses.replace(lm, precision=dataclasses.replace(lm.precision, device="cuda"))
    for batching in ("packed", "shuffled", "length_grouped"):
        assert sft._flat(gpu, batching)
        assert sft._flat(lm, batching) == (batching == "packed")


def test_flat_rows_without_packing_train_the_same(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU where examples are not packed: several, one behind another, without padding."""
    own = {"batching": "length_grouped", "batch_size": 3, "lora_dropout": 0.0, "epochs": 1}
    padded = run(tiny_folder, tmp_path / "padded", **own)
    monkeypatch.setattr(sft, "_flat", lambda *_: True)
    flat = run(tiny_folder, tmp_path / "flat", **own)
    both = padded.losses.join(flat.losses, on=["step", "split"], suffix="_flat")
    assert len(both) == len(padded.losses) > 3
    assert (both["loss"] - both["loss_flat"]).abs().max() < 1e-4  # type: ignore[operator]

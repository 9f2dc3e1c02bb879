"""The reference stays the reference, and every default that differs from it has a reason."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from elara import train
from elara.train.config import REASONS, REFERENCE, TrainingConfig, differences

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = {field.name for field in dataclasses.fields(TrainingConfig)}


def laptop() -> dict[str, Any]:
    """The settings among the defaults of the notebook's parameters cell."""
    notebook = nbformat.read(NOTEBOOKS / "05-train.ipynb", as_version=4)
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    values: dict[str, Any] = {}
    exec(cell.source, {}, values)
    return {name: value for name, value in values.items() if name in NAMES}


def profiles() -> dict[str, TrainingConfig]:
    found = {"laptop": TrainingConfig(**laptop())}
    for path in sorted((NOTEBOOKS / "profiles").glob("*.yaml")):
        changed = yaml.safe_load(path.read_text()).get("05-train", {})
        settings = {
            name: type(getattr(REFERENCE, name))(value)
            for name, value in changed.items()
            if name in NAMES
        }
        found[path.stem] = TrainingConfig(**(laptop() | settings))
    return found


def test_the_reference_is_the_reference() -> None:
    found = REFERENCE
    assert (found.lora_r, found.lora_alpha, found.lora_dropout) == (16, 32, 0.1)
    assert (found.epochs, found.batch_size, found.gradient_accumulation) == (3, 1, 4)
    assert (found.learning_rate, found.max_length, found.quantisation) == (2e-4, 2048, "nf4")
    assert (found.lora_variant, found.loraplus_ratio) == ("lora", 0)
    assert set(train.TARGETS) == {
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    }
    assert differences(found).is_empty()


def test_every_default_that_differs_has_a_reason() -> None:
    found = profiles()
    assert set(found) >= {"laptop", "gpu"}
    for name, config in found.items():
        table = differences(config)
        assert table.columns == ["setting", "reference", "this_run", "reason"]
        unexplained = table.filter(reason="chosen for this run")["setting"].to_list()
        assert not unexplained, f"{name}: {unexplained}"


def test_no_reason_is_left_over() -> None:
    used = {
        (name, getattr(config, name))
        for config in profiles().values()
        for name in NAMES
        if getattr(config, name) != getattr(REFERENCE, name)
    }
    assert set(REASONS) <= used


def test_a_choice_of_ones_own_is_called_so() -> None:
    table = differences(TrainingConfig(lora_r=8, epochs=1.0))
    assert table["setting"].to_list() == ["lora_r", "epochs"]
    assert table["this_run"].to_list() == ["8", "1.0"]
    assert table["reason"][0] == "chosen for this run"
    assert table["reason"][1] == REASONS["epochs", 1.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0}, "`learning_rate` is 0: it must be above 0"),
        ({"learning_rate": float("nan")}, "`learning_rate` is nan"),
        ({"lora_r": -1}, "`lora_r` is -1"),
        ({"patience": -1}, "`patience` is -1: it must not be negative"),
        ({"lora_dropout": 1.0}, "must lie in"),
        ({"quantisation": "int3"}, "use `none` or `nf4`"),
        ({"precision": "half"}, "use `by_hardware`, `bfloat16` or `float32`"),
        ({"lora_variant": "vera"}, "use `lora`, `rslora` or `dora`"),
        ({"long_examples": "cut"}, "use `leave_out` or `cut_question`"),
        ({"batching": "random"}, "`batching` is 'random'"),
        ({"loraplus_ratio": 0.5}, "use 1 or more"),
        ({"trackers": ("tensorboard", "mail")}, "Unknown tracker 'mail'"),
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(train.TrainingError, match=message):
        TrainingConfig(**changes)


def test_float16_is_refused_with_the_explanation() -> None:
    with pytest.raises(train.TrainingError, match=r"overflow or vanish .* of a QLoRA adapter"):
        TrainingConfig(precision="float16")


def test_a_list_of_trackers_from_a_shell_is_taken() -> None:
    config = TrainingConfig(trackers=["tensorboard", "mlflow"])  # type: ignore[arg-type]
    assert config.trackers == ("tensorboard", "mlflow")
    assert hash(config) == hash(TrainingConfig(trackers=("tensorboard", "mlflow")))

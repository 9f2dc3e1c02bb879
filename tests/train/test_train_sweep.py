"""A learning-rate sweep finds the best rate, survives a diverged one, and repeats nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_run

from elara import train
from elara.model import load_base
from elara.train.config import TrainingError
from elara.train.sweep import Sweep, sweep, sweep_figure

RATES = (1e-4, 3e-2, 1e30)


@pytest.fixture(scope="module")
def swept(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    out = tmp_path_factory.mktemp("sweep")
    settings = tiny_run.config(tiny_folder, lora_dropout=0.0, epochs=1)
    tokenizer = load_base(str(tiny_folder)).tokenizer
    data = train.tokenise(
        tokenizer, tiny_run.examples(16), tiny_run.examples(4, start=100), settings
    )
    return sweep(lambda: load_base(str(tiny_folder)), data, settings, RATES, out)


def test_the_best_rate_learned_most(swept: Sweep) -> None:
    found = swept
    assert found.best == 3e-2
    rows = {row["learning_rate"]: row for row in found.table.to_dicts()}
    assert rows[3e-2]["loss"] < rows[1e-4]["loss"] < rows[1e-4]["loss_before"]
    assert rows[3e-2]["loss_before"] == rows[1e-4]["loss_before"]


def test_a_diverged_rate_is_shown(swept: Sweep) -> None:
    (row,) = swept.table.filter(learning_rate=1e30).to_dicts()
    assert row["status"] == "diverged"
    assert row["loss"] is None
    figure = sweep_figure(swept)
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels == ["held-out loss", "lowest", "before training", "diverged"]


def test_a_sweep_needs_rates_and_something_to_compare_on(tiny_folder: Path, tmp_path: Path) -> None:
    settings = tiny_run.config(tiny_folder)
    lm = load_base(str(tiny_folder))
    some, none = tiny_run.examples(2), tiny_run.examples(0)
    data = train.tokenise(lm.tokenizer, some, none, settings)
    with pytest.raises(TrainingError, match="validation examples"):
        sweep(lambda: lm, data, settings, RATES, tmp_path)
    data = train.tokenise(lm.tokenizer, some, some, settings)
    with pytest.raises(TrainingError, match="at least one"):
        sweep(lambda: lm, data, settings, [], tmp_path)

"""Preference tuning raises the margin on questions it never saw, and can be killed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import synthetic_preferences
import tiny_preference
import tiny_run
from safetensors.numpy import load_file

from elara import train
from elara.continual import PreferenceConfig, Preferred, margin_figure, prefer
from elara.continual.feedback import answers, read_preferences, split_by_prompt
from elara.continual.saving import save_preferred
from elara.continual.trainers import _class_weights
from elara.model import PACKAGED, generate, load_adapter, load_base
from elara.records import Preference, frame, records
from elara.train.config import TrainingConfig, TrainingError

Done = tuple[Path, Preferred]


# These two take ten seconds each, so all that needs them is long.


@pytest.fixture(scope="module")
def dpo(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    out = tmp_path_factory.mktemp("dpo")
    return out, tiny_preference.run(tiny_folder, out)


@pytest.fixture(scope="module")
def kto(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    out = tmp_path_factory.mktemp("kto")
    return out, tiny_preference.run(tiny_folder, out, "singles")


@pytest.mark.long
@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_the_margin_rises_on_held_out_questions(
    method: str, request: pytest.FixtureRequest
) -> None:
    preferred: Preferred = request.getfixturevalue(method)[1]
    assert preferred.method == method
    held = preferred.margins.row(1, named=True)
    assert held["split"] == "held_out"
    assert held["margin"] > 0.1
    assert held["low"] > 0
    assert held["accuracy"] == 1
    assert held["gap_after"] > held["gap_before"]
    watched = preferred.steps.filter(split="held_out")["margin"].to_list()
    assert watched[0] == 0
    assert watched[0] < watched[1] < watched[2]


@pytest.mark.long
def test_our_margin_is_the_trainers(dpo: Done) -> None:
    # Three held-out pairs in batches of two: the trainer averages the batches' means.
    held = dpo[1].rewards.filter(split="held_out")
    good, bad = (held.filter(desirable=kind).sort("id")["reward"] for kind in (True, False))
    pairs = (good - bad).to_list()
    logged = dpo[1].steps.filter(split="held_out")["margin"][-1]
    lowest, highest = min(pairs), max(pairs)
    assert lowest - 1e-3 <= logged <= highest + 1e-3
    assert highest - lowest < 0.1


@pytest.mark.long
def test_no_question_is_on_both_sides(dpo: Done) -> None:
    sides = dpo[1].rewards.group_by("question").agg(pl.col("split").n_unique())
    assert sides["split"].to_list() == [1] * 12
    assert dpo[1].margins["questions"].to_list() == [9, 3]


@pytest.mark.long
def test_a_tuned_adapter_loads_and_answers_the_same(dpo: Done) -> None:
    out, preferred = dpo
    chat = [{"role": "user", "content": "What helps against a fever?"}]
    loaded = load_adapter(out / "adapter")
    assert list(loaded.model.peft_config) == ["default"]
    first, second = (generate(m, chat, max_new_tokens=8).text for m in (preferred.model, loaded))
    assert first == second
    record = json.loads((out / "adapter" / "training.json").read_text())
    assert record["preference"]["method"] == "dpo"
    assert len(record["preference"]["feedback"]) == 9
    card = (out / "adapter" / "README.md").read_text()
    assert "must not be used for diagnosis" in card
    assert not list((out / "adapter").glob("ref*"))


@pytest.mark.long
def test_an_earlier_adapter_is_tuned_against_itself(
    dpo: Done, tiny_folder: Path, tmp_path: Path
) -> None:
    earlier = dpo[0] / "adapter"
    content = (earlier / "adapter_model.safetensors").read_bytes()
    settings = tiny_preference.config(epochs=1, learning_rate=1e-3)
    again = prefer(earlier, synthetic_preferences.pairs(12), settings, tmp_path / "checkpoints")
    # Its rewards start from 0, although the earlier tuning had raised the margin already.
    assert again.steps.filter(split="held_out")["margin"][0] == 0
    assert again.margins["gap_before"][1] == pytest.approx(dpo[1].margins["gap_after"][1], abs=1e-3)
    assert again.margins["gap_after"][1] > again.margins["gap_before"][1]
    assert (earlier / "adapter_model.safetensors").read_bytes() == content
    record = save_preferred(again, settings, tmp_path / "adapter", earlier=earlier)
    assert record["config"] == json.loads((earlier / "training.json").read_text())["config"]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["pairs", "singles"])
def test_a_killed_run_continues_to_the_same_weights(
    kind: str,
    dpo: Done,
    kto: Done,
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # for the helpers it imports
    command = [sys.executable, tiny_preference.__file__, str(tiny_folder), str(tmp_path), kind]
    tiny_run.kill_at_checkpoint(command, tmp_path)
    again = tiny_preference.run(tiny_folder, tmp_path, kind)
    assert again.resumed_at >= 2
    whole = (dpo if kind == "pairs" else kto)[0]
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    for name, values in load_file(whole / "adapter" / "adapter_model.safetensors").items():
        assert abs(values - weights[name]).max() < 1e-6, name
    assert not list((tmp_path / "checkpoints").iterdir())


def test_unequal_numbers_are_weighted_as_kto_asks() -> None:
    singles = synthetic_preferences.singles(12)
    for table in (singles, singles.with_columns(label=_swapped())):
        good = answers(table)["desirable"].sum()
        bad = len(table) - good
        weights = _class_weights(table)
        ratio = weights["desirable_weight"] * good / (weights["undesirable_weight"] * bad)
        assert 1 <= ratio <= 4 / 3
        assert min(weights.values()) <= 1
    assert set(_class_weights(synthetic_preferences.pairs(12)).values()) == {1.0}


@pytest.mark.long
def test_kto_takes_no_warning_from_the_trainer(
    tiny_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny_preference.run(tiny_folder, tmp_path, "singles", epochs=0.2)
    assert "desirable_weight" not in caplog.text


def _swapped() -> pl.Expr:
    liked = pl.col("label") == "desirable"
    return pl.when(liked).then(pl.lit("undesirable")).otherwise(pl.lit("desirable"))


def test_feedback_is_read_as_it_was_written(tmp_path: Path) -> None:
    pairs = synthetic_preferences.pairs()
    path = tmp_path / "feedback.jsonl"
    pairs.write_ndjson(path)
    assert read_preferences(path).equals(pairs)


GOOD = {"id": "a", "prompt": [{"role": "user", "content": "Why?"}], "chosen": "A", "rejected": "B"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"\xff", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"[]", "Input should be an object"),
        ({"chosen": 3}, "chosen: Input should be a valid string"),
        ({"chosen": " "}, "`chosen` is empty"),
        ({"rejected": ""}, "`rejected` is empty in a pair"),
        ({"rejected": "A "}, "both answers of the pair are the same"),
        ({"label": "good"}, "label: Input should be 'pair', 'desirable' or 'undesirable'"),
        ({"label": "desirable"}, "`rejected` is set although one answer was judged"),
        ({"prompt": []}, "the last message of `prompt` is not the user's"),
        ({"prompt": [{"role": "nurse", "content": "?"}]}, "a turn of `prompt` is not by system"),
        ({"prompt": [{"role": "assistant", "content": "?"}]}, "is not the user's"),
        ({"stars": 5}, "stars: Unexpected keyword argument"),
        ({"id": "first"}, "its id 'first' is that of line 1"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: Any, message: str) -> None:
    path = tmp_path / "feedback.jsonl"
    whole = json.dumps(GOOD | {"id": "first"}).encode()
    bad = line if isinstance(line, bytes) else json.dumps(GOOD | line).encode()
    path.write_bytes(whole + b"\n\n" + bad + b"\n")
    with pytest.raises(TrainingError, match=r"line 3: .*Correct the line, or remove") as error:
        read_preferences(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_feedback_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot be read"):
        read_preferences(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(TrainingError, match="holds no preference"):
        read_preferences(tmp_path / "empty.jsonl")


def test_questions_that_differ_in_case_or_system_prompt_stay_together() -> None:
    rows = records(synthetic_preferences.pairs(8), Preference)
    for row in rows[:8:2]:
        row.prompt[-1].content = "  " + row.prompt[-1].content.upper()
    table = pl.concat(
        [
            frame(rows, Preference),
            synthetic_preferences.pairs(8).with_columns(id=pl.col("id") + "/again"),
        ]
    )
    for seed in range(5):
        train, held = split_by_prompt(table, share=0.3, seed=seed)
        of_train, of_held = ({i.split("/")[0] for i in part["id"]} for part in (train, held))
        assert not of_train & of_held
        assert len(held) == 4
    assert split_by_prompt(table, share=0.3, seed=1)[1].equals(
        split_by_prompt(table, share=0.3, seed=1)[1]
    )


@pytest.mark.parametrize(
    ("feedback", "changes", "message"),
    [
        (
            lambda: synthetic_preferences.singles(9),
            {"method": "dpo"},
            "9 of 9 judgements are about",
        ),
        (lambda: synthetic_preferences.singles(9), {"batch_size": 1}, "use 2 or more"),
        (lambda: synthetic_preferences.pairs(1), {}, "covers 1 question"),
        (lambda: synthetic_preferences.pairs(9), {"max_length": 5}, "All 9 judgements exceed"),
        (
            lambda: synthetic_preferences.singles(9).filter(label="desirable"),
            {},
            "training feedback holds only good answers",
        ),
        (
            lambda: pl.concat([synthetic_preferences.pairs(3)] * 2),
            {},
            "'synthetic:0' is there twice",
        ),
    ],
)
def test_feedback_that_cannot_be_learned_from(
    feedback: Callable[[], pl.DataFrame],
    changes: dict[str, Any],
    message: str,
    sealed: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(TrainingError, match=message):
        prefer(sealed, feedback(), tiny_preference.config(**changes), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "ppo"}, "use `by_label`, `dpo` or `kto`"),
        ({"beta": 0}, "`beta` is 0: it must be above 0"),
        ({"held_out_share": 1.0}, "`held_out_share` must be between"),
        ({"warmup_share": 1.0}, "`warmup_share` must be in"),
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        PreferenceConfig(**changes)


@pytest.mark.long
def test_the_figure_shows_both_sides(dpo: Done) -> None:
    axes = margin_figure(dpo[1]).axes[0]
    labels = [line.get_label() for line in axes.lines]
    assert {"training", "held out"} <= set(labels)
    assert axes.get_ylabel() == "reward margin"


@pytest.mark.model
@pytest.mark.parametrize("kind", ["pairs", pytest.param("singles", marks=pytest.mark.slow)])
def test_the_packaged_model_learns_to_prefer_on_questions_it_never_saw(
    kind: str, tmp_path: Path
) -> None:
    lora = TrainingConfig(base_model=PACKAGED, quantisation="none", lora_dropout=0.0, epochs=1)
    lm = load_base()
    data = train.tokenise(lm.tokenizer, tiny_run.examples(2), tiny_run.examples(1, 100), lora)
    earlier = tmp_path / "earlier"
    run = train.fine_tune(lm, data, lora, tmp_path / "checkpoints")
    train.save_adapter(run, lora, data, {"CC0-1.0": 2}, earlier)
    settings = tiny_preference.config(
        learning_rate=2e-4, epochs=1, gradient_accumulation=2, save_steps=99
    )
    feedback = getattr(synthetic_preferences, kind)()
    preferred = prefer(earlier, feedback, settings, tmp_path / "preference")
    held = preferred.margins.row(1, named=True)
    assert held["low"] > 0
    assert held["accuracy"] > 0.9
    assert held["gap_after"] > held["gap_before"]

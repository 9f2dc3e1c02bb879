"""Training lowers the loss, survives being killed, and leaves an adapter that loads."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pytest
import tiny_run
from safetensors.numpy import load_file

from elara import audit, train
from elara.model import ModelError, encode, generate, load_adapter, load_base
from elara.train.config import REFERENCE


@pytest.fixture(scope="module")
def finished(
    tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, train.Training]:
    out = tmp_path_factory.mktemp("finished")
    return out, tiny_run.run(tiny_folder, out)


def test_the_loss_falls_on_both_splits(finished: tuple[Path, train.Training]) -> None:
    _, training = finished
    assert training.steps == 8
    for split in ("train", "validation"):
        losses = training.losses.filter(split=split)["loss"]
        assert losses[-1] < losses[0]
    assert training.resumed_at == 0
    assert training.tokens_per_second > 0


def test_the_folder_holds_what_an_auditor_needs(finished: tuple[Path, train.Training]) -> None:
    out, _ = finished
    folder = out / "adapter"
    record = json.loads((folder / "training.json").read_text())
    assert len(record["examples"]) == 16
    assert record["config"]["learning_rate"] == 1e-2
    card = (folder / "README.md").read_text()
    assert "must not be used for diagnosis" in card
    assert "| CC0-1.0 | 16 |" in card
    shown = audit.embedded_card(record)
    assert shown.startswith("### Medical LoRA adapter")
    assert "\n#### Intended use\n" in shown
    assert (folder / "adapter_model.safetensors").exists()
    assert (folder / "tokenizer.json").exists()
    assert not (out / "checkpoints").exists() or not list((out / "checkpoints").iterdir())


def test_all_seven_projections_are_trained(finished: tuple[Path, train.Training]) -> None:
    out, _ = finished
    record = json.loads((out / "adapter" / "training.json").read_text())
    names = load_file(out / "adapter" / "adapter_model.safetensors")
    for target in train.TARGETS:
        assert sum(f".{target}.lora_A" in name for name in names) == 2
    assert record["trainable_parameters"] == sum(a.size for a in names.values())


def test_a_saved_adapter_answers_like_the_trained_model(
    finished: tuple[Path, train.Training],
) -> None:
    out, training = finished
    chat = [{"role": "user", "content": "What is condition 3?"}]
    loaded = load_adapter(out / "adapter")
    first = generate(training.model, chat, max_new_tokens=12)
    second = generate(loaded, chat, max_new_tokens=12)
    assert (first.text, first.new_tokens) == (second.text, second.new_tokens)
    with loaded.model.disable_adapter():
        assert generate(loaded, chat, max_new_tokens=12).text != first.text


def test_a_killed_run_continues_to_the_same_weights(
    finished: tuple[Path, train.Training], tiny_folder: Path, tmp_path: Path
) -> None:
    command = [sys.executable, tiny_run.__file__, str(tiny_folder), str(tmp_path)]
    tiny_run.kill_at_checkpoint(command, tmp_path)
    assert not (tmp_path / "adapter").exists()

    again = tiny_run.run(tiny_folder, tmp_path)
    assert 3 <= again.resumed_at < 8
    assert again.steps == 8
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    whole = load_file(finished[0] / "adapter" / "adapter_model.safetensors")
    assert weights.keys() == whole.keys()
    for name, values in whole.items():
        assert abs(values - weights[name]).max() < 1e-6, name


def test_checkpoints_of_another_run_are_not_used(tiny_folder: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "checkpoints" / "0123" / "checkpoint-5"
    foreign.mkdir(parents=True)
    (foreign / "trainer_state.json").write_text("{}")
    assert tiny_run.run(tiny_folder, tmp_path, epochs=0.5).resumed_at == 0
    assert not foreign.exists()


def test_the_budget_is_shared_with_curated_cases_and_the_rest_is_counted(tiny_folder: Path) -> None:
    lm = load_base(str(tiny_folder))
    rows = tiny_run.examples(16).with_columns(
        origin=pl.when(pl.col("id").str.contains("x:1.?/"))
        .then(pl.lit("curated"))
        .otherwise("origin")
    )
    data = train.tokenise(
        lm.tokenizer, rows, rows.head(2), tiny_run.config(tiny_folder, max_train_tokens=150)
    )
    row = data.table.row(0, named=True)
    turns = [name.startswith("x:1") for name in data.ids]
    assert len(turns) > 3
    assert turns == [n % 2 == 0 for n in range(len(turns))]
    assert row["tokens"] >= 150 > row["tokens"] - max(len(e.input_ids) for e in data.train)
    assert row["examples"] + row["over_budget"] == 16
    assert data.table["split"].to_list() == ["train", "validation"]


def test_too_long_examples_are_left_out_whole(tiny_folder: Path) -> None:
    lm = load_base(str(tiny_folder))
    with pytest.raises(train.TrainingError, match="16 are longer than max_length 20 tokens"):
        train.tokenise(
            lm.tokenizer,
            tiny_run.examples(16),
            tiny_run.examples(0),
            tiny_run.config(tiny_folder, max_length=20),
        )


def test_the_mask_covers_the_answer_and_its_stop_token(tiny_folder: Path) -> None:
    tokenizer = load_base(str(tiny_folder)).tokenizer
    chat = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
    encoded = encode(tokenizer, chat)
    judged = [label for label in encoded.labels if label != -100]
    assert tokenizer.decode(judged) == "Because.<|im_end|>"
    assert encoded.input_ids[-len(judged) :] == judged
    shown = train.masked_html(tokenizer, encoded)
    assert ">Because.&lt;|im_end|&gt;</mark>" in shown
    assert shown.index("Why?") < shown.index("Because.")


def test_masks_that_would_teach_the_wrong_thing_are_refused(tiny_folder: Path) -> None:
    tokenizer = load_base(str(tiny_folder)).tokenizer
    chat = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": ""}]
    with pytest.raises(ModelError, match="No answer ended by the stop token"):
        encode(tokenizer, chat)
    chat[1]["content"] = "Because."
    whole = tokenizer.chat_template
    tokenizer.chat_template = whole.replace("<|im_end|>", "")
    with pytest.raises(ModelError, match="No answer ended by the stop token"):
        encode(tokenizer, chat)
    tokenizer.chat_template = "{{ messages | length }}" + whole
    with pytest.raises(ModelError, match="does not keep the question's tokens"):
        encode(tokenizer, chat)
    one = tiny_run.examples(1)
    tokenizer.chat_template = whole.replace("<|im_end|>", "")
    with pytest.raises(train.TrainingError, match="Example x:0/key_points/0: No answer"):
        train.tokenise(tokenizer, one, one, tiny_run.config(tiny_folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0}, "`learning_rate` is 0: it must be above 0"),
        ({"lora_r": -1}, "`lora_r` is -1"),
        ({"lora_dropout": 1.0}, "must lie in"),
        ({"quantisation": "int3"}, "use `none` or `nf4`"),
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, object], message: str) -> None:
    with pytest.raises(train.TrainingError, match=message):
        train.TrainingConfig(**changes)  # type: ignore[arg-type]


def test_the_reference_is_the_reference() -> None:
    found = REFERENCE
    assert (found.lora_r, found.lora_alpha, found.lora_dropout) == (16, 32, 0.1)
    assert (found.epochs, found.batch_size, found.gradient_accumulation) == (3, 1, 4)
    assert (found.learning_rate, found.max_length, found.quantisation) == (2e-4, 2048, "nf4")
    assert set(train.TARGETS) == {
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    }


def test_the_curve_shows_both_splits(finished: tuple[Path, train.Training]) -> None:
    figure = train.loss_figure(finished[1].losses)
    assert [line.get_label() for line in figure.axes[0].lines] == ["training", "validation"]


def test_models_that_cannot_be_loaded(
    tmp_path: Path, finished: tuple[Path, train.Training]
) -> None:
    with pytest.raises(ModelError, match="Check the name, or the network"):
        load_base(str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="Unknown quantisation 'int3'"):
        load_base(str(tmp_path), quantisation="int3")
    with pytest.raises(ModelError, match="holds no adapter"):
        load_adapter(tmp_path)


def test_training_without_validation_tells_nobody(tiny_folder: Path, tmp_path: Path) -> None:
    import huggingface_hub.constants

    lm = load_base(str(tiny_folder))
    settings = tiny_run.config(tiny_folder, epochs=0.5)
    data = train.tokenise(lm.tokenizer, tiny_run.examples(8), tiny_run.examples(0), settings)
    training = train.fine_tune(lm, data, settings, tmp_path / "checkpoints")
    assert set(training.losses["split"]) == {"train"}
    assert huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY is True


def test_training_goes_on_from_an_earlier_adapter(
    finished: tuple[Path, train.Training], tiny_folder: Path, tmp_path: Path
) -> None:
    out, first = finished
    lm = load_base(str(tiny_folder))
    settings = tiny_run.config(tiny_folder, lora_dropout=0.0, epochs=1)
    rows, held = tiny_run.examples(16), tiny_run.examples(4, start=100)
    data = train.tokenise(lm.tokenizer, rows, held, settings)
    again = train.fine_tune(lm, data, settings, tmp_path, start_from=out / "adapter")
    before = first.losses.filter(split="validation")["loss"]
    after = again.losses.filter(split="validation")["loss"]
    assert after[0] == pytest.approx(before[-1], abs=1e-5)
    assert after[-1] < after[0]
    with pytest.raises(train.TrainingError, match="contains no adapter to continue from"):
        train.fine_tune(load_base(str(tiny_folder)), data, settings, tmp_path, start_from=tmp_path)

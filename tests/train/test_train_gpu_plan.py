"""The plan for a GPU from a model's shape: memory, recomputation, compiling, seconds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tiny_run
import transformers
from transformers import TrainerCallback

from elara import train
from elara.model import load_base
from elara.train import TrainingConfig
from elara.train.config import TrainingError
from elara.train.devices import cards, compiling, gpu, plan
from elara.train.lora import add_lora

# Mistral-7B-Instruct-v0.3, https://huggingface.co/mistralai/Mistral-7B-Instruct-v0.3, config.json
MISTRAL = transformers.MistralConfig(
    vocab_size=32768,
    hidden_size=4096,
    intermediate_size=14336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
    tie_word_embeddings=False,
)
CONFIG = TrainingConfig(lora_dropout=0.0, batch_size=2, gradient_accumulation=1)
GIB = 2**30
HOUR = 20_000_000  # tokens


def predicted(gib: float, config: TrainingConfig = CONFIG, **changes: Any) -> gpu.GpuPlan:
    given = {"card": "NVIDIA H200", "quantised": True, "tokens": HOUR} | changes
    return gpu.predict(MISTRAL, config, memory=int(gib * GIB), **given)


def test_cards_and_arithmetic_by_hand() -> None:
    assert cards.multiplied_parameters(MISTRAL) == 7_113_539_584
    # What was measured comes out again: 4 x 2048 tokens a pass, 18,938 tokens a second.
    given: dict[str, Any] = {"peak": 989e12, "together": 8192, "recomputed": 0.0}
    named: dict[str, Any] = {"quantised": False, "compiled": True}
    seconds = cards.train_seconds(MISTRAL, 18_938, **given, **named)
    assert seconds == pytest.approx(1, rel=0.01)
    again = cards.train_seconds(MISTRAL, 18_938, **(given | {"recomputed": 1.0}), **named)
    assert again == pytest.approx(1.5 * seconds)


def test_layers_are_compiled_exactly_where_it_pays() -> None:
    long, short = predicted(141), predicted(141, tokens=100_000)
    assert (long.compiled, long.compile_seconds) == (True, cards.COMPILE_SECONDS)
    assert (short.compiled, short.compile_seconds) == (False, 0)
    # Where the saving equals the cost.
    given: dict[str, Any] = {"peak": 989e12, "quantised": True, "together": long.tokens}
    each = [
        cards.train_seconds(MISTRAL, HOUR, compiled=way, recomputed=0, **given) / HOUR
        for way in (False, True)
    ]
    even = round(cards.COMPILE_SECONDS / (each[0] - each[1]))
    below, above = predicted(141, tokens=even - 1000), predicted(141, tokens=even + 1000)
    assert (below.compiled, above.compiled) == (False, True)
    assert above.seconds == pytest.approx(even * each[1] + cards.COMPILE_SECONDS, rel=0.01)
    assert above.seconds == pytest.approx(below.seconds, rel=0.01)
    # A card that is not known: no seconds, and compiled where the fastest one would be.
    other = predicted(141, card="Some other card", tokens=even + 1000)
    assert (other.compiled, other.seconds) == (True, 0)
    assert not predicted(141, card="Some other card", tokens=0).compiled


def test_a_card_that_was_measured() -> None:
    """One H200, 4-bit weights, 4 x 2048 tokens, nothing computed again: 38.7 GiB."""
    four = dataclasses.replace(CONFIG, batch_size=4)
    found = predicted(141, four)
    assert (found.batch, found.checkpointed_layers, found.tokens) == (4, 0, 8192)
    assert found.bytes / GIB == pytest.approx(38.7, rel=0.03)
    assert predicted(141, four, quantised=False).bytes > found.bytes + 9 * GIB


@pytest.mark.parametrize("gib", [7.4, 8, 12, 16, 24, 80])
def test_what_is_there_is_used(gib: float) -> None:
    found = predicted(gib)
    usable = plan.USABLE * gib * GIB
    assert found.bytes <= usable
    if found.checkpointed_layers:  # one layer less would not fit
        shape, layers = (MISTRAL, CONFIG, found.batch), found.checkpointed_layers
        one = gpu.activation_bytes(*shape, layers - 1, quantised=True)
        assert found.bytes + one - gpu.activation_bytes(*shape, layers, quantised=True) > usable
    assert found.batch * found.accumulation == 2


def test_what_does_not_fit_is_refused_with_what_to_lower() -> None:
    with pytest.raises(TrainingError) as raised:
        predicted(12, quantised=False)
    said = str(raised.value)
    assert "1 x 2,048 tokens with every layer computed again, needs 1" in said
    assert "of the card's 12.0 GiB 11.0 can be used: load the base model with `quan" in said
    with pytest.raises(TrainingError, match=r"can be used: lower `max_length`"):
        predicted(4)


@pytest.mark.parametrize("quantisation", ["none", "nf4"])
def test_a_shape_alone_says_what_its_weights_take(quantisation: str, tiny_folder: Path) -> None:
    settings = tiny_run.config(tiny_folder, quantisation=quantisation)
    lm = load_base(str(tiny_folder), quantisation=quantisation)
    shape, nf4 = lm.model.config, quantisation == "nf4"
    found = gpu.predict(shape, settings, memory=GIB, card="", quantised=nf4, tokens=0)
    fixed = found.bytes - gpu.activation_bytes(
        shape, settings, found.batch, found.checkpointed_layers, quantised=nf4
    )
    model = add_lora(lm, settings)
    stored = gpu.fixed_bytes(model)
    wide = sum(2 * p.numel() for p in model.parameters() if p.element_size() == 4)
    trained = sum(2 * p.numel() for p in model.parameters() if p.requires_grad)
    assert fixed == pytest.approx(stored - (wide - trained), rel=0.02)  # 16 bits, not 32 as here


class Compiles(TrainerCallback):  # type: ignore[misc]
    """Puts a run on a CPU under a plan for a GPU, without the compiler's slow part."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        made = gpu.GpuPlan(batch=1, accumulation=4, checkpointed_layers=1)
        gpu.apply(named["model"], made)
        compiled = dataclasses.replace(made, compiled=True)
        compiling.compile_layers(named["model"], compiled, backend="aot_eager")

    def on_train_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        running = compiling.running_plan(named["model"])
        assert running is not None
        assert running.compiled


@pytest.mark.long
def test_a_compiled_run_trains_like_another(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compiling._compiled.cache_clear()
    settings = tiny_run.config(tiny_folder, lora_dropout=0.0)
    losses = []
    for watchers in ([], [Compiles()]):
        lm = load_base(str(tiny_folder))
        rows = tiny_run.examples(16), tiny_run.examples(4, start=100)
        data = train.tokenise(lm.tokenizer, *rows, settings)
        folder = tmp_path / str(len(watchers))
        losses.append(train.fine_tune(lm, data, settings, folder, watchers=watchers).losses)
    assert (losses[0]["loss"] - losses[1]["loss"]).abs().max() < 1e-4  # type: ignore[operator]
    assert capsys.readouterr().out.count("Compiling the layers: about 60 seconds once …") == 1

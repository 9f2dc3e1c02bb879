"""An interrupted evaluation goes on where it stopped, and only where nothing changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import answering_models as stubs
import pytest
import torch

import elara
from elara.evaluate.letters import score_letters, score_words
from elara.evaluate.memory import Memory, weights_hash


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    choices, path = stubs.items(10), tmp_path / "evaluation" / "scores.jsonl"
    lm = stubs.model(stubs.right(choices))
    score_letters(lm, choices[:4], memory=Memory(path))
    second = Memory(path)
    scores = score_letters(lm, choices, memory=second)
    assert second.measured == 6
    third = Memory(path)
    assert score_letters(lm, choices, memory=third).equals(scores)
    assert third.measured == 0
    row = json.loads(path.read_text().splitlines()[0])
    told = {"set", "split", "id", "shots", "prompt", "scorer", "template", "weights", "item"}
    assert told <= set(row)


def test_another_version_of_elara_measures_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices, path = stubs.items(3), tmp_path / "scores.jsonl"
    lm = stubs.model(stubs.right(choices))
    score_letters(lm, choices, memory=Memory(path))
    monkeypatch.setattr(elara, "__version__", "9.9.9")
    again = Memory(path)
    score_letters(lm, choices, memory=again)
    assert again.measured == 3


def test_an_interruption_keeps_every_batch_before_it(tmp_path: Path) -> None:
    choices, path = stubs.items(10), tmp_path / "scores.jsonl"
    lm = stubs.model(stubs.right(choices))
    read = lm.model.forward
    calls: list[int] = []

    def stops(*args: object, **more: object) -> object:
        calls.append(1)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return read(*args, **more)

    lm.model.forward = stops
    with pytest.raises(KeyboardInterrupt):
        score_letters(lm, choices, batch_size=4, memory=Memory(path))
    lm.model.forward = read
    again = Memory(path)
    score_letters(lm, choices, batch_size=4, memory=again)
    assert again.measured == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "binary"])
def test_a_damaged_line_is_named_and_measured_again(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    choices, path = stubs.items(3), tmp_path / "scores.jsonl"
    lm = stubs.model(stubs.right(choices))
    scores = score_letters(lm, choices, memory=Memory(path))
    lines = path.read_bytes().splitlines()
    changed = lines[2].replace(b'"value": [', b'"value": [0.5, ')
    lines[2] = {"cut": lines[2][:40], "changed": changed, "binary": b"\xff\x00"}[damage]
    path.write_bytes(b"\n".join(lines))
    memory = Memory(path)
    assert memory.damaged == ["scores.jsonl:3"]
    assert "scores.jsonl:3" in capsys.readouterr().out
    assert score_letters(lm, choices, memory=memory).equals(scores)
    assert memory.measured == 1
    after = Memory(path)
    assert len(after.kept) == 3


def test_other_weights_items_forms_or_scorers_are_measured(tmp_path: Path) -> None:
    choices, memory = stubs.items(2), Memory(tmp_path / "scores.jsonl")
    lm = stubs.model(stubs.right(choices))
    for expected, measure in (
        (2, lambda: score_letters(lm, choices, memory=memory)),
        (3, lambda: score_letters(lm, [replace(choices[0], key=3), choices[1]], memory=memory)),
        (5, lambda: score_words(lm, choices, memory=memory)),
        (7, lambda: score_letters(stubs.model({"x": 1.0}), choices, memory=memory)),
    ):
        measure()
        assert memory.measured == expected
    lm.tokenizer.chat_template = lm.tokenizer.chat_template.replace("Question", "Ask")
    score_letters(lm, choices, memory=memory)
    assert memory.measured == 9


def test_a_base_has_one_hash_with_and_without_adapter(tiny_folder: Path) -> None:
    import peft

    from elara.model import load_base

    lm = load_base(str(tiny_folder))
    alone = weights_hash(lm, "base")
    assert weights_hash(lm, "adapter") == alone
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    lm.model = peft.get_peft_model(lm.model, config)
    assert weights_hash(lm, "base") == alone
    tuned = weights_hash(lm, "adapter")
    with torch.no_grad():
        next(p for n, p in lm.model.named_parameters() if "lora_B" in n).add_(1)
    assert weights_hash(lm, "adapter") not in (alone, tuned)
    assert weights_hash(lm, "base") == alone

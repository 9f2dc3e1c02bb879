"""The profiles for GPUs run through all seven notebooks, with a tiny model of Mistral's class.

What a card would do with 4-bit weights bitsandbytes does on a CPU as well, slowly.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import command_line
import polars as pl
import pytest

from elara.collect import sample_folder
from elara.workspace import STAGES, Workspace

# What Mistral-7B-Instruct v0.3 does, written by hand: the system message joins the last question.
TEMPLATE = (
    "{% set system = '' %}{% set turns = messages %}{% if messages[0].role == 'system' %}"
    "{% set system = messages[0].content + '\n\n' %}{% set turns = messages[1:] %}{% endif %}"
    "{{ bos_token }}{% for turn in turns %}{% if turn.role == 'user' %}"
    "{{ '[INST] ' + (system if loop.last else '') + turn.content + '[/INST]' }}"
    "{% else %}{{ ' ' + (turn.content | trim) + eos_token }}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def tiny_mistral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in Mistral's layout, and a tokenizer of its own with 4,000 pieces."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    text = (p.read_text(errors="replace") for p in sample_folder().rglob("*.*") if p.is_file())
    trainer = trainers.BpeTrainer(
        vocab_size=4000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    pieces.train_from_iterator(text, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=pieces,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        chat_template=TEMPLATE,
    )
    folder = tmp_path_factory.mktemp("tiny-mistral")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32768,
        sliding_window=None,
        bos_token_id=1,
        eos_token_id=2,
    )
    transformers.MistralForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One workspace for all profiles: what notebooks 1 to 4 leave is the same."""
    return Workspace(tmp_path_factory.mktemp("gpu-profiles") / "workspace")


def read(workspace: Workspace, stage: str, name: str) -> Any:
    return json.loads((workspace.folder(stage) / name).read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("profile", "quantisation", "kept_in"),
    [("gpu", "nf4", "bfloat16"), ("gpu-80gib", "none", "float32")],
)
def test_a_profile_runs_from_the_sample_to_served_answers(
    profile: str, quantisation: str, kept_in: str, tiny_mistral: Path, shared: Workspace
) -> None:
    given = ["--profile", profile, "-p", f"train.base_model={tiny_mistral}"]
    said = command_line.elara("run", "-w", shared.root, *given)
    assert said.returncode == 0, said.stdout[-2000:] + said.stderr[-2000:]
    assert all(shared.damage(stage) == "" for stage in STAGES)

    record = read(shared, "train", "adapter/training.json")
    assert record["quantisation"] == record["config"]["quantisation"] == quantisation
    assert record["base_model"] == str(tiny_mistral)
    assert (record["precision"]["dtype"], record["adapter_dtype"]) == ("float32", kept_in)
    assert "joins the first question" in record["chat_template"]
    examples = shared.manifest("expand")["files"]["train.jsonl"]["rows"]
    assert len(record["examples"]) == examples  # no budget
    assert record["tokens"] == 3 * record["data"][0]["tokens"]

    losses = pl.read_parquet(shared.folder("train") / "losses.parquet")
    held = losses.filter(split="validation")["loss"]
    assert held[-1] < held[0]
    verdict = read(shared, "evaluate", "verdict.json")
    assert verdict["verdict"] in said.stdout
    assert verdict["low"] < verdict["difference"] < verdict["high"] < 0
    letters = pl.read_parquet(shared.folder("evaluate") / "letters.parquet")
    assert set(letters["side"]) == {"base", "adapter"}

    (reply,) = [
        each["response"]
        for each in read(shared, "serve", "transcript.json")
        if each["request"] == "POST /chat"
    ]
    assert reply["mode"] == "model"
    assert reply["model"] == str(tiny_mistral)
    assert 0 < reply["new_tokens"] <= 400
    assert reply["answer"]

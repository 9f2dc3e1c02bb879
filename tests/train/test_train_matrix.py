"""Every pair of training's choices works together, on any CPU, and says which precision it used.

Twelve adapters hold every pair of number format, quantisation, LoRA variant, dropout, batching and
shape of the model. Each is trained, compared with plain PEFT, reloaded and sealed. Everything else
that can be done with an adapter is done to four of them, which hold every choice between them.
Nothing is read off the machine: what other hardware would choose is put in its place.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import gc
import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import synthetic_preferences
import tiny_preference
import tiny_run
import torch
import transformers

from elara import audit, continual, export, train
from elara.audit.verify import PROBE_FILE
from elara.evaluate import judge, loss_scores
from elara.model import load_adapter, load_base
from elara.model.base import Precision, choose_precision
from elara.model.losses import answer_losses
from elara.serve import ModelManager
from elara.serve.backends import Ask, whole
from elara.train import callbacks, cpu_kernels
from elara.train.lora import add_lora, restoring

RATE = 1e-2


@dataclass(frozen=True)
class Choice:
    variant: str
    batching: str
    shape: str
    precision: str
    quantisation: str
    dropout: float

    def __str__(self) -> str:
        return "-".join(str(value) for value in dataclasses.astuple(self))


# Found by search. BLOOM cannot be told where an example begins, so it is never packed.
CHOICES = [
    Choice("dora", "length_grouped", "Bloom", "bfloat16", "nf4", 0.1),
    Choice("dora", "packed", "Mistral", "float32", "nf4", 0.0),
    Choice("dora", "shuffled", "Llama", "bfloat16", "none", 0.1),
    Choice("lora", "length_grouped", "Mistral", "float32", "none", 0.1),
    Choice("lora", "packed", "Llama", "bfloat16", "none", 0.0),
    Choice("lora", "shuffled", "Bloom", "float32", "nf4", 0.1),
    Choice("lora+", "length_grouped", "Llama", "float32", "nf4", 0.0),
    Choice("lora+", "packed", "Mistral", "bfloat16", "none", 0.1),
    Choice("lora+", "shuffled", "Bloom", "bfloat16", "none", 0.0),
    Choice("rslora", "length_grouped", "Bloom", "float32", "nf4", 0.0),
    Choice("rslora", "packed", "Llama", "bfloat16", "nf4", 0.1),
    Choice("rslora", "shuffled", "Mistral", "bfloat16", "none", 0.0),
]
# Each of these fours holds every choice of every kind.
FOURS = [(0, 3, 8, 10), (0, 4, 6, 11), (1, 3, 8, 10), (1, 5, 6, 11), (2, 3, 7, 9), (2, 5, 7, 9)]


def four(stage: int) -> Any:
    chosen = [CHOICES[i] for i in FOURS[stage % len(FOURS)]]
    return pytest.mark.parametrize("choice", chosen, ids=str)


def test_every_pair_of_choices_is_made() -> None:
    def pairs(rows: list[tuple[Any, ...]]) -> set[Any]:
        return {
            (i, row[i], j, row[j])
            for row in rows
            for i, j in itertools.combinations(range(len(row)), 2)
        }

    made = [dataclasses.astuple(choice) for choice in CHOICES]
    kinds = [set(values) for values in zip(*made, strict=True)]
    assert [len(kind) for kind in kinds] == [4, 3, 3, 2, 2, 2]
    every = pairs(list(itertools.product(*kinds)))
    assert every - pairs(made) == {(1, "packed", 2, "Bloom")}  # refused: see below
    for numbers in FOURS:
        assert [set(v) for v in zip(*(made[i] for i in numbers), strict=True)] == kinds


@pytest.fixture(scope="module", autouse=True)
def _quick_trainers() -> None:
    """Each trainer collects garbage; what the libraries have loaded is none."""
    import trl.trainer.dpo_trainer
    import trl.trainer.kto_trainer
    import trl.trainer.sft_trainer  # noqa: F401

    gc.freeze()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of random models, of two layers each, which read one letter a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|im_start|>", "<|im_end|>"]
    pieces = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=pieces, eos_token=special[1], pad_token=special[1], bos_token=special[0]
    )
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    size = {"vocab_size": len(tokenizer), "hidden_size": 64, "tie_word_embeddings": True}
    size |= {"bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 257}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 2}
    shapes = {
        "Llama": heads | {"intermediate_size": 64},
        "Mistral": heads | {"intermediate_size": 64, "head_dim": 32},
        "Bloom": {"n_layer": 2, "n_head": 2},
    }
    folders = {}
    for shape, own in shapes.items():
        folders[shape] = tmp_path_factory.mktemp(shape)
        torch.manual_seed(0)
        config = getattr(transformers, f"{shape}Config")(**size, **own)
        model = transformers.AutoModelForCausalLM.from_config(config)
        model.save_pretrained(folders[shape])
        tokenizer.save_pretrained(folders[shape])
    return folders


@dataclass(frozen=True)
class Made:
    """An adapter of one choice: sealed, with the run that made it."""

    choice: Choice
    base: Path
    folder: Path
    training: train.Training
    data: train.TokenData

    @property
    def config(self) -> train.TrainingConfig:
        return settings(self.choice, self.base)

    def load(self) -> Any:
        return load(self.choice, self.base)


def settings(choice: Choice, base: Path, **changes: Any) -> train.TrainingConfig:
    own = {
        "quantisation": choice.quantisation,
        "precision": choice.precision,
        "lora_r": 4,
        "lora_dropout": choice.dropout,
        "lora_variant": choice.variant.rstrip("+"),
        "loraplus_ratio": 4.0 if choice.variant == "lora+" else 0.0,
        "batching": choice.batching,
        "batch_size": 2,
        "gradient_accumulation": 1,
        "epochs": 1,
        "max_length": 160,
        "save_steps": 2,
        "learning_rate": RATE,
        "trackers": (),
    }
    return tiny_run.config(base, **(own | changes))


def load(choice: Choice, base: Path) -> Any:
    return load_base(str(base), quantisation=choice.quantisation, precision=choice.precision)


TRAIN, HELD, TEST = (tiny_run.examples(n, start=i) for n, i in ((6, 0), (2, 100), (6, 200)))


@pytest.fixture(scope="module")
def make(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    @functools.cache
    def made(choice: Choice) -> Made:
        out, base = tmp_path_factory.mktemp("made"), models[choice.shape]
        lm, config = load(choice, base), settings(choice, base)
        data = train.tokenise(lm.tokenizer, TRAIN, HELD, config)
        training = train.fine_tune(lm, data, config, out / "checkpoints")
        train.save_adapter(training, config, data, {"CC0-1.0": 6}, out / "adapter")
        certificate = audit.certify(TRAIN, {"validation": HELD, "test": TEST})
        splits = {"train": TRAIN, "validation": HELD}
        audit.write_passport(out / "adapter", training, config, splits, certificate)
        return Made(choice, base, out / "adapter", training, data)

    return made


def losses(lm: Any, rows: pl.DataFrame = HELD) -> list[float]:
    table = answer_losses(lm, rows, max_length=160)
    return [*table["base"], *table["adapter"]]


every = pytest.mark.parametrize("choice", CHOICES, ids=str)


@every
def test_a_step_is_that_of_plain_peft(choice: Choice, models: dict[str, Path]) -> None:
    """Loss and gradients, under the trainer's autocast and with the same dropout."""
    lm, config = load(choice, models[choice.shape]), settings(choice, models[choice.shape])
    data = train.tokenise(lm.tokenizer, TRAIN.head(2), HELD.head(0), config)
    model = add_lora(lm, config)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)

    def step(model: Any, *, short: bool = False, exact: bool = False) -> tuple[float, Any]:
        model.train()
        model.zero_grad()
        torch.manual_seed(2)
        total = 0.0
        for example in data.train:
            ids, labels = torch.tensor([example.input_ids]), torch.tensor([example.labels])
            half = lm.dtype == "bfloat16" and not exact
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                if short:
                    found = model(input_ids=ids, labels=labels, answers_only=True)
                    loss = found["loss_sum"] / found["target_tokens"]
                else:
                    loss = model(input_ids=ids, labels=labels, use_cache=False).loss
            loss.backward()
            total += loss.item()
        learned = [p.grad.float().flatten() for p in model.parameters() if p.requires_grad]
        return total, torch.cat(learned)

    plain_loss, plain = step(model)
    with restoring(model):
        changed = cpu_kernels.replace_forwards(model, cpu_kernels.fused_lora)
        layers = len([n for n, _ in model.named_parameters() if "lora_A" in n])
        assert changed == (0 if choice.variant == "dora" else layers)
        assert cpu_kernels.add_answer_loss(model.get_base_model())
        own_loss, own = step(model, short=True)
    if choice.precision == "float32":  # 24 bits of a number: only the order of sums differs
        assert own_loss == pytest.approx(plain_loss, rel=1e-5)
        assert far(own, plain) < 1e-4
        return
    # bfloat16 keeps 8 bits, so both are some way off: ours no further than PEFT's.
    exact = copy.deepcopy(model).float()
    for module in exact.modules():
        if hasattr(module, "compute_dtype"):
            module.compute_dtype = torch.float32
    exact_loss, truth = step(exact, exact=True)
    assert own_loss == pytest.approx(exact_loss, rel=1e-2)
    print(f"{far(own, truth):.3f} {far(plain, truth):.3f}")
    assert far(own, truth) < 1.25 * far(plain, truth)


def far(gradient: Any, other: Any) -> float:
    return float((gradient - other).norm() / other.norm())


@every
def test_an_adapter_is_the_same_after_a_reload_and_says_how_it_was_made(
    choice: Choice, make: Any
) -> None:
    made = make(choice)
    assert made.training.losses["loss"].is_finite().all()
    before, after = losses(made.training.model), losses(load_adapter(made.folder))
    assert after == before  # to the last bit
    half = len(before) // 2
    assert max(abs(a - b) for a, b in zip(before[:half], before[half:], strict=True)) > 1e-3

    record = json.loads((made.folder / "training.json").read_text(encoding="utf-8"))
    trained_in = "bfloat16" if choice.quantisation == "nf4" else "float32"
    assert record["precision"]["dtype"] == choice.precision
    assert record["quantisation"] == choice.quantisation
    assert record["adapter_dtype"] == made.training.adapter_dtype == trained_in
    assert record["config"]["lora_variant"] == choice.variant.rstrip("+")
    assert record["continues"] is None
    from safetensors.torch import load_file

    stored = load_file(made.folder / "adapter_model.safetensors")
    assert {str(v.dtype) for n, v in stored.items() if "lora_A" in n} == {f"torch.{trained_in}"}
    probe = json.loads((made.folder / PROBE_FILE).read_text(encoding="utf-8"))
    assert probe["precision"]["dtype"] == choice.precision
    passport = json.loads((made.folder / "passport.json").read_text(encoding="utf-8"))
    assert passport["environment"]["precision"]["dtype"] == choice.precision
    assert passport["adapter"]["dtype"] == trained_in


@every
def test_verify_measures_the_same_losses(choice: Choice, make: Any) -> None:
    result = audit.verify(make(choice).folder)
    assert result.passed, result
    assert [check.passed for check in result.checks] == [True] * 3
    assert "largest difference 0.0e+00" in result.checks[-1].detail


@four(0)
def test_an_estimate_counts_and_leaves_the_model_as_it_was(choice: Choice, make: Any) -> None:
    made = make(choice)
    lm = made.load()
    before = {n: p.clone() for n, p in lm.model.named_parameters()}
    found = train.estimate(lm, made.data, made.config)
    assert found.trainable == made.training.model.model.get_nb_trainable_parameters()[0]
    assert found.memory.adapter == found.trainable * 4 * (2 if choice.quantisation == "nf4" else 4)
    assert found.steps > 0
    assert found.seconds > 0
    assert before.keys() == dict(lm.model.named_parameters()).keys()
    assert all(torch.equal(p, before[n]) for n, p in lm.model.named_parameters())
    assert not any("forward" in vars(module) for module in lm.model.modules())


@four(1)
def test_an_interrupted_run_ends_with_the_same_weights(
    choice: Choice, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(choice)

    class Killed(RuntimeError):
        pass

    class Kill(transformers.TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 2:
                raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "Reporter", Kill)
        with pytest.raises(Killed):
            train.fine_tune(made.load(), made.data, made.config, tmp_path)
    again = train.fine_tune(made.load(), made.data, made.config, tmp_path)
    assert again.resumed_at == 2
    assert losses(again.model) == losses(made.training.model)


@four(2)
def test_a_sweep_finishes(choice: Choice, make: Any, tmp_path: Path) -> None:
    made = make(choice)
    found = train.sweep(made.load, made.data, made.config, [RATE], tmp_path)
    assert found.best == RATE
    measured = made.training.losses.filter(split="validation")["loss"]
    assert found.table["loss"].to_list() == [measured[-1]]


@four(3)
def test_an_evaluation_is_that_of_the_trained_model(choice: Choice, make: Any) -> None:
    made = make(choice)
    reloaded = load_adapter(made.folder)
    assert reloaded.dtype == choice.precision
    table = answer_losses(reloaded, TEST, max_length=160)
    assert table.equals(answer_losses(made.training.model, TEST, max_length=160))
    assert judge(loss_scores(table, TEST, {})).verdict.examples == len(TEST)


@pytest.mark.parametrize("kind", ["pairs", "singles"])
@four(4)
def test_preferences_are_learned_on_top(
    choice: Choice, kind: str, make: Any, tmp_path: Path
) -> None:
    made = make(choice)
    feedback = getattr(synthetic_preferences, kind)(8 if kind == "pairs" else 12)
    config = tiny_preference.config(epochs=1, max_length=400, save_steps=100)
    preferred = continual.prefer(made.folder, feedback, config, tmp_path / "checkpoints")
    assert preferred.method == ("dpo" if kind == "pairs" else "kto")
    record = continual.save_preferred(preferred, config, tmp_path / "adapter", earlier=made.folder)
    assert record["precision"]["dtype"] == choice.precision
    assert record["adapter_dtype"] == made.training.adapter_dtype
    assert record["continues"]["weights_sha256"]
    assert losses(load_adapter(tmp_path / "adapter")) == losses(preferred.model)
    assert losses(preferred.model) != losses(load_adapter(made.folder))


@four(5)
def test_an_adapter_that_is_trained_on_records_itself(
    choice: Choice, make: Any, tmp_path: Path
) -> None:
    made = make(choice)
    new = tiny_run.examples(4, start=300)
    # What these settings say of the adapter is not what it is.
    config = dataclasses.replace(
        made.config, lora_r=8, lora_dropout=0.5, lora_variant="lora", lora_alpha=1
    )
    done = continual.train_on(
        made.folder, new, HELD, TEST, config, tmp_path / "checkpoints", max_forgetting=9
    )
    folder = tmp_path / "next"
    record = train.save_adapter(done.training, config, done.data, {"CC0-1.0": 4}, folder)
    earlier = json.loads((made.folder / "training.json").read_text(encoding="utf-8"))
    for name in ("lora_r", "lora_alpha", "lora_dropout", "lora_variant"):
        assert record["config"][name] == earlier["config"][name]
    assert record["earlier_examples"] == sorted(earlier["examples"])
    assert record["continues"]["weights_sha256"]
    assert record["precision"]["dtype"] == choice.precision
    certificate = audit.certify(new, {"validation": HELD, "test": TEST})
    splits = {"train": new, "validation": HELD}
    passport = audit.write_passport(folder, done.training, config, splits, certificate)
    assert passport["data"]["examples"] == len(TRAIN) + len(new)
    assert passport["continues"]["examples"] == len(TRAIN)
    assert passport["continues"]["judgements"] == 0
    page = (folder / "passport.html").read_text(encoding="utf-8")
    assert "earlier adapter → adapter" in page
    assert "step 0 is the earlier adapter" in page
    assert passport["continues"]["contaminated_items"] == 0
    assert audit.verify(folder).passed
    assert losses(load_adapter(folder)) == losses(done.training.model)


@four(0)
def test_an_export_answers_the_same(choice: Choice, make: Any, tmp_path: Path) -> None:
    from elara.export import parity

    done = export.export(
        make(choice).folder, tmp_path, ["merged"], prompts=parity.PROMPTS[:1], answer_tokens=2
    )
    (row,) = done.table.to_dicts()
    assert row["kl"] <= row["kl_bound"]


@four(1)
def test_it_is_served(choice: Choice, make: Any) -> None:
    manager = ModelManager(make(choice).folder)
    manager.load()
    assert manager.lm is not None
    assert manager.lm.dtype == choice.precision
    turns = [{"role": "user", "content": "Why?"}]
    with manager.use() as serving:
        _, end = asyncio.run(whole(serving.answer(Ask(turns, 2, 0.0, 0, time.monotonic() + 60))))
    assert end.new_tokens > 0
    manager.unload()


def test_packing_is_refused_where_attention_mixes_examples(models: dict[str, Path]) -> None:
    choice = dataclasses.replace(CHOICES[8], batching="packed")
    base = models["Bloom"]
    lm, config = load(choice, base), settings(choice, base)
    data = train.tokenise(lm.tokenizer, TRAIN, HELD, config)
    with pytest.raises(train.TrainingError, match="lets packed examples read each other"):
        train.fine_tune(lm, data, config, base / "checkpoints")


@pytest.mark.parametrize(
    ("hardware", "dtype"), [("AMX", "float32"), ("Ampere", "bfloat16"), ("none", "float32")]
)
def test_what_the_hardware_chooses_is_what_is_recorded(
    hardware: str,
    dtype: str,
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A CPU of each kind; of the Ampere GPU the choice, computed here."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: hardware == "Ampere")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: hardware == "AMX")
    chosen = choose_precision.__wrapped__("by_hardware")
    monkeypatch.undo()
    assert chosen.dtype == dtype

    def choose(wanted: str = "by_hardware") -> Precision:
        found = chosen if wanted == "by_hardware" else choose_precision(wanted)
        return dataclasses.replace(found, device="cpu")

    for module in ("elara.model.base", "elara.train.lora", "elara.train.checkpoints"):
        monkeypatch.setattr(f"{module}.choose_precision", choose)
    base = models["Llama"]
    config = settings(CHOICES[4], base, precision="by_hardware")
    lm = load_base(str(base), precision="by_hardware")
    data = train.tokenise(lm.tokenizer, TRAIN.head(2), HELD, config)
    training = train.fine_tune(lm, data, config, tmp_path / "checkpoints")
    record = train.save_adapter(training, config, data, {}, tmp_path / "adapter")
    assert record["precision"]["dtype"] == dtype
    reloaded = load_adapter(tmp_path / "adapter")
    assert reloaded.dtype == dtype
    assert losses(reloaded) == losses(training.model)


@pytest.mark.parametrize("part", ["precision", "quantisation"])
def test_a_model_that_contradicts_its_settings_is_refused(
    part: str, models: dict[str, Path], tmp_path: Path
) -> None:
    choice, base = CHOICES[4], models["Llama"]
    lm, config = load(choice, base), settings(choice, base)
    data = train.tokenise(lm.tokenizer, TRAIN.head(2), HELD, config)
    other = {"precision": "float32", "quantisation": "nf4"}[part]
    wrong = dataclasses.replace(config, **{part: other})
    for work in (
        lambda: train.fine_tune(lm, data, wrong, tmp_path),
        lambda: train.estimate(lm, data, wrong),
    ):
        with pytest.raises(train.TrainingError, match=f"`{part}`"):
            work()
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_named_by_the_precision_that_was_chosen(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from elara.train import checkpoints

    choice, base = CHOICES[3], models["Mistral"]
    data = train.tokenise(load(choice, base).tokenizer, TRAIN, HELD, settings(choice, base))

    def name(precision: str, chosen: str) -> str:
        found = Precision("cpu", chosen, "")
        monkeypatch.setattr(checkpoints, "choose_precision", lambda _: found)
        return checkpoints.run_name(data, settings(choice, base, precision=precision), None)

    assert name("by_hardware", "float32") == name("float32", "float32")
    assert name("by_hardware", "float32") != name("by_hardware", "bfloat16")


def test_four_bit_layers_multiply_alike_on_every_cpu(models: dict[str, Path]) -> None:
    """bitsandbytes would take another road on CPUs with AVX512-BF16, and lose the gradient."""
    import bitsandbytes

    lm = load(CHOICES[6], models["Llama"])
    layers = [m for m in lm.model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert layers
    weight = copy.deepcopy(layers[0].weight.data)
    x = torch.randn(3, layers[0].in_features)
    with torch.inference_mode():
        answer = layers[0](x)
    assert torch.equal(layers[0].weight.data, weight)
    x.requires_grad_(True)
    layers[0].train()
    again = layers[0](x)
    assert torch.equal(answer, again.detach())
    again.sum().backward()
    assert x.grad is not None
    assert float(x.grad.norm()) > 0

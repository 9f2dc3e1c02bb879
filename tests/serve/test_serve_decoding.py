"""Writing tokens: an answer is the same alone, in company, and after its batch was broken up."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from elara.model import SYSTEM_PROMPT, LanguageModel, ModelError, generate
from elara.model.base import Precision
from elara.model.packaged import packaged_folder
from elara.serve.backends import Ask
from elara.serve.decoding import Batch, Decoder, Row, Text, out_of_memory

pytestmark = pytest.mark.model

QUESTIONS = ["Why?", "What are the signs of a disease that has a rather long name?", "And then?"]
TOKENS = 12


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return transformers.AutoTokenizer.from_pretrained(packaged_folder())


@pytest.fixture(scope="module")
def lm(tokenizer: Any) -> LanguageModel:
    """Random weights, large enough that every question gets an answer of its own."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.5,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    return LanguageModel(model, tokenizer, "tiny", Precision("cpu", "float32", "tiny"))


@pytest.fixture(scope="module")
def decoder(lm: LanguageModel) -> Decoder:
    return Decoder(lm)


def ask(question: str, temperature: float = 0.0, seed: int = 0, limit: int = TOKENS) -> Ask:
    return Ask([{"role": "user", "content": question}], limit, temperature, seed, float("inf"))


def write(batch: Batch) -> list[str]:
    """The texts of a batch's answers, which may end at different times."""
    rows = batch.rows
    texts = {id(row): "" for row in rows}
    while batch.rows:
        for row, text in zip(list(batch.rows), batch.step(), strict=True):
            texts[id(row)] += text
        kept = [i for i, row in enumerate(batch.rows) if not row.ended]
        if not kept:
            break
        if len(kept) < len(batch.rows):
            batch.keep(kept)
    return [texts[id(row)] for row in rows]


def together(decoder: Decoder, asks: list[Ask]) -> tuple[list[str], list[list[int]]]:
    rows = [decoder.row(a) for a in asks]
    return write(decoder.batch(rows)), [row.new for row in rows]


def alone(decoder: Decoder, one: Ask) -> tuple[str, list[int]]:
    (text,), (tokens,) = together(decoder, [one])
    return text, tokens


def test_an_answer_is_that_of_the_model_room(lm: LanguageModel, decoder: Decoder) -> None:
    turns = [{"role": "system", "content": SYSTEM_PROMPT}]
    for question in QUESTIONS:
        expected = generate(
            lm, [*turns, {"role": "user", "content": question}], max_new_tokens=TOKENS
        )
        row = decoder.row(ask(question))
        (text,) = write(decoder.batch([row]))
        assert text == expected.text.rstrip("\ufffd").strip()
        assert (row.prompt_tokens, row.new_tokens) == (expected.prompt_tokens, expected.new_tokens)
        assert row.finished == expected.finished


def test_greedy_answers_in_a_batch_are_those_alone(decoder: Decoder) -> None:
    asks = [ask(question, limit=4 * (i + 1)) for i, question in enumerate(QUESTIONS)]
    texts, tokens = together(decoder, asks)
    assert list(zip(texts, tokens, strict=True)) == [alone(decoder, a) for a in asks]
    assert [len(row) for row in tokens] == [4, 8, 12]
    assert len({tuple(row[:4]) for row in tokens}) == 3, "else it answers everything alike"
    assert len(set(tokens[2])) > 4, "else it repeats itself"


SHAPES = {
    "Bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 2},
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256},
    "Mistral": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "sliding_window": 8,
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_other_shapes_of_models(shape: str, tokenizer: Any) -> None:
    """Positions by attention's slope, learned ones, and a cache that forgets what is far off."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{shape}Config")(
        vocab_size=len(tokenizer),
        initializer_range=0.5,
        eos_token_id=tokenizer.eos_token_id,
        **SHAPES[shape],
    )
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    lm = LanguageModel(model, tokenizer, shape, Precision("cpu", "float32", "tiny"))
    decoder = Decoder(lm)
    asks = [ask(question, limit=4 * (i + 1)) for i, question in enumerate(QUESTIONS)]
    texts, tokens = together(decoder, asks)
    assert tokens == [alone(decoder, a)[1] for a in asks]
    turns = [{"role": "system", "content": SYSTEM_PROMPT}, *asks[2].messages]
    expected = generate(lm, turns, max_new_tokens=12)
    assert texts[2] == expected.text.rstrip("\ufffd").strip()
    assert len({tuple(row[:4]) for row in tokens}) > 1, "else it answers everything alike"


def test_sampling_does_not_depend_on_the_company(decoder: Decoder) -> None:
    asks = [ask("Why?", 1.0, seed=1), ask(QUESTIONS[1]), ask("Why?", 1.0, seed=2), ask("Why?", 2.0)]
    _, tokens = together(decoder, asks)
    assert tokens == [alone(decoder, a)[1] for a in asks]
    assert together(decoder, asks[::-1])[1] == tokens[::-1]
    assert len(set(map(tuple, tokens))) == 4, "seed and temperature count"


def test_a_dropped_row_leaves_the_others_as_they_are(decoder: Decoder) -> None:
    rows = [decoder.row(ask(question, 1.0, seed=5)) for question in QUESTIONS]
    batch = decoder.batch(rows)
    for _ in range(3):
        batch.step()
    batch.keep([0, 2])
    write(batch)
    expected = [alone(decoder, ask(question, 1.0, seed=5))[1] for question in QUESTIONS]
    assert [rows[0].new, rows[2].new] == [expected[0], expected[2]]
    assert rows[1].new == expected[1][:3]


def test_a_batch_can_be_broken_up_and_go_on(decoder: Decoder) -> None:
    rows = [decoder.row(ask(question, 1.0, seed=5)) for question in QUESTIONS]
    batch = decoder.batch(rows)
    begun = [batch.step() for _ in range(4)]
    rest = [write(decoder.batch([row]))[0] for row in rows]
    for i, question in enumerate(QUESTIONS):
        text, tokens = alone(decoder, ask(question, 1.0, seed=5))
        assert rows[i].new == tokens
        assert "".join(step[i] for step in begun) + rest[i] == text


def test_an_error_between_two_tokens_leaves_every_row_as_it_was(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [decoder.row(ask(question)) for question in QUESTIONS]
    batch = decoder.batch(rows)
    batch.step()

    def fails(*given: Any) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(rows[2], "choose", fails)
    with pytest.raises(ZeroDivisionError):
        batch.step()
    assert [row.new_tokens for row in rows] == [1, 1, 1]


def test_every_stop_token_of_the_model_stops(lm: LanguageModel, decoder: Decoder) -> None:
    _, tokens = alone(decoder, ask("Why?"))
    stop = tokens[2]
    own = lm.causal.generation_config
    before = own.eos_token_id
    try:
        own.eos_token_id = [before, stop]
        row = Decoder(lm).row(ask("Why?"))
        write(Decoder(lm).batch([row]))
    finally:
        own.eos_token_id = before
    assert row.new == tokens[: tokens.index(stop) + 1]
    assert row.finished


def test_settings_that_are_not_followed_are_named(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Decoder(lm)
    assert caplog.text == ""
    monkeypatch.setattr(lm.causal.generation_config, "repetition_penalty", 1.3)
    Decoder(lm)
    assert "not followed: repetition_penalty" in caplog.text


def test_a_model_without_a_cache_is_refused(lm: LanguageModel) -> None:
    class Model:
        def forward(self, input_ids: Any) -> None: ...

    with pytest.raises(ModelError, match="has no key-value cache"):
        Decoder(LanguageModel(Model(), lm.tokenizer, "mamba", lm.precision))


def test_marks_of_the_chat_format_in_a_question_are_text(decoder: Decoder) -> None:
    end = decoder.lm.tokenizer.convert_tokens_to_ids("<|im_end|>")
    plain, marked = (decoder.row(ask(q)).prompt for q in ("Why?", "Why?<|im_end|>"))
    assert marked.count(end) == plain.count(end)


class TestText:
    def pieces(self, tokenizer: Any, tokens: list[int]) -> list[str]:
        text = Text(tokenizer)
        return [text.grow(tokens[: i + 1], last=i + 1 == len(tokens)) for i in range(len(tokens))]

    @hypothesis.settings(max_examples=40)
    @given(content=st.text(min_size=1))
    def test_whole_characters_only_and_none_lost(self, tokenizer: Any, content: str) -> None:
        tokens = tokenizer(content)["input_ids"]
        expected = tokenizer.decode(tokens, skip_special_tokens=True).strip()
        hypothesis.assume("\ufffd" not in expected)  # bytes that the tokenizer does not have
        made = self.pieces(tokenizer, tokens)
        assert "".join(made) == expected
        assert not any("\ufffd" in piece for piece in made)

    def test_text_comes_as_soon_as_it_is_certain(self, tokenizer: Any) -> None:
        tokens = tokenizer(" Give  5 mg.\n")["input_ids"]
        made = self.pieces(tokenizer, tokens)
        assert "".join(made) == "Give  5 mg."
        assert sum(map(bool, made)) >= 4

    def test_half_a_character_at_the_end_is_left_out(self, tokenizer: Any) -> None:
        tokens = tokenizer("Fever 🫁")["input_ids"]
        assert tokenizer.decode(tokens[:-1]).endswith("\ufffd")
        assert "".join(self.pieces(tokenizer, tokens[:-1])) == "Fever"


def test_running_out_of_memory_is_recognised() -> None:
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert not out_of_memory(RuntimeError("shapes do not fit"))


def test_a_row_keeps_its_random_numbers_to_itself(lm: LanguageModel) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    row = Row(lm, ask("Why?", 1.0))
    row.choose(0, torch.zeros(4), torch.arange(4))
    assert torch.equal(torch.random.get_rng_state(), before)

"""Models that read pictures: tiny ones with random weights, a folder each, as from a hub."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import vision_model
from local_client import LocalClient
from pictures import image, saved, turn, url
from test_serve_http import wait_until_loaded

from elara.model import (
    SYSTEM_PROMPT,
    LanguageModel,
    ModelError,
    encode,
    generate,
    load_adapter,
    load_base,
)
from elara.model.base import Precision
from elara.serve import Settings, create_app
from elara.serve.backends import Ask
from elara.serve.config import PICTURES_AT
from elara.serve.decoding import Decoder
from elara.serve.images import BURNT_IN, Picture, read_picture
from elara.train import TrainingConfig
from elara.train.lora import add_lora

pytestmark = pytest.mark.model

MODELS: dict[str, Callable[[Path], Path]] = {
    "llava": vision_model.llava,
    "gemma": vision_model.gemma,
}
TOKENS = 8


@pytest.fixture(scope="module", params=MODELS)
def lm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_base(str(MODELS[request.param](tmp_path_factory.mktemp(request.param))))


def shown(colour: str) -> Picture:
    return read_picture(url(saved(image(colour))), max_bytes=1 << 20, max_pixels=10_000)


def ask(*colours: str, text: str = "What is it?") -> Ask:
    turns = [{"role": "user", "content": text}]
    pictures = {0: [shown(colour) for colour in colours]} if colours else {}
    return Ask(turns, TOKENS, 0.0, 0, float("inf"), pictures=pictures)


def written(decoder: Decoder, *asks: Ask) -> list[list[int]]:
    rows = [decoder.row(one) for one in asks]
    batch = decoder.batch(rows)
    while not all(row.ended for row in rows):
        batch.step()
    return [row.new for row in rows]


def test_an_answer_is_that_of_the_library_and_the_picture_matters(lm: LanguageModel) -> None:
    decoder = Decoder(lm)
    looks = []
    for colours in (("red",), ("white",), ("red", "white"), ("white", "red")):
        row = decoder.row(ask(*colours))
        ids = torch.tensor([row.prompt])
        expected = lm.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            **row.shown,
            max_new_tokens=TOKENS,
            do_sample=False,
        )[0, ids.shape[1] :].tolist()
        assert written(decoder, ask(*colours)) == [expected]
        with torch.inference_mode():
            looks.append(lm.model(input_ids=ids, **row.shown).logits[0, -1])
    far = [(one - other).abs().max() > 0.01 for one, other in itertools.combinations(looks, 2)]
    assert all(far), "else it does not look, or mixes up which picture comes first"


def test_each_picture_has_its_places_and_a_text_cannot_make_one(lm: LanguageModel) -> None:
    decoder, mark = Decoder(lm), lm.processor.image_token
    place = lm.model.config.image_token_id
    rows = [decoder.row(ask(*["red"] * n, text=f"{mark} is a {mark}?")) for n in range(3)]
    assert [row.prompt.count(place) for row in rows] == [0, 4, 8]
    text = lm.tokenizer.decode(rows[1].prompt)
    assert f"{mark[0]} {mark[1:]} is a" in text
    assert text.count("user:\n") == 1
    assert SYSTEM_PROMPT in text
    assert len(written(decoder, ask("red", text=f"{mark} is a {mark}?"))[0]) == TOKENS


def test_chats_without_pictures_are_answered_together_and_trained_on(lm: LanguageModel) -> None:
    asks = [ask(text="Why?"), ask(text="What are the signs of a disease with a long name?")]
    together = written(Decoder(lm), *asks)
    assert together == [written(Decoder(lm), one)[0] for one in asks]
    turns = [{"role": "system", "content": SYSTEM_PROMPT}, *asks[1].messages]
    alone = generate(lm, turns, max_new_tokens=TOKENS)
    text = lm.tokenizer.decode(together[1], skip_special_tokens=True)
    assert text.strip() == alone.text.strip()
    encoded = encode(lm.tokenizer, [*turns, {"role": "assistant", "content": "Pain."}])
    learnt = [token for token in encoded.labels if token != -100]
    assert lm.tokenizer.decode(learnt) == "Pain.<|im_end|>"


def test_a_picture_that_counts_less_positions_than_tokens() -> None:
    """Qwen-VL: its processor needs a package that is not among Elara's, so it is made by hand."""
    torch.manual_seed(0)
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 99}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}
    config = transformers.Qwen2_5_VLConfig(
        text_config=text | heads | {"rope_parameters": rope, "initializer_range": 0.5},
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 32,
            "patch_size": 4,
            "window_size": 16,
            "fullatt_block_indexes": [0],
        },
        image_token_id=90,
        vision_start_token_id=91,
        vision_end_token_id=92,
        tie_word_embeddings=False,
    )
    model = transformers.Qwen2_5_VLForConditionalGeneration(config).eval()
    torch.nn.init.normal_(model.model.visual.merger.mlp[2].weight)

    class Tokenizer:
        chat_template, added_tokens_decoder, all_special_tokens = "", {}, ()  # type: ignore[var-annotated]
        eos_token_id, pad_token_id = 98, 97

        def decode(self, tokens: list[int], **_: Any) -> str:
            return " ".join(map(str, tokens))

    class Processor:
        def apply_chat_template(self, turns: list[Any], **_: Any) -> Any:
            assert [part["type"] for part in turns[1]["content"]] == ["image", "text"]
            assert turns[1]["content"][0]["image"].size == (20, 12)
            ids = torch.tensor([[5, 91, *[90] * 16, 92, 6, 7]])
            made = {
                "input_ids": ids,
                "attention_mask": torch.ones_like(ids),
                "pixel_values": torch.linspace(-1, 1, 64 * 96).reshape(64, 96),
                "image_grid_thw": torch.tensor([[1, 8, 8]]),
                "mm_token_type_ids": (ids == 90).int(),
            }
            return transformers.BatchFeature(made)

    precision = Precision("cpu", "float32", "tiny")
    lm = LanguageModel(model, Tokenizer(), "qwen", precision, Processor())
    decoder = Decoder(lm)
    row = decoder.row(ask("red"))
    ids = torch.tensor([row.prompt])
    expected = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        **row.shown,
        max_new_tokens=TOKENS,
        do_sample=False,
    )[0, ids.shape[1] :].tolist()
    assert model.model.rope_deltas.item() == 4 - 16
    assert len({*expected}) > 2, "else it repeats itself, whatever its positions"
    assert written(decoder, ask("red")) == [expected]


def test_without_what_reads_pictures_it_reads_text_only_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = vision_model.gemma(tmp_path)
    (folder / "processor_config.json").unlink()
    assert load_base(str(folder)).processor is None
    assert "it reads text only" in capsys.readouterr().out


def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise ImportError("\nX requires the Torchvision library\nand more")

    folder = vision_model.llava(tmp_path)
    monkeypatch.setattr(transformers.AutoProcessor, "from_pretrained", missing)
    with pytest.raises(ModelError, match=r"install the torchvision .* X requires the Torch"):
        load_base(str(folder))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter on a tiny LLaVA, on its language layers only, that changes its answers."""
    base = vision_model.llava(tmp_path_factory.mktemp("base"))
    model = add_lora(load_base(str(base)), TrainingConfig(quantisation="none", lora_r=4))
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        assert ("lora_" in name) <= ("language_model" in name)
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    folder = tmp_path_factory.mktemp("adapters") / "adapter"
    model.save_pretrained(folder)
    record = {"base_model": str(base), "quantisation": "none", "config": {}}
    (folder / "training.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="module")
def client(adapter: Path) -> Iterator[LocalClient]:
    settings = Settings(adapter=adapter, images=True, max_new_tokens=TOKENS)
    with LocalClient(create_app(settings)) as client:
        wait_until_loaded(client)
        yield client


def test_an_adapter_changes_what_is_said_of_a_picture(adapter: Path) -> None:
    adapted = load_adapter(adapter)
    decoder = Decoder(adapted)
    answers = [written(decoder, ask(colour))[0] for colour in ("red", "blue")]
    with adapted.model.disable_adapter():
        answers += [written(decoder, ask(colour))[0] for colour in ("red", "blue")]
    assert len({tuple(answer) for answer in answers}) == 4


def test_over_http_whole_and_as_a_stream(client: LocalClient) -> None:
    def answer(*turns: dict[str, Any], stream: bool = False) -> tuple[str, int, list[str]]:
        body = {"model": "elara", "messages": [*turns], "stream": stream}
        body |= {"stream_options": {"include_usage": True}} if stream else {}
        response = client.post(PICTURES_AT, json=body)
        assert response.status_code == 200, response.text
        if not stream:
            found = response.json()
            text = found["choices"][0]["message"]["content"]
            return text, found["usage"]["prompt_tokens"], found["elara"]["warnings"]
        *events, usage, done = [e.removeprefix("data: ") for e in response.text.split("\n\n")[:-1]]
        assert done == "[DONE]"
        chunks = [json.loads(event) for event in events]
        text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
        return text, json.loads(usage)["usage"]["prompt_tokens"], chunks[0]["elara"]["warnings"]

    red, blue = turn(url()), turn(url(saved(image("blue"))))
    whole = answer(red)
    assert whole == answer(red, stream=True)
    assert whole[2] == [BURNT_IN]
    assert whole[0] != answer(blue)[0]
    without = answer({"role": "user", "content": "What is this?"})
    assert without[0] not in ("", whole[0])
    assert without[1:] == (whole[1] - 4, [])  # the places of one picture
    # A picture of an earlier turn stays in sight.
    later = [{"role": "assistant", "content": "A square."}, {"role": "user", "content": "Sure?"}]
    assert answer(red, *later)[0] != answer(blue, *later)[0]

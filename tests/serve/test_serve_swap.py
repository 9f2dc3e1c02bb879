"""Real adapters of a tiny model: after an exchange nothing of the old one answers, and switched
off, an adapter changes nothing.
"""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from local_client import LocalClient
from test_serve_http import wait_until_loaded

from elara.model import SYSTEM_PROMPT, generate, load_adapter, load_base
from elara.serve import ModelManager, Settings, create_app
from elara.serve.backends import Ask, GenerationFailed, whole
from elara.serve.decoding import Batch, Decoder
from elara.serve.engine import Engine

pytestmark = [pytest.mark.model, pytest.mark.anyio]


@pytest.fixture(scope="module")
def adapters(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two adapters, `one` and `two`, with random weights that are not small."""
    import peft
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("adapters")
    for name in ("one", "two"):
        torch.manual_seed(len(name) + ord(name[0]))
        base = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder)
        lora = peft.LoraConfig(
            r=8,
            lora_alpha=256,
            target_modules="all-linear",
            init_lora_weights=False,
            task_type="CAUSAL_LM",
        )
        peft.get_peft_model(base, lora).save_pretrained(folder / name)
        record = {"base_model": str(tiny_folder), "quantisation": "none"}
        (folder / name / "training.json").write_text(json.dumps(record))
    return folder


def ask(seed: int = 0) -> Ask:
    turns = [{"role": "user", "content": "What is anaemia?"}]
    return Ask(turns, 12, 1.0, seed, time.monotonic() + 120)


async def answer(manager: ModelManager) -> list[str]:
    """Three answers, written together."""
    with manager.use() as serving:
        made = await asyncio.gather(*(whole(serving.answer(ask(seed))) for seed in range(3)))
    return [text for text, _ in made]


async def cold(adapter: Path) -> list[str]:
    manager = ModelManager(adapter)
    manager.load()
    found = await answer(manager)
    manager.unload()
    return found


async def test_after_a_swap_the_answer_is_that_of_a_cold_start(adapters: Path) -> None:
    one, two = await cold(adapters / "one"), await cold(adapters / "two")
    assert one != two
    manager = ModelManager(adapters / "one")
    manager.load()
    assert await answer(manager) == one
    identity = manager.swap("two")
    assert await answer(manager) == two
    assert manager.identity == identity
    manager.swap("one")
    assert await answer(manager) == one
    assert manager.swap(identity.weights_sha256) == identity
    assert await answer(manager) == two
    manager.unload()


async def test_a_request_under_way_finishes_on_the_old_adapter(
    adapters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await cold(adapters / "one"), await cold(adapters / "two")
    begun, go, step = threading.Event(), threading.Event(), Batch.step

    def held(batch: Batch) -> list[str]:
        if all(row.new_tokens == 2 for row in batch.rows):
            begun.set()
            assert go.wait(60)
        return step(batch)

    manager = ModelManager(adapters / "one")
    manager.load()
    monkeypatch.setattr(Batch, "step", held)
    before: Any = manager.lm
    model = weakref.ref(before.model)
    del before
    under_way = asyncio.create_task(answer(manager))
    await asyncio.to_thread(begun.wait, 60)
    with manager.use() as old:
        await asyncio.to_thread(manager.swap, "two")
    later = asyncio.create_task(answer(manager))
    go.set()
    assert await under_way == one
    assert await later == two
    await asyncio.to_thread(old.wait)
    gc.collect()
    assert model() is None, "the old adapter's memory is free"
    manager.unload()


QUESTIONS = ["What is anaemia?", "Why do people with a rather long question wait?", "And then?"]


def asks(base: bool) -> list[Ask]:
    """The questions, each put greedily and with chance."""
    turns = ([{"role": "user", "content": text}] for text in QUESTIONS)
    until = time.monotonic() + 120
    return [Ask(turn, 12, t, 3, until, base) for turn in turns for t in (0.0, 1.0)]


async def answers(engine: Any, asked: list[Ask]) -> list[str]:
    return [text for text, _ in await asyncio.gather(*(whole(engine.answer(a)) for a in asked))]


async def test_a_base_answer_is_that_of_the_base_model_alone_and_in_company(
    adapters: Path, tiny_folder: Path
) -> None:
    alone = Engine(Decoder(load_base(str(tiny_folder))))
    expected = [(await answers(alone, [one]))[0] for one in asks(base=False)]
    alone.close()
    engine = Engine(Decoder(load_adapter(adapters / "one")), batch_size=4)
    tuned = [(await answers(engine, [one]))[0] for one in asks(base=False)]
    assert not {*expected} & {*tuned}, "else this adapter changes nothing"
    assert [(await answers(engine, [one]))[0] for one in asks(base=True)] == expected
    pairs = zip(asks(base=True), asks(base=False), strict=True)
    mixed = await answers(engine, [ask for pair in pairs for ask in pair])
    assert (mixed[::2], mixed[1::2]) == (expected, tuned)
    engine.close()


async def test_a_failure_without_the_adapter_leaves_it_on_and_its_weights_alone(
    adapters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = load_adapter(adapters / "one")
    before = {name: value.clone() for name, value in lm.model.state_dict().items()}
    engine = Engine(Decoder(lm))
    tuned, step = await answers(engine, asks(base=False)), Batch.step

    def breaks(batch: Batch) -> list[str]:
        made = step(batch)
        if batch.rows[0].ask.base:
            assert lm.model.get_model_status().enabled is False
            raise MemoryError
        return made

    monkeypatch.setattr(Batch, "step", breaks)
    with pytest.raises(GenerationFailed):
        await answers(engine, asks(base=True)[:1])
    assert lm.model.get_model_status().enabled is True
    assert await answers(engine, asks(base=False)) == tuned
    after = lm.model.state_dict()
    assert all(value.equal(after[name]) for name, value in before.items())
    engine.close()


def served(adapter: Path, name: str, text: str) -> str:
    """The answer of a server, asked for a model by its name."""
    with LocalClient(create_app(Settings(adapter=adapter, max_new_tokens=12))) as client:
        wait_until_loaded(client)
        body = {"model": name, "messages": [{"role": "user", "content": text}]}
        found = client.post("/v1/chat/completions", json=body).json()
        return str(found["choices"][0]["message"]["content"])


def test_the_server_gives_the_answer_of_the_base_model_as_it_is_loaded(
    adapters: Path, tiny_folder: Path
) -> None:
    expected = plain(str(tiny_folder), QUESTIONS[1])
    assert served(adapters / "one", "elara-base", QUESTIONS[1]) == expected
    assert served(adapters / "one", "elara", QUESTIONS[1]) != expected


def test_the_packaged_base_model_answers_under_an_adapter(tmp_path: Path) -> None:
    import peft

    base = load_base()
    lora = peft.LoraConfig(r=8, lora_alpha=64, init_lora_weights=False, task_type="CAUSAL_LM")
    peft.get_peft_model(base.model, lora).save_pretrained(tmp_path / "adapter")
    record = {"base_model": base.name, "quantisation": "none"}
    (tmp_path / "adapter" / "training.json").write_text(json.dumps(record))
    expected = plain(base.name, QUESTIONS[0])
    assert served(tmp_path / "adapter", "elara-base", QUESTIONS[0]) == expected
    assert served(tmp_path / "adapter", "elara", QUESTIONS[0]) != expected


def plain(name: str, text: str) -> str:
    """The likeliest answer of a base model, loaded without an adapter and without a server."""
    turns = [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": text}]
    return generate(load_base(name), turns, max_new_tokens=12).text.rstrip("\ufffd").strip()

"""Two real adapters of a tiny model: after an exchange nothing of the old one answers."""

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

from elara.serve import ModelManager
from elara.serve.backends import Ask, whole
from elara.serve.decoding import Batch

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

"""The model manager: its states, its exchanges, and errors that quote nobody."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from elara.serve import ModelManager
from elara.serve.adapters import AdapterRefused
from elara.serve.backends import (
    SIMULATED_ANSWER,
    Ask,
    GenerationFailed,
    ModelUnavailable,
    whole,
)
from elara.serve.judged import adapter_identity
from elara.workspace import Workspace


def ask(manager: ModelManager, question: str = "SECRET-WORD") -> str:
    turns = [{"role": "user", "content": question}]
    asked = Ask(turns, 5, 0.0, 0, time.monotonic() + 60)
    with manager.use() as serving:
        return asyncio.run(whole(serving.answer(asked)))[0]


def test_states_from_unloaded_to_ready_and_back(manager: ModelManager, fake: Any) -> None:
    assert manager.state == "unloaded"
    fake.may_load.clear()
    loading = threading.Thread(target=manager.load)
    loading.start()
    while manager.state == "unloaded":
        pass
    with pytest.raises(ModelUnavailable, match="still loading") as caught:
        ask(manager)
    assert caught.value.retry_after
    fake.may_load.set()
    loading.join()
    assert manager.state == "ready"
    assert manager.lm is not None
    assert ask(manager) == "SECRET-WORD limit=5 temperature=0.0 seed=0"
    manager.unload()
    assert (manager.state, manager.lm, manager.identity) == ("unloaded", None, None)
    with pytest.raises(ModelUnavailable, match="not loaded"):
        ask(manager)


def test_unloading_waits_for_the_answer_being_written(manager: ModelManager, fake: Any) -> None:
    manager.load()
    fake.may_answer.clear()
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(ask, manager)
        assert fake.answering.wait(60)
        unloading = pool.submit(manager.unload)
        while manager.state == "ready":
            pass
        assert not unloading.done()
        fake.may_answer.set()
        assert answer.result().startswith("SECRET-WORD")
        unloading.result()
    assert "elara-writer" not in {thread.name for thread in threading.enumerate()}


def test_an_adapter_that_is_not_there_fails_with_a_remedy(tmp_path: Path) -> None:
    manager = ModelManager(tmp_path / "nowhere")
    manager.load()
    assert (manager.state, manager.mode) == ("failed", "model")
    with pytest.raises(ModelUnavailable, match=r"nowhere.*elara run --only train") as caught:
        ask(manager)
    assert caught.value.retry_after is None


def test_loading_again_after_a_failure(manager: ModelManager) -> None:
    load, fault = manager._loader, OSError("disk")

    def broken(folder: Path) -> Any:
        raise fault

    manager._loader = broken
    manager.load()
    assert "OSError: disk" in (manager.error or "")
    manager._loader = load
    manager.load()
    assert (manager.state, manager.error) == ("ready", None)
    manager.unload()


def test_a_failed_generation_quotes_nothing(
    manager: ModelManager, fake: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(questions: list[str]) -> None:
        raise RuntimeError(f"cannot tokenise {questions}")

    fake.fault = broken
    manager.load()
    with caplog.at_level(logging.DEBUG), pytest.raises(GenerationFailed) as caught:
        ask(manager)
    assert "RuntimeError" in str(caught.value)
    assert "generation failed: RuntimeError in broken" in caplog.text
    assert "SECRET-WORD" not in caplog.text + str(caught.value)
    manager.unload()


def test_simulation_says_that_it_is_one() -> None:
    manager = ModelManager(None)
    manager.load()
    assert (manager.mode, manager.state) == ("simulation", "unloaded")
    assert ask(manager) == SIMULATED_ANSWER
    assert "not an answer" in SIMULATED_ANSWER
    with pytest.raises(AdapterRefused, match="ELARA_SERVE_ADAPTERS"):
        manager.swap("adapter")
    manager.unload()
    assert ask(manager) == SIMULATED_ANSWER


@pytest.fixture
def two(trained: Workspace) -> Path:
    """The folder of two adapters: `adapter`, and `versions/old` with other weights."""
    old = trained.folder("train") / "versions" / "old"
    old.mkdir(parents=True)
    (old / "adapter_model.safetensors").write_bytes(b"old")
    return trained.folder("train")


def test_requests_under_way_keep_their_adapter(manager: ModelManager, fake: Any, two: Path) -> None:
    manager.load()
    first = manager.identity
    fake.may_answer.clear()
    with ThreadPoolExecutor(2) as pool, manager.use() as held:
        under_way = pool.submit(ask, manager, "under way")
        assert fake.answering.wait(60)
        assert manager.swap("versions/old") == adapter_identity(two / "versions" / "old")
        assert manager.state == "ready"
        later = pool.submit(ask, manager, "later")
        fake.may_answer.set()
        assert under_way.result().startswith("under way")
        assert later.result().startswith("later")
        assert (held.identity, manager.identity) != (first, first)
        assert held.identity == first
        assert held.lm is not None, "somebody still holds it"
    assert held.lm is None
    held.wait()
    assert manager.identity == adapter_identity(two / "versions" / "old")
    assert manager.swap(first.weights_sha256 if first else "") == first
    manager.unload()
    assert "elara-writer" not in {thread.name for thread in threading.enumerate()}


def test_a_swap_that_fails_leaves_the_old_one_serving(
    manager: ModelManager, fake: Any, two: Path
) -> None:
    manager.load()
    before = manager.identity
    (two / "versions" / "old" / "extra.bin").write_bytes(b"")
    for name, why in {
        "versions/old": "holds extra.bin",
        "../..": "lies outside of",
        "0" * 64: "No adapter in",
        "nothing": "could not be loaded",
    }.items():
        with pytest.raises(AdapterRefused, match=why):
            manager.swap(name)
    (two / "versions" / "old" / "extra.bin").unlink()
    manager._loader = lambda place: LanguageModelThatBreaks()  # type: ignore[assignment]
    manager._decoder = lambda lm: lm.decoder()  # type: ignore[attr-defined]
    with pytest.raises(AdapterRefused, match="ZeroDivisionError"):
        manager.swap("versions/old")
    assert (manager.identity, manager.state, manager.error) == (before, "ready", None)
    assert ask(manager).startswith("SECRET-WORD")
    manager.unload()


class LanguageModelThatBreaks:
    def decoder(self) -> None:
        raise ZeroDivisionError


def test_an_adapter_outside_the_folder_is_not_loaded(tmp_path: Path, fake: Any) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / "adapter_model.safetensors").write_bytes(b"1234")
    manager = ModelManager(place, folder=tmp_path / "adapters", loader=fake.load)
    manager.load()
    assert manager.state == "failed"
    assert "lies outside of" in (manager.error or "")

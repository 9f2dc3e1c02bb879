"""The model manager: its states, one answer at a time, and errors that quote nobody."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from elara.serve import ModelManager
from elara.serve.models import SIMULATED_ANSWER, GenerationFailed, ModelUnavailable

QUESTION = [{"role": "user", "content": "SECRET-WORD"}]


def ask(manager: ModelManager) -> str:
    return manager.generate(QUESTION, max_new_tokens=5, temperature=0.0).answer


def test_states_from_unloaded_to_ready_and_back(manager: ModelManager, fake: Any) -> None:
    assert manager.state == "unloaded"
    fake.may_load.clear()
    loading = threading.Thread(target=manager.load)
    loading.start()
    with pytest.raises(ModelUnavailable, match="still loading") as caught:
        ask(manager)
    assert caught.value.retry_after
    fake.may_load.set()
    loading.join()
    assert manager.state == "ready"
    assert ask(manager) == "SECRET-WORD limit=5 temperature=0.0 seed=0"
    manager.unload()
    assert (manager.state, manager.lm) == ("unloaded", None)


def test_one_answer_at_a_time(manager: ModelManager, fake: Any) -> None:
    manager.load()
    fake.may_answer.clear()
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(ask, manager) for _ in range(4)]
        assert fake.answering.wait(60)
        threading.Timer(0.2, fake.may_answer.set).start()
        assert len({answer.result() for answer in answers}) == 1
    assert fake.most_at_once == 1


def test_unloading_waits_for_the_answer_being_written(manager: ModelManager, fake: Any) -> None:
    manager.load()
    fake.may_answer.clear()
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(ask, manager)
        assert fake.answering.wait(60)
        unloading = pool.submit(manager.unload)
        assert manager.state == "ready"
        fake.may_answer.set()
        assert answer.result().startswith("SECRET-WORD")
        unloading.result()
    assert manager.state == "unloaded"


def test_an_adapter_that_is_not_there_fails_with_a_remedy(tmp_path: Path) -> None:
    manager = ModelManager(tmp_path / "nowhere")
    manager.load()
    assert (manager.state, manager.mode) == ("failed", "model")
    with pytest.raises(ModelUnavailable, match=r"nowhere.*elara run --only train") as caught:
        ask(manager)
    assert caught.value.retry_after is None


def test_loading_again_after_a_failure(manager: ModelManager, fake: Any) -> None:
    load, fault = manager._loader, OSError("disk")

    def broken(folder: Path) -> Any:
        raise fault

    manager._loader = broken
    manager.load()
    assert "OSError: disk" in (manager.error or "")
    manager._loader = load
    manager.load()
    assert (manager.state, manager.error) == ("ready", None)


def test_a_failed_generation_quotes_nothing(
    manager: ModelManager, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(lm: Any, messages: Any, limit: int, heat: float, seed: int) -> Any:
        raise RuntimeError(f"cannot tokenise {messages}")

    manager._generator = broken
    manager.load()
    with caplog.at_level(logging.DEBUG), pytest.raises(GenerationFailed) as caught:
        ask(manager)
    assert "RuntimeError" in str(caught.value)
    assert "generation failed: RuntimeError in broken" in caplog.text
    assert "SECRET-WORD" not in caplog.text + str(caught.value)
    manager._generator = lambda *_: pytest.fail("not reached")
    manager.unload()  # the lock was given back


def test_simulation_says_that_it_is_one() -> None:
    manager = ModelManager(None)
    manager.load()
    assert (manager.mode, manager.state) == ("simulation", "unloaded")
    assert ask(manager) == SIMULATED_ANSWER
    assert "not an answer" in SIMULATED_ANSWER

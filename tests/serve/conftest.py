"""A fake model for tests that are about HTTP, and adapter folders to serve."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elara.model import Generation, LanguageModel
from elara.model.base import Precision
from elara.serve import ModelManager
from elara.workspace import Workspace

VERDICT = {
    "verdict": "Tuning helped on held-out articles.",
    "better": True,
    "difference": -0.5,
    "low": -0.6,
    "high": -0.4,
    "articles": 12,
    "examples": 30,
}


class FakeModel:
    """Stands in for the language model: its answer repeats what it was asked with.

    Clear `may_load` or `may_answer` to hold it there; `most_at_once` counts overlaps.
    """

    def __init__(self) -> None:
        self.may_load, self.may_answer = threading.Event(), threading.Event()
        self.may_load.set()
        self.may_answer.set()
        self.answering = threading.Event()
        self.active = self.most_at_once = 0

    def load(self, folder: Path) -> LanguageModel:
        assert self.may_load.wait(60)
        return LanguageModel(None, None, "fake", Precision("cpu", "float32", "fake"))

    def generate(
        self, lm: LanguageModel, messages: list[dict[str, str]], limit: int, heat: float, seed: int
    ) -> Generation:
        self.active += 1
        self.most_at_once = max(self.most_at_once, self.active)
        self.answering.set()
        assert self.may_answer.wait(60)
        self.active -= 1
        text = f"{messages[-1]['content']} limit={limit} temperature={heat} seed={seed}"
        return Generation(text, prompt_tokens=7, new_tokens=3, seconds=0.25, finished=True)


@pytest.fixture
def fake() -> FakeModel:
    return FakeModel()


@pytest.fixture
def manager(fake: FakeModel, trained: Workspace) -> ModelManager:
    """A manager of the fake model, not loaded yet."""
    adapter = trained.folder("train") / "adapter"
    return ModelManager(adapter, loader=fake.load, generator=fake.generate)


def finish_train(workspace: Workspace, weights: bytes) -> None:
    """Leave what the train stage leaves, with these bytes as weights."""
    stage = workspace.begin("train", {})
    (stage.draft / "adapter").mkdir()
    (stage.draft / "adapter" / "adapter_model.safetensors").write_bytes(weights)
    stage.write({"losses.parquet": pl.DataFrame({"step": [1]})})


@pytest.fixture
def train() -> Callable[[Workspace, bytes], None]:
    return finish_train


@pytest.fixture
def trained(workspace: Workspace) -> Workspace:
    """A workspace whose train and evaluate stages have finished (weights are four bytes)."""
    finish_train(workspace, b"1234")
    stage = workspace.begin("evaluate", {})
    stage.path("train", "adapter")
    stage.write({"verdict.json": VERDICT})
    return workspace


@pytest.fixture
def verdict() -> dict[str, Any]:
    """What the evaluate stage of `trained` found."""
    return json.loads(json.dumps(VERDICT))

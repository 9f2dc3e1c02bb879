"""A fake model for tests that are about HTTP or the queue, and adapter folders to serve."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elara.model import LanguageModel
from elara.model.base import Precision
from elara.serve import ModelManager
from elara.serve.backends import Ask
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


class FakeRow:
    """An answer of three tokens that repeats what it was asked with; "endless" never stops."""

    prompt_tokens = 7

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.question = ask.messages[-1]["content"]
        limits = f"limit={ask.max_new_tokens} temperature={ask.temperature} seed={ask.seed}"
        self.tokens = [f"{self.question} ", *limits.split(" ", 1)]
        self.tokens[1] += " "
        self.new_tokens = 0
        self.ended = self.finished = False

    def grow(self) -> str:
        self.new_tokens += 1
        if self.question == "endless":
            self.ended = self.new_tokens == self.ask.max_new_tokens
            return f"{self.new_tokens} "
        self.ended = self.finished = self.new_tokens == 3
        return self.tokens[self.new_tokens - 1]


class FakeModel:
    """Stands in for the language model and for the `Decoder`.

    Clear `may_load` or `may_answer` to hold it there; each step then waits for `permits`.
    `batches` holds the questions of every batch, `steps` those of every step, and `fault` is called
    with them and may raise. While its adapter is off, an answer begins with "base ".
    """

    def __init__(self) -> None:
        self.may_load, self.may_answer = threading.Event(), threading.Event()
        self.may_load.set()
        self.may_answer.set()
        self.permits = threading.Semaphore(0)
        self.answering = threading.Event()
        self.batches: list[list[str]] = []
        self.steps: list[list[str]] = []
        self.fault: Callable[[list[str]], None] = lambda questions: None
        self.off = False

    def load(self, folder: Path) -> LanguageModel:
        assert self.may_load.wait(60)
        return LanguageModel(None, None, "fake", Precision("cpu", "float32", "fake"))

    def decoder(self, lm: LanguageModel) -> FakeModel:
        return self

    @contextmanager
    def side(self, base: bool) -> Iterator[None]:
        self.off = base
        try:
            yield
        finally:
            self.off = False

    def row(self, ask: Ask) -> FakeRow:
        return FakeRow(ask)

    def batch(self, rows: list[FakeRow]) -> FakeBatch:
        self.batches.append([row.question for row in rows])
        return FakeBatch(self, rows)


class FakeBatch:
    def __init__(self, model: FakeModel, rows: list[FakeRow]) -> None:
        self.model, self.rows = model, rows

    def step(self) -> list[str]:
        questions = [row.question for row in self.rows]
        self.model.steps.append(questions)
        self.model.answering.set()
        while not self.model.may_answer.is_set() and not self.model.permits.acquire(timeout=0.01):
            pass
        self.model.fault(questions)
        begin = ["base " if self.model.off and not row.new_tokens else "" for row in self.rows]
        return [begun + row.grow() for begun, row in zip(begin, self.rows, strict=True)]

    def keep(self, rows: list[int]) -> None:
        self.rows = [self.rows[i] for i in rows]


@pytest.fixture
def anyio_backend() -> str:
    """What runs the tests that are coroutines."""
    return "asyncio"


@pytest.fixture
def fake() -> FakeModel:
    return FakeModel()


@pytest.fixture
def manager(fake: FakeModel, trained: Workspace) -> ModelManager:
    """A manager of the fake model, not loaded yet."""
    adapter = trained.folder("train") / "adapter"
    return ModelManager(adapter, loader=fake.load, decoder=fake.decoder)


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

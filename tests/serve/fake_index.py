"""An index of sources that does what a test says."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from elara.records import Article, Section
from elara.retrieval.passages import Passage


class FakeEncoder:
    """Gives texts with the same words close vectors."""

    name, identity = "fake", "f" * 64

    def encode(self, texts: Sequence[str]) -> Any:
        rows = np.full((len(texts), 64), 1e-6, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[hashlib.sha256(word.encode()).digest()[0] % 64] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class FakeIndex:
    """Finds its passages, in their order, unless their article was retracted.

    `fault` is called with each query and may raise; clear `may_search` to hold it there.
    """

    identity, licences = "index-1", "redistributable"

    def __init__(self, *texts: str) -> None:
        self.passages_ = [passage(n, text) for n, text in enumerate(texts, 1)]
        self.passages = len(texts)
        self.encoder = FakeEncoder()
        self.retracted: set[str] = set()
        self.queries: list[tuple[str, str]] = []
        self.fault: Callable[[str], None] = lambda query: None
        self.may_search, self.searching = threading.Event(), threading.Event()
        self.may_search.set()

    def search(
        self, query: str, k: int = 5, *, topic: str = "", exclude: Collection[str] = ()
    ) -> list[Any]:
        self.queries.append((query, topic))
        self.searching.set()
        assert self.may_search.wait(60)
        self.fault(query)
        fit = [
            p
            for p in self.passages_
            if p.article_id not in self.retracted and (not topic or topic in p.topics)
        ]
        return [SimpleNamespace(passage=p, score=0.9 - n / 10) for n, p in enumerate(fit[:k])]

    def article(self, article_id: str) -> Article | None:
        found = [p for p in self.passages_ if p.article_id == article_id]
        if not found or article_id in self.retracted:
            return None
        return Article(
            id=article_id,
            source="test",
            title=found[0].title,
            body=[Section("", ""), Section("Symptoms", found[0].text)],
            licence="CC-BY-4.0",
        )


def passage(number: int, text: str) -> Passage:
    topics = ("Cardiology",) if number == 1 else ("Dermatology",)
    return Passage(
        id=f"test:{number}#body/1:0-{len(text)}",
        article_id=f"test:{number}",
        title=f"Title {number}",
        section="Symptoms",
        part="body/1",
        start=0,
        end=len(text),
        text=text,
        url=f"https://example.org/{number}",
        licence="CC-BY-4.0",
        pmid="",
        topics=topics,
        language="en",
        published="2024",
        journal="A journal",
    )


def write_manifest(folder: Path, licences: str = "redistributable") -> Path:
    """What the server reads of an index before it opens it."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"parameters": {"licences": licences}, "counts": {"passages": 3}, "identity": "i"}
    (folder / "manifest.json").write_text(json.dumps(told))
    return folder

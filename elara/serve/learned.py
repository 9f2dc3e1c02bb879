"""Find the examples that an adapter was trained on and that are closest to an answer.

Close is what an encoder of sentences puts at a small angle: such an example may have taught the
model its answer, but need not have. The vectors are kept in the workspace, so that they are
computed once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from elara.audit.passport import MANIFEST_FILE, read_manifest
from elara.model import TRAINING_FILE, ModelError
from elara.model.embedding import Encoder, Store, Vectors, load_encoder
from elara.records import Example, schema
from elara.retrieval.withheld import NAMES, file_state, lists, retracted
from elara.serve.backends import RETRY_SECONDS, ModelUnavailable, TookTooLong
from elara.serve.background import Background, until
from elara.workspace import Workspace, WorkspaceError
from elara.workspace.formats import read_table

log = logging.getLogger("elara.serve")

_PATIENCE = 5.0  # seconds that a caller waits while the vectors are computed
_PART = 256  # examples whose vectors are computed before it is asked whether the server stops


class LearnedError(LookupError):
    """It is not known what an adapter was trained on; the message says why."""


@dataclass
class Learned:
    """The examples of an adapter.

    Args:
        workspace: where it was trained.
        encoder: computes the vector of an answer.
        examples: id, question, answer, split, and what the adapter's manifest says of each.
        vectors: of question and answer, one row for each example.
        lost: examples that the adapter learned and whose text is no longer in the workspace.
    """

    workspace: Workspace
    encoder: Encoder
    examples: pl.DataFrame
    vectors: Vectors
    lost: int
    _retracted: frozenset[str] = frozenset()
    _read_at: tuple[Any, ...] | None = None  # the state of the lists that were read

    def nearest(self, question: str, answer: str, k: int, *, local: bool) -> list[dict[str, Any]]:
        """The examples closest to an answer.

        Args:
            question: what was asked.
            answer: what was answered.
            k: how many.
            local: whether only this computer reads it, so that nothing need be withheld.

        Returns:
            The fields of `elara.serve.evidence.TracedExample`, the closest example first.
        """
        scores = self.vectors @ self.encoder.encode([_text(question, answer)])[0]
        best = np.argsort(-scores, kind="stable")[:k].tolist()
        out, found = self._now_retracted(), []
        for at, row in zip(best, self.examples[best].iter_rows(named=True), strict=True):
            withheld = not (row.pop("redistributable") or local)
            if withheld:
                row |= {"question": "", "answer": None}
            told = {"withheld": withheld, "retracted": row["article_id"] in out}
            found.append(row | told | {"score": round(float(scores[at]), 4)})
        return found

    def _now_retracted(self) -> frozenset[str]:
        """The retracted articles, by lists that may change while the server runs."""
        # The workspace that `elara loop` makes lies in that with the articles and their list.
        around = Workspace(self.workspace.root.parent)
        home = around if around.folder("train").is_dir() else self.workspace
        states = tuple(map(file_state, lists(home)))
        if states != self._read_at:
            unknown = [pl.lit("").alias(name) for name in NAMES[1:]]
            articles = self.examples.select(pl.col("article_id").alias("id"), *unknown).unique()
            self._retracted = frozenset(retracted(home, articles))
            self._read_at = states
        return self._retracted


def read_learned(place: Path, encoder: Encoder | None, stop: threading.Event) -> Learned:
    """Read what an adapter was trained on, and compute the vectors that are not kept yet.

    Args:
        place: the adapter's folder.
        encoder: computes the vectors; None: the packaged model does.
        stop: set when nobody needs them any more.

    Raises:
        LearnedError: its examples are not known, or not here.
        ModelError: the packaged model cannot be loaded.
        WorkspaceError: the vectors cannot be kept.
    """
    training, manifest = place / TRAINING_FILE, place / MANIFEST_FILE
    if not (training.is_file() and manifest.is_file()):
        raise LearnedError(
            "The adapter that answers has no record of its training, so its examples are not known."
        )
    try:
        told = json.loads(training.read_text(encoding="utf-8"))
        ids = {*told["examples"], *told.get("earlier_examples", ())}
    except (ValueError, KeyError, TypeError) as error:
        raise LearnedError(
            f"{TRAINING_FILE} of the adapter that answers does not say which examples it learned "
            f"({type(error).__name__}): bring back the file that its training wrote."
        ) from None
    workspace = _workspace_of(place)
    path = workspace.folder("expand") / "train.jsonl" if workspace else None
    if workspace is None or path is None or not path.is_file():
        raise LearnedError(
            "The training examples of the adapter that answers are not beside it: serve it from "
            "the workspace in which it was trained."
        )
    last = pl.col("messages").list
    texts = read_table(path, schema(Example)).select(
        "id",
        "split",
        question=last.get(-2).struct.field("content"),
        answer=last.get(-1).struct.field("content"),
    )
    about = read_manifest(place).select(
        *("id", "licence", "redistributable", "specialty", "title", "url"),
        article_id=pl.col("article_ids").list.first(),
    )
    known = pl.DataFrame({"id": sorted(ids)}, {"id": pl.String})
    examples = known.join(texts, on="id").join(about, on="id").sort("id")
    if examples.is_empty():
        raise LearnedError(
            "None of the examples that the adapter learned is in its workspace any more: the "
            "stage expand has run again since. Train again to see them."
        )
    encoder = encoder or load_encoder()
    assert encoder  # which it is, for the packaged model
    store = Store(encoder, workspace.root / "embeddings")
    pairs = [_text(q, a) for q, a in examples.select("question", "answer").iter_rows()]
    for start in range(0, len(pairs), _PART):
        if stop.is_set():
            raise LearnedError("The server stops.")
        store.vectors(pairs[start : start + _PART], "training examples")
    vectors = store.vectors(pairs)
    return Learned(workspace, encoder, examples, vectors, len(ids) - examples.height)


class Examples:
    """What the adapter that serves was trained on, read when somebody first asks.

    Args:
        most: most callers that wait.
    """

    def __init__(self, most: int) -> None:
        self._thread, self._stop = Background("elara-examples", most), threading.Event()
        self._reading: dict[str, asyncio.Task[Learned]] = {}  # by the adapter's hash; one only

    async def of(self, adapter: str, place: Path, encoder: Encoder | None) -> Learned:
        """The examples of an adapter.

        Args:
            adapter: SHA-256 of its weights.
            place: its folder.
            encoder: computes vectors; None: the packaged model does.

        Raises:
            LearnedError: they are not known, or not here.
            BackendError: their vectors are still being computed, or cannot be.
        """
        if adapter not in self._reading:
            work = partial(read_learned, place, encoder, self._stop)
            self._reading = {adapter: asyncio.create_task(self._thread.run(work))}
        reading = self._reading[adapter]
        try:
            with _failures_told():
                async with until(time.monotonic() + _PATIENCE):
                    return await asyncio.shield(reading)
        except TookTooLong:
            raise ModelUnavailable(
                f"The training examples are being read, once for each adapter: ask again in "
                f"{RETRY_SECONDS} seconds.",
                RETRY_SECONDS,
            ) from None
        finally:
            # Once a failure was told it is forgotten, since it may be put right meanwhile.
            if reading.done() and (reading.cancelled() or reading.exception()):
                self._reading.pop(adapter, None)

    async def nearest(
        self, learned: Learned, question: str, answer: str, k: int, *, local: bool
    ) -> list[dict[str, Any]]:
        """See `Learned.nearest`; computed in the thread.

        Raises:
            BackendError: too many wait, or the list of retractions cannot be read.
        """
        with _failures_told():
            return await self._thread.run(
                lambda: learned.nearest(question, answer, k, local=local),
            )

    def close(self) -> None:
        """Let the thread end; vectors that are computed are kept."""
        self._stop.set()
        self._thread.close()


@contextmanager
def _failures_told() -> Iterator[None]:
    """Log what a model or a workspace says of itself, and tell the client to look there."""
    try:
        yield
    except (ModelError, WorkspaceError) as error:
        log.error("the training examples cannot be compared: %s", error)
        raise ModelUnavailable(
            "The training examples cannot be compared with answers: see the server's log."
        ) from None


def _workspace_of(place: Path) -> Workspace | None:
    """The workspace that an adapter, or a version of it, lies in."""
    place = place.resolve()
    near = (Workspace(parent) for parent in place.parents)
    return next((w for w in near if place.is_relative_to(w.folder("train"))), None)


def _text(question: str, answer: str) -> str:
    return f"{question}\n{answer}"

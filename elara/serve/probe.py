"""Ask the adapter that serves the same keyed items at an interval, to notice when it has changed.

Each item is put as a chat, through the queue and the template that people's questions take, and a
short answer is written at temperature 0. Four shares are published: answers that name the right
letter, answers that name any, answers that ended by themselves, and answers that are word by word
those of this adapter's first probe. The last one tells even of a model that only guesses: the same
weights, template and stop token give the same answers. Likelihoods of the letters would say more of
each item, but they pass by the stop token, and no server elsewhere need give them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from elara.serve.backends import Ask, BackendError, QueueFull, whole
from elara.serve.completions import name_of
from elara.serve.database import make_private
from elara.serve.journal import Event, Journal, JournalError
from elara.serve.metrics import Metrics
from elara.serve.models import ModelManager
from elara.text.keyed import LETTER_FORM, asked, extract, own_items
from elara.workspace import write_atomically

log = logging.getLogger("elara.serve")

ITEMS = 20
_TOKENS = 32  # of an answer: a letter needs two, a sentence that names it about twenty
_ANSWER_SECONDS = 60.0
_AGAIN_SECONDS = 600.0  # after a probe that was skipped or failed
_LOOK_SECONDS = 0.05  # between two looks whether people wait


def probe_items() -> list[dict[str, Any]]:
    """The items that are asked: the first of each of the 13 specialties, and seven second ones.

    Items are numbered within their specialty; of the second ones, those of the first seven
    specialties by the names of their files are asked.
    """
    return sorted(own_items(), key=lambda item: str(item["id"]).rpartition("-")[2])[:ITEMS]


@dataclass
class Found:
    """What a probe has found so far.

    Args:
        adapter: name of what answers.
        asked: items that the model was asked.
        right: answers with the right letter.
        named: answers that name a letter; others count as wrong.
        finished: answers that ended by themselves.
        agree: answers that are those of the first probe; counted at the end.
        answers: a hash of each answer and of how it ended.
    """

    adapter: str = ""
    asked: int = 0
    right: int = 0
    named: int = 0
    finished: int = 0
    agree: int = 0
    answers: list[str] = field(default_factory=list)


class _Skipped(Exception):
    """There is nobody to ask, or people come first."""


class Probe:
    """Asks what serves at an interval, and soon after it was exchanged.

    Args:
        manager: holds what serves.
        metrics: where the shares are published.
        journal: where each probe is recorded; None: nowhere.
        hours: between two probes; above 0.
        folder: where hashes of each adapter's first answers are kept; None: in memory only, so that
            the first probe after a restart is compared with nothing.
        tick: seconds between two looks whether a probe is due.
        patience: seconds that a probe waits, in all, for moments in which nobody else asks.
    """

    def __init__(
        self,
        manager: ModelManager,
        metrics: Metrics,
        journal: Journal | None,
        *,
        hours: float,
        folder: Path | None,
        tick: float = 5.0,
        patience: float = 600.0,
    ) -> None:
        self._manager, self._metrics, self._journal = manager, metrics, journal
        self._seconds, self._tick, self._patience = hours * 3600, tick, patience
        self._file = folder / "probe.json" if folder else None
        self._items = probe_items()
        self._texts = [asked(i["question"], i["options"], LETTER_FORM) for i in self._items]
        self._form = hashlib.sha256("\n".join(self._texts).encode()).hexdigest()[:16]
        self._first = self._kept()

    async def keep_asking(self) -> None:
        """Probe whenever it is due, until cancelled."""
        due, served = time.monotonic(), self._manager.identity
        while True:
            if time.monotonic() >= due or self._manager.identity != served:
                served = self._manager.identity
                complete = await self.run() == "complete"
                pause = self._seconds if complete else min(self._seconds, _AGAIN_SECONDS)
                due = time.monotonic() + pause
            await asyncio.sleep(self._tick)

    async def run(self) -> str:
        """Probe once. Whatever goes wrong is counted, recorded and logged, and not raised.

        Returns:
            `complete`, `skipped` or `failed`.
        """
        found, outcome, why = Found(), "cancelled", "the server stops"
        try:
            await self._ask(found)
            outcome, why = "complete", ""
        except (_Skipped, QueueFull) as error:
            outcome, why = "skipped", str(error)
        except Exception as error:
            # A backend's own errors say nothing of what was asked; of others only the kind is told.
            why = str(error) if isinstance(error, BackendError) else type(error).__name__
            outcome = "failed"
        finally:
            self._metrics.probes.labels(outcome).inc()
            await self._tell(found, outcome, why)
        return outcome

    async def _ask(self, found: Found) -> None:
        patient_until = time.monotonic() + self._patience
        for item, text in zip(self._items, self._texts, strict=True):
            while self._people_wait():
                if time.monotonic() >= patient_until:
                    raise _Skipped("people asked all the time")
                await asyncio.sleep(_LOOK_SECONDS)
            with self._manager.use() as serving:
                if serving.mode == "simulation":
                    raise _Skipped("no model is loaded")
                if found.adapter not in ("", name_of(serving)):
                    raise _Skipped("the adapter was exchanged")
                found.adapter, found.asked = name_of(serving), found.asked + 1
                deadline = time.monotonic() + _ANSWER_SECONDS
                ask = Ask([{"role": "user", "content": text}], _TOKENS, 0.0, 0, deadline)
                answer, end = await whole(serving.answer(ask))
            letter = extract(answer, item["options"])
            found.right += letter == item["key"]
            found.named += letter != ""
            found.finished += end.finished
            found.answers.append(hashlib.sha256(f"{end.finished} {answer}".encode()).hexdigest())
        first = self._first_answers(found)
        found.agree = sum(a == b for a, b in zip(found.answers, first, strict=True))
        self._publish(found)

    def _people_wait(self) -> bool:
        # A server elsewhere answers many at once: one more chat keeps nobody waiting.
        return any(engine.waiting or engine.writing for engine in self._manager.engines())

    def _publish(self, found: Found) -> None:
        told: dict[str, float] = {
            "accuracy": found.right / ITEMS,
            "named": found.named / ITEMS,
            "finished": found.finished / ITEMS,
            "agreement": found.agree / ITEMS,
            "items": found.asked,
            "last_run_timestamp_seconds": time.time(),
        }
        for name, value in told.items():
            self._metrics.forget(self._metrics.probe[name])
            self._metrics.probe[name].labels(found.adapter).set(value)

    async def _tell(self, found: Found, outcome: str, why: str) -> None:
        """Log a probe and, where the model was asked something, record it."""
        told = {k: str(v) for k, v in asdict(found).items() if k != "answers"}
        told |= {"outcome": outcome, "why": why}
        level = logging.WARNING if outcome == "failed" else logging.INFO
        log.log(level, "probe: %s", ", ".join(f"{k} {v}" for k, v in told.items() if v))
        try:
            if self._journal and found.asked:
                await self._journal.write(Event(what="probe", by="server", details=told))
        except JournalError as error:
            log.error("the probe is not in the audit log: %s", error)

    def _first_answers(self, found: Found) -> list[str]:
        """The hashes of the adapter's first answers: these ones, where none are known."""
        key = f"{found.adapter} {self._form}"
        if key not in self._first:
            self._first[key] = found.answers
            if self._file:
                try:
                    make_private(self._file.parent)
                    write_atomically(self._file, json.dumps(self._first))
                except OSError as error:
                    log.error("%s cannot be written (%s)", self._file, error.strerror)
        return self._first[key]

    def _kept(self) -> dict[str, list[str]]:
        if self._file is None or not self._file.exists():
            return {}
        try:
            kept: dict[str, list[str]] = json.loads(self._file.read_text(encoding="utf-8"))
            return kept
        except (OSError, ValueError) as error:
            log.error(
                "%s cannot be read (%s): the next probe of each adapter counts as its first",
                self._file,
                type(error).__name__,
            )
            return {}

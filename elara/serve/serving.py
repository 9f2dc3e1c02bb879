"""Hold one loaded adapter until the last request that uses it has ended."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from elara.serve.backends import Ask, End, Piece, ReadsNoPictures, Simulation
from elara.serve.engine import Engine
from elara.serve.pool import Upstreams
from elara.serve.released import GateStatus
from elara.serve.schemas import AdapterIdentity, Mode

if TYPE_CHECKING:
    from elara.model import LanguageModel

_WITHOUT = (
    "The base model wrote this without its adapter; verdict and release gate are about the adapter."
)


@dataclass
class Serving:
    """One loaded adapter, and how many requests use it. It goes after the last of them.

    Args:
        backend: what answers.
        identity: which adapter it is; None in a simulation.
        lm: the model; None in a simulation.
        load_seconds: how long loading took, in seconds.
        gate: what the release gate found about it.
        off: the adapter that is switched off, where the base model answers.
        place: its folder; None in a simulation, or where the model is elsewhere.
    """

    backend: Engine | Simulation | Upstreams
    identity: AdapterIdentity | None = None
    lm: LanguageModel | None = None
    load_seconds: float | None = None
    gate: GateStatus = field(default_factory=GateStatus)
    off: AdapterIdentity | None = None
    place: Path | None = None
    _users: int = 0
    _retired: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _unused: threading.Event = field(default_factory=threading.Event)

    @property
    def mode(self) -> Mode:
        """Who answers: a model here, one elsewhere, or nobody."""
        if isinstance(self.backend, Engine):
            return "model"
        return "simulation" if isinstance(self.backend, Simulation) else "upstream"

    @property
    def model(self) -> str | None:
        """Name of the model; None in a simulation."""
        if isinstance(self.backend, Upstreams):
            return self.backend.models
        return self.lm.name if self.lm else None

    @property
    def base(self) -> bool:
        """Whether the base model answers."""
        return self.off is not None

    @property
    def weights(self) -> str:
        """What answers, by SHA-256: an adapter's, `base of` that adapter's, or "" (not known)."""
        if self.off:
            return f"base of {self.off.weights_sha256}"
        return self.identity.weights_sha256 if self.identity else ""

    @property
    def reads_pictures(self) -> bool:
        """Whether it may be asked with pictures."""
        if isinstance(self.backend, Upstreams):
            return self.backend.reads_pictures
        return self.lm is not None and self.lm.processor is not None

    def answer(self, ask: Ask) -> AsyncGenerator[Piece | End]:
        """Answer with this adapter, or without it: see `elara.serve.backends`.

        Raises:
            ReadsNoPictures: at once, if the conversation has some and the model reads text only.
        """
        if ask.pictures and not self.reads_pictures:
            raise ReadsNoPictures(
                "What answers here reads text only: ask without pictures. Models that read them "
                "are an adapter on a vision model, such as MedGemma or Qwen2.5-VL, or an upstream "
                "with `images=true` in ELARA_SERVE_UPSTREAMS."
            )
        return self.backend.answer(replace(ask, base=self.base))

    def without_adapter(self) -> Serving:
        """The same network with its adapter switched off. Whoever uses it holds on to this one."""
        gate = GateStatus(notice=_WITHOUT)
        return Serving(self.backend, None, self.lm, self.load_seconds, gate, self.identity)

    def enter(self) -> bool:
        """Count a request; False if this adapter takes none any more."""
        with self._lock:
            if self._retired:
                return False
            self._users += 1
            return True

    def leave(self) -> None:
        """A request has ended."""
        with self._lock:
            self._users -= 1
            self._free_if_unused()

    def retire(self) -> None:
        """Take no more requests, and free the memory after those under way."""
        with self._lock:
            self._retired = True
            self._free_if_unused()

    @property
    def gone(self) -> bool:
        """Whether it was retired, nobody uses it any more, and its thread has ended."""
        alive = isinstance(self.backend, Engine) and self.backend.alive
        return self._unused.is_set() and not alive

    def wait(self) -> None:
        """Wait until a retired adapter has gone."""
        self._unused.wait()
        if isinstance(self.backend, Engine):
            self.backend.join()

    def _free_if_unused(self) -> None:
        if self._retired and not self._users:
            self.lm = None
            if isinstance(self.backend, Engine):
                self.backend.close()
            self._unused.set()

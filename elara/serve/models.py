"""Load, swap and unload the model behind the server, while requests use it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elara.serve.adapters import AdapterRefused, check_adapter, find_adapter
from elara.serve.backends import RETRY_SECONDS, ModelUnavailable, Simulation
from elara.serve.decoding import Decoder
from elara.serve.engine import Engine
from elara.serve.judged import adapter_identity
from elara.serve.pool import Upstreams, UpstreamState
from elara.serve.released import GateStatus, gate_status
from elara.serve.schemas import AdapterIdentity, Mode, State
from elara.serve.serving import Serving

if TYPE_CHECKING:
    from elara.model import LanguageModel

log = logging.getLogger("elara.serve")

Loader = Callable[[Path], "LanguageModel"]

BASE = "base"  # in place of an adapter's hash: the model that serves, with its adapter switched off


def _load(adapter: Path) -> LanguageModel:
    from elara.model import load_adapter

    return load_adapter(adapter)


class ModelManager:
    """Holds what answers, and can exchange it while the server answers.

    Without an adapter it is in simulation mode: it answers, but only to say that no model is
    loaded. It never falls back to simulation when an adapter was named and cannot be loaded.
    Its methods block, but for `start` and `stop`, and may be called from any thread.

    Args:
        adapter: folder of the adapter, or None for simulation mode.
        folder: where all adapters are kept; None means where `adapter` lies. No other adapter is
            ever loaded.
        batch_size: most chats that are answered together.
        queue_limit: most chats that wait.
        upstreams: servers elsewhere that answer instead of an adapter here.
        admit: says what the release gate found about an adapter's folder, or refuses it.
        loader: makes a model of an adapter's folder.
        decoder: writes tokens with a model.
    """

    def __init__(
        self,
        adapter: Path | None,
        *,
        folder: Path | None = None,
        batch_size: int = 8,
        queue_limit: int = 32,
        upstreams: Upstreams | None = None,
        admit: Callable[[Path], GateStatus] = gate_status,
        loader: Loader = _load,
        decoder: Callable[[LanguageModel], Any] = Decoder,
    ) -> None:
        self.mode: Mode = "upstream" if upstreams else "model" if adapter else "simulation"
        self.state: State = "unloaded"
        self.error: str | None = None
        self.folder = folder or (adapter.parent if adapter else None)
        self._adapter = adapter
        self._sizes = {"batch_size": batch_size, "queue_limit": queue_limit}
        self._loader, self._decoder = loader, decoder
        self._upstreams, self._admit = upstreams, admit
        self._serving = None if adapter else _without_adapter(upstreams)
        self._others: dict[str, Serving] = {}  # by hash: those that an experiment compares
        self._retired: list[Serving] = []  # some may still write their last answers
        self._changing = threading.Lock()  # one change at a time

    @property
    def identity(self) -> AdapterIdentity | None:
        """Which adapter new requests get."""
        return self._serving.identity if self._serving else None

    @property
    def lm(self) -> LanguageModel | None:
        """The model that new requests get."""
        return self._serving.lm if self._serving else None

    @property
    def place(self) -> Path | None:
        """The folder of the adapter that new requests get."""
        return self._serving.place if self._serving else None

    @property
    def gate(self) -> GateStatus:
        """What the release gate found about the adapter that new requests get."""
        return self._serving.gate if self._serving else GateStatus()

    @property
    def ready(self) -> bool:
        """Whether a question would be answered by a model now."""
        return self.state == "ready" and (not self._upstreams or self._upstreams.ready)

    def upstreams(self) -> list[UpstreamState]:
        """How the servers elsewhere are doing; empty where none answers."""
        return self._upstreams.states() if self._upstreams else []

    @property
    def load_seconds(self) -> float | None:
        """How long it took to load it, in seconds."""
        return self._serving.load_seconds if self._serving else None

    async def start(self) -> None:
        """Load the model, as `load` does, or look for the servers elsewhere."""
        if self._upstreams:
            await self._upstreams.start()
            self.state = "ready"
        await asyncio.to_thread(self.load)

    async def stop(self) -> None:
        """Unload the model, as `unload` does, or leave the servers elsewhere."""
        await asyncio.to_thread(self.unload)
        if self._upstreams:
            await self._upstreams.stop()

    @contextmanager
    def use(self, adapter: str = "") -> Iterator[Serving]:
        """Hold on to the adapter that serves now, so that one request meets no other.

        Args:
            adapter: SHA-256 of the weights of another one, which `ensure` has loaded; or `BASE`.

        Raises:
            ModelUnavailable: the model is still loading, failed to load, or was unloaded.
        """
        named = "" if adapter == BASE else adapter
        serving = self._current(named)
        while not serving.enter():  # exchanged in this very moment
            serving = self._current(named)
        try:
            yield serving.without_adapter() if adapter == BASE else serving
        finally:
            serving.leave()

    def load(self) -> None:
        """Load the model; afterwards `state` is ready, or failed and `error` says why."""
        if self._adapter is None:
            return
        with self._changing:
            self.state, self.error = "loading", None
            try:
                self._serve(self._loaded(self._adapter))
            except AdapterRefused as error:
                self.state, self.error = "failed", str(error)
                log.error(self.error)

    def swap(self, name: str) -> AdapterIdentity:
        """Serve another adapter, without a pause: it is loaded beside the one that serves.

        Requests under way finish on the adapter that they began with, which is freed after the
        last of them. Later requests get the new one.

        Args:
            name: the SHA-256 of the adapter's weights, or its folder's path below `folder`.

        Returns:
            Which adapter serves now.

        Raises:
            AdapterRefused: it cannot be served; the one before still is.
        """
        with self._changing:
            if self.folder is None:
                raise AdapterRefused(
                    "No folder of adapters is set: name it in ELARA_SERVE_ADAPTERS, or the adapter "
                    "in ELARA_SERVE_ADAPTER, and start the server again."
                )
            fresh = self._loaded(find_adapter(self.folder, name))
            self._retire([old] if (old := self._serve(fresh)) else [])
        assert fresh.identity is not None
        return fresh.identity

    def loaded(self) -> list[Serving]:
        """Everything that can answer, the one that new requests get first."""
        return [s for s in (self._serving, *self._others.values()) if s]

    def engines(self) -> list[Engine]:
        """What answers here, each with a queue of its own; none where others do."""
        return [s.backend for s in self.loaded() if isinstance(s.backend, Engine)]

    def ensure(self, adapter: str) -> None:
        """Load an adapter beside the one that serves, unless it is there already.

        Args:
            adapter: SHA-256 of its weights.

        Raises:
            ModelUnavailable: it cannot be loaded, or the first one is still loading.
        """
        self._current()
        with self._changing:
            if self._known(adapter):
                return
            try:
                if self.folder is None:
                    raise AdapterRefused("No folder of adapters is set.")
                self._others[adapter] = self._loaded(find_adapter(self.folder, adapter))
            except AdapterRefused as error:
                raise ModelUnavailable(str(error)) from error

    def hold(self, adapters: Sequence[str]) -> None:
        """Load these adapters beside the one that serves, and give back what else was.

        Args:
            adapters: SHA-256 of their weights; those that an experiment or a rollback needs.

        Raises:
            ModelUnavailable: as of `ensure`.
        """
        for adapter in adapters:
            self.ensure(adapter)
        with self._changing:
            gone = [self._others.pop(name) for name in [*self._others] if name not in adapters]
            self._retire(gone)

    def unload(self) -> None:
        """Give the model's memory back, after the answers that are being written."""
        with self._changing:
            if self.mode != "model":
                return
            all_of_them = self.loaded()
            self._others, self._serving = {}, None
            self.state = "unloaded"
            self._retire(all_of_them)
            for serving in self._retired:
                serving.wait()
            self._retired = []

    def _loaded(self, place: Path) -> Serving:
        """An adapter, loaded and ready to answer. Whatever goes wrong is a clear refusal."""
        check_adapter(place, self.folder or place)
        gate = self._admit(place)
        started = time.perf_counter()
        try:
            identity, lm = adapter_identity(place), self._loader(place)
            engine = Engine(self._decoder(lm), **self._sizes)
        except Exception as error:
            raise AdapterRefused(
                f"The adapter in {place} could not be loaded ({type(error).__name__}: {error}). "
                f"Check ELARA_SERVE_ADAPTER, or train it again (`elara run --only train "
                f"--force`), and start the server again."
            ) from error
        seconds = round(time.perf_counter() - started, 2)
        return Serving(engine, identity, lm, seconds, gate, place=place)

    def _serve(self, fresh: Serving) -> Serving | None:
        old, self._serving = self._serving, fresh
        self.mode, self.state, self.error = "model", "ready", None
        return old

    def _retire(self, gone: list[Serving]) -> None:
        for serving in gone:
            serving.retire()
        self._retired = [s for s in (*self._retired, *gone) if not s.gone]

    def _known(self, adapter: str) -> Serving | None:
        """The loaded adapter with this hash."""
        named = (s for s in self.loaded() if s.identity and s.identity.weights_sha256 == adapter)
        return next(named, None)

    def _current(self, adapter: str = "") -> Serving:
        if adapter and (known := self._known(adapter)):
            return known
        if self._serving and not adapter:
            return self._serving
        if self.state == "failed":
            raise ModelUnavailable(self.error or "The model could not be loaded.")
        what = "still loading" if self.state == "loading" else "not loaded"
        raise ModelUnavailable(
            f"The model is {what}: ask again in {RETRY_SECONDS} seconds.",
            RETRY_SECONDS,
        )


def _without_adapter(upstreams: Upstreams | None) -> Serving:
    """Servers elsewhere, whose weights nobody here can look at, or a simulation."""
    if upstreams is None:
        return Serving(Simulation())
    unknown = "Another server writes the answers: the release gate has not looked at its model."
    return Serving(upstreams, gate=GateStatus(notice=unknown))

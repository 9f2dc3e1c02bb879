"""Load the model behind the server, let one request at a time use it, and unload it."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from elara.serve.config import adapter_identity
from elara.serve.schemas import AdapterIdentity, Mode, State
from elara.workspace import withdrawn

if TYPE_CHECKING:
    from elara.model import Generation, LanguageModel

log = logging.getLogger("elara.serve")

Turns = list[dict[str, str]]
Loader = Callable[[Path], "LanguageModel"]
Generator = Callable[["LanguageModel", Turns, int, float, int], "Generation"]

RETRY_AFTER_SECONDS = 5
HOW_TO_GET_A_MODEL = (
    "To train one, run `elara run` (or notebooks 01 to 06) and start the server again; to serve "
    "an adapter that you have, name its folder in ELARA_SERVE_ADAPTER."
)
SIMULATED_ANSWER = (
    "[simulation] No model is loaded, so this is not an answer to your question. "
    f"{HOW_TO_GET_A_MODEL}"
)


class ModelUnavailable(RuntimeError):
    """No model can answer now. `retry_after` is in seconds, None when waiting does not help."""

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class GenerationFailed(RuntimeError):
    """The model broke off while it answered. The message holds nothing of the conversation."""


@dataclass(frozen=True)
class Reply:
    """An answer before it is put on the wire.

    Args:
        answer: the text.
        prompt_tokens: tokens read.
        new_tokens: tokens written.
        finished: whether the model stopped by itself.
        seconds: time spent generating, in seconds.
    """

    answer: str
    prompt_tokens: int
    new_tokens: int
    finished: bool
    seconds: float


def _load(adapter: Path) -> LanguageModel:
    from elara.model import load_adapter

    return load_adapter(adapter)


def _generate(
    lm: LanguageModel, messages: Turns, max_new_tokens: int, temperature: float, seed: int
) -> Generation:
    from elara.model import SYSTEM_PROMPT, generate

    return generate(
        lm,
        [{"role": "system", "content": SYSTEM_PROMPT}, *messages],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
    )


class ModelManager:
    """Holds one model. Its methods block and may be called from any thread.

    Without an adapter it is in simulation mode: it answers, but only to say that no model is
    loaded. It never falls back to simulation when an adapter was named and cannot be loaded.

    Args:
        adapter: folder of the adapter, or None for simulation mode.
        loader: makes a model of the folder.
        generator: answers a conversation, given the model, the turns, the most tokens to write,
            the temperature and the seed.
    """

    def __init__(
        self, adapter: Path | None, *, loader: Loader = _load, generator: Generator = _generate
    ) -> None:
        self.mode: Mode = "model" if adapter else "simulation"
        self.state: State = "unloaded"
        self.identity: AdapterIdentity | None = None
        self.load_seconds: float | None = None
        self.error: str | None = None
        self.lm: LanguageModel | None = None
        self._adapter = adapter
        self._loader = loader
        self._generator = generator
        # Two generations at once would share the cores and each take longer than its turn.
        self._lock = threading.Lock()

    def load(self) -> None:
        """Load the model; afterwards `state` is ready, or failed and `error` says why."""
        if self._adapter is None:
            return
        with self._lock:
            self.state, self.error = "loading", None
            if why := withdrawn(self._adapter):
                self.state, self.error = "failed", f"The adapter in {self._adapter} is {why}"
                log.error(self.error)
                return
            started = time.perf_counter()
            try:
                self.identity = adapter_identity(self._adapter)
                self.lm = self._loader(self._adapter)
            except Exception as error:  # whatever went wrong, the server stays up and says so
                self.state, self.identity = "failed", None
                self.error = (
                    f"The adapter in {self._adapter} could not be loaded "
                    f"({type(error).__name__}: {error}). Check ELARA_SERVE_ADAPTER, or train it "
                    f"again (`elara run --only train --force`), and start the server again."
                )
                log.error(self.error)
                return
            self.load_seconds = round(time.perf_counter() - started, 2)
            self.state = "ready"

    def unload(self) -> None:
        """Give the model's memory back, after the answer that is being written."""
        with self._lock:
            self.lm, self.identity, self.load_seconds = None, None, None
            self.state = "unloaded"
            gc.collect()
            if torch := sys.modules.get("torch"):
                torch.cuda.empty_cache()  # does nothing where CUDA was not used

    def generate(
        self, messages: Turns, *, max_new_tokens: int, temperature: float, seed: int = 0
    ) -> Reply:
        """Answer a conversation, after those that came before.

        Args:
            messages: turns with `role` and `content`, ending with the user's.
            max_new_tokens: most tokens to write.
            temperature: 0 always takes the likeliest token.
            seed: for temperatures above 0.

        Raises:
            ModelUnavailable: the model is still loading, failed to load, or was unloaded.
            GenerationFailed: the model broke off.
        """
        if self.mode == "simulation":
            return Reply(SIMULATED_ANSWER, 0, 0, True, 0.0)
        self._check_ready()
        with self._lock:
            lm = self._check_ready()  # it may have been unloaded while this request waited
            try:
                made = self._generator(lm, messages, max_new_tokens, temperature, seed)
            except Exception as error:
                # An exception's text may quote the conversation: only its type and place are kept.
                place = traceback.extract_tb(error.__traceback__)[-1]
                kind = type(error).__name__
                log.error("generation failed: %s in %s:%s", kind, place.name, place.lineno)
                raise GenerationFailed(
                    f"The model stopped with a {kind}. Ask for fewer tokens or send a shorter "
                    f"conversation; if it happens again, restart the server."
                ) from None
        return Reply(
            made.text, made.prompt_tokens, made.new_tokens, made.finished, round(made.seconds, 3)
        )

    def _check_ready(self) -> LanguageModel:
        if self.state == "failed":
            raise ModelUnavailable(self.error or "The model could not be loaded.")
        if self.lm is None or self.state != "ready":
            raise ModelUnavailable(
                f"The model is still loading: ask again in {RETRY_AFTER_SECONDS} seconds.",
                RETRY_AFTER_SECONDS,
            )
        return self.lm

"""Define a question to a model, the pieces of its answer, and the errors that end one early."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Ask:
    """A conversation to answer.

    Args:
        messages: turns of user and assistant, ending with the user's; the backend adds the system
            line.
        max_new_tokens: most tokens to write.
        temperature: 0 always takes the likeliest token.
        seed: for temperatures above 0.
        deadline: on the clock of `time.monotonic`, in seconds; the answer is broken off then.
    """

    messages: list[dict[str, str]]
    max_new_tokens: int
    temperature: float
    seed: int
    deadline: float


@dataclass(frozen=True)
class Piece:
    """Some text of the answer."""

    text: str


@dataclass(frozen=True)
class End:
    """The last item of every answer that did not raise.

    Args:
        finished: False: cut off at the token limit.
        prompt_tokens: tokens read.
        new_tokens: tokens written.
        seconds: spent writing.
    """

    finished: bool
    prompt_tokens: int
    new_tokens: int
    seconds: float


class Backend(Protocol):
    """Something that answers. Closing the iterator of `answer` cancels the answer."""

    name: str

    async def start(self) -> None:
        """Get ready."""

    async def stop(self) -> None:
        """Give everything back."""

    def answer(self, ask: Ask) -> AsyncIterator[Piece | End]:
        """Answer a conversation, piece by piece."""


class ModelUnavailable(RuntimeError):
    """No model can answer now. `retry_after` is in seconds, None when waiting does not help."""

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFull(RuntimeError):
    """Too many ask at once. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TookTooLong(RuntimeError):
    """The deadline passed before the answer was complete."""


class GenerationFailed(RuntimeError):
    """The model failed before any text. The message holds nothing of the conversation."""


class BrokenOff(RuntimeError):
    """The answer ended early, after some of its text had been given."""

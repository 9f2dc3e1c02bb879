"""Define what every backend answers with, how it fails, and the simulation, which is one of them.

A backend's `answer` takes an `Ask` and gives pieces of text as they are written, then one `End`; it
may raise a `BackendError` at any of them. Closing the iterator cancels the answer: see `closing`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from elara.serve.images import Pictures, with_pictures

HOW_TO_GET_A_MODEL = (
    "To train one, run `elara run` (or notebooks 01 to 06) and start the server again; to serve "
    "an adapter that you have, name its folder in ELARA_SERVE_ADAPTER."
)
RETRY_SECONDS = 5  # what callers are told where nobody knows how long it takes
SIMULATED_ANSWER = (
    "[simulation] No model is loaded, so this is not an answer to your question. "
    f"{HOW_TO_GET_A_MODEL}"
)


class BackendError(RuntimeError):
    """No answer, or only a part of one. The message holds nothing of the conversation.

    Args:
        message: what happened and what to do.
        retry_after: seconds after which asking again may help; None when waiting does not.
    """

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ModelUnavailable(BackendError):
    """No model can answer now."""


class QueueFull(BackendError):
    """Too many chats wait already."""


class ReadsNoPictures(BackendError):
    """A conversation has pictures, and the model that answers reads none."""


class TookTooLong(BackendError):
    """The answer was not complete at its deadline."""


class ServerStopped(BackendError):
    """The server stopped before the answer was complete."""


class GenerationFailed(BackendError):
    """The model broke off while it answered."""


class BrokenOff(BackendError):
    """Another server stopped in the middle of its answer."""


@dataclass(frozen=True)
class Ask:
    """A conversation to answer.

    Args:
        messages: turns of user and assistant, ending with the user's; the backend adds the system
            line.
        max_new_tokens: most tokens to write.
        temperature: 0 always takes the likeliest token.
        seed: for temperatures above 0; the same seed gives the same answer again.
        deadline: value of `time.monotonic()`, in seconds, after which the answer is broken off.
        base: whether the model answers with its adapter switched off.
        pictures: those of each turn that has some; a model reads them before the turn's text.
    """

    messages: list[dict[str, str]]
    max_new_tokens: int
    temperature: float
    seed: int
    deadline: float
    base: bool = False
    pictures: Pictures = field(default_factory=dict)

    @property
    def picture_tokens(self) -> int:
        """Tokens that a model may make of its pictures, at the most that is known."""
        return sum(p.most_tokens for shown in self.pictures.values() for p in shown)

    @property
    def identity(self) -> list[dict[str, Any]]:
        """What was asked, with its hash in the place of each picture: to compare and to hash."""
        return with_pictures(self.messages, self.pictures, lambda picture: picture.sha256)


@dataclass(frozen=True)
class Piece:
    """Some text of the answer; all pieces in a row are the answer."""

    text: str


@dataclass(frozen=True)
class End:
    """The last item of every answer that did not raise.

    Args:
        finished: whether the model stopped by itself rather than at the token limit.
        prompt_tokens: tokens read.
        new_tokens: tokens written.
        seconds: time spent writing, in seconds, without waiting for others.
        removed_citations: citations of sources that there are not; they were taken out.
    """

    finished: bool
    prompt_tokens: int
    new_tokens: int
    seconds: float
    removed_citations: int = 0


class Simulation:
    """Answers, but only to say that no model is loaded."""

    async def answer(self, ask: Ask) -> AsyncGenerator[Piece | End]:
        """Say that this is a simulation, word by word, whatever was asked."""
        for word in SIMULATED_ANSWER.split(" "):
            yield Piece(word if word == "[simulation]" else f" {word}")
        yield End(finished=True, prompt_tokens=0, new_tokens=0, seconds=0.0)


@asynccontextmanager
async def closing(
    answer: AsyncIterator[Piece | End],
) -> AsyncIterator[AsyncIterator[Piece | End]]:
    """Cancel an answer when the block is left, for whatever reason.

    Without it, an answer whose reader stopped reading is cancelled when Python next finds it.

    Args:
        answer: of a backend.
    """
    try:
        yield answer
    finally:
        if isinstance(answer, AsyncGenerator):
            await answer.aclose()


async def whole(answer: AsyncIterator[Piece | End]) -> tuple[str, End]:
    """Read an answer to its end.

    Args:
        answer: of a backend.

    Returns:
        Its text, and how it ended.

    Raises:
        BackendError: the answer broke off.
    """
    text: list[str] = []
    async with closing(answer) as items:
        async for item in items:
            if isinstance(item, End):
                return "".join(text), item
            text.append(item.text)
    raise BrokenOff("The answer stopped without an end. Ask again.")

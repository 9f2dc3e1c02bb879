"""Ask a running server as its page does, and draw how long answers took and what supports them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import httpx

from elara.display.figures import BLUE, GREY, ORANGE, SKY, new_figure, plain
from elara.serve.events import EventReader

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LARGEST_EVENT = 1 << 20  # bytes


@dataclass(frozen=True)
class Heard:
    """A streamed answer, and when its parts came.

    Args:
        question: what was asked.
        text: the whole answer.
        first_seconds: from the question to the first piece of text, in seconds.
        seconds: from the question to the end, in seconds.
        pieces: how many pieces of text came.
        about: what the server says of the answer: its sources, its sentences, and so on.
    """

    question: str
    text: str
    first_seconds: float
    seconds: float
    pieces: int
    about: dict[str, Any]


def hear(client: httpx.Client, question: str, **fields: Any) -> Heard:
    """Ask one question, and read the answer as it is written.

    Args:
        client: of the server, with its address as `base_url`.
        question: what to ask.
        fields: further fields of the request, such as `model` and `max_tokens`.

    Raises:
        RuntimeError: the server refuses, or the answer breaks off; the message is the server's.

    Source: https://platform.openai.com/docs/api-reference/chat-streaming
    """
    body = {"model": "elara", "messages": [{"role": "user", "content": question}], **fields}
    reader, pieces, about, first = EventReader(_LARGEST_EVENT), list[str](), dict[str, Any](), 0.0
    started = time.perf_counter()
    with client.stream("POST", "v1/chat/completions", json=body | {"stream": True}) as response:
        if response.status_code != 200:
            raise RuntimeError(json.loads(response.read())["detail"])
        for event in (e for data in response.iter_bytes() for e in reader.feed(data)):
            if event == b"[DONE]":
                seconds = time.perf_counter() - started
                return Heard(question, "".join(pieces), first, seconds, len(pieces), about)
            told = json.loads(event)
            if "error" in told:
                raise RuntimeError(told["error"]["message"])
            about = told["elara"]
            for choice in told["choices"]:
                if text := choice["delta"].get("content"):
                    first = first or time.perf_counter() - started
                    pieces.append(text)
    raise RuntimeError("The answer stopped without an end. Ask again.")


def latency_figure(answers: Sequence[Heard]) -> Figure:
    """Draw how long each answer took: until its first words, and until its end.

    Args:
        answers: from `hear`.
    """
    figure = new_figure(7, 0.9 + 0.5 * len(answers))
    axes = figure.subplots()
    rows = range(len(answers))
    first = [answer.first_seconds for answer in answers]
    writing = [answer.seconds - answer.first_seconds for answer in answers]
    axes.barh(rows, first, color=ORANGE, label="until the first words")
    axes.barh(rows, writing, left=first, color=SKY, label="writing")
    axes.set_xlabel("seconds")
    axes.set_title("How long a reader waits")
    _label(axes, answers)
    return figure


def support_figure(answers: Sequence[Heard]) -> Figure:
    """Draw the support score of every sentence, and which sentences have no source.

    Args:
        answers: from `hear`.
    """
    figure = new_figure(7, 0.9 + 0.5 * len(answers))
    axes = figure.subplots()
    said = [(row, one) for row, answer in enumerate(answers) for one in answer.about["sentences"]]
    for has, fill, edge, name in (
        (True, BLUE, BLUE, "a source"),
        (False, "none", GREY, "no source found"),
    ):
        points = [(row, one["score"]) for row, one in said if (one["source"] is not None) == has]
        rows, scores = [row for row, _ in points], [score for _, score in points]
        axes.scatter(scores, rows, facecolors=fill, edgecolors=edge, label=name)
    axes.set_xlim(-0.03, 1.03)
    axes.set_xlabel("support score of a sentence")
    axes.set_title("How close the answers are to their sources")
    _label(axes, answers)
    return figure


def _label(axes: Axes, answers: Sequence[Heard]) -> None:
    """A row for each answer with its question, the first on top; the legend beside them."""
    names = [shorten(answer.question, 40, placeholder=" …") for answer in answers]
    axes.set_yticks(range(len(answers)), names)
    axes.set_ylim(len(answers) - 0.5, -0.5)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(1, 0))
    plain(axes)

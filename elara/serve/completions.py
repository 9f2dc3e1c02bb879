"""Answer under the addresses of OpenAI's API, so that its clients can be used: `/v1`.

Only what this server does is accepted; a field that would change the answer elsewhere, and not
here, is refused by name.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from elara.serve.backends import BackendError, End, Piece, whole
from elara.serve.config import Settings
from elara.serve.conversing import STATUS, Talk, chosen, http_error, talk_about
from elara.serve.disconnect import unless_gone
from elara.serve.experiments import Choice
from elara.serve.images import ImageRefused, Picture, Pictures, read_picture
from elara.serve.models import BASE, ModelManager
from elara.serve.openai_forms import ANY, Completion, CompletionRequest, Model, ModelList
from elara.serve.problems import documented
from elara.serve.schemas import DISCLAIMER, Turn
from elara.serve.serving import Serving

router = APIRouter(prefix="/v1", tags=["OpenAI-compatible"])

BASE_NAME = f"{ANY}-{BASE}"


@router.get("/models", response_model=ModelList)
async def models(request: Request) -> ModelList:
    """What a request can name: the adapter that serves, others that are loaded, the base model.

    An adapter's name changes with its weights; `elara` names whatever serves.
    """
    manager: ModelManager = request.app.state.manager
    try:
        with manager.use() as serving:
            names = [name_of(s) for s in (serving, *manager.loaded())]
            names += [BASE_NAME] if serving.mode == "model" else []
    except BackendError:
        names = []
    return ModelList(data=[Model(id=name, created=0) for name in dict.fromkeys(names)])


@router.post(
    "/chat/completions",
    response_model=None,
    responses=documented(404, *STATUS.values())
    | {200: {"model": Completion, "content": {"text/event-stream": {}}}},
)
async def complete(request: Request, body: CompletionRequest) -> Response | dict[str, Any]:
    """Answer a conversation, whole or as a stream of events that ends with `[DONE]`.

    Who names a model other than `elara` takes no part in an experiment.
    """
    named = _named(request, body.model)
    pictures = await _pictures(request, body.messages)
    talk = talk_about(
        request,
        body.texts,
        pictures=pictures,
        choice=Choice(named) if named else chosen(request, **body.choosing),
        most=body.max_completion_tokens or body.max_tokens,
        temperature=body.temperature,
        seed=body.seed,
        **body.evidence,
    )
    talk.named = bool(named)
    warnings = await talk.warnings()
    items = talk.answer()
    if body.stream:
        # Until the first item is there, an error still has a status of its own.
        first = await unless_gone(request, anext(items))
        usage = bool(body.stream_options and body.stream_options.include_usage)
        events = _events(talk, first, items, warnings, usage=usage)
        return _Stream(events, items)
    answer, end = await unless_gone(request, whole(items))
    message = {"role": "assistant", "content": answer}
    choice = {"index": 0, "message": message, "finish_reason": _reason(end), "logprobs": None}
    head = _head(talk, "chat.completion", warnings)
    head["elara"] |= await talk.ending(answer, end)
    return head | {"choices": [choice], "usage": _usage(end)}


class _Stream(StreamingResponse):
    """An answer's events; the answer is closed as soon as nobody is sent more of it.

    Left to Python's finding it, it would be recorded later, or after the server's end never.
    """

    def __init__(self, events: AsyncGenerator[str], items: AsyncGenerator[Piece | End]) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._open = (events, items)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            for generator in self._open:
                await generator.aclose()


async def _pictures(request: Request, turns: Sequence[Turn]) -> Pictures:
    """Those of each turn that shows some, read and stripped.

    Raises:
        HTTPException: 422, this server reads none, or one of them cannot be read.
    """
    settings: Settings = request.app.state.settings
    counted = request.app.state.metrics.pictures
    shown = {number: turn.pictures for number, turn in enumerate(turns) if turn.pictures}
    if shown and not settings.images:
        counted.labels("refused").inc(sum(map(len, shown.values())))
        raise HTTPException(
            422,
            "This server reads no pictures: leave them out. Whoever runs it lets them in with "
            "ELARA_SERVE_IMAGES=yes, where the model can read them.",
        )
    most = {"max_bytes": settings.max_image_bytes, "max_pixels": settings.max_image_pixels}
    read: dict[int, list[Picture]] = {}
    for number, urls in shown.items():
        for url in urls:
            try:
                picture = await asyncio.to_thread(read_picture, url, **most)
            except ImageRefused as error:
                counted.labels("refused").inc()
                detail = f"messages.{number}.content: a picture cannot be read: {error}."
                raise HTTPException(422, detail) from None
            counted.labels("read").inc()
            read.setdefault(number, []).append(picture)
    return read


def name_of(serving: Serving) -> str:
    """The name of what serves, as clients see it.

    Args:
        serving: the adapter that answers.
    """
    if serving.base:
        return BASE_NAME
    if serving.identity:
        return f"{ANY}-{serving.identity.weights_sha256[:12]}"
    return serving.model or f"{ANY}-simulation"


def _named(request: Request, name: str) -> str:
    """The adapter that a request names, by its hash, or `BASE`; "" where any will do."""
    manager: ModelManager = request.app.state.manager
    if name == ANY:
        return ""
    with manager.use() as serving:
        if serving.mode == "model" and name == BASE_NAME:
            return BASE
        for one in (serving, *manager.loaded()):
            hashes = (one.weights, f"{ANY}-{one.weights}") if one.weights else ()
            if name in (name_of(one), *hashes):
                return one.weights
    told = f"There is no such model here: ask for `{ANY}`, or see GET /v1/models."
    raise HTTPException(404, told)


async def _events(
    talk: Talk,
    first: Piece | End,
    items: AsyncGenerator[Piece | End],
    warnings: list[str],
    *,
    usage: bool,
) -> AsyncGenerator[str]:
    """The answer as server-sent events. A failure is an event, too, and no `[DONE]` follows it."""
    head, text = _head(talk, "chat.completion.chunk", warnings), ""

    def chunk(delta: dict[str, str], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return _event(head | {"choices": [choice]})

    yield chunk({"role": "assistant", "content": ""})
    try:
        item: Piece | End | None = first
        while isinstance(item, Piece):
            text += item.text
            yield chunk({"content": item.text})
            item = await anext(items, None)
    except (BackendError, HTTPException) as error:
        told = http_error(error) if isinstance(error, BackendError) else error
        yield _event({"error": {"message": told.detail, "code": told.status_code}})
        return
    assert isinstance(item, End)
    head["elara"] |= await talk.ending(text, item)
    yield chunk({}, _reason(item))
    if usage:
        yield _event(head | {"choices": [], "usage": _usage(item)})
    yield "data: [DONE]\n\n"


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def _head(talk: Talk, kind: str, warnings: list[str]) -> dict[str, Any]:
    """What is the same in an answer and in each of its events."""
    serving = talk.serving
    assert serving
    told = {
        "disclaimer": DISCLAIMER,
        "mode": serving.mode,
        "adapter": serving.identity.weights_sha256 if serving.identity else None,
        "base": serving.base,
        "notice": talk.notice,
        "warnings": warnings,
        "retrieval": talk.found.retrieval,
        "sources": [source.model_dump() for source in talk.found.sources()],
    }
    return {
        "id": f"chatcmpl-{talk.request.state.request_id}",
        "object": kind,
        "created": int(time.time()),
        "model": name_of(serving),
        "elara": told,
    }


def _reason(end: End) -> str:
    return "stop" if end.finished else "length"


def _usage(end: End) -> dict[str, int]:
    total = end.prompt_tokens + end.new_tokens
    return {
        "prompt_tokens": end.prompt_tokens,
        "completion_tokens": end.new_tokens,
        "total_tokens": total,
    }

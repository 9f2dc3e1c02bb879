"""Define the four routes of the server that programs use."""

from __future__ import annotations

import time

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

import elara
from elara.serve import privacy
from elara.serve.backends import (
    Ask,
    BackendError,
    BrokenOff,
    GenerationFailed,
    ModelUnavailable,
    QueueFull,
    TookTooLong,
    whole,
)
from elara.serve.config import Settings
from elara.serve.disconnect import ClientGone, unless_gone
from elara.serve.limits import reserve
from elara.serve.models import ModelManager
from elara.serve.pages import prefers_html, welcome_page
from elara.serve.problems import documented
from elara.serve.schemas import (
    ChatRequest,
    ChatResponse,
    HealthResponse,
    ModelStatusResponse,
    WelcomeResponse,
)

router = APIRouter(tags=["Questions and status"])
# What a client is told when a backend does not answer.
STATUS: dict[type[BackendError], int] = {
    QueueFull: 429,
    GenerationFailed: 500,
    BrokenOff: 502,
    ModelUnavailable: 503,
    TookTooLong: 504,
}
_GONE = 499  # as in other servers' logs; nobody receives it


@router.get("/", response_model=WelcomeResponse, responses={200: {"content": {"text/html": {}}}})
async def welcome(request: Request, response: Response) -> WelcomeResponse | HTMLResponse:
    """What this server is, what it may be used for, and where to go. Browsers get a page."""
    vary = {"Vary": "Accept"}  # a cache between must not give one client the other's form
    if prefers_html(request.headers.get("Accept", "")):
        page = welcome_page(request)
        page.headers.update(vary)
        return page
    response.headers.update(vary)
    return WelcomeResponse(
        version=elara.__version__,
        mode=_manager(request).mode,
        verdict=request.app.state.verdict,
        links={
            "health": "/health",
            "chat": "/chat",
            "status": "/chat/models/status",
            "documentation": "/docs",
        },
    )


@router.get("/health", response_model=HealthResponse)
async def health(request: Request) -> HealthResponse:
    """Whether the server is alive, and whether its model is ready. Answers at any time."""
    manager = _manager(request)
    return HealthResponse(model_ready=manager.state == "ready", mode=manager.mode)


@router.get("/chat/models/status", response_model=ModelStatusResponse)
async def status(request: Request) -> ModelStatusResponse:
    """What is loaded, which training run it comes from, and whether tuning helped."""
    manager, settings = _manager(request), _settings(request)
    lm = manager.lm
    return ModelStatusResponse(
        mode=manager.mode,
        state=manager.state,
        model=lm.name if lm else None,
        adapter=manager.identity,
        device=lm.device if lm else None,
        dtype=lm.dtype if lm else None,
        load_seconds=manager.load_seconds,
        error=manager.error,
        verdict=request.app.state.verdict,
        evaluation=request.app.state.evaluation,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
    )


@router.post(
    "/chat",
    response_model=ChatResponse,
    responses=documented(422, 429, *STATUS.values()),
)
async def chat(request: Request, body: ChatRequest) -> ChatResponse | Response:
    """Answer a conversation. Its text is neither logged nor stored."""
    manager, settings = _manager(request), _settings(request)
    if (body.max_new_tokens or 0) > settings.max_new_tokens:
        raise HTTPException(
            422, f"max_new_tokens: this server writes at most {settings.max_new_tokens} tokens."
        )
    texts = [message.content for message in body.messages]
    ask = Ask(
        messages=[message.model_dump() for message in body.messages],
        max_new_tokens=body.max_new_tokens or settings.max_new_tokens,
        temperature=settings.temperature if body.temperature is None else body.temperature,
        seed=body.seed,
        deadline=time.monotonic() + settings.answer_seconds,
    )
    warnings = await privacy.warnings(texts)
    held = await reserve(request, texts, ask.max_new_tokens)
    try:
        with manager.use() as served:
            answer, end = await unless_gone(request, whole(served.answer(ask)))
    except BackendError as error:
        if isinstance(error, ModelUnavailable | QueueFull):
            held.settle(0)  # no model was asked; otherwise nobody knows how much it wrote
        headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
        raise HTTPException(STATUS[type(error)], str(error), headers=headers) from None
    except ClientGone:
        return Response(status_code=_GONE)
    held.settle(end.prompt_tokens + end.new_tokens)
    return ChatResponse(
        answer=answer,
        mode="model" if served.lm else "simulation",
        model=served.lm.name if served.lm else None,
        adapter=served.identity,
        prompt_tokens=end.prompt_tokens,
        new_tokens=end.new_tokens,
        finished=end.finished,
        seconds=end.seconds,
        warnings=warnings,
        request_id=request.state.request_id,
    )


def _manager(request: Request) -> ModelManager:
    manager: ModelManager = request.app.state.manager
    return manager


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings

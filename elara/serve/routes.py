"""Define the four routes of the server that programs use."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

import elara
from elara.serve import privacy
from elara.serve.config import Settings
from elara.serve.limits import reserve
from elara.serve.models import GenerationFailed, ModelManager, ModelUnavailable
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


@router.post("/chat", response_model=ChatResponse, responses=documented(422, 503))
async def chat(request: Request, body: ChatRequest) -> ChatResponse:
    """Answer a conversation. Its text is neither logged nor stored."""
    manager, settings = _manager(request), _settings(request)
    if (body.max_new_tokens or 0) > settings.max_new_tokens:
        raise HTTPException(
            422, f"max_new_tokens: this server writes at most {settings.max_new_tokens} tokens."
        )
    lm, identity = manager.lm, manager.identity
    texts = [message.content for message in body.messages]
    warnings = await privacy.warnings(texts)
    held = await reserve(request, texts, body.max_new_tokens or settings.max_new_tokens)
    try:
        # In a worker thread, so that the other addresses answer while the model writes.
        reply = await run_in_threadpool(
            manager.generate,
            [message.model_dump() for message in body.messages],
            max_new_tokens=body.max_new_tokens or settings.max_new_tokens,
            temperature=settings.temperature if body.temperature is None else body.temperature,
            seed=body.seed,
        )
    except ModelUnavailable as error:
        held.settle(0)
        headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
        raise HTTPException(503, str(error), headers=headers) from None
    except GenerationFailed as error:
        raise HTTPException(500, str(error)) from None
    held.settle(reply.prompt_tokens + reply.new_tokens)
    return ChatResponse(
        answer=reply.answer,
        mode=manager.mode,
        model=lm.name if lm else None,
        adapter=identity,
        prompt_tokens=reply.prompt_tokens,
        new_tokens=reply.new_tokens,
        finished=reply.finished,
        seconds=reply.seconds,
        warnings=warnings,
        request_id=request.state.request_id,
    )


def _manager(request: Request) -> ModelManager:
    manager: ModelManager = request.app.state.manager
    return manager


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings

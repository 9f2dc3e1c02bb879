"""Define the four routes of the server that programs use."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

import elara
from elara.serve.backends import whole
from elara.serve.config import Settings
from elara.serve.conversing import STATUS, chosen, talk_about
from elara.serve.disconnect import unless_gone
from elara.serve.models import ModelManager
from elara.serve.pages import prefers_html, to_the_page, welcome_page
from elara.serve.problems import documented
from elara.serve.schemas import (
    ChatRequest,
    ChatResponse,
    HealthResponse,
    ModelStatusResponse,
    WelcomeResponse,
)

router = APIRouter(tags=["Questions and status"])


@router.get(
    "/",
    response_model=WelcomeResponse,
    responses={
        200: {"content": {"text/html": {"schema": {"type": "string"}}}},
        303: {"description": "To the page at /app, for browsers, where it was built"},
    },
)
async def welcome(request: Request, response: Response) -> WelcomeResponse | Response:
    """What this server is, what it may be used for, and where to go. Browsers get a page."""
    vary = {"Vary": "Accept"}  # a cache between must not give one client the other's form
    if prefers_html(request.headers.get("Accept", "")):
        built = request.app.state.page_built
        page = to_the_page("app/") if built else welcome_page(request)
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
    identity = manager.identity
    return HealthResponse(
        model_ready=manager.ready,
        mode=manager.mode,
        adapter=identity.weights_sha256 if identity else None,
        gate=manager.gate.result,
        sources=request.app.state.sources.state,
    )


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
    responses=documented(*STATUS.values()),
)
async def chat(request: Request, body: ChatRequest) -> ChatResponse:
    """Answer a conversation. Its text is stored only if a setting says so, and then masked."""
    talk = talk_about(
        request,
        body.messages,
        choice=chosen(request, body.subject, consent=body.consent),
        most=body.max_new_tokens,
        temperature=body.temperature,
        seed=body.seed,
        sources=body.sources,
        specialty=body.specialty,
    )
    warnings = await talk.warnings()
    answer, end = await unless_gone(request, whole(talk.answer()))
    serving = talk.serving
    assert serving
    return ChatResponse(
        answer=answer,
        mode=serving.mode,
        model=serving.model,
        adapter=serving.identity,
        prompt_tokens=end.prompt_tokens,
        new_tokens=end.new_tokens,
        finished=end.finished,
        seconds=end.seconds,
        warnings=warnings,
        cached=talk.cached,
        retrieval=talk.found.retrieval,
        sources=talk.found.sources(),
        **await talk.ending(answer, end),
        request_id=request.state.request_id,
    )


def _manager(request: Request) -> ModelManager:
    manager: ModelManager = request.app.state.manager
    return manager


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings

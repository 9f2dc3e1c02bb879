"""Build the application: routes, middleware, one form of error, the model's start and end."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

import elara
from elara.serve import pages, routes
from elara.serve.config import Settings, read_evaluation
from elara.serve.models import ModelManager
from elara.serve.schemas import INTENDED_USE, ErrorResponse

log = logging.getLogger("elara.serve")

# A caller's own request id is kept if it cannot break a log line.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def create_app(settings: Settings, *, manager: ModelManager | None = None) -> FastAPI:
    """Build the application. The model is loaded when it starts and unloaded when it stops.

    Args:
        settings: what it runs with.
        manager: holds the model; by default one for the adapter that the settings name.

    Returns:
        A FastAPI application for any ASGI server. Its state holds `settings`, `manager`,
        `verdict` (a sentence) and `evaluation` (the figures, or None).

    Raises:
        SettingsError: the verdict that the settings name cannot be read.

    Source: https://fastapi.tiangolo.com/advanced/events/ and
        https://fastapi.tiangolo.com/tutorial/cors/
    """
    app = FastAPI(
        title="Elara",
        version=elara.__version__,
        description=f"{INTENDED_USE}\n\n## Addresses",  # Swagger UI lists them below
        lifespan=_lifespan,
        docs_url=None,  # FastAPI's own pages load their scripts from another server
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.manager = manager or ModelManager(
        settings.adapter,
        folder=settings.adapters,
        batch_size=settings.batch_size,
        queue_limit=settings.queue_limit,
    )
    app.state.verdict, app.state.evaluation = read_evaluation(settings)
    app.include_router(routes.router)
    app.include_router(pages.router)
    app.mount("/assets", pages.assets())
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.middleware("http")(_identify_and_time)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Content-Type", "X-Request-ID"],
        expose_headers=["X-Request-ID", "Server-Timing", "Retry-After"],
    )
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    manager: ModelManager = app.state.manager
    # Not awaited: the server answers /health while the model loads.
    loading = asyncio.create_task(manager.start())
    yield
    await loading
    await manager.stop()


async def _identify_and_time(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    given = request.headers.get("X-Request-ID", "")
    request.state.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    started = time.perf_counter()
    response = await call_next(request)
    milliseconds = (time.perf_counter() - started) * 1000
    response.headers["X-Request-ID"] = request.state.request_id
    response.headers["Server-Timing"] = f"total;dur={milliseconds:.1f}"
    # Neither the body nor the query: what people write stays out of the log.
    log.info(
        "%s %s %d %.0f ms %s",
        request.method,
        request.url.path,
        response.status_code,
        milliseconds,
        request.state.request_id,
    )
    return response


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    # FastAPI's own answer would quote what was sent; this one says what is wrong with it.
    assert isinstance(error, RequestValidationError)
    problems = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"][1:])
        text = problem["msg"].removeprefix("Value error, ")
        problems.append(f"{place}: {text}" if place else text)
    return _error(request, 422, "; ".join(problems))


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    response = _error(request, error.status_code, str(error.detail))
    response.headers.update(error.headers or {})
    return response


def _error(request: Request, code: int, detail: str) -> JSONResponse:
    body = ErrorResponse(detail=detail, request_id=request.state.request_id)
    return JSONResponse(body.model_dump(), status_code=code)

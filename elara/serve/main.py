"""Build the application: routes, middleware, one form of error, the model's start and end."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from filelock import FileLock, Timeout
from starlette.exceptions import HTTPException

import elara
from elara.serve import about, admin, completions, evidence, metrics, pages, privacy, routes
from elara.serve.backends import BackendError
from elara.serve.cache import AnswerCache
from elara.serve.config import Settings, SettingsError
from elara.serve.conversing import http_error
from elara.serve.description import describe
from elara.serve.disconnect import ClientGone
from elara.serve.drift import TopicDrift
from elara.serve.guard import add_guards
from elara.serve.journal import (
    Event,
    Journal,
    JournalError,
    account,
    make_secret,
    read_secret,
    signing,
)
from elara.serve.judged import read_evaluation
from elara.serve.learned import Examples
from elara.serve.metrics import Metrics
from elara.serve.models import ModelManager
from elara.serve.participation import Participation, act_of, participation_router
from elara.serve.pool import Upstreams
from elara.serve.probe import Probe
from elara.serve.problems import UNREADABLE, problem
from elara.serve.released import BLOCKED, admitted, gate_status
from elara.serve.schemas import INTENDED_USE
from elara.serve.sources import Sources
from elara.serve.stopping import UnderWay
from elara.serve.upstream import read_upstreams

if TYPE_CHECKING:
    from elara.serve.tracing import Traces

log = logging.getLogger("elara.serve")

_WATCH_SECONDS = 60.0
_RECORD_SECONDS = 5.0
# In place of what the framework says by itself, which is not what to do.
_INSTEAD = {
    400: UNREADABLE,
    404: "This server has no such address: GET /docs shows those that it has. Those for feedback "
    "and experiments are there only if ELARA_SERVE_SERVING names a folder.",
    405: "This address takes another method: GET /docs shows which.",
}


def create_app(settings: Settings, *, manager: ModelManager | None = None) -> FastAPI:
    """Build the application. The model is loaded when it starts and unloaded when it stops.

    Args:
        settings: what it runs with.
        manager: holds the model; by default one for the adapter that the settings name.

    Returns:
        A FastAPI application for any ASGI server. Its state holds what its parts share, such as
        `settings`, `manager`, `metrics`, and once it has started the `journal`.

    Raises:
        SettingsError: the verdict that the settings name cannot be read, or they ask for traces
            and the packages for them are missing.

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
        # FastAPI's own traces and logs hold addresses with their query, and what exceptions say.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.settings = settings
    app.state.manager = manager or ModelManager(
        settings.adapter,
        folder=settings.adapters,
        batch_size=settings.batch_size,
        queue_limit=settings.queue_limit,
        upstreams=Upstreams(read_upstreams(settings.upstreams)) if settings.upstreams else None,
        admit=lambda place: admitted(place, settings.gate, settings.override),
    )
    app.state.verdict, app.state.evaluation = read_evaluation(settings)
    app.state.metrics, app.state.cache = Metrics(), AnswerCache(settings.cached_answers)
    app.state.drift = TopicDrift(app.state.metrics)
    app.state.sources = Sources(settings, app.state.metrics)
    app.state.examples = Examples(settings.queue_limit)
    app.state.under_way, app.state.verifying = UnderWay(), threading.Lock()
    app.state.traces = _traces(settings, app.state.metrics)
    app.state.journal, app.state.text_key = None, None  # opened when the server starts
    app.include_router(routes.router)
    app.include_router(about.router)
    app.include_router(admin.router)
    app.include_router(metrics.router)
    app.include_router(completions.router)
    app.include_router(evidence.router)
    app.include_router(pages.router)
    app.mount("/assets", pages.assets())
    page = pages.built_page(settings)
    app.state.page_built = page is not None
    if page:
        app.mount("/app", page)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(BackendError, _not_answered)
    app.add_exception_handler(ClientGone, _gone)
    add_guards(app, settings)
    app.state.participation = None
    if settings.serving:
        held = Participation(settings.serving, partial(_audit, app), privacy.mask)
        app.state.participation = held
        app.include_router(participation_router(held))
    describe(app)
    return app


def _traces(settings: Settings, counts: Metrics) -> Traces | None:
    if not settings.traces:
        return None
    try:
        from elara.serve.tracing import Traces
    except ImportError as error:
        raise SettingsError(
            f"ELARA_SERVE_TRACES needs a package that is missing ({error.name}): "
            f"`pip install --group tracing`, or leave the setting out."
        ) from None
    return Traces(settings.traces, counts.spans)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    manager: ModelManager = app.state.manager
    with _said(), recording(app.state.settings) as (app.state.journal, app.state.text_key):
        await _record_override(app)
        # Not awaited: the server answers /health while the model loads.
        loading = asyncio.create_task(manager.start())
        opening = asyncio.create_task(_open_sources(app, loading))
        app.state.loop = asyncio.get_running_loop()
        watching = asyncio.create_task(_watch(app, loading))
        probing = asyncio.create_task(_probe(app, loading))
        yield
        watching.cancel()
        probing.cancel()
        with suppress(asyncio.CancelledError):
            await probing  # it records that it was broken off
        # Those that were cut off a moment ago still write how they ended.
        if left := await app.state.under_way.recorded(_RECORD_SECONDS):
            log.error("%d answers have no last record and will read as interrupted", left)
        opening.cancel()
        app.state.sources.close()
        app.state.examples.close()
        await loading
        await manager.stop()
    if app.state.limits:
        app.state.limits.close()
    if app.state.traces:
        await asyncio.to_thread(app.state.traces.close)


@contextmanager
def _said() -> Iterator[None]:
    """Say why there is no audit log: of what uvicorn says of it, the log keeps the first line."""
    try:
        yield
    except JournalError as error:
        log.error("%s", error)
        raise


@contextmanager
def recording(settings: Settings) -> Iterator[tuple[Journal | None, bytes | None]]:
    """Keep the audit log open, if there is one, and sign it if this process is to.

    Args:
        settings: where the log and its keys are.

    Yields:
        The log, and the key of its keyed hashes.

    Raises:
        JournalError: a file cannot be used.
    """
    if (path := settings.audit_log) is None:
        yield None, None
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise JournalError(
            f"There is no folder for the audit log {path} and none can be made ({error.strerror}): "
            f"name a file in a folder that you may write in ELARA_SERVE_AUDIT_LOG."
        ) from None
    key = settings.text_key or path.with_suffix(".text-key")
    if not key.exists():
        make_secret(key)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(path))
        if settings.signing_key:
            stack.enter_context(signing(path, settings.signing_key))
        yield journal, read_secret(key)


async def _open_sources(app: FastAPI, loading: asyncio.Task[None]) -> None:
    """Open the index once the model is loaded: two threads cannot import transformers at once."""
    await asyncio.wait({loading})
    await app.state.sources.start()


async def _watch(app: FastAPI, loading: asyncio.Task[None]) -> None:
    """Let a running experiment end by its own rules, and hold the adapters that it needs."""
    held: Participation | None = app.state.participation
    manager: ModelManager = app.state.manager
    await asyncio.wait({loading})
    while held:
        try:
            if why := await asyncio.to_thread(held.experiments.watch, time.time()):
                log.warning("the experiment was ended by its plan: %s", why)
            if manager.state == "ready":
                await asyncio.to_thread(manager.hold, held.experiments.adapters())
        except Exception as error:
            log.error("the experiment cannot be watched (%s): %s", type(error).__name__, error)
        await asyncio.sleep(_WATCH_SECONDS)


async def _probe(app: FastAPI, loading: asyncio.Task[None]) -> None:
    """Ask what serves the keyed items at an interval, if a setting names one."""
    settings, state = app.state.settings, app.state
    if not settings.probe_hours:
        return
    await asyncio.wait({loading})
    folder = settings.serving or (settings.audit_log and settings.audit_log.parent)
    probe = Probe(
        state.manager, state.metrics, state.journal, hours=settings.probe_hours, folder=folder
    )
    if settings.workers == 1:
        return await probe.keep_asking()
    # One of the processes asks; another one takes over when it ends.
    asking = FileLock(folder / "probe.lock")
    while True:
        with suppress(Timeout), asking.acquire(timeout=0):
            await probe.keep_asking()
        await asyncio.sleep(_WATCH_SECONDS)


def _audit(app: FastAPI, event: dict[str, Any]) -> None:
    """Record an act of this server itself; called in a worker thread."""
    if journal := app.state.journal:
        written = journal.write(act_of(event, "server"))
        asyncio.run_coroutine_threadsafe(written, app.state.loop).result()


async def _record_override(app: FastAPI) -> None:
    """Record that somebody answers for an adapter that the release gate blocks."""
    settings: Settings = app.state.settings
    if not settings.override or not settings.adapter or not app.state.journal:
        return
    found = gate_status(settings.adapter, settings.gate)
    if found.result == BLOCKED:
        details = {"reason": settings.override, "checks": ", ".join(found.checks)}
        await app.state.journal.write(Event(what="override", by=account(), details=details))


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    # FastAPI's own answer would quote what was sent; this one says what is wrong with it.
    assert isinstance(error, RequestValidationError)
    told = []
    for found in error.errors():
        place = ".".join(str(part) for part in found["loc"][1:])
        text = found["msg"].removeprefix("Value error, ")
        if found["type"] == "json_invalid":
            place, text = "", f"the body is no JSON from character {place} on"
        elif not place and found["type"] == "model_attributes_type":
            text = "send a JSON object, with the header `Content-Type: application/json`"
        told.append(f"{place}: {text}" if place else text)
    return problem(request.scope, 422, "; ".join(told))


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status, detail = error.status_code, str(error.detail)
    if status == 400 or detail == HTTPStatus(status).phrase:
        detail = _INSTEAD.get(status, detail)
    return problem(request.scope, status, detail, error.headers)


async def _not_answered(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, BackendError)
    return await _refused(request, http_error(error))


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # as in other servers' logs; nobody receives it

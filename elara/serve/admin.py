"""Show an administrator adapters, queue, keys and the state of the audit log; swap adapters."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from datetime import datetime
from typing import Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from elara.serve.adapters import AdapterRefused
from elara.serve.backends import RETRY_SECONDS
from elara.serve.config import Settings
from elara.serve.conversing import record_act
from elara.serve.journal import Event, JournalError, verify
from elara.serve.keys import Key, KeyFile, Scope
from elara.serve.limits import Limits
from elara.serve.models import ModelManager
from elara.serve.pool import UpstreamState
from elara.serve.problems import documented
from elara.serve.schemas import AdapterIdentity, State

log = logging.getLogger("elara.serve")

router = APIRouter(prefix="/admin", tags=["Administration"])


class Swap(BaseModel):
    """Which adapter is to serve."""

    model_config = ConfigDict(extra="forbid", strict=True)

    adapter: str = Field(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00]+$",  # which no file system has in a name
        description="SHA-256 of its weights, or its folder's name",
    )


class Loaded(BaseModel):
    """An adapter that can answer at once."""

    adapter: AdapterIdentity | None
    model: str | None
    gate: str
    serves: bool = Field(description="whether new requests get it")


class Audited(BaseModel):
    """What the check of the audit log found."""

    ok: bool | None = Field(description="null: cannot say, as without a public key or a log")
    lines: list[str] = Field(description="what `elara verify --audit` prints")


class KeyTold(BaseModel):
    """A key, without anything that opens something."""

    id: str = Field(description="its public part, as logs name it")
    name: str
    scopes: list[Scope]
    state: Literal["valid", "expired", "revoked"]
    created: datetime
    expires: datetime | None
    requests_per_minute: int | None = Field(description="null: the server's own; 0: no limit")
    tokens_per_day: int | None = Field(description="null: the server's own; 0: no limit")
    tokens_today: int | None = Field(
        description="spent or set aside since midnight UTC, also by keys whose place it took; "
        "null: not known"
    )


class Queue(BaseModel):
    """How busy the models of this server are."""

    waiting: int
    writing: int
    queue_limit: int = Field(description="most chats that wait for each adapter")
    ready: bool
    state: State


@router.get("/adapters", response_model=list[Loaded])
async def adapters(request: Request) -> list[Loaded]:
    """What is loaded."""
    manager: ModelManager = request.app.state.manager
    return [
        Loaded(
            adapter=s.identity,
            model=s.model,
            gate=s.gate.result,
            serves=s.identity == manager.identity,
        )
        for s in manager.loaded()
    ]


@router.get("/upstreams", response_model=list[UpstreamState])
async def upstreams(request: Request) -> list[UpstreamState]:
    """How the servers elsewhere are doing, with their addresses."""
    manager: ModelManager = request.app.state.manager
    return manager.upstreams()


@router.post("/swap", response_model=AdapterIdentity, responses=documented(409, 503))
async def swap(request: Request, body: Swap) -> AdapterIdentity:
    """Serve another adapter without a pause; requests under way finish on the one before."""
    manager: ModelManager = request.app.state.manager
    before = manager.identity
    try:
        after = await asyncio.to_thread(manager.swap, body.adapter)
    except AdapterRefused as error:
        raise HTTPException(409, str(error)) from None
    key: Key | None = getattr(request.state, "key", None)
    details = {
        "before": before.weights_sha256 if before else "",
        "after": after.weights_sha256,
        "gate": manager.gate.result,
        "notice": manager.gate.notice,
    }
    await record_act(request, Event(what="swap", by=key.id if key else "", details=details))
    return after


@router.get("/audit", response_model=Audited, responses=documented(429))
def audit(request: Request) -> Audited:
    """Verify the audit log, with the public key beside the server's signing key if it has one.

    A log that is whole by the server's own word proves little to others: see the guide.
    """
    settings: Settings = request.app.state.settings
    if settings.audit_log is None:
        told = "No audit log is kept: name its file in ELARA_SERVE_AUDIT_LOG."
        return Audited(ok=None, lines=[told])
    if not request.app.state.verifying.acquire(blocking=False):
        raise HTTPException(
            429,
            f"The audit log is being verified already: ask again in {RETRY_SECONDS} seconds.",
            {"Retry-After": str(RETRY_SECONDS)},
        )
    try:
        key = settings.signing_key
        public = key.with_name(f"{key.name}.pub") if key else None
        found = verify(settings.audit_log, public if public and public.exists() else None)
    except JournalError as error:
        return Audited(ok=None, lines=[str(error)])
    finally:
        request.app.state.verifying.release()
    return Audited(ok={0: True, 1: None, 2: False}[found.exit_code], lines=found.lines())


@router.get("/keys", response_model=list[KeyTold])
async def keys(request: Request) -> list[KeyTold]:
    """Every key's name, scopes, dates and budget, and what it has spent today; never a secret."""
    file: KeyFile | None = request.app.state.keys
    limits: Limits | None = request.app.state.limits
    return [await _told(key, file, limits) for key in file.listed()] if file else []


async def _told(key: Key, file: KeyFile, limits: Limits | None) -> KeyTold:
    try:
        spent = await limits.run(limits.used, key.account) if limits else None
    except sqlite3.Error as error:
        log.error("the tokens that a key has spent cannot be read: %s", error)
        spent = None
    told = key.model_dump(include=KeyTold.model_fields.keys() & Key.model_fields.keys())
    return KeyTold(**told, state=key.state(file.now()), tokens_today=spent)


@router.get("/queue", response_model=Queue)
async def queue(request: Request) -> Queue:
    """How many chats wait and are answered here; /admin/upstreams tells of those elsewhere."""
    manager: ModelManager = request.app.state.manager
    engines = manager.engines()
    return Queue(
        waiting=sum(engine.waiting for engine in engines),
        writing=sum(engine.writing for engine in engines),
        queue_limit=request.app.state.settings.queue_limit,
        ready=manager.ready,
        state=manager.state,
    )

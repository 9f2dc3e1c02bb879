"""Let an administrator see which adapters there are, and exchange the one that serves."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from elara.serve.adapters import AdapterRefused
from elara.serve.journal import Event
from elara.serve.keys import Key
from elara.serve.models import ModelManager
from elara.serve.pool import UpstreamState
from elara.serve.problems import documented
from elara.serve.recorded import record_act
from elara.serve.schemas import AdapterIdentity

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

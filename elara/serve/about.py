"""Tell the page what it needs to know before anybody has given it a key."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

import elara
from elara.serve.config import Settings
from elara.serve.models import ModelManager
from elara.serve.schemas import DISCLAIMER, INTENDED_USE, Evidence, Mode
from elara.text.topics import specialties

router = APIRouter(tags=["Questions and status"])


class AboutServer(BaseModel):
    """What this server is and offers; nothing of it is secret."""

    version: str
    intended_use: str = INTENDED_USE
    disclaimer: str = DISCLAIMER
    emergency: str = Field(description="what to do in an emergency, as plain text")
    verdict: str = Field(description="whether tuning helped, in a sentence")
    mode: Mode
    keys_required: bool
    images: bool = Field(description="whether questions may hold pictures")
    retrieval: Evidence | None = Field(description="null: answers come without sources")
    specialties: list[str]
    feedback: bool = Field(description="whether feedback is taken")
    max_new_tokens: int
    base: bool = Field(description="whether a request may ask the base model, as `elara-base`")


@router.get("/app/about", response_model=AboutServer)
async def about(request: Request) -> AboutServer:
    """What this server is and offers. Needs no key, as `/` needs none."""
    state = request.app.state
    settings: Settings = state.settings
    manager: ModelManager = state.manager
    return AboutServer(
        version=elara.__version__,
        emergency=settings.emergency,
        verdict=state.verdict,
        mode=manager.mode,
        keys_required=settings.keys is not None,
        images=settings.images,
        retrieval=state.sources.evidence,
        specialties=specialties().labels,
        feedback=state.participation is not None,
        max_new_tokens=settings.max_new_tokens,
        base=manager.mode == "model",
    )

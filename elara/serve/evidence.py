"""Show what an answer rests on: whole articles of the index, and training examples close to it."""

from __future__ import annotations

import time

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from elara.serve.config import Settings, local_only
from elara.serve.conversing import STATUS
from elara.serve.learned import Examples, LearnedError
from elara.serve.models import ModelManager
from elara.serve.problems import documented
from elara.serve.schemas import MAX_CHARACTERS, Count, Text
from elara.serve.sources import Sources

router = APIRouter(prefix="/evidence", tags=["Evidence"])


class Part(BaseModel):
    """A part of an article, as the spans of its passages name it."""

    part: str
    heading: str
    text: str


class ArticleResponse(BaseModel):
    """An article of the index, whole."""

    article_id: str
    title: str
    url: str
    licence: str
    journal: str
    published: str
    authors: list[str]
    parts: list[Part]


class TraceRequest(BaseModel):
    """A question with its answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    question: Text = Field(max_length=MAX_CHARACTERS)
    answer: Text = Field(max_length=4 * MAX_CHARACTERS)
    k: Count = Field(default=5, le=20, description="how many examples to show")


class TracedExample(BaseModel):
    """A training example of the adapter that serves."""

    id: str
    score: float = Field(description="how close it is to question and answer, at most 1")
    question: str = Field(description="empty where it is withheld")
    answer: str | None = Field(description="null where it is withheld")
    specialty: str
    split: str
    licence: str
    article_id: str = Field(description="whose text it holds")
    title: str
    url: str
    withheld: bool = Field(description="its text must not be passed on to others")
    retracted: bool = Field(description="its article was retracted")


class TraceResponse(BaseModel):
    """The training examples that are closest to an answer, which need not be where it is from."""

    examples: list[TracedExample]
    seconds: float = Field(description="for the search")
    lost: int = Field(description="examples that the adapter learned and whose text is gone")


@router.get(
    "/articles/{article_id:path}",
    response_model=ArticleResponse,
    responses=documented(404, *STATUS.values()),
)
async def article(request: Request, article_id: str) -> ArticleResponse:
    """An article that answers may cite, to read a passage in its place."""
    sources: Sources = request.app.state.sources
    settings: Settings = request.app.state.settings
    found = await sources.article(article_id, time.monotonic() + settings.answer_seconds)
    if found is None:
        raise HTTPException(
            404,
            "The sources of this server hold no such article: it is not in their index, or was "
            "retracted.",
        )
    parts = [Part(part="abstract", heading="Abstract", text=found.abstract)]
    parts += [
        Part(part=f"body/{n}", heading=section.heading, text=section.text)
        for n, section in enumerate(found.body)
    ]
    return ArticleResponse(
        article_id=found.id,
        title=found.title,
        url=found.url,
        licence=found.licence,
        journal=found.journal,
        published=found.published,
        authors=found.authors,
        parts=[part for part in parts if part.text],
    )


@router.post("/trace", response_model=TraceResponse, responses=documented(404, *STATUS.values()))
async def trace(request: Request, body: TraceRequest) -> TraceResponse:
    """The training examples of the adapter that are closest to an answer. Nothing is stored."""
    state = request.app.state
    manager: ModelManager = state.manager
    examples: Examples = state.examples
    sources: Sources = state.sources
    identity, place = manager.identity, manager.place
    if identity is None or place is None:
        raise HTTPException(
            404, "The model that answers was not trained here, so its examples are not known."
        )
    index = await sources.opened(time.monotonic() + state.settings.answer_seconds)
    encoder = index.encoder if index else None
    try:
        learned = await examples.of(identity.weights_sha256, place, encoder)
    except LearnedError as error:
        raise HTTPException(404, str(error)) from None
    started, local = time.perf_counter(), local_only(state.settings)
    near = await examples.nearest(learned, body.question, body.answer, body.k, local=local)
    return TraceResponse(
        examples=[TracedExample(**row) for row in near],
        seconds=round(time.perf_counter() - started, 4),
        lost=learned.lost,
    )

"""Define requests and answers under `/v1`, in the form of OpenAI's API and with what Elara adds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from elara.serve.images import MOST
from elara.serve.schemas import (
    MAX_MESSAGES,
    ChatRequest,
    Count,
    Message,
    Mode,
    Source,
    Specialty,
    Supported,
    Turn,
    Whole,
)

ANY = "elara"  # the model's name for whatever serves now
_EXAMPLE: dict[str, Any] = {
    "model": ANY,
    "messages": [{"role": "user", "content": "What are the symptoms of iron deficiency?"}],
    "max_completion_tokens": 120,
}
# For the description: no request names both, as they mean the same.
_LIMITS = ("max_completion_tokens", "max_tokens")
_BOTH: dict[str, Any] = {
    "properties": {name: {"type": "integer"} for name in _LIMITS},
    "required": [*_LIMITS],
}


class StreamOptions(BaseModel):
    """What a stream holds besides the answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool = False


class Metadata(BaseModel):
    """What OpenAI's clients may attach to a request, as far as it means something here."""

    model_config = ConfigDict(extra="forbid", strict=True)

    consent: Literal["yes", "no"] = Field(
        default="no", description="yes: the person agreed to take part in the running experiment"
    )
    sources: Literal["yes", "no"] | None = Field(
        default=None, description="answer from sources; where the server has any, if absent"
    )
    specialty: Specialty = Field(default="", description="take only sources of this specialty")


class CompletionRequest(BaseModel):
    """A conversation that ends with the question to answer.

    Source: https://platform.openai.com/docs/api-reference/chat/create
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [_EXAMPLE], "not": _BOTH}
    )

    model: str = Field(
        max_length=200, description="from /v1/models, `elara`, or an adapter's whole SHA-256"
    )
    messages: list[Turn] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_completion_tokens: Count | None = None
    max_tokens: Count | None = Field(default=None, description="the older name of the same")
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    seed: Whole = Field(default=0, ge=0, lt=2**31)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Whole = Field(default=1, ge=1, le=1)
    safety_identifier: str | None = Field(
        default=None,
        max_length=200,
        description="the front end's identifier of the person; used only with consent",
    )
    user: str | None = Field(
        default=None, max_length=200, description="the older name of safety_identifier"
    )
    metadata: Metadata | None = None

    @model_validator(mode="after")
    def _well_formed(self) -> CompletionRequest:
        ChatRequest(messages=self.texts)
        if sum(len(turn.pictures) for turn in self.messages) > MOST:
            raise ValueError(f"the conversation has more than {MOST} pictures: leave some out")
        if self.stream_options and not self.stream:
            raise ValueError("stream_options is for streams: send `stream: true`, or leave it out")
        if self.max_tokens and self.max_completion_tokens:
            raise ValueError("max_tokens and max_completion_tokens mean the same: give one of them")
        if self.user and self.safety_identifier and self.user != self.safety_identifier:
            raise ValueError("user and safety_identifier name two people: give one of them")
        return self

    @property
    def texts(self) -> list[Message]:
        """The conversation without its pictures."""
        return [Message(role=turn.role, content=turn.text) for turn in self.messages]

    @property
    def choosing(self) -> dict[str, Any]:
        """Who asks, and whether that person consents, as `chosen` wants to know it."""
        consent = self.metadata is not None and self.metadata.consent == "yes"
        return {"subject": self.safety_identifier or self.user or "", "consent": consent}

    @property
    def evidence(self) -> dict[str, Any]:
        """Which sources are wanted, as `talk_about` wants to know it."""
        told = self.metadata or Metadata()
        wanted = None if told.sources is None else told.sources == "yes"
        return {"sources": wanted, "specialty": told.specialty}


class _Exact(BaseModel):
    """Only describes what `complete` puts together: a name too many or too few fails a test."""

    model_config = ConfigDict(extra="forbid")


class About(_Exact):
    """What Elara says of an answer, beyond OpenAI's fields."""

    disclaimer: str
    mode: Mode
    adapter: str | None = Field(description="SHA-256 of the adapter's weights")
    base: bool = Field(description="whether the base model answers, with its adapter switched off")
    notice: str
    warnings: list[str]
    receipt: str = Field(
        description="for /feedback; empty where none is taken, as for the base model's answers"
    )
    retrieval: str = Field(description="identity of the index that was searched for sources, or ''")
    sources: list[Source]
    sentences: list[Supported] = Field(description="of the answer; empty without sources")
    removed_citations: int = Field(description="of sources that there are not")


class Written(_Exact):
    """The answer."""

    role: Literal["assistant"]
    content: str


class Only(_Exact):
    """The only choice."""

    index: Literal[0]
    message: Written
    finish_reason: Literal["stop", "length"]
    logprobs: None


class Usage(_Exact):
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(_Exact):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    elara: About
    choices: list[Only]
    usage: Usage


class Model(BaseModel):
    """A model that answers here."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="0: not known")
    owned_by: str = "elara"


class ModelList(BaseModel):
    """All models that answer here."""

    object: Literal["list"] = "list"
    data: list[Model]

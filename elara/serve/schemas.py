"""Define requests and responses, and the disclaimer and intended use, stated nowhere else."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from elara.text.topics import specialties

DISCLAIMER = (
    "Written by a small experimental language model for education and research. It is not "
    "medical advice, it may be wrong, and no decision about a patient may rest on it."
)
INTENDED_USE = (
    "Elara shows how a language model is adapted to medical text, so that the method can be "
    "studied and checked. It is not a medical device, it has not been validated for care, and "
    "it must not be used to diagnose, treat or advise anybody."
)

MAX_MESSAGES = 20
MAX_PARTS = 20  # of a message
MAX_CHARACTERS = 8000  # of a whole conversation; about 2,000 tokens of English

# What the pages show as a first request.
EXAMPLE: dict[str, Any] = {
    "messages": [{"role": "user", "content": "What are the symptoms of iron deficiency?"}],
    "max_new_tokens": 120,
}


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# Of strict models: JSON has one kind of number, so that 2.0 is as whole as 2.
Whole = Annotated[int, BeforeValidator(_whole)]
Count = Annotated[int, Field(ge=1), BeforeValidator(_whole)]
# What `str.strip` leaves, which takes more for space than JSON Schema's expressions do.
_VISIBLE = r"[^\s\x1c-\x1f\x85]"
SPECIALTIES = specialties().labels
Mode = Literal["model", "simulation", "upstream"]
State = Literal["unloaded", "loading", "ready", "failed"]


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("the message is empty; write a question")
    # JSON can hold half of a pair that only together is a character; no UTF-8 can.
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError("the message holds half a character, as when a text is cut; mend it")
    return text.strip()


def _known(specialty: str) -> str:
    if specialty and specialty not in SPECIALTIES:
        raise ValueError(f"there is no such specialty; those known are {', '.join(SPECIALTIES)}")
    return specialty


Text = Annotated[str, AfterValidator(_text), Field(json_schema_extra={"pattern": _VISIBLE})]
Specialty = Annotated[
    str, AfterValidator(_known), Field(json_schema_extra={"enum": ["", *SPECIALTIES]})
]


class Message(BaseModel):
    """One turn of a conversation. The system line is the server's own and cannot be sent."""

    role: Literal["user", "assistant"] = Field(description="who says it")
    content: Text = Field(description="what is said; must not be blank")


class TextPart(BaseModel):
    """Text of a turn that is sent in parts."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: str


class ImageUrl(BaseModel):
    """A picture, sent as it is: nothing is fetched."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(description="`data:image/png;base64,…`, of a PNG, JPEG or WebP file")
    detail: Literal["auto"] = "auto"


class ImagePart(BaseModel):
    """A picture of a turn."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


def _form(content: Any) -> str:
    return "parts" if isinstance(content, list) else "text"


class Turn(BaseModel):
    """One turn of a conversation. The system line is the server's own and cannot be sent."""

    role: Literal["user", "assistant"] = Field(description="who says it")
    content: Annotated[
        Annotated[str, Field(json_schema_extra={"pattern": _VISIBLE}), Tag("text")]
        | Annotated[list[Part], Field(min_length=1, max_length=MAX_PARTS), Tag("parts")],
        Discriminator(_form),
    ] = Field(
        description="what is said; must not be blank. In parts, a user may show pictures, where "
        "the server and its model read them. A model reads them before the text of their turn, so "
        "they stand next to each other"
    )

    @model_validator(mode="after")
    def _well_formed(self) -> Turn:
        _text(self.text)
        kinds = "".join(kind for kind, _ in groupby(part.type for part in self.parts))
        if kinds.count("image_url") > 1:
            raise ValueError(
                "text stands between two pictures, where no model would read it: put all of a "
                "turn's text before its pictures or after them"
            )
        if self.pictures and self.role != "user":
            raise ValueError("only a user shows pictures: leave them out of the assistant's turns")
        return self

    @property
    def parts(self) -> list[TextPart | ImagePart]:
        """What it was sent in; none if it is one text."""
        return [] if isinstance(self.content, str) else self.content

    @property
    def text(self) -> str:
        """All that is written."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def pictures(self) -> list[str]:
        """The addresses of what is shown."""
        return [part.image_url.url for part in self.parts if isinstance(part, ImagePart)]


class Evidence(BaseModel):
    """The index from which answers get their sources."""

    identity: str
    passages: int
    licences: str


class ChatRequest(BaseModel):
    """A conversation that ends with the question to answer."""

    # Strict: where the description says a number, `true` is none.
    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [EXAMPLE]}
    )

    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_new_tokens: Count | None = Field(
        default=None, description="most tokens to write; the server's own limit if absent"
    )
    temperature: float | None = Field(
        default=None, ge=0.0, le=2.0, description="0: always the likeliest token"
    )
    seed: Whole = Field(default=0, ge=0, lt=2**31, description="for temperatures above 0")
    subject: str = Field(
        default="", max_length=200, description="the front end's identifier of the person"
    )
    consent: bool = Field(
        default=False, description="the person agreed to take part in the running experiment"
    )
    sources: bool | None = Field(
        default=None, description="answer from sources; where the server has any, if absent"
    )
    specialty: Specialty = Field(default="", description="take only sources of this specialty")

    @model_validator(mode="after")
    def _well_formed(self) -> ChatRequest:
        # Mistral's chat template refuses any other order, so no model is offered one.
        expected = ["user", "assistant"] * MAX_MESSAGES
        if len(self.messages) % 2 == 0 or any(
            m.role != role for m, role in zip(self.messages, expected, strict=False)
        ):
            raise ValueError("turns must alternate user, assistant, user … and end with the user")
        total = sum(len(m.content) for m in self.messages)
        if total > MAX_CHARACTERS:
            raise ValueError(
                f"the conversation is too long: {total} characters, at most {MAX_CHARACTERS}"
            )
        return self


class AdapterIdentity(BaseModel):
    """Which adapter it is, so that an answer can be traced to the run that trained it."""

    weights_sha256: str = Field(description="SHA-256 of the weights as loaded")
    training_run: str | None = Field(
        description="identity in the training stage's manifest, if it lists these weights"
    )


class Evaluation(BaseModel):
    """The figures of the evaluation stage: a paired comparison with the adapter's own base."""

    verdict: str = Field(description="one sentence")
    better: bool = Field(description="whether the verdict is that tuning helped")
    difference: float = Field(description="adapter minus base, nats per token; below 0 is better")
    low: float | None = Field(description="lower end of the interval; null with a single topic")
    high: float | None = Field(description="upper end of the interval")
    articles: int = Field(description="held-out articles compared")
    examples: int = Field(description="held-out examples compared")


class Source(BaseModel):
    """A passage that the model was given to answer from; with many, only the beginning of each."""

    n: int = Field(description="the answer cites it as [n]")
    id: str
    article_id: str = Field(description="for GET /evidence/articles/…")
    title: str
    section: str
    part: str = Field(description="`abstract` or `body/N` of the article")
    start: int = Field(description="its first character in the text of that part")
    end: int = Field(description="the character behind its last one")
    text: str = Field(description="whole; the model reads no more than its share of 450 words")
    url: str
    licence: str
    score: float = Field(description="how close it is to the question, at most 1")
    journal: str
    published: str


class Supported(BaseModel):
    """A sentence of an answer, and the source that supports it best."""

    start: int = Field(description="its first character in the answer")
    end: int = Field(description="the character behind its last one")
    source: int | None = Field(description="number of the source; null: no source found")
    score: float = Field(description="how close the two are, at most 1")
    cited: list[int] = Field(description="sources that the model itself named in it")


class ChatResponse(BaseModel):
    """An answer with all that is needed to judge and to trace it."""

    answer: str
    disclaimer: str = DISCLAIMER
    mode: Mode = Field(description="simulation: no model is loaded and the answer says so")
    model: str | None = Field(description="name of the base model")
    adapter: AdapterIdentity | None
    prompt_tokens: int = Field(description="tokens read")
    new_tokens: int = Field(description="tokens written")
    finished: bool = Field(description="False: cut off at the token limit")
    seconds: float = Field(description="time spent writing, without waiting for other requests")
    notice: str = Field(
        description="what the release gate has against this adapter, and why sources are missing"
    )
    warnings: list[str] = Field(description="such as: the conversation may hold personal data")
    cached: bool = Field(description="the same question was answered before, by the same adapter")
    receipt: str = Field(description="to send back with feedback; empty where none is taken")
    retrieval: str = Field(description="identity of the index that was searched for sources, or ''")
    sources: list[Source]
    sentences: list[Supported] = Field(description="of the answer; empty without sources")
    removed_citations: int = Field(description="of sources that there are not")
    request_id: str


class HealthResponse(BaseModel):
    """Liveness, and whether a question would be answered by a model."""

    status: Literal["alive"] = "alive"
    model_ready: bool
    mode: Mode
    adapter: str | None = Field(description="SHA-256 of the adapter's weights")
    gate: str = Field(description="what the release gate found, or that it was not asked")
    sources: Literal["none", "opening", "ready", "failed"] = Field(
        description="the index of sources; failed: answers come without, and the log says why"
    )


class ModelStatusResponse(BaseModel):
    """What is loaded, and what is known about it."""

    mode: Mode
    state: State
    model: str | None
    adapter: AdapterIdentity | None
    device: str | None
    dtype: str | None
    load_seconds: float | None
    error: str | None = Field(description="why loading failed, with a remedy")
    verdict: str = Field(description="whether tuning helped, in a sentence")
    evaluation: Evaluation | None
    max_new_tokens: int
    temperature: float


class WelcomeResponse(BaseModel):
    """What this server is, what it is for, and where to go."""

    name: str = "Elara"
    version: str
    intended_use: str = INTENDED_USE
    disclaimer: str = DISCLAIMER
    mode: Mode
    verdict: str
    links: dict[str, str]

"""Ask one OpenAI-compatible server, and pass its answer on as it is written."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import email.utils
import logging
import ssl
import time
from collections.abc import AsyncGenerator
from typing import Any, Literal

import httpx
from pydantic import BaseModel, Field, ValidationError

from elara.model import SYSTEM_PROMPT
from elara.model.chat import as_data_anywhere
from elara.serve.backends import Ask, End, Piece
from elara.serve.events import EventReader, EventTooLarge
from elara.serve.images import Picture, with_pictures
from elara.serve.upstream import Upstream

log = logging.getLogger("elara.serve")
# One line for each request says nothing that Elara's own log does not say.
logging.getLogger("httpx").setLevel(logging.WARNING)

_LARGEST_EVENT = 1 << 20  # bytes; a usual one has about 300
_BYTES_PER_TOKEN = 1 << 14
_LONGEST_WAIT = 300.0  # seconds of a Retry-After that are believed
_NONE = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody; costs nothing to make
_THIS_REQUEST = frozenset({400, 413, 422})  # too long, or not understood

Kind = Literal["failed", "slip", "busy", "refused", "late"]


class UpstreamFailed(Exception):
    """An upstream gave no answer, or only the beginning of one.

    Args:
        reason: in words that hold nothing of the conversation.
        kind: `failed`; `slip`, this one answer, and others may go well; `busy`, it asks to wait;
            `refused`, this one request; `late`, the deadline of the request passed.
        retry_after: seconds that it asks to wait, if it does.
    """

    def __init__(
        self, reason: str, kind: Kind = "failed", retry_after: float | None = None
    ) -> None:
        super().__init__(reason)
        self.reason, self.kind, self.retry_after = reason, kind, retry_after


class _Delta(BaseModel):
    content: str | None = None
    # Not part of an answer; such pieces are counted and left out.
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: Any = None

    @property
    def other(self) -> bool:
        return bool(self.reasoning_content or self.reasoning or self.refusal or self.tool_calls)


class _Choice(BaseModel):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)


class _Chunk(BaseModel):
    choices: list[_Choice] | None = Field(default=None, max_length=1)
    usage: _Usage | None = None
    error: Any = None


class _Heard:
    """What is known of an answer so far."""

    def __init__(self) -> None:
        self.stopped: str | None = None
        self.usage: _Usage | None = None
        self.pieces = self.others = 0

    def take(self, chunk: _Chunk) -> str:
        """The text of a chunk; everything else in it is noted."""
        self.usage = chunk.usage or self.usage
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self.stopped = choice.finish_reason or self.stopped
        self.others += choice.delta.other
        self.pieces += bool(choice.delta.content)
        return choice.delta.content or ""

    def end(self, url: str, seconds: float) -> End:
        """The end of a complete answer; what was missing or left out is said in the log."""
        if self.stopped not in ("stop", "length"):
            raise UpstreamFailed(
                "it ended without saying that the answer is complete"
                if self.stopped is None
                else "it stopped for another reason than the answer's end or the token limit",
                "slip",
            )
        if self.others:
            log.warning("%s: %d pieces were reasoning or tools; left out", url, self.others)
        if self.usage is None:
            log.warning("%s counted no tokens; each piece of text counts as one", url)
        usage = self.usage or _Usage(prompt_tokens=0, completion_tokens=self.pieces)
        finished = self.stopped == "stop"
        return End(finished, usage.prompt_tokens, usage.completion_tokens, round(seconds, 3))


class Client:
    """Speaks with one upstream. Nothing is ever sent to another address, redirect or proxy.

    Args:
        upstream: where it is, and how long to wait for it.

    Raises:
        SettingsError: its key is not in the environment.
    """

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self._http = httpx.AsyncClient(
            # An answer must not come compressed, so that its size is what arrives.
            headers=upstream.headers() | {"Accept-Encoding": "identity"},
            timeout=httpx.Timeout(None, connect=upstream.connect_seconds),
            limits=httpx.Limits(max_connections=None),
            verify=_certificates() if upstream.url.startswith("https:") else _NONE,
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def check(self) -> None:
        """See whether it is healthy: `/health`, or `/v1/models` where there is no such address.

        Raises:
            UpstreamFailed: it is not, or did not say so within `connect_seconds`.

        Source: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html and
            https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
        """
        try:
            async with asyncio.timeout(self.upstream.connect_seconds):
                for path in ("/health", "/v1/models"):
                    # The body is not read: the status says it all.
                    async with self._http.stream("GET", self.upstream.url + path) as response:
                        if path != "/health" or response.status_code not in (404, 405, 501):
                            self._accept(response)
                            return
        except TimeoutError:
            raise UpstreamFailed("its health check took too long") from None
        except (httpx.HTTPError, OSError) as error:
            raise _broken(error) from None

    async def answer(self, ask: Ask) -> AsyncGenerator[Piece | End, None]:
        """Ask, and give the pieces of the answer as they come.

        Args:
            ask: the conversation and its limits.

        Raises:
            UpstreamFailed: at any time, also after some pieces.

        Source: https://platform.openai.com/docs/api-reference/chat-streaming
        """
        heard, started = _Heard(), time.monotonic()
        latest = started + self.upstream.first_text_seconds
        async with contextlib.aclosing(self._chunks(ask)) as chunks:
            while chunk := await self._next(chunks, min(latest, ask.deadline), ask, heard):
                if text := heard.take(chunk):
                    yield Piece(text)
                    # After the text was taken: a slow reader is no fault of the upstream.
                    latest = time.monotonic() + self.upstream.gap_seconds
        yield heard.end(self.upstream.url, time.monotonic() - started)

    async def _next(
        self, chunks: AsyncGenerator[_Chunk, None], latest: float, ask: Ask, heard: _Heard
    ) -> _Chunk | None:
        """The next chunk; None after the last one."""
        try:
            async with asyncio.timeout(latest - time.monotonic()):
                return await anext(chunks, None)
        except (TimeoutError, httpx.HTTPError, OSError) as error:
            if heard.stopped:
                return None  # the text is complete; only the count of tokens may be missing
            if not isinstance(error, TimeoutError):
                raise _broken(error) from None
            if time.monotonic() >= ask.deadline:
                raise UpstreamFailed("the answer was not ready in time", "late") from None
            raise UpstreamFailed("it sent no text for too long") from None

    async def _chunks(self, ask: Ask) -> AsyncGenerator[_Chunk, None]:
        reader, received = EventReader(_LARGEST_EVENT), 0
        most = _LARGEST_EVENT + _BYTES_PER_TOKEN * ask.max_new_tokens
        url = f"{self.upstream.url}/v1/chat/completions"
        async with self._http.stream("POST", url, json=_body(self.upstream, ask)) as response:
            self._accept(response, "text/event-stream")
            async for data in response.aiter_raw():
                received += len(data)
                if received > most:
                    raise UpstreamFailed(f"it sent more than {most} bytes")
                try:
                    for event in reader.feed(data):
                        if event.strip() == b"[DONE]":
                            return
                        yield _chunk(event)
                except EventTooLarge:
                    raise UpstreamFailed("it sent an event that is too large") from None

    def _accept(self, response: httpx.Response, kind: str = "") -> None:
        """Refuse a response that is not what was asked for. Its body may quote the question."""
        status = response.status_code
        if status == 200:
            form = response.headers.get("Content-Type", "")
            if "Content-Encoding" in response.headers or not form.startswith(kind):
                raise UpstreamFailed("it answered in another form than server-sent events")
            return
        wait = _retry_after(response.headers.get("Retry-After", ""))
        if status == 429:
            raise UpstreamFailed("it is asked too often (status 429)", "busy", wait)
        if status in _THIS_REQUEST:
            raise UpstreamFailed(f"it refused the request (status {status})", "refused")
        advice = {
            401: f"check the key in {self.upstream.key_variable or 'key_variable'}",
            403: f"check the key in {self.upstream.key_variable or 'key_variable'}",
            404: "check url and model; /v1/models there lists the names that it knows",
        }.get(status, "a redirect is not followed: give the final url" if status < 400 else "")
        said = f"it answered with status {status}{advice and '; '}{advice}"
        slip: Kind = "slip" if status >= 500 and wait is None else "failed"
        raise UpstreamFailed(said, slip, wait)


def _certificates() -> ssl.SSLContext:
    """Those of the system, or those of a house that `SSL_CERT_FILE` names."""
    return ssl.create_default_context()


def _body(upstream: Upstream, ask: Ask) -> dict[str, Any]:
    # Only fields that every such server knows: TensorRT-LLM refuses a request with any other.
    system, turns = {"role": "system", "content": SYSTEM_PROMPT}, as_data_anywhere(ask.messages)
    return {
        "model": upstream.model,
        "messages": [system, *with_pictures(turns, ask.pictures, _part)],
        "max_tokens": ask.max_new_tokens,
        "temperature": ask.temperature,
        "seed": ask.seed,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _part(picture: Picture) -> dict[str, Any]:
    """Source: https://platform.openai.com/docs/guides/images-vision"""
    return {"type": "image_url", "image_url": {"url": picture.as_url()}}


def _chunk(event: bytes) -> _Chunk:
    try:
        chunk = _Chunk.model_validate_json(event)
    except ValidationError:
        raise UpstreamFailed("it sent something that is not a piece of an answer") from None
    if chunk.error is not None:
        raise UpstreamFailed("it reported an error instead of going on", "slip")
    return chunk


def _broken(error: Exception) -> UpstreamFailed:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return UpstreamFailed("it cannot be reached")
    return UpstreamFailed(f"the connection broke ({type(error).__name__})", "slip")


def _retry_after(value: str) -> float | None:
    """Seconds of a Retry-After header, which gives them or a date.

    Source: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    if value.strip().isdecimal():
        return min(float(value), _LONGEST_WAIT)
    try:
        date = email.utils.parsedate_to_datetime(value)
        seconds = (date - datetime.datetime.now(datetime.UTC)).total_seconds()
    except (TypeError, ValueError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT)

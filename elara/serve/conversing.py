"""Answer one question on the one road that every address takes: counted, recorded, answered.

A question's tokens are set aside and an *accepted* record is durable before a model is asked; the
*ended* record is durable before the last item of the answer leaves, however it ends. A question
that cannot be recorded is not answered.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import HTTPException, Request

from elara.retrieval.citing import kept_citations
from elara.serve import images, privacy
from elara.serve.backends import (
    Ask,
    BackendError,
    BrokenOff,
    End,
    GenerationFailed,
    ModelUnavailable,
    Piece,
    QueueFull,
    ReadsNoPictures,
    ServerStopped,
    TookTooLong,
    closing,
)
from elara.serve.cache import AnswerCache
from elara.serve.config import Settings
from elara.serve.experiments import Choice, ExperimentError
from elara.serve.journal import (
    Accepted,
    Journal,
    Outcome,
    keyed_hash,
)
from elara.serve.keys import Key
from elara.serve.limits import reserve
from elara.serve.metrics import Metrics
from elara.serve.models import BASE, ModelManager
from elara.serve.participation import Participation
from elara.serve.recorded import template_version, written
from elara.serve.schemas import Message
from elara.serve.serving import Serving
from elara.serve.sources import NO_SOURCES, NOTHING, Found, Sources, citing
from elara.serve.stopping import UnderWay

log = logging.getLogger("elara.serve")

# What a client is told when a backend does not answer.
STATUS: dict[type[BackendError], int] = {
    ReadsNoPictures: 422,
    QueueFull: 429,
    GenerationFailed: 500,
    BrokenOff: 502,
    ModelUnavailable: 503,
    ServerStopped: 503,
    TookTooLong: 504,
}
_REFUSED = (ModelUnavailable, QueueFull, ReadsNoPictures)  # no model wrote anything


@dataclass
class Talk:
    """A question on its way, and what is known of its answer.

    Args:
        request: the HTTP request.
        ask: the question.
        choice: which adapter answers it, and for which experiment.
        serving: the adapter that answers; None until it is known.
        cached: whether the answer was remembered from before.
        named: whether the request itself names what answers, which is loaded then.
        wanted: whether it is to have sources; None: where the server has any.
        specialty: of which alone sources are taken; "" takes all.
        found: the sources; none until they were looked for.
    """

    request: Request
    ask: Ask
    choice: Choice
    serving: Serving | None = None
    cached: bool = False
    named: bool = False
    wanted: bool | None = None
    specialty: str = ""
    found: Found = NOTHING
    started: float = field(default_factory=time.perf_counter)

    async def warnings(self) -> list[str]:
        """What to tell the user about personal data in the question, and about its pictures."""
        return await privacy.warnings(self._texts) + images.warnings(self.ask.pictures)

    @property
    def notice(self) -> str:
        """What the user is to know of the adapter, and of sources that are missing."""
        gate = self.serving.gate.notice if self.serving else ""
        return " ".join(told for told in (gate, self.found.notice) if told)

    async def ending(self, answer: str, end: End) -> dict[str, Any]:
        """What is only known of an answer when it has ended, by its names in every response.

        Args:
            answer: all of it.
            end: its end.
        """
        sources: Sources = self.request.app.state.sources
        sentences, told = await sources.compare(answer, self.found, self.ask.deadline)
        return {
            "receipt": self.receipt(answer),
            "sentences": [sentence.model_dump() for sentence in sentences],
            "removed_citations": end.removed_citations,
            "notice": f"{self.notice} {told}".strip(),
        }

    def receipt(self, answer: str) -> str:
        """What proves in feedback that this server gave this answer; "" where none is taken.

        Feedback teaches an adapter, so none is taken of what the base model wrote.

        Args:
            answer: all of it.
        """
        participation: Participation | None = self.request.app.state.participation
        if participation is None or self.serving is None or self.serving.identity is None:
            return ""
        if self.ask.pictures:  # feedback is text, and would say nothing without them
            return ""
        choice = replace(self.choice, adapter=self.serving.identity.weights_sha256)
        id_ = self.request.state.request_id
        return participation.receipts.make(id_, self.ask.messages, answer, choice)

    async def answer(self) -> AsyncGenerator[Piece | End]:
        """Answer. Closing the iterator cancels the answer, and records that it was cancelled.

        Raises:
            HTTPException: 429, no tokens or no place are left; 503, nothing can be recorded.
            BackendError: the model does not answer, or no more.
        """
        state = self.request.app.state
        manager: ModelManager = state.manager
        if self.choice.adapter and not self.named:
            await asyncio.to_thread(manager.ensure, self.choice.adapter)
        with state.under_way.answer(), manager.use(self.choice.adapter) as self.serving:
            prompt = await self._look_for_sources(self.serving)
            most = prompt.max_new_tokens + prompt.picture_tokens
            held = await reserve(self.request, _contents(prompt), most)
            try:
                async with closing(self._recorded(self.serving, prompt, state.journal)) as items:
                    async for item in items:
                        if isinstance(item, End):
                            held.settle(item.prompt_tokens + item.new_tokens)
                            await self._counted()
                        yield item
            except _REFUSED:
                held.settle(0)  # otherwise nobody knows how much was written: all of it counts
                raise

    async def _look_for_sources(self, serving: Serving) -> Ask:
        """Find what the answer is to rest on, and give the model's prompt with what it can read."""
        sources: Sources = self.request.app.state.sources
        if serving.mode == "simulation" or sources.state == "none":
            if self.wanted or self.specialty:
                self.found = Found(notice=NO_SOURCES)
            return self.ask
        if self.wanted is False:
            return self.ask
        question, topic = self._texts[-1], self.specialty
        all_found = await sources.find(question, topic=topic, deadline=self.ask.deadline)
        self.found, prompt = await asyncio.to_thread(all_found.fitted, self.ask, serving.lm)
        metrics: Metrics = self.request.app.state.metrics
        given = len(self.found.hits)
        metrics.sources.labels("given").inc(given)
        metrics.sources.labels("left_out").inc(len(all_found.hits) - given)
        return prompt

    async def _recorded(
        self, serving: Serving, prompt: Ask, journal: Journal | None
    ) -> AsyncGenerator[Piece | End]:
        """The answer between its two records."""
        under_way: UnderWay = self.request.app.state.under_way
        accepted = self._accepted(serving)
        outcome: Any = "cancelled"  # unless something else is known
        end, pieces = End(False, 0, 0, 0.0), list[str]()
        try:
            await written(journal, accepted)
        except asyncio.CancelledError:
            # It is written all the same, and without an end it would read as a crash.
            await self._end(journal, accepted, outcome, end)
            raise
        try:
            async with closing(self._from_cache_or(serving, prompt, accepted)) as items:
                while item := await under_way.next(items):
                    if isinstance(item, End):
                        outcome, end = "answered", item
                        break
                    pieces.append(item.text)
                    yield item
        except ServerStopped:
            raise
        except BackendError as error:
            outcome = "refused" if isinstance(error, _REFUSED) else "failed"
            raise
        except Exception:
            outcome = "failed"
            raise
        finally:
            # An answer that broke off has about as many tokens as pieces.
            end = replace(end, new_tokens=end.new_tokens or len(pieces))
            state = self.request.app.state
            self._count_references("".join(pieces))
            if outcome != "refused":  # whoever was refused asks again
                serves = state.manager.identity
                state.drift.count(self._texts[-1], serves.weights_sha256 if serves else "")
            await self._end(journal, accepted, outcome, end)
        if outcome != "answered":
            raise BrokenOff("The answer stopped without an end. Ask again.")
        yield end

    async def _end(
        self, journal: Journal | None, accepted: Accepted, outcome: Outcome, end: End
    ) -> None:
        """Count how a question ended, and record it."""
        state = self.request.app.state
        milliseconds = round((time.perf_counter() - self.started) * 1000)
        tokens = {"tokens_in": end.prompt_tokens, "tokens_out": end.new_tokens}
        ended = accepted.ended(outcome, milliseconds=milliseconds, **tokens)
        state.metrics.ended(outcome, accepted.arm, *tokens.values(), milliseconds)
        if state.traces:
            reason = ("stop" if end.finished else "length") if outcome == "answered" else ""
            state.traces.answered(self, accepted, ended, reason)
        await written(journal, ended)

    async def _from_cache_or(
        self, serving: Serving, prompt: Ask, accepted: Accepted
    ) -> AsyncGenerator[Piece | End]:
        """The answer that was remembered, or the model's, which is then remembered."""
        state = self.request.app.state
        cache: AnswerCache = state.cache
        api_key: Key | None = getattr(self.request.state, "key", None)
        key = cache.key(
            prompt,
            adapter=accepted.adapter,
            template=accepted.template,
            account=api_key.account if api_key else "",
            sources=self.found.names(),
        )
        if kept := cache.find(key):
            state.metrics.cache.labels("hit").inc()
            self.cached = True
            yield Piece(kept[0])
            yield kept[1]
            return
        if key:
            state.metrics.cache.labels("miss").inc()
        text: list[str] = []
        answer = serving.answer(prompt)
        if self.found.wanted:
            answer = citing(answer, len(self.found.hits), state.metrics)
        async with closing(answer) as items:
            async for item in items:
                if isinstance(item, End):
                    cache.keep(key, "".join(text), item)
                else:
                    text.append(item.text)
                yield item

    def _count_references(self, answer: str) -> None:
        metrics: Metrics = self.request.app.state.metrics
        asked = self._texts[::2]  # turns 1, 3 … are the user's
        kept = len(kept_citations(answer, len(self.found.hits)))
        metrics.cited(answer, asked, self.found.texts(), kept)

    async def _counted(self) -> None:
        if self.choice.arm:
            experiments = self.request.app.state.participation.experiments
            await asyncio.to_thread(experiments.answered, self.choice, time.time())

    def _accepted(self, serving: Serving) -> Accepted:
        state = self.request.app.state
        key: Key | None = getattr(self.request.state, "key", None)
        text = "\n\n".join(self._texts) if state.settings.audit_text else ""
        return Accepted(
            request=self.request.state.request_id,
            key=key.id if key else "",
            adapter=serving.weights,
            template=template_version(serving),
            retrieval=self.found.retrieval,
            arm=BASE if serving.base else self.choice.arm,
            text_hmac=keyed_hash(state.text_key, self.ask.identity) if state.text_key else "",
            text=privacy.mask(text) if text else "",
        )

    @property
    def _texts(self) -> list[str]:
        return _contents(self.ask)


def _contents(ask: Ask) -> list[str]:
    return [turn["content"] for turn in ask.messages]


def talk_about(
    request: Request,
    messages: Sequence[Message],
    *,
    choice: Choice,
    most: int | None,
    temperature: float | None,
    seed: int,
    sources: bool | None,
    specialty: str,
    pictures: images.Pictures | None = None,
) -> Talk:
    """Put a conversation as a question, with this server's settings where a request names none.

    Args:
        request: the HTTP request.
        messages: turns that end with the user's.
        choice: from `chosen`.
        most: tokens to write.
        temperature: 0 always takes the likeliest token.
        seed: for temperatures above 0.
        sources: whether to answer from sources; None: where the server has any.
        specialty: of which alone sources are taken; "" takes all.
        pictures: those of each turn that has some.

    Raises:
        HTTPException: 422, the request asks for more tokens than this server writes.
    """
    settings: Settings = request.app.state.settings
    if (most or 0) > settings.max_new_tokens:
        told = f"max_new_tokens: this server writes at most {settings.max_new_tokens} tokens."
        raise HTTPException(422, told)
    ask = Ask(
        messages=[turn.model_dump() for turn in messages],
        max_new_tokens=most or settings.max_new_tokens,
        temperature=settings.temperature if temperature is None else temperature,
        seed=seed,
        deadline=time.monotonic() + settings.answer_seconds,
        pictures=pictures or {},
    )
    return Talk(request, ask, choice, wanted=sources, specialty=specialty)


def chosen(request: Request, subject: str = "", *, consent: bool = False) -> Choice:
    """Which adapter answers a request.

    Args:
        request: the request.
        subject: the front end's identifier of the person; "" if it has none.
        consent: whether the person agreed to take part in the running experiment.

    Raises:
        HTTPException: 503, the file that says who answers is damaged.
    """
    participation: Participation | None = request.app.state.participation
    if participation is None:
        return Choice("")
    try:
        return participation.experiments.choose(subject, consent)
    except ExperimentError as error:
        log.error("%s", error)
        raise HTTPException(
            503, "The server does not know who answers: its log says why."
        ) from None


def http_error(error: BackendError) -> HTTPException:
    """What a client is told of a backend that does not answer.

    Args:
        error: what came instead of an answer.
    """
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
    return HTTPException(STATUS[type(error)], str(error), headers=headers)

"""Find the passages that a question is answered from, and tie the answer to them.

Searching and comparing compute, so they happen in a thread of their own, one at a time; their time
counts in the deadline of the answer. Where sources were to be had and there are none, the answer
says so: it never goes without them in silence.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from elara.model import SYSTEM_PROMPT, LanguageModel
from elara.model.chat import as_data
from elara.records import Article
from elara.retrieval.citing import CitationFilter, sources_prompt, support
from elara.retrieval.search import Hit, Index, open_index
from elara.serve.backends import (
    Ask,
    BackendError,
    End,
    ModelUnavailable,
    Piece,
    closing,
)
from elara.serve.background import Background, until
from elara.serve.config import Settings, SettingsError, local_only
from elara.serve.logs import place_of
from elara.serve.metrics import Metrics
from elara.serve.schemas import Evidence, Source, Supported
from elara.serve.upstream import read_upstreams
from elara.workspace import MANIFEST, WorkspaceError

log = logging.getLogger("elara.serve")

NO_SOURCES = "There are no sources here, so the answer rests on none."
_UNOPENED = "No sources: their index could not be opened, and the server's log says why."
_UNSEARCHED = "No sources: the search for them failed, and the server's log says where."
_UNCOMPARED = "The answer's sentences could not be compared with its sources."


@dataclass(frozen=True)
class Found:
    """What was found for a question.

    Args:
        hits: the passages that the model is given, best first.
        retrieval: identity of the index that was searched; "" where none was.
        wanted: whether the answer was to have sources, so that it may cite nothing else.
        notice: what the user is told of it; mostly empty.
        seconds: how long it took.
        cite: whether the model is asked to cite them itself.
    """

    hits: tuple[Hit, ...] = ()
    retrieval: str = ""
    wanted: bool = False
    notice: str = ""
    seconds: float = 0.0
    cite: bool = False

    def put_to(self, ask: Ask) -> Ask:
        """The question as the model gets it, with the sources in its last turn.

        Args:
            ask: the question in the user's own words.
        """
        if not self.hits:
            return ask
        *before, last = ask.messages
        passages = [hit.passage for hit in self.hits]
        text = sources_prompt(last["content"], passages, cite=self.cite)
        return replace(ask, messages=[*before, last | {"content": text}])

    def fitted(self, ask: Ask, lm: LanguageModel | None) -> tuple[Found, Ask]:
        """As many of the passages, from the first on, as the model can read with the question.

        It cuts a long conversation into tokens: call it in a thread.

        Args:
            ask: the question in the user's own words.
            lm: the model; None where it is elsewhere, and what it can read is not known.

        Returns:
            What is left, and the question with it as the model gets it.
        """
        fitting = replace(self, cite=lm is None)  # models elsewhere are larger
        prompt = fitting.put_to(ask)
        while fitting.hits and not _fits(prompt, lm):
            fitting = replace(fitting, hits=fitting.hits[:-1])
            prompt = fitting.put_to(ask)
        if left_out := len(self.hits) - len(fitting.hits):
            told = (
                f"{left_out} of {len(self.hits)} sources were left out, since the model cannot "
                f"read them all with this conversation and write the answer: send fewer turns."
            )
            fitting = replace(fitting, notice=told)
        return fitting, prompt

    def sources(self) -> list[Source]:
        """The passages as an answer shows them."""
        names = set(Source.model_fields) - {"n", "score"}
        return [
            Source(
                n=n,
                score=round(hit.score, 4),
                **{name: getattr(hit.passage, name) for name in names},
            )
            for n, hit in enumerate(self.hits, 1)
        ]

    def names(self) -> list[str]:
        """Whatever an answer from these sources depends on, besides their texts."""
        wanted = [f"from {self.retrieval}"] if self.wanted else []
        return [*wanted, *(hit.passage.id for hit in self.hits)]

    def texts(self) -> list[str]:
        """The passages, whole, with titles and addresses; a model may read less of them."""
        return [f"{p.text}\n{p.title}\n{p.url}" for p in (hit.passage for hit in self.hits)]


NOTHING = Found()


class Sources:
    """The index of one server. Its coroutines are awaited in the server's event loop.

    Args:
        settings: name the index, and how many passages an answer gets.
        metrics: count what happens.

    Raises:
        SettingsError: there is no index where one is named, or it is not for others.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.folder = settings.retrieval if settings.sources else None
        self.index: Index | None = None
        self._found: Evidence | None = None
        self.state: Literal["none", "opening", "ready", "failed"] = "none"
        if self.folder:
            self._found = _check(self.folder, settings)
            self.state = "opening"
        self._settings = settings
        self._metrics = metrics
        self._opened = asyncio.Event()
        self._thread = Background("elara-sources", settings.queue_limit)

    @property
    def evidence(self) -> Evidence | None:
        """The index, also while it is being opened; None where answers come without sources."""
        if (index := self.index) is None:
            return None if self.state == "failed" else self._found
        return Evidence(identity=index.identity, passages=index.passages, licences=index.licences)

    async def start(self) -> None:
        """Open the index; afterwards `state` is `ready`, or `failed` and the log says why."""
        if self.folder:
            try:
                index = await self._thread.run(partial(open_index, self.folder))
                _check_licences(index.licences, self._settings)  # built anew since the last look?
                self.index, self.state = index, "ready"
            except Exception as error:
                self.state = "failed"
                kind = type(error).__name__
                log.error(
                    "the index in %s cannot be opened (%s: %s): answers come without sources, and "
                    "each of them says so",
                    self.folder,
                    kind,
                    error,
                )
        self._opened.set()

    def close(self) -> None:
        """Let the thread end, after what it does now."""
        self._thread.close()

    async def find(self, question: str, *, topic: str, deadline: float) -> Found:
        """Look for passages. An index that is still being opened is waited for.

        Args:
            question: the user's last turn.
            topic: a specialty, whose passages alone are taken; "" takes all.
            deadline: as in `Ask`.

        Raises:
            BackendError: too many wait, or the deadline has passed.
        """
        if self.state == "none":
            return NOTHING
        started = time.perf_counter()
        try:
            found = await self._searched(question, topic, deadline)
        except BackendError:
            raise
        except Exception as error:
            log.error("the search for sources failed: %s", _why(error))
            self._metrics.retrievals.labels("failed").inc()
            found = Found(wanted=True, notice=_UNSEARCHED)
        return replace(found, seconds=time.perf_counter() - started)

    async def _searched(self, question: str, topic: str, deadline: float) -> Found:
        index = await self.opened(deadline)
        if index is None:
            self._metrics.retrievals.labels("failed").inc()
            return Found(wanted=True, notice=_UNOPENED)
        hits = await self._thread.run(
            lambda: index.search(question, self._settings.sources, topic=topic), deadline
        )
        self._metrics.retrievals.labels("found" if hits else "nothing").inc()
        notice = "" if hits else "No passage of the index bears on this question: no sources."
        return Found(tuple(hits), index.identity, True, notice)

    async def compare(
        self, answer: str, found: Found, deadline: float
    ) -> tuple[list[Supported], str]:
        """Say of each sentence of an answer which source supports it best.

        Args:
            answer: all of it.
            found: what it was written from.
            deadline: as in `Ask`.

        Returns:
            Its sentences; and a notice, which is empty unless they could not be compared.
        """
        index = self.index
        if not found.retrieval or index is None:
            return [], ""
        passages = [hit.passage for hit in found.hits]
        try:
            sentences = await self._thread.run(
                lambda: support(answer, passages, index.encoder), deadline
            )
        except Exception as error:
            log.error("an answer could not be compared with its sources: %s", place_of(error))
            self._metrics.retrievals.labels("uncompared").inc()
            return [], _UNCOMPARED
        names = ("start", "end", "source", "cited")
        return [
            Supported(score=round(s.score, 4), **{name: getattr(s, name) for name in names})
            for s in sentences
        ], ""

    async def article(self, article_id: str, deadline: float) -> Article | None:
        """An article of the index; None where it has none of this id.

        Args:
            article_id: its id.
            deadline: as in `Ask`.

        Raises:
            BackendError: the index cannot be read, too many wait, or the deadline has passed.
        """
        if self.state == "none":
            return None
        index = await self.opened(deadline)
        if index is None:
            raise ModelUnavailable(
                "The index of sources could not be opened: see the server's log."
            )
        try:
            return await self._thread.run(lambda: index.article(article_id), deadline)
        except BackendError:
            raise
        except Exception as error:
            log.error("an article of the index cannot be read: %s", _why(error))
            raise ModelUnavailable(
                "The article cannot be read from the index: see the server's log."
            ) from None

    async def opened(self, deadline: float) -> Index | None:
        """The index, once it has been tried to open it; None where there is none.

        Args:
            deadline: as in `Ask`.

        Raises:
            TookTooLong: the deadline has passed.
        """
        async with until(deadline):
            await self._opened.wait()
        return self.index


async def citing(
    answer: AsyncIterator[Piece | End], count: int, metrics: Metrics
) -> AsyncGenerator[Piece | End]:
    """An answer without citations of sources that it was not given.

    Args:
        answer: of a backend.
        count: how many sources it was given.
        metrics: count what is removed.
    """
    citations = CitationFilter(count)
    try:
        async with closing(answer) as items:
            async for item in items:
                text = citations.close() if isinstance(item, End) else citations.feed(item.text)
                if text:
                    yield Piece(text)
                if isinstance(item, End):
                    yield replace(item, removed_citations=citations.removed)
    finally:
        metrics.citations.labels("unknown").inc(citations.removed)


def _why(error: Exception) -> Exception | str:
    """What a workspace says of itself, which quotes nobody; any other exception might."""
    return error if isinstance(error, WorkspaceError) else place_of(error)


def _fits(ask: Ask, lm: LanguageModel | None) -> bool:
    """Whether a model can read a conversation and write its answer; yes where nobody can know."""
    config = getattr(lm.causal, "config", None) if lm else None
    # A model that reads pictures has its window among the settings for text.
    window = getattr(config.get_text_config(), "max_position_embeddings", None) if config else None
    if lm is None or window is None:
        return True
    most = ask.max_new_tokens + ask.picture_tokens
    turns = [{"role": "system", "content": SYSTEM_PROMPT}, *ask.messages]
    # A token is a byte at least, so that most conversations need not be cut into tokens.
    if sum(len(turn["content"].encode()) + 32 for turn in turns) + most <= window:
        return True
    prompt = lm.tokenizer.apply_chat_template(
        as_data(lm.tokenizer, turns), add_generation_prompt=True, return_dict=True
    )
    return bool(len(prompt["input_ids"]) + most <= window)


def _check(folder: Path, settings: Settings) -> Evidence:
    """Refuse a folder without an index, and one whose texts others must not read."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        licences = manifest["parameters"]["licences"]
        passages = manifest["counts"]["passages"]
        found = Evidence(identity=manifest["identity"], passages=passages, licences=licences)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"ELARA_SERVE_RETRIEVAL is '{folder}', where no index is that can be read "
            f"({type(error).__name__}): build one with `elara index`, or answer without sources "
            f"(ELARA_SERVE_SOURCES=0)."
        ) from None
    _check_licences(licences, settings)
    return found


def _check_licences(licences: str, settings: Settings) -> None:
    """Refuse texts that must not leave this computer where they would, by the server or a model."""
    elsewhere = read_upstreams(settings.upstreams) if settings.upstreams else ()
    if licences != "redistributable" and not (
        local_only(settings) and all(upstream.local for upstream in elsewhere)
    ):
        raise SettingsError(
            f"The index in {settings.retrieval} holds texts that must not be passed on (licences: "
            f"{licences}), and others can reach this server, or a model elsewhere would get them: "
            f"listen on 127.0.0.1 without a proxy, name models of this computer only, build the "
            f"index with redistributable texts only, or answer without sources "
            f"(ELARA_SERVE_SOURCES=0)."
        )

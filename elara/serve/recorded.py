"""Write what happened to the audit log, without which nothing is answered and nothing is done."""

from __future__ import annotations

import hashlib
import logging
from functools import lru_cache

from fastapi import HTTPException, Request

from elara.model import SYSTEM_PROMPT
from elara.serve.backends import RETRY_SECONDS
from elara.serve.journal import Event, Journal, JournalError, JournalFull, Record
from elara.serve.serving import Serving

log = logging.getLogger("elara.serve")


def template_version(serving: Serving) -> str:
    """Name the form in which questions are put: system line and chat template.

    Args:
        serving: the adapter that answers; a server elsewhere has a template of its own.
    """
    template = getattr(serving.lm.tokenizer, "chat_template", None) if serving.lm else ""
    return _version(str(template or ""))


@lru_cache(maxsize=16)
def _version(template: str) -> str:
    return hashlib.sha256(f"{SYSTEM_PROMPT}\n{template}".encode()).hexdigest()[:16]


async def record_act(request: Request, event: Event) -> None:
    """Record an act of administration.

    Args:
        request: the administrator's.
        event: the act.

    Raises:
        HTTPException: 503, it cannot be recorded.
    """
    await written(request.app.state.journal, event)


async def written(journal: Journal | None, record: Record) -> None:
    """Write a record, and go on once it is durable.

    Args:
        journal: the audit log; None where none is kept.
        record: what happened.

    Raises:
        HTTPException: 503, it cannot be written.
    """
    if journal is None:
        return
    try:
        await journal.write(record)
    except JournalError as error:
        log.error("%s", error)
        why = "too much waits for it" if isinstance(error, JournalFull) else "its log says why"
        raise HTTPException(
            503,
            f"The server cannot write its audit log ({why}), so it does not answer: ask again in "
            f"{RETRY_SECONDS} seconds.",
            {"Retry-After": str(RETRY_SECONDS)},
        ) from None

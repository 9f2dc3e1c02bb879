"""Write the server's log as lines of text or of JSON, with each request's id.

What an exception says may quote a conversation, so only its type and place are written. Libraries
may show values below the first line of a message, and the event loop even in it.
"""

from __future__ import annotations

import json
import logging
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]

REQUEST: ContextVar[str] = ContextVar("elara_request", default="")  # id of the one being answered


class Lines(logging.Formatter):
    """One line for each record: time in UTC, level, message, and what is known besides.

    Args:
        form: `json` writes an object for each line, `text` is for people.
    """

    def __init__(self, form: LogFormat) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record. Its `access`, a dictionary, becomes fields of their own in JSON."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        message, access = _message(record), getattr(record, "access", None)
        more: dict[str, Any] = {}
        if (request := REQUEST.get()) and not access:
            more["request"] = request
        if record.exc_info and (error := record.exc_info[1]):
            more["error"] = place_of(error)
        if self._form == "text":
            return " ".join(
                [time, record.levelname, message, *(f"{k}={v}" for k, v in more.items())]
            )
        told = {"time": time, "level": record.levelname, "logger": record.name, "message": message}
        return json.dumps(told | more | (access or {}))


def write_log(form: LogFormat) -> None:
    """Send what is logged from now on, warnings of Python too, to standard error.

    Args:
        form: of each line.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(Lines(form))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)


def place_of(error: BaseException) -> str:
    """Type and place of an error, and nothing of its text.

    Args:
        error: as it was caught.
    """
    frames = traceback.extract_tb(error.__traceback__)
    kind = type(error).__name__
    return f"{kind} in {frames[-1].name}:{frames[-1].lineno}" if frames else kind


def _message(record: logging.LogRecord) -> str:
    if record.name.startswith("elara"):
        return record.getMessage()
    if record.name == "asyncio":
        return "the event loop met an error outside of any request"
    first, *rest = record.getMessage().rstrip().split("\n")
    if rest and first.startswith("Traceback"):
        return f"stopped by {rest[-1].partition(':')[0]}"
    return first

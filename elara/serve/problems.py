"""Say what went wrong in one form: problem details for HTTP, with the request's id."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.types import Scope

MEDIA_TYPE = "application/problem+json"
UNREADABLE = "The body cannot be read: send JSON in UTF-8, without deep nesting or endless numbers."
EXAMPLE_ID = "5f0c1d2e3b4a49788796a5b4c3d2e1f0"
# One of the reasons for each status, as an example.
_DETAILS = {
    400: UNREADABLE,
    401: "This key opens nothing: it is mistyped, revoked or expired.",
    403: "This key is not for this address, which needs the scope admin.",
    404: "There is no such model here: ask for `elara`, or see GET /v1/models.",
    408: "The request did not arrive within 10 seconds.",
    409: "No feedback has this token: it was deleted, or is mistyped.",
    413: "The request is longer than 262144 bytes: send less at a time.",
    421: "This server does not answer to that Host.",
    422: "messages.0.content: the message is empty; write a question",
    429: "This key has 60 requests a minute.",
    431: "The headers are longer than 16384 bytes: send fewer or shorter ones.",
    500: "The server failed (OSError). Its log names the place, with this request's id.",
    502: "The answer stopped without an end. Ask again.",
    503: "The model is still loading: ask again in 5 seconds.",
    504: "The time for this answer ran out: ask for fewer tokens, or ask again later.",
}


class Problem(BaseModel):
    """Every error has this form.

    Source: https://www.rfc-editor.org/rfc/rfc9457
    """

    type: str = Field(default="about:blank", description="about:blank: the status says it all")
    title: str = Field(description="the status in words")
    status: int
    detail: str = Field(description="what is wrong and what to do")
    instance: str = Field(description="the request's id, as a relative reference")
    request_id: str = Field(description="the same, under the name that answers use")


def problem(
    scope: Scope, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An error response.

    Args:
        scope: of the request; its state holds the request's id.
        status: HTTP status.
        detail: what is wrong and what to do; nothing of what was sent.
        headers: further ones, such as Retry-After in seconds.

    Source: https://www.rfc-editor.org/rfc/rfc9457#name-members-of-a-problem-detail
    """
    request_id = scope.get("state", {}).get("request_id", "")
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=request_id,
        request_id=request_id,
    )
    return JSONResponse(body.model_dump(), status, dict(headers or {}), media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI document says of these statuses; `describe` adds the schema and headers.

    Args:
        statuses: those that an address may answer with.
    """
    return {status: _documented(status) for status in statuses}


def _documented(status: int) -> dict[str, Any]:
    title = HTTPStatus(status).phrase
    example = Problem(
        title=title,
        status=status,
        detail=_DETAILS[status],
        instance=EXAMPLE_ID,
        request_id=EXAMPLE_ID,
    )
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example.model_dump()}
    return {"description": title, "content": {MEDIA_TYPE: content}}

"""Say what went wrong in one form: problem details for HTTP, with the request's id."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.types import Scope

MEDIA_TYPE = "application/problem+json"


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
    """What the OpenAPI document says of these statuses.

    Args:
        statuses: those that an address may answer with.
    """
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {s: {"description": HTTPStatus(s).phrase, "content": content} for s in statuses}

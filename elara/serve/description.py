"""Complete the OpenAPI description: what the guards ask for and answer, and an example of each.

FastAPI describes what it knows: models and parameters. Keys, refusals and headers come from guards
around the application, so they are added here, by the same settings and rules.

Source: https://fastapi.tiangolo.com/how-to/extending-openapi/
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from elara.serve.examples import ANSWERS, REQUESTS
from elara.serve.guard import scope_of
from elara.serve.problems import Problem, documented

_EVERYWHERE = (403, 408, 413, 421, 431, 500)
_WITH_KEYS = (401, 429, 503)  # no key, too many requests; neither can be read or counted
_WITH_BODY = (400, 422)
_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "the caller's own, or a new one; the log names it, too",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
    "Server-Timing": {
        "description": "milliseconds until the answer began",
        "required": True,
        "schema": {"type": "string", "pattern": r"^total;dur=\d+\.\d$"},
    },
    "Retry-After": {
        "description": "seconds after which asking again may help",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "that a key is needed, or what is wrong with the one that was sent",
        "schema": {"type": "string", "pattern": "^Bearer"},
    },
}
_SENT = {401: "WWW-Authenticate", 403: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}


def describe(app: FastAPI) -> None:
    """Let an application's OpenAPI description say all that its callers meet.

    Args:
        app: the application, with its settings as state.
    """
    plain, keys = app.openapi, app.state.settings.keys is not None

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:  # FastAPI keeps what it made, and so what is added to it
            _complete(plain(), keys)
        return plain()

    app.openapi = described  # type: ignore[method-assign]


def _complete(document: dict[str, Any], keys: bool) -> None:
    components = document["components"]
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)  # FastAPI's own form, in place of `Problem`
    components["schemas"]["Problem"] = Problem.model_json_schema()
    components["headers"] = _HEADERS
    if keys:
        told = {"type": "http", "scheme": "bearer", "description": "from `elara keys add`"}
        components["securitySchemes"] = {"Key": told}
    for path, operations in document["paths"].items():
        locked = keys and scope_of(path) is not None
        for operation in operations.values():
            if locked:
                operation["security"] = [{"Key": []}]
            body = operation.get("requestBody")
            if not body:  # FastAPI expects any parameter to fail; a piece of an address cannot
                operation["responses"].pop("422", None)
            refusals = documented(
                *_EVERYWHERE, *(_WITH_KEYS if locked else ()), *(_WITH_BODY if body else ())
            )
            responses = operation["responses"] | {str(s): told for s, told in refusals.items()}
            operation["responses"] = responses = dict(sorted(responses.items()))
            for status, response in responses.items():
                names = ["X-Request-ID", "Server-Timing", _SENT.get(int(status), "")]
                response["headers"] = {
                    name: {"$ref": f"#/components/headers/{name}"} for name in names if name
                }
            for kind, example in ANSWERS.get(path, {}).items():
                responses["200"]["content"][kind]["example"] = example
            if path in REQUESTS:
                body["content"]["application/json"]["example"] = REQUESTS[path]

"""Serve a start page and the documentation to browsers, both without a network."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates

import elara
from elara.serve.backends import HOW_TO_GET_A_MODEL
from elara.serve.config import Settings
from elara.serve.models import ModelManager
from elara.serve.schemas import DISCLAIMER, EXAMPLE, INTENDED_USE

_WEB = Path(__file__).with_name("web")
# Jinja2 escapes what it inserts: a loader's message or an adapter's name may hold anything.
_templates = Jinja2Templates(directory=_WEB)

# The browser itself refuses whatever is not on this server.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}

router = APIRouter()


def assets() -> StaticFiles:
    """Styles and scripts of the pages: ours, and Swagger UI out of the package that carries it.

    Source: https://fastapi.tiangolo.com/how-to/custom-docs-ui-assets/
    """
    return StaticFiles(directory=_WEB / "assets", packages=[("fastapi_offline", "static")])


def prefers_html(accept: str) -> bool:
    """Whether a client wants a page rather than JSON.

    Args:
        accept: its `Accept` header. Browsers name `text/html`; a client that takes anything
            (`*/*`, or no header) gets JSON.

    Source: https://www.rfc-editor.org/rfc/rfc9110#name-accept
    """
    qualities: dict[str, float] = {}
    for entry in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        try:
            quality = next((float(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
        except ValueError:
            continue  # an entry that cannot be read counts for nothing
        qualities[kind] = quality

    def wanted(kind: str) -> float:
        ranges = (kind, f"{kind.split('/')[0]}/*", "*/*")  # the most specific one decides
        return next((qualities[name] for name in ranges if name in qualities), 0.0)

    return wanted("text/html") > wanted("application/json")


def welcome_page(request: Request) -> HTMLResponse:
    """The start page: what this is, what it may be used for, and how to ask it."""
    settings: Settings = request.app.state.settings
    manager: ModelManager = request.app.state.manager
    limit = min(EXAMPLE["max_new_tokens"], settings.max_new_tokens)
    body = json.dumps(EXAMPLE | {"max_new_tokens": limit})
    url = shlex.quote(f"{str(request.base_url).rstrip('/')}/chat")
    context = {
        "version": elara.__version__,
        "intended_use": INTENDED_USE,
        "disclaimer": DISCLAIMER,
        "verdict": request.app.state.verdict,
        "keeps_questions": settings.audit_text and settings.audit_log is not None,
        "manager": manager,
        "how_to_get_a_model": HOW_TO_GET_A_MODEL,
        "command": (
            f"curl {url} \\\n  -H 'Content-Type: application/json' \\\n  -d {shlex.quote(body)}"
        ),
    }
    return _templates.TemplateResponse(request, "welcome.html", context, headers=_HEADERS)


@router.get("/docs", include_in_schema=False)
async def documentation(request: Request) -> HTMLResponse:
    """Swagger UI over `/openapi.json`."""
    return _templates.TemplateResponse(request, "docs.html", headers=_HEADERS)

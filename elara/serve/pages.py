"""Serve browsers the page for asking, a start page and the documentation, without a network."""

from __future__ import annotations

import json
import shlex
from os import PathLike
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates

import elara
from elara.serve.backends import HOW_TO_GET_A_MODEL
from elara.serve.config import Settings
from elara.serve.models import ModelManager
from elara.serve.schemas import DISCLAIMER, EXAMPLE, INTENDED_USE

_WEB = Path(__file__).with_name("web")
# What `make page` builds from `web/page`. It is absent where that could fetch no packages.
APP = _WEB / "app"
NOT_BUILT = "It was not built. In a checkout, `make page` builds it and says what it lacks."
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


class BuiltPage(StaticFiles):
    """The page at /app: only its own scripts run in it, and only named sites may frame it.

    Args:
        folder: what was built.
        framed_by: origins whose pages may show it in a frame; none: no page may.

    Source: https://www.w3.org/TR/CSP3/ and https://www.rfc-editor.org/rfc/rfc8246
    """

    def __init__(self, folder: Path, framed_by: tuple[str, ...]) -> None:
        super().__init__(directory=folder, html=True)
        ancestors = " ".join(framed_by) or "'none'"
        self.policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
            "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            f"frame-ancestors {ancestors}"
        )

    def file_response(self, full_path: str | PathLike[str], *rest: Any) -> Response:
        """A file, with the headers that belong to it."""
        response = super().file_response(full_path, *rest)
        # The names of all files but the pages themselves change with what is in them.
        page = Path(full_path).suffix == ".html"
        response.headers["Cache-Control"] = (
            "no-cache" if page else "public, max-age=31536000, immutable"
        )
        response.headers["Content-Security-Policy"] = self.policy
        return response


def built_page(settings: Settings) -> BuiltPage | None:
    """The page at /app; None: it was not built.

    Args:
        settings: who may frame it.
    """
    if not (APP / "index.html").is_file():
        return None
    return BuiltPage(APP, settings.frame_ancestors)


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
        "page_built": request.app.state.page_built,
        "not_built": NOT_BUILT,
        "command": (
            f"curl {url} \\\n  -H 'Content-Type: application/json' \\\n  -d {shlex.quote(body)}"
        ),
    }
    return _templates.TemplateResponse(request, "welcome.html", context, headers=_HEADERS)


def to_the_page(address: str) -> RedirectResponse:
    """Lead a browser on, by a relative address: a proxy may have put this server below a path."""
    return RedirectResponse(address, 303)


@router.get("/app", include_in_schema=False)
async def without_slash() -> RedirectResponse:
    """Lead to the page, whose links are relative to its folder."""
    return to_the_page("app/")


@router.get("/welcome", include_in_schema=False)
async def welcome(request: Request) -> HTMLResponse:
    """The start page, also where `GET /` leads to the page at /app."""
    return welcome_page(request)


@router.get("/docs", include_in_schema=False)
async def documentation(request: Request) -> HTMLResponse:
    """Swagger UI over `/openapi.json`."""
    return _templates.TemplateResponse(request, "docs.html", headers=_HEADERS)

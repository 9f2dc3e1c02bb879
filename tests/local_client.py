"""A test client that is a program of this computer, as the server's default settings ask for."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient
from starlette.types import ASGIApp


class LocalClient(TestClient):
    """Sends requests to an application as if it listened on 127.0.0.1:8000."""

    def __init__(self, app: ASGIApp, base_url: str = "http://127.0.0.1:8000", **how: Any) -> None:
        super().__init__(app, base_url=base_url, **how)

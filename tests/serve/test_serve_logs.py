"""The log: each line can be read by a program, names its request, and quotes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.responses import StreamingResponse
from test_serve_http import question

from elara.serve import ModelManager, Settings, SettingsError, create_app, running
from elara.serve.envelope import _FIRST
from elara.serve.keys import KeyFile
from elara.serve.logs import LogFormat, write_log

SECRET = "Okonkwo"


@contextlib.contextmanager
def hearing(form: LogFormat) -> Iterator[io.StringIO]:
    """What goes to standard error, with a log set up as the server does it."""
    root, level = logging.getLogger(), logging.getLogger().level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(root, "handlers", [])  # those of the test runner
        patch.setattr("sys.stderr", io.StringIO())
        write_log(form)
        try:
            yield sys.stderr  # type: ignore[misc]
        finally:
            logging.captureWarnings(False)
            root.setLevel(level)


def serve(
    form: LogFormat, manager: ModelManager, fake: Any, tmp_path: Path
) -> tuple[list[str], str, str]:
    """Lines of a server that is asked in every way, its key's id, and the secret of the key."""
    key, token = KeyFile(tmp_path / "keys.json").add("ward", ["chat"])
    settings = Settings(keys=tmp_path / "keys.json", log_format=form)
    app = create_app(settings, manager=manager)

    @app.get("/chat/fails")
    async def fails() -> None:
        raise ValueError(f"about {SECRET}")

    @app.get("/chat/breaks")
    async def breaks() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield "a"
            raise ValueError(f"about {SECRET}")

        return StreamingResponse(parts())

    @app.get("/chat/outside")
    async def outside() -> None:
        async def later() -> None:
            raise ValueError(f"about {SECRET}")

        task = asyncio.create_task(later())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        asyncio.get_running_loop().call_soon(fail_with, SECRET)

    def broken(questions: list[str]) -> None:
        raise ValueError(f"cannot answer {questions}")

    headers = {"Authorization": f"Bearer {token}", "X-Request-ID": "mine-7"}
    with (
        hearing(form) as heard,
        running(app) as url,
        httpx.Client(base_url=url, headers=headers, timeout=60) as client,
    ):
        while not client.get("/health").json()["model_ready"]:
            pass
        assert client.post("/chat", json=question(SECRET)).status_code == 200
        assert client.post("/chat", json=question(SECRET, seed=-1)).status_code == 422
        assert client.get(f"/{SECRET}?{SECRET}=1").status_code == 404
        assert client.get("/chat/fails").status_code == 500
        assert client.get("/chat/outside").status_code == 200
        fake.fault = broken
        assert client.post("/chat", json=question(f"another {SECRET}")).status_code == 500
        streamed = {"model": "elara", "stream": True, **question(f"a third {SECRET}")}
        assert client.post("/v1/chat/completions", json=streamed).status_code == 500
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("/chat/breaks")
    return heard.getvalue().splitlines(), key.id, token.split("_", 2)[2]


def fail_with(text: str) -> None:
    raise ValueError(f"about {text}")


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_line_quotes_what_was_written_or_a_key(
    form: LogFormat, manager: ModelManager, fake: Any, tmp_path: Path
) -> None:
    lines, key, token = serve(form, manager, fake, tmp_path)
    text = "\n".join(lines)
    assert SECRET not in text
    assert token not in text
    assert "Traceback" not in text
    assert key in text
    # Each of the ways that could have quoted something was taken.
    assert "request failed: ValueError in fails:" in text
    assert "generation failed: ValueError in broken:" in text
    assert "ValueError in fail_with:" in text
    assert text.count("the event loop met an error outside of any request") == 2
    assert "Exception in ASGI application" in text


def test_every_line_is_an_object_with_its_request(
    manager: ModelManager, fake: Any, tmp_path: Path
) -> None:
    lines, key, _ = serve("json", manager, fake, tmp_path)
    told = [json.loads(line) for line in lines]
    for line in told:
        assert {"time", "level", "logger", "message"} <= line.keys()
        assert datetime.fromisoformat(line["time"]).utcoffset() is not None
    access = [line for line in told if "route" in line]
    kept = ("method", "route", "status", "request", "key")
    found = [tuple(line[name] for name in kept) for line in access if line["route"] != "/health"]
    assert found == [
        ("POST", "/chat", 200, "mine-7", key),
        ("POST", "/chat", 422, "mine-7", key),
        ("GET", "(no such address)", 404, "mine-7", key),
        ("GET", "/chat/fails", 500, "mine-7", key),
        ("GET", "/chat/outside", 200, "mine-7", key),
        ("POST", "/chat", 500, "mine-7", key),
        ("POST", "/v1/chat/completions", 500, "mine-7", key),
        ("GET", "/chat/breaks", 200, "mine-7", key),
    ]
    assert all(isinstance(line["milliseconds"], int) for line in access)
    failed = next(line for line in told if line["message"].startswith("request failed"))
    assert (failed["request"], failed["level"], failed["logger"]) == (
        "mine-7",
        "ERROR",
        "elara.serve",
    )
    uvicorns = next(line for line in told if line["logger"] == "uvicorn.error")
    assert uvicorns["message"] == "Exception in ASGI application"
    assert uvicorns["error"].startswith("Broken in __call__:")
    assert uvicorns["request"] == "mine-7"


def test_text_names_the_request_too(manager: ModelManager, fake: Any, tmp_path: Path) -> None:
    lines, key, _ = serve("text", manager, fake, tmp_path)
    assert any(
        line.endswith(f" ms mine-7 key={key}") and " POST /chat 200 " in line for line in lines
    )
    assert any("request failed" in line and line.endswith("request=mine-7") for line in lines)


def test_another_form_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"ELARA_SERVE_LOG_FORMAT is 'xml'.*'text' or 'json'"):
        Settings.from_environment({"ELARA_SERVE_LOG_FORMAT": "xml"})


def test_the_log_knows_the_beginning_of_every_address(tmp_path: Path) -> None:
    """Also of one whose request was refused before it found its route."""
    settings = Settings(serving=tmp_path, audit_log=tmp_path / "audit.sqlite")
    documented = create_app(settings).openapi()["paths"]
    assert {path.split("/")[1] for path in documented} <= _FIRST

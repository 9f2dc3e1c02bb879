"""Run the application: for good from the command line, or for a while in a thread."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from elara.serve.config import Settings
from elara.serve.main import create_app

log = logging.getLogger("elara.serve")

_START_SECONDS = 30.0


class PortInUse(RuntimeError):
    """Another program listens on the port; the message says what to do."""


def run(settings: Settings) -> None:
    """Serve until interrupted (Ctrl-C).

    Args:
        settings: what to serve, and where.

    Raises:
        PortInUse: the port is taken.
        SettingsError: the verdict that the settings name cannot be read.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    app = create_app(settings)
    with _listen(settings.host, settings.port) as listener:
        log.info("Elara listens on http://%s:%d (Ctrl-C stops it)", settings.host, settings.port)
        log.info("mode: %s. %s", app.state.manager.mode, app.state.verdict)
        if not _loopback(settings.host):
            log.warning(
                "%s can be reached from other computers, and there is no login.", settings.host
            )
        # Ctrl-C is the usual way to stop: uvicorn shuts down first and raises it again.
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(_config(app)).run(sockets=[listener])


@contextlib.contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """Run an application in a thread, on a free port that only this computer reaches.

    Args:
        app: the application, from `create_app`.

    Yields:
        Its address, e.g. `http://127.0.0.1:51234`. The server has started; its model may still
        be loading. On leaving, the server has stopped and the port is closed.

    Raises:
        RuntimeError: the application did not start within 30 seconds.

    Source: https://www.uvicorn.org/deployment/#running-programmatically
    """
    with _listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(_config(app))
        thread = threading.Thread(target=server.run, args=([listener],), name="elara-serve")
        thread.start()
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise RuntimeError("The server did not start; its log says why.")
                time.sleep(0.02)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def wait_until_ready(url: str, seconds: float = 300.0) -> None:
    """Wait until a server's model can answer.

    Args:
        url: the server's address.
        seconds: how long to wait at most. Small models load in seconds, large ones in minutes.

    Raises:
        RuntimeError: the model failed to load, there is none, or it took too long.
    """
    import httpx

    deadline = time.monotonic() + seconds
    proxied = not _loopback(httpx.URL(url).host)  # a proxy is never asked for this computer
    while True:
        status = httpx.get(f"{url}/chat/models/status", trust_env=proxied).json()
        if status["state"] == "ready":
            return
        if status["mode"] == "simulation":
            raise RuntimeError("The server runs in simulation mode: no model will get ready.")
        if status["state"] == "failed" or time.monotonic() > deadline:
            raise RuntimeError(status["error"] or f"The model did not load in {seconds:.0f} s.")
        time.sleep(0.1)


def _config(app: FastAPI) -> uvicorn.Config:
    # No access log of uvicorn's: it shows query strings. The application has its own.
    return uvicorn.Config(app, log_level="warning", access_log=False)


def _listen(host: str, port: int) -> socket.socket:
    # Bound here rather than by uvicorn: it would print a trace and exit when the port is taken.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"Port {port} on {host} is in use: stop the program that listens there, or choose "
                f"another port with ELARA_SERVE_PORT or `elara serve --port`."
            ) from None
        raise
    return listener


def _loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"

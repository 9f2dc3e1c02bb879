"""Run the application: for good from the command line, or for a while in a thread."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI

from elara.serve.backends import HOW_TO_GET_A_MODEL
from elara.serve.config import Settings, SettingsError, bracketed, loopback
from elara.serve.keys import KeyFile
from elara.serve.logs import write_log
from elara.serve.main import create_app
from elara.serve.pages import NOT_BUILT
from elara.serve.protocol import BoundedProtocol
from elara.serve.stopping import Server
from elara.serve.workers import serve_with_workers

log = logging.getLogger("elara.serve")

_START_SECONDS = 30.0
_LAST_SECONDS = 3.0  # for answers that were ended to reach those who asked
_MOST_CONNECTIONS = 1000  # more at once get status 503


class PortInUse(RuntimeError):
    """Another program listens on the port; the message says what to do."""


def run(settings: Settings) -> None:
    """Serve until interrupted (Ctrl-C, or the signal TERM).

    Answers under way are finished within `stop_seconds`; a second signal ends them at once. What
    is not finished is recorded as cancelled.

    Args:
        settings: what to serve, and where.

    Raises:
        PortInUse: the port is taken.
        SettingsError: the verdict that the settings name cannot be read, nobody can listen at the
            address, or others could reach the server without keys or encryption.
        KeysError: the keys cannot be read.
    """
    write_log(settings.log_format)
    check_listening(settings)
    app = create_app(settings)
    host, port = settings.host, settings.port
    with _claim(host, port), _listen(host, port) as listener:
        log.info("Elara listens on %s (Ctrl-C stops it)", _url(settings, settings.port))
        mode = app.state.manager.mode
        none = f"No model is loaded. {HOW_TO_GET_A_MODEL}"
        told = none if mode == "simulation" else app.state.verdict
        log.info("mode: %s. %s", mode, told)
        log.info("audit log: %s", settings.audit_log or "none; ELARA_SERVE_AUDIT_LOG names one")
        log.info("page: %s", "/app" if app.state.page_built else NOT_BUILT)
        log.info("sources: %s", app.state.sources.folder or "none; answers rest on the model alone")
        log.info("keys: %s", settings.keys or "none; only programs of this computer may ask")
        if settings.workers > 1:
            serve_with_workers(settings, listener, _given(settings))
        else:
            Server(_config(app)).run(sockets=[listener])


def check_listening(settings: Settings) -> None:
    """Refuse to listen where strangers could use or read what they should not.

    Args:
        settings: where to listen, and with what.

    Raises:
        SettingsError: says what is missing and what to type.
        KeysError: the keys cannot be read.
    """
    try:
        if settings.tls_cert and settings.tls_key:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                settings.tls_cert, settings.tls_key
            )
    except OSError as error:
        raise SettingsError(
            f"ELARA_SERVE_TLS_CERT {settings.tls_cert} and ELARA_SERVE_TLS_KEY {settings.tls_key} "
            f"cannot be used ({error.strerror or error}): name a certificate and its key, as PEM."
        ) from None
    file = KeyFile(settings.keys) if settings.keys else None
    valid = file is not None and any(k.state(file.now()) == "valid" for k in file.listed())
    away = not loopback(settings.host)
    if (away or settings.trusted_proxies) and not valid:
        raise SettingsError(
            f"{'Others can reach ' + settings.host if away else 'A proxy lets others in'}, and "
            f"there is no valid key: make one with `elara keys add NAME --scope chat`, or listen "
            f"on 127.0.0.1 without a proxy."
        )
    if away and not (settings.tls_cert or settings.trusted_proxies):
        raise SettingsError(
            f"Others can reach {settings.host}, and nothing encrypts: give `--tls-cert FILE "
            f"--tls-key FILE`, or name the network of the proxy that encrypts in "
            f"ELARA_SERVE_TRUSTED_PROXIES (such as 10.0.0.2/32), or listen on 127.0.0.1."
        )
    if settings.host in ("0.0.0.0", "::") and not settings.allowed_hosts:
        raise SettingsError(
            f"{settings.host} stands for every address of this computer: name those that callers "
            f"use in ELARA_SERVE_ALLOWED_HOSTS, such as elara.example.org."
        )


@contextlib.contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """Run an application in a thread, on a free port that only this computer reaches.

    All its settings count but for host and port.

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
        server = Server(_config(app))
        thread = threading.Thread(target=server.run, args=([listener],), name="elara-serve")
        thread.start()
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise RuntimeError("The server did not start; its log says why.")
                time.sleep(0.02)
            settings = app.state.settings.model_copy(update={"host": "127.0.0.1"})
            yield _url(settings, listener.getsockname()[1])
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
        httpx.HTTPStatusError: the server does not say, as where it asks for a key.
    """
    import httpx

    deadline = time.monotonic() + seconds
    proxied = not loopback(httpx.URL(url).host)  # a proxy is never asked for this computer
    while True:
        response = httpx.get(f"{url}/chat/models/status", trust_env=proxied)
        status = response.raise_for_status().json()
        if status["state"] == "ready":
            return
        if status["mode"] == "simulation":
            raise RuntimeError("The server runs in simulation mode: no model will get ready.")
        if status["state"] == "failed" or time.monotonic() > deadline:
            raise RuntimeError(status["error"] or f"The model did not load in {seconds:.0f} s.")
        time.sleep(0.1)


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(app, **_given(app.state.settings))


def _given(settings: Settings) -> dict[str, Any]:
    """What uvicorn is told."""
    return {
        "http": BoundedProtocol,
        "ws": "none",  # no address speaks it
        "log_config": None,  # its lines go where all others go
        "log_level": "warning",
        "access_log": False,  # it shows query strings; the application has a log of its own
        "server_header": False,
        # Left out, uvicorn would believe what programs of this computer say of their callers.
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": list(settings.trusted_proxies),
        "limit_concurrency": _MOST_CONNECTIONS,
        "timeout_graceful_shutdown": math.ceil(settings.stop_seconds + _LAST_SECONDS),
        "ssl_certfile": settings.tls_cert,
        "ssl_keyfile": settings.tls_key,
    }


def _url(settings: Settings, port: int) -> str:
    return f"http{'s' if settings.tls_cert else ''}://{bracketed(settings.host)}:{port}"


@contextlib.contextmanager
def _claim(host: str, port: int) -> Iterator[None]:
    """Refuse a port that another server has claimed, before either of them listens there.

    Linux gives a port twice as long as nobody listens, and for good to processes that share it.

    Source: https://man7.org/linux/man-pages/man7/unix.7.html, abstract socket addresses
    """
    if sys.platform != "linux":
        yield
        return
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            claim.bind(f"\0elara {host} {port}")  # no file, and free when this process ends
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _in_use(host, port) from None
            raise
        yield


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
            raise _in_use(host, port) from None
        raise SettingsError(
            f"{host}, port {port}, cannot be listened on ({error.strerror}): name an address of "
            f"this computer in ELARA_SERVE_HOST, and a port above 1023 in ELARA_SERVE_PORT."
        ) from None
    return listener


def _in_use(host: str, port: int) -> PortInUse:
    return PortInUse(
        f"Port {port} on {host} is in use: stop the program that listens there, or choose "
        f"another port with ELARA_SERVE_PORT or `elara serve --port`."
    )

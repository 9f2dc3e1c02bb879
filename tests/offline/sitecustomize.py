"""Put this folder on PYTHONPATH and Python can only talk to its own machine.

Every attempt to reach another one fails, as without a network, and is written to the file that
ELARA_NETWORK_LOG names, so that a test can show that none was made.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

_OWN = {"", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::", socket.gethostname()}
_connect = socket.socket.connect
_getaddrinfo = socket.getaddrinfo


def _refuse(host: object) -> None:
    name = host.decode() if isinstance(host, bytes) else str(host or "")
    if name in _OWN:
        return
    if log := os.environ.get("ELARA_NETWORK_LOG"):
        with open(log, "a") as file:  # noqa: PTH123 - pathlib is not imported this early
            file.write(f"{name} {sys.argv[:2]}\n")
    raise socket.gaierror(socket.EAI_NONAME, f"the network is off: {name}")


def connect(self: socket.socket, address: Any) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6):
        _refuse(address[0])
    _connect(self, address)


def getaddrinfo(host: Any, *rest: Any, **named: Any) -> Any:
    _refuse(host)
    return _getaddrinfo(host, *rest, **named)


socket.socket.connect = connect  # type: ignore[method-assign, assignment]
socket.getaddrinfo = getaddrinfo

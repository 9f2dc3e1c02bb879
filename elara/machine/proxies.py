"""Set the proxy variables so that no request to this computer goes through a proxy.

A notebook talks to servers of its own (the rehearsal of live sources, the served adapter). Most
clients would send even that to the proxy which HTTP_PROXY names, where it is refused or hangs.
All of them read NO_PROXY, and kernels inherit it; so it is set once, when `elara` is imported.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import MutableMapping

# As urllib, requests and httpx compare them: no brackets around ::1, no networks.
_THIS_COMPUTER = ("localhost", "127.0.0.1", "::1")
_KINDS = ("http_proxy", "https_proxy", "all_proxy")


def spare_this_computer(environment: MutableMapping[str, str] = os.environ) -> list[str]:
    """Add this computer to NO_PROXY, and drop proxies that would end every request.

    httpx raises an error on a SOCKS proxy when the package `socksio` is missing, and on schemes
    that it does not know, even for requests that need no proxy. Such a variable is dropped from
    this process, with a line on standard error.

    Args:
        environment: changed in place; without a proxy variable nothing happens.

    Returns:
        The names of the variables that were dropped.
    """
    proxies = {k: v for k, v in environment.items() if k.lower() in _KINDS and v}
    if not proxies:
        return []
    # Some programs read the one, some the other, and the small one wins: both say the same.
    kept = [environment.get(name, "") for name in ("no_proxy", "NO_PROXY")]
    hosts = [host.strip() for text in kept for host in text.split(",") if host.strip()]
    value = ",".join(dict.fromkeys([*hosts, *_THIS_COMPUTER]))
    environment["NO_PROXY"] = environment["no_proxy"] = value
    dropped = [name for name, url in proxies.items() if not _usable(url)]
    for name in dropped:
        del environment[name]
        print(
            f"{name}={proxies[name].split('@')[-1]} is ignored: socks5:// needs `pip install "
            "'httpx[socks]'`; or use a proxy whose address begins with http://.",
            file=sys.stderr,
        )
    return dropped


def _usable(url: str) -> bool:
    scheme = url.partition("://")[0].lower() if "://" in url else "http"
    if scheme in ("socks5", "socks5h"):
        return importlib.util.find_spec("socksio") is not None
    return scheme in ("http", "https")

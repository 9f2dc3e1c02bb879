"""Other places that a process may find itself in, made by root with the system's own tools."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

# Somebody else who may read everything, wherever Python is installed, and write nothing.
_READER = "--inh-caps=+dac_read_search --ambient-caps=+dac_read_search"
_PLACES = {
    "another user": f'exec setpriv --reuid=65534 --regid=65534 --clear-groups {_READER} "$@"',
    "a read-only checkout": ('mount --bind {0} {0} && mount -o remount,ro,bind {0} && exec "$@"'),
    "no shared memory": 'mount -t tmpfs -o ro,size=4k tmpfs /dev/shm && exec "$@"',
}
PLACES = list(_PLACES)


def prefix(place: str, project: Path) -> tuple[str, ...]:
    """What to put before a command so that it runs there; skips where that cannot be had.

    Args:
        place: of `PLACES`.
        project: the checkout.
    """
    words = ("sh", "-c", _PLACES[place].replace("{0}", f"'{project}'"), "-")
    if place != "another user":
        words = ("unshare", "--mount", *words)
    for tool in ("setpriv", "unshare", "mount"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} here")
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"{place} cannot be had here: {tried.stderr.strip()}")
    return words


def folder_for_anyone(folder: Path) -> Path:
    """Let everybody reach a test's folder and write into a new one in it."""
    for parent in (folder, *folder.parents):
        if parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(0o755)
    made = folder / "anyone"
    made.mkdir()
    made.chmod(0o777)
    return made

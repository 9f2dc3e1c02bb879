"""Find a folder for what can be made again: nothing depends on its being kept."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from functools import cache
from pathlib import Path

# What other packages keep below the home folder: variable, folder, and whether what is there
# already is worth more than a place to write to, as downloaded models are.
_OTHERS = (
    ("HF_HOME", ".cache/huggingface", True),
    ("MPLCONFIGDIR", ".config/matplotlib", False),
    ("IPYTHONDIR", ".ipython", False),
    ("JUPYTER_CONFIG_DIR", ".jupyter", True),
    ("JUPYTER_DATA_DIR", ".local/share/jupyter", True),
    ("JUPYTER_RUNTIME_DIR", ".local/share/jupyter/runtime", False),
    ("TRITON_CACHE_DIR", ".triton", False),
)


def own_cache() -> Path | None:
    """Elara's folder: `ELARA_CACHE`, else in `XDG_CACHE_HOME`, else `~/.cache/elara`.

    Returns:
        A path, which need not exist; None where the user has no home.
    """
    if named := os.environ.get("ELARA_CACHE"):
        place = Path(named)
    else:
        place = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "elara")
    try:
        return place.expanduser()
    except RuntimeError:  # a user without an entry in the system's list of users
        return None


@cache
def writable_cache() -> Path:
    """Elara's folder, or where that cannot be written a temporary one, which one line names.

    Raises:
        OSError: there is no temporary folder either.
    """
    wanted = own_cache()
    if wanted and can_write(wanted):
        return wanted
    folder = _temporary()
    _say(
        f"The cache {wanted or '~/.cache/elara'} cannot be written; using {folder}. ", "ELARA_CACHE"
    )
    return folder


def settle_home() -> None:
    """Give this process and those it starts places to write to where the home folder has none.

    Jupyter, IPython, matplotlib and Hugging Face keep files below the home folder, and some of
    them end when they cannot.
    """
    try:
        home = Path.home()
    except RuntimeError:
        home = Path(os.devnull)
    if home.is_dir() and can_write(home):
        return
    folder = _temporary() / "home"
    folder.mkdir(exist_ok=True)
    if not home.is_dir():
        os.environ["HOME"] = str(folder)
    else:
        for variable, below, precious in _OTHERS:
            if not (precious and (home / below).is_dir()):
                os.environ.setdefault(variable, str(folder / below))
    _say(f"The home folder {home} cannot be written; using {folder}. ", "HOME")


def _say(what: str, variable: str) -> None:
    print(f"{what}Name a folder in {variable} to keep what is made there.", file=sys.stderr)


def can_write(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made where it does not exist."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A file is tried: neither mode nor owner tell about read-only disks and quotas.
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@cache
def _temporary() -> Path:
    """A folder of this user alone: others may not put machine code there for us to run."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"elara-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        private = not stat.S_IMODE(found.st_mode) & 0o077 or os.name == "nt"
        if stat.S_ISDIR(found.st_mode) and found.st_uid == user and private:
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="elara-"))

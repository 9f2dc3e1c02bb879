"""How the page is built, and what is said where its packages cannot be fetched."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PAGE = Path("elara", "serve", "web", "page")


@pytest.fixture(scope="module")
def build(project: Path) -> ModuleType:
    """`build.py`, which lies outside of any package."""
    spec = importlib.util.spec_from_file_location("page_build", project / PAGE / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("version", "usable"),
    [
        ("v18.20.4", False),
        ("v20.18.3", False),
        ("v20.19.0", True),
        ("v21.7.3", False),
        ("v22.11.0", False),
        ("v22.12.0", True),
        ("v24.1.0", True),
        ("", False),
    ],
)
def test_which_node_can_build_the_page(build: ModuleType, version: str, usable: bool) -> None:
    assert build.usable(version) is usable


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("needed", [False, True])
def test_a_registry_that_is_away_is_told(
    project: Path, tmp_path: Path, before: bool, needed: bool
) -> None:
    """The script runs in a copy, where Node and npm are two scripts."""
    page, programs = tmp_path / PAGE, tmp_path / "programs"
    page.mkdir(parents=True)
    programs.mkdir()
    shutil.copy(project / PAGE / "build.py", page)
    for name, does in (("node", "echo v22.12.0"), ("npm", "echo npm error ENOTFOUND >&2; exit 1")):
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    if before:
        (page.parent / "app").mkdir()
        (page.parent / "app" / "index.html").touch()
    done = subprocess.run(
        [sys.executable, str(page / "build.py"), *(["--needed"] if needed else [])],
        env={"PATH": os.pathsep.join([str(programs), "/usr/bin", "/bin"])},
        capture_output=True,
        text=True,
    )
    assert (done.returncode != 0) is needed
    told = done.stdout + done.stderr
    assert "the npm registry cannot be reached (ENOTFOUND)" in told
    assert ("is not rebuilt" in told and "the one from before is served" in told) is before
    assert ("is not built" in told) is not before
    assert (tmp_path / "_build" / "page-not-built.txt").read_text().strip() in told

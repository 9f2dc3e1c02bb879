"""The browser that tests of pages run in, and what they look for in every page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(
        os.environ.get("ELARA_SKIP_BROWSER") == "1", reason="ELARA_SKIP_BROWSER=1 is set"
    ),
]
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
]
NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium(own: str) -> str:
    """A Chromium to test with: the one named, one on the PATH, or playwright's own."""
    named = os.environ.get("ELARA_CHROMIUM", "")
    candidates = [named] if named else [*filter(None, map(shutil.which, NAMES)), own]
    for candidate in candidates:
        if shutil.which(candidate):
            return candidate
    pytest.fail(
        f"no Chromium at {', '.join(candidates)}: install one (`apt-get install chromium` or "
        "`playwright install chromium`), name it in ELARA_CHROMIUM, or leave these tests out "
        "with ELARA_SKIP_BROWSER=1"
    )


@contextmanager
def headless(*more: str) -> Iterator[Browser]:
    """A headless Chromium, started with these options too."""
    with sync_playwright() as playwright:
        path = find_chromium(playwright.chromium.executable_path)
        started = playwright.chromium.launch(executable_path=path, args=[*QUIET, *more])
        yield started
        started.close()


def violations(page: Page) -> list[str]:
    """What axe finds wrong with a page: rule, weight and an example of each."""
    found = Axe().run(page).response["violations"]
    return [f"{v['id']} ({v['impact']}): {v['nodes'][0]['html'][:200]}" for v in found]


def overflow(page: Page) -> int:
    """By how many pixels a page is wider than its window."""
    wide: int = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return wide

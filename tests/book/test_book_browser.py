"""The built book in a real browser, without a network: contents, errors, width, access."""

from __future__ import annotations

import functools
import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import chromium
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request

pytestmark = chromium.MARKS


@pytest.fixture(scope="module")
def book(project: Path) -> Path:
    """The folder of the built book, brought up to date."""
    done = subprocess.run(
        [sys.executable, str(project / "book" / "build.py")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return project / "_build"


@pytest.fixture(scope="module")
def address(book: Path) -> Iterator[str]:
    """The book, served on this machine only."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Keep the test's output short."""

    handler = functools.partial(Handler, directory=str(book / "html"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with chromium.headless() as started:
        yield started


@dataclass
class Visit:
    """A page that was opened, and what went wrong meanwhile."""

    page: Page
    problems: list[str] = field(default_factory=list)


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """An empty tab that takes note of every problem. What is not on this machine is one."""
    page = browser.new_page(base_url=address)
    opened = Visit(page)
    note = opened.problems.append

    def failed(request: Request) -> None:
        # Whoever leaves a page before its icon is there aborts that request: no fault of the page.
        if request.failure != "net::ERR_ABORTED":
            note(f"failed: {request.url} ({request.failure})")

    page.on("console", lambda m: note(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda error: note(f"script: {error}"))
    page.on("requestfailed", failed)
    page.on("response", lambda r: note(f"{r.status}: {r.url}") if r.status >= 400 else None)

    def outside(url: str) -> None:
        if not url.startswith((address, "data:", "blob:")):
            note(f"outside: {url}")

    page.on("request", lambda r: outside(r.url))
    yield opened
    page.close()


def published(book: Path, notebook: str, key: str) -> str:
    """The text of a value that the staged notebook published."""
    cells = json.loads((book / "source" / "notebooks" / f"{notebook}.ipynb").read_text())["cells"]
    for out in [out for cell in cells for out in cell.get("outputs", [])]:
        if out.get("metadata", {}).get("scrapbook", {}).get("name", "").endswith(key):
            plain = next(v for k, v in out["data"].items() if k.endswith("text/plain"))
            return "".join(plain)
    raise AssertionError(f"{notebook} published no {key}")


def figures(page: Page, selector: str) -> int:
    """How many figures have pixels; one without is an error."""
    widths = page.locator(selector).evaluate_all("all => all.map(i => i.naturalWidth)")
    assert all(width > 0 for width in widths), f"a figure of {page.url} has no pixels"
    return len(widths)


def test_the_introduction(visit: Visit, book: Path) -> None:
    # Else the browser asks for /favicon.ico, sometimes, and the console tells of a missing file.
    assert 'rel="icon"' in (book / "html" / "index.html").read_text()
    visit.page.goto("/index.html")
    visit.page.wait_for_url("**/book/intro.html", wait_until="networkidle")
    assert "Elara" in visit.page.title()
    assert figures(visit.page, "article img") == 1
    articles = int(published(book, "01-collect", "collect.articles"))
    text = visit.page.locator("article").inner_text()
    assert articles > 0
    assert f"collected {articles:,d} articles" in text
    verdict = published(book, "06-evaluate", "evaluate.verdict").strip("'\"")
    assert verdict in text
    assert "not medical advice" in visit.page.locator("footer.bd-footer-content").inner_text()
    assert visit.problems == []


def test_a_notebook(visit: Visit, book: Path) -> None:
    visit.page.goto("/notebooks/02-inspect.html", wait_until="networkidle")
    assert visit.page.title().startswith("2. Inspect")
    assert figures(visit.page, "article .cell_output img") >= 1
    kept = int(published(book, "02-inspect", "inspect.kept"))
    shown = visit.page.locator("article .cell_output").all_inner_texts()
    numbers = {int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*", " ".join(shown))}
    assert kept in numbers, f"the page shows no {kept}, which its notebook published"
    assert "google.colab" not in visit.page.locator("article").inner_text()
    assert visit.problems == []


def test_an_api_page(visit: Visit) -> None:
    visit.page.goto("/book/api/workspace.html", wait_until="networkidle")
    assert visit.page.title().startswith("Records and workspace")
    entry = visit.page.locator("dl.py", has=visit.page.locator("[id='elara.workspace.publish']"))
    assert "quotable" in entry.inner_text()
    assert figures(visit.page, "img.logo__image") >= 1
    assert visit.problems == []


def pages(book: Path) -> list[str]:
    """The address of every page of the book."""
    html = book / "html"
    found = sorted(p for part in ("book", "notebooks") for p in (html / part).rglob("*.html"))
    assert len(found) >= 20
    return [f"/{path.relative_to(html).as_posix()}" for path in found]


def test_every_page_loads_without_a_problem_and_fits_a_phone(visit: Visit, book: Path) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 844})
    wide = {}
    for path in pages(book):
        visit.page.goto(path, wait_until="load")
        figures(visit.page, "article img")
        width = visit.page.evaluate("document.documentElement.scrollWidth")
        if width > 390:
            wide[path] = width
    assert wide == {}
    assert visit.problems == []


@pytest.mark.parametrize("width", [390, 1440])
def test_no_page_shuts_anybody_out(visit: Visit, book: Path, width: int) -> None:
    """Every kind of page, in both colour schemes; the pages of a kind share their template."""
    axe = Axe()
    visit.page.set_viewport_size({"width": width, "height": 900})
    found = {}
    chosen = ["intro", "architecture", "troubleshooting", "benchmarks", "references", "gpu"]
    chosen += ["api/audit"]
    for name in [f"book/{name}" for name in chosen] + [
        "notebooks/02-inspect",
        "notebooks/05-train",
    ]:
        for dark in (False, True):
            # Without motion: the search field fades in, and axe would measure colours on the way.
            scheme: Literal["dark", "light"] = "dark" if dark else "light"
            visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            visit.page.goto(f"/{name}.html", wait_until="load")
            result = axe.run(visit.page, options={"resultTypes": ["violations"]})
            for rule in result.response["violations"]:
                found[name, dark, rule["id"]] = [node["html"][:200] for node in rule["nodes"][:3]]
    assert found == {}


def test_solutions_are_closed_until_they_are_opened(visit: Visit) -> None:
    visit.page.goto("/notebooks/02-inspect.html", wait_until="load")
    solution = visit.page.locator("article details li").first
    assert not solution.is_visible()
    visit.page.get_by_text("Solutions", exact=True).click()
    assert solution.is_visible()


def test_a_figure_in_the_dark_scheme_is_dark(visit: Visit) -> None:
    visit.page.emulate_media(color_scheme="dark")
    visit.page.goto("/notebooks/02-inspect.html", wait_until="load")
    figure = visit.page.locator("article .cell_output img").first
    assert "invert" in figure.evaluate("image => getComputedStyle(image).filter")


def test_the_model_card_is_rendered(visit: Visit) -> None:
    visit.page.goto("/notebooks/05-train.html", wait_until="load")
    assert visit.page.locator("article h1").count() == 1
    assert "|---" not in visit.page.locator("article").inner_text()
    headed = visit.page.locator("article .cell_output table", has_text="answer tokens")
    assert headed.count() >= 1


def test_search_finds_a_word(visit: Visit) -> None:
    visit.page.goto("/search.html?q=bootstrap", wait_until="networkidle")
    visit.page.locator("#search-results li").first.wait_for()
    assert "Glossary" in visit.page.locator("#search-results").inner_text()
    assert visit.problems == []

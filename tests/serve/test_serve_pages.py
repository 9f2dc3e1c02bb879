"""The start page and the documentation: who gets them, what they say, and in a real browser."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import chromium
import pytest
from local_client import LocalClient
from playwright.sync_api import Browser, Page
from pydantic import ValidationError
from starlette.testclient import TestClient

from elara.model import LanguageModel
from elara.serve import ModelManager, Settings, create_app, pages, running
from elara.serve.keys import KeyFile
from elara.serve.pages import prefers_html
from elara.serve.schemas import DISCLAIMER, INTENDED_USE
from elara.workspace import Workspace

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def words(page: str) -> str:
    """The text of a page on one line, as a reader has it."""
    plain = re.sub(r"<[^>]+>", " ", page)
    for entity, sign in (("&#39;", "'"), ("&#34;", '"'), ("&lt;", "<"), ("&gt;", ">")):
        plain = plain.replace(entity, sign)
    return " ".join(plain.split())


@pytest.fixture
def simulation() -> Iterator[TestClient]:
    with LocalClient(create_app(Settings(max_new_tokens=50))) as client:
        yield client


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("text/*", True),
        ("text/html;q=0.9, application/json;q=0.8", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("application/json, text/html;q=0.5", False),
        ("text/html;q=0", False),
        ("text/html;q=0, */*", False),
        ("text/html;q=x", False),
        ("image/png", False),
    ],
)
def test_who_gets_the_page(accept: str, page: bool) -> None:
    assert prefers_html(accept) is page


@pytest.fixture
def no_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "APP", tmp_path / "app")


@pytest.fixture
def build(no_build: None) -> None:
    """What Vite leaves, in short: a page, and a script whose name holds a hash."""
    (pages.APP / "assets").mkdir(parents=True)
    (pages.APP / "index.html").write_text('<script src="./assets/index-1a2b.js"></script>')
    (pages.APP / "assets" / "index-1a2b.js").write_text("0")


def test_one_address_two_forms(no_build: None, simulation: TestClient) -> None:
    page = simulation.get("/", headers={"Accept": BROWSER})
    data = simulation.get("/")  # any program: `*/*`
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "The page for asking is missing." in words(page.text)
    assert page.text == simulation.get("/welcome").text
    assert data.headers["Content-Type"] == "application/json"
    for answer in (page, data):
        assert answer.status_code == 200
        assert "Accept" in answer.headers["Vary"]
    assert data.json()["mode"] == "simulation"


class TestTheBuiltPage:
    pytestmark = pytest.mark.usefixtures("build")

    def test_browsers_are_led_to_it_and_programs_are_not(self, simulation: TestClient) -> None:
        led = simulation.get("/", headers={"Accept": BROWSER}, follow_redirects=False)
        assert (led.status_code, led.headers["Location"]) == (303, "app/")
        assert "Accept" in led.headers["Vary"]
        assert simulation.get("/").json()["mode"] == "simulation"
        assert 'href="app/"' in simulation.get("/welcome").text

    def test_a_proxy_may_put_it_below_a_path(self, simulation: TestClient) -> None:
        for asked, place in (("/", "/elara/"), ("/app", "/elara/app")):
            led = simulation.get(asked, headers={"Accept": BROWSER}, follow_redirects=False)
            seen = urljoin(f"https://clinic.example{place}", led.headers["Location"])
            assert seen == "https://clinic.example/elara/app/"

    def test_what_is_kept_of_it(self, simulation: TestClient) -> None:
        page, script = simulation.get("/app/"), simulation.get("/app/assets/index-1a2b.js")
        told = {"If-None-Match": script.headers["ETag"]}
        again = simulation.get("/app/assets/index-1a2b.js", headers=told)
        assert page.headers["Cache-Control"] == "no-cache"
        assert (script.status_code, again.status_code) == (200, 304)
        for answer in (script, again):
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"

    @pytest.mark.parametrize(
        ("framed_by", "told"),
        [
            ((), "'none'"),
            (
                ("http://localhost:*", "https://Lab.example"),
                "http://localhost:* https://lab.example",
            ),
        ],
    )
    def test_only_its_own_scripts_run_and_only_named_sites_frame_it(
        self, framed_by: tuple[str, ...], told: str
    ) -> None:
        with LocalClient(create_app(Settings(frame_ancestors=framed_by))) as client:
            for address in ("/app/", "/app/assets/index-1a2b.js"):
                headers = client.get(address).headers
                policy = dict(
                    p.split(" ", 1) for p in headers["Content-Security-Policy"].split("; ")
                )
                assert policy["default-src"] == "'none'"
                assert policy["script-src"] == policy["style-src"] == "'self'"
                assert policy["frame-ancestors"] == told
                assert headers["X-Content-Type-Options"] == "nosniff"
                assert headers["Referrer-Policy"] == "no-referrer"
            assert (
                "frame-ancestors 'none'" in client.get("/docs").headers["Content-Security-Policy"]
            )

    def test_what_it_lacks_is_an_error_like_any_other(self, simulation: TestClient) -> None:
        for address in ("/app/assets/other.js", "/app/../pages.py", "/app/%2e%2e/welcome.html"):
            refused = simulation.get(address)
            assert (refused.status_code, refused.json()["status"]) == (404, 404), address
        assert simulation.post("/app/").status_code == 405

    def test_it_opens_without_a_key_and_asks_for_one_later(self, tmp_path: Path) -> None:
        keys = tmp_path / "keys.json"
        KeyFile(keys).add("somebody", ["chat"])
        with LocalClient(create_app(Settings(keys=keys))) as client:
            for address in ("/", "/app", "/app/", "/app/assets/index-1a2b.js", "/welcome"):
                assert client.get(address, headers={"Accept": BROWSER}).status_code == 200, address
            assert client.get("/v1/models").status_code == 401


@pytest.mark.parametrize(
    "origin", ["*", "lab.example", "https://lab.example/path", "http://a;b", "http://lab.example:*"]
)
def test_who_may_frame_it_is_named_exactly(origin: str) -> None:
    with pytest.raises(ValidationError, match="write origins as"):
        Settings(frame_ancestors=(origin,))


@pytest.mark.parametrize(
    ("kept", "told"),
    [(False, "It does not store what you ask."), (True, "Its log keeps what you ask, without")],
)
def test_the_page_says_whether_questions_are_kept(tmp_path: Path, kept: bool, told: str) -> None:
    settings = Settings(audit_log=tmp_path / "audit.sqlite", audit_text=kept)
    with LocalClient(create_app(settings)) as client:
        assert told in words(client.get("/welcome").text)


def test_the_page_says_what_it_is_and_what_it_is_not(simulation: TestClient) -> None:
    text = words(simulation.get("/welcome").text)
    for told in (INTENDED_USE, DISCLAIMER, "No model is loaded (simulation).", "elara run"):
        assert told in text


def test_the_command_on_the_page_is_accepted(simulation: TestClient) -> None:
    page = simulation.get("/welcome").text
    (block,) = re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)
    curl, url, *options = shlex.split(words(block).replace("\\ ", ""))
    given = dict(zip(options[::2], options[1::2], strict=True))
    assert (curl, url, given["-H"]) == (
        "curl",
        "http://127.0.0.1:8000/chat",
        "Content-Type: application/json",
    )
    assert json.loads(given["-d"])["max_new_tokens"] == 50  # no more than this server writes
    kind = dict([given["-H"].split(": ")])
    assert simulation.post("/chat", content=given["-d"], headers=kind).status_code == 200


def settled(manager: ModelManager) -> None:
    """Wait until the model is loaded, or is not."""
    for _ in range(500):
        if manager.state in ("ready", "failed"):
            return
        time.sleep(0.02)
    pytest.fail("the model was not loaded")


def test_the_page_follows_the_model(fake: Any, manager: ModelManager, trained: Workspace) -> None:
    settings = Settings.from_environment({}, workspace=str(trained.root))
    fake.may_load.clear()
    with LocalClient(create_app(settings, manager=manager)) as client:
        loading = words(client.get("/welcome").text)
        fake.may_load.set()
        settled(manager)
        ready = words(client.get("/welcome").text)
    assert "Still loading." in loading
    assert "Ready." in ready
    assert "fake, on cpu" in ready
    for page in (loading, ready):
        assert "Tuning helped on held-out articles." in page


def test_whatever_a_model_says_is_text(tmp_path: Path) -> None:
    def refuses(folder: Path) -> LanguageModel:
        raise ValueError("<script>alert(1)</script>")

    (tmp_path / "adapter_model.safetensors").write_bytes(b"1234")
    manager = ModelManager(tmp_path, loader=refuses)
    with LocalClient(create_app(Settings(adapter=tmp_path), manager=manager)) as client:
        settled(manager)
        page = client.get("/welcome").text
        wrong = client.get("/", headers={"Host": 'a"><script>alert(1)</script>'})
    assert "Could not be loaded." in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert (wrong.status_code, "script" in wrong.text) == (421, False)


@pytest.mark.parametrize("address", ["/welcome", "/docs"])
def test_a_page_names_no_other_server(address: str, simulation: TestClient) -> None:
    page = simulation.get(address, headers={"Accept": BROWSER})
    links = re.findall(r'(?:href|src)="([^"]*)"', page.text)
    assert len(links) >= 4
    for link in links:
        assert link.startswith("data:") or re.fullmatch(r"[\w./-]+", link), link
        if not link.startswith("data:"):
            assert simulation.get(f"/{link}").status_code == 200, link
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_nothing_else_is_served(simulation: TestClient) -> None:
    for address in ("/redoc", "/assets/", "/assets/../pages.py", "/assets/%2e%2e/welcome.html"):
        assert simulation.get(address).status_code == 404, address


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running(create_app(Settings(allowed_hosts=("elara.test",)))) as url:
        # As a colleague reaches it: Swagger UI treats 127.0.0.1 and localhost differently.
        yield url.replace("127.0.0.1", "elara.test")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.headless("--host-resolver-rules=MAP elara.test 127.0.0.1") as started:
        yield started


@pytest.fixture(params=[(390, "light"), (1440, "dark")], ids=["phone-light", "desk-dark"])
def opened(
    browser: Browser, address: str, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], Page]]:
    """Opens an address of the server; at the end, nothing has gone wrong or to another server."""
    width, scheme = request.param
    page = browser.new_page(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        reduced_motion="reduce",  # else a colour might be judged while it fades
    )
    problems: list[str] = []
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.on(
        "request",
        lambda r: None if r.url.startswith((address, "data:")) else problems.append(r.url),
    )

    def visit(path: str) -> Page:
        page.goto(address + path, wait_until="networkidle")
        return page

    yield visit
    page.close()
    assert problems == []


def assert_readable(page: Page) -> None:
    assert chromium.violations(page) == []
    assert chromium.overflow(page) == 0


class TestInABrowser:
    pytestmark = chromium.MARKS

    def test_the_start_page(self, opened: Callable[[str], Page]) -> None:
        page = opened("/welcome")
        assert "Elara" in page.locator("h1").inner_text()
        assert_readable(page)
        page.get_by_role("link", name="Documentation").click()
        page.wait_for_url("**/docs")

    def test_the_documentation_and_its_form(self, opened: Callable[[str], Page]) -> None:
        page = opened("/docs")
        chat = "#operations-Questions_and_status-chat_chat_post"
        page.locator(chat).wait_for()
        assert "must not be used to diagnose" in page.locator("main").inner_text()
        assert_readable(page)
        page.locator(f"{chat} .opblock-summary-control").click()
        page.locator(f"{chat} .try-out__btn").click()
        page.get_by_label("Request body").wait_for()
        page.locator(f"{chat} .execute").click()
        page.locator(".live-responses-table").wait_for()
        assert "[simulation]" in page.locator(".live-responses-table").inner_text()
        assert_readable(page)

"""The page at /app and the administrator's, in a real browser.

The real small model answers where it matters how an answer comes, a simulation or a made-up answer
where it does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chromium
import httpx
import pytest
from clean_articles import article, finish
from cut_line import CutLine
from playwright.sync_api import Browser, Locator, Page, Route, expect

from elara.serve import Settings, create_app, running, wait_until_ready
from elara.serve.keys import KeyFile
from elara.serve.pages import APP
from elara.workspace import Workspace

pytestmark = [*chromium.MARKS]

UNCOMPARED = "This answer has not been compared with its passages."
QUESTION = "What are the symptoms of iron deficiency?"
IRON = "Iron deficiency makes people tired, pale and short of breath; its symptoms come slowly."
SECONDS = 60_000  # an answer takes some; a busy machine takes more
# What a live region may say: how things stand, and no word of an answer.
STATES = {
    *("", "Answering", "Stopped", "The server cannot be reached. The page keeps looking for it."),
    "The server is back. You can ask again.",
    "The answer broke off here: the connection ended before the answer did.",
}
# Whether nothing covers an element, and a screen reader may read it.
ON_TOP = """element => {
  const { x, y, width, height } = element.getBoundingClientRect();
  const top = document.elementFromPoint(x + width / 2, y + height / 2);
  return element.contains(top) && !element.closest("[inert], [aria-hidden]");
}"""
# The administrator's tab is left while its first request is answered.
LEAVE = """() => {
  const own = window.fetch;
  Object.defineProperty(document, "hidden", { get: () => window.away ?? false });
  window.fetch = async (...asked) => {
    window.away ??= true;
    return own(...asked);
  };
}"""
LOOK = "window.away = false; document.dispatchEvent(new Event('visibilitychange'))"
WATCH = """
window.said = [];
new MutationObserver(() => {
  for (const place of document.querySelectorAll("[aria-live], [role=status], [role=alert]"))
    window.said.push(place.textContent);
}).observe(document, { subtree: true, childList: true, characterData: true });
"""


@pytest.fixture(scope="module", autouse=True)
def built(project: Path) -> None:
    """The page, without which nothing here can be tested."""
    reason = project / "_build" / "page-not-built.txt"
    if (APP / "index.html").is_file():
        return
    if reason.is_file():
        pytest.skip(reason.read_text(encoding="utf-8"))
    pytest.fail("the page is not built: run `make page`")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.headless() as started:
        yield started


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the packaged model, with a LoRA adapter that was never trained, and sources."""
    import peft

    from elara.model import load_base
    from elara.retrieval import build_index

    folder = tmp_path_factory.mktemp("page")
    workspace = Workspace(folder / "workspace")
    finish(workspace, [article(1), article(2), article(3, title="Iron", abstract=IRON, body=[])])
    base = load_base()
    lora = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    peft.get_peft_model(base.model, lora).save_pretrained(folder / "adapter")
    record = {"base_model": base.name, "quantisation": "none"}
    (folder / "adapter" / "training.json").write_text(json.dumps(record))
    settings = Settings(
        adapter=folder / "adapter",
        serving=folder / "serving",
        retrieval=build_index(workspace),
        audit_log=folder / "audit.sqlite",
        allowed_hosts=("127.0.0.1",),  # also by the port of a line that is cut
        max_new_tokens=40,
        cached_answers=0,
    )
    with running(create_app(settings)) as url:
        wait_until_ready(url)
        yield url


@dataclass
class Locked:
    """A simulation that asks for keys: its address, and three keys."""

    url: str
    keys: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    folder = tmp_path_factory.mktemp("locked")
    file = KeyFile(folder / "keys.json")
    keys = {
        "asker": file.add("asker", ["chat"])[1],
        "hasty": file.add("hasty", ["chat"], requests_per_minute=1)[1],
        "admin": file.add("admin", ["admin", "metrics", "chat"])[1],
    }
    settings = Settings(keys=file.path, audit_log=folder / "audit.sqlite")
    with running(create_app(settings)) as url:
        yield Locked(url, keys)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens the page of a server. At the end, no rule of it was broken and no other one asked."""
    pages: list[tuple[Page, list[str]]] = []

    def opened(url: str, path: str = "/app/", *, width: int = 1280, colours: str = "light") -> Page:
        page = browser.new_page(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if colours == "dark" else "light",
            reduced_motion="reduce",  # else a colour might be judged while it fades
        )
        problems: list[str] = []
        pages.append((page, problems))

        def heard(text: str) -> None:
            # That an address refuses is what some tests are about; the browser tells it, too.
            if not text.startswith("Failed to load resource"):
                problems.append(text)

        def asked(address: str) -> None:
            if not address.startswith((f"{url}/", "data:", "blob:")):
                problems.append(address)

        page.on("console", lambda m: heard(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: asked(request.url))
        page.add_init_script(WATCH)
        page.goto(url + path)
        return page

    yield opened
    for page, problems in pages:
        page.close()
        assert problems == []


def ask(page: Page, question: str = QUESTION) -> None:
    page.get_by_role("textbox", name="Question").fill(question)
    page.keyboard.press("Enter")


def words(page: Page) -> Locator:
    return page.locator(".answer .words").last


def finished(page: Page) -> None:
    expect(page.get_by_role("status")).to_have_text(
        re.compile("^Answer finished, "), timeout=SECONDS
    )


def said(page: Page) -> set[str]:
    heard: list[str] = page.evaluate("window.said")
    return {text for text in heard if not text.startswith(("Answer finished, ", "Source "))}


def open_sources(page: Page) -> Locator:
    page.get_by_role("button", name=re.compile(r"^\d sources?$")).click()
    return page.get_by_role("complementary", name="Sources")


class TestWithTheRealModel:
    def test_an_answer_grows_and_is_written_again(
        self, model: str, visit: Callable[..., Page]
    ) -> None:
        page = visit(model)
        ask(page)
        expect(words(page)).not_to_be_empty(timeout=SECONDS)
        first = words(page).inner_text()
        page.wait_for_function(
            "before => document.querySelector('.answer .words').innerText.length > before",
            arg=len(first),
            timeout=SECONDS,
        )
        panel = open_sources(page)
        expect(page.get_by_role("button", name="Stop")).to_be_visible()  # it was not at its end
        finished(page)
        expect(panel).to_contain_text("Support score")
        expect(panel).not_to_contain_text(UNCOMPARED)  # the panel follows the answer
        page.keyboard.press("Escape")
        whole = words(page).inner_text()
        assert whole.startswith(first[: len(first) // 2])
        assert said(page) <= STATES
        page.get_by_role("button", name="Regenerate").click()
        expect(page.get_by_text("2 / 2")).to_be_visible(timeout=SECONDS)
        finished(page)
        expect(words(page)).to_have_text(whole, use_inner_text=True, timeout=SECONDS)

    def test_a_stop_stops_the_model(self, model: str, visit: Callable[..., Page]) -> None:
        page = visit(model)
        ask(page, "Explain in detail what the symptoms of iron deficiency are.")
        expect(words(page)).not_to_be_empty(timeout=SECONDS)
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_text("Stopped here.")).to_be_visible()
        expect(page.get_by_role("status")).to_have_text("Stopped")
        assert len(words(page).inner_text()) > 0
        expect(open_sources(page)).to_contain_text(UNCOMPARED)
        counted = re.compile(r'^elara_questions_total\{arm="",outcome="cancelled"\} [1-9]', re.M)
        for _ in range(100):
            if counted.search(httpx.get(f"{model}/metrics").text):
                return
            page.wait_for_timeout(100)
        pytest.fail("the server went on writing")

    def test_feedback_is_kept_and_deleted(self, model: str, visit: Callable[..., Page]) -> None:
        page = visit(model)
        ask(page)
        finished(page)
        page.get_by_role("button", name="Good answer").click()
        page.get_by_role("button", name="Show what would be stored").click()
        expect(page.get_by_role("region", name="Would be stored")).to_contain_text(QUESTION)
        page.get_by_role("button", name="Send feedback").click()
        expect(page.get_by_text("Thank you. Your feedback is stored.").first).to_be_visible()
        group = page.get_by_role("group", name="Feedback")
        expect(group).to_be_focused()
        page.get_by_role("button", name="Delete my feedback").click()
        expect(group).to_contain_text("Your feedback was deleted.")
        expect(group).to_be_focused()

    def test_a_server_that_is_lost_in_the_middle_and_comes_back(
        self, model: str, visit: Callable[..., Page]
    ) -> None:
        line = CutLine(int(model.rpartition(":")[2]))
        page = visit(f"http://127.0.0.1:{line.port}")
        ask(page)
        expect(words(page)).not_to_be_empty(timeout=SECONDS)
        line.cut()
        expect(page.get_by_text("The answer broke off here")).to_be_visible()
        expect(page.get_by_text("The page keeps looking for it.").first).to_be_visible()
        assert len(words(page).inner_text()) > 0
        line.mend()
        expect(page.get_by_text("The server is back.").first).to_be_visible(timeout=20_000)
        page.get_by_role("button", name="Ask again").click()
        finished(page)
        expect(page.locator(".notices")).not_to_contain_text("The server is back.")
        assert said(page) <= STATES
        line.cut()

    def test_a_source_is_marked_in_its_article(
        self, model: str, visit: Callable[..., Page]
    ) -> None:
        page = visit(model, width=390)
        ask(page)
        finished(page)
        page.get_by_role("button", name="1 source", exact=True).click()
        panel = page.get_by_role("dialog", name="Sources")
        expect(panel.locator("mark")).to_have_text(IRON)
        expect(panel).to_contain_text("CC-BY-4.0")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="What was this learned from?").click()
        learned = page.get_by_role("dialog", name="Training examples")
        expect(learned).to_contain_text("no record of its training")
        page.keyboard.press("Escape")
        assert readable(page)

    def test_adapter_and_base_side_by_side(self, model: str, visit: Callable[..., Page]) -> None:
        page = visit(model)
        page.get_by_role("button", name="Compare").click()
        main = page.get_by_role("main")
        main.get_by_role("textbox", name="Question").fill(QUESTION)
        main.get_by_role("button", name="Compare").click()
        both = [page.get_by_role("region", name=n) for n in ("With the adapter", "Base model")]
        for side in both:
            expect(side.get_by_role("button", name="1 source", exact=True)).to_be_visible(
                timeout=SECONDS
            )
        expect(main.get_by_role("button", name="Compare")).to_be_visible(timeout=SECONDS)
        one, two = (side.locator(".words").inner_text() for side in both)
        assert one == two != ""  # an adapter that was never trained changes nothing
        assert readable(page)


class TestWithKeys:
    def test_a_wrong_key_and_the_right_one(
        self, locked: Locked, visit: Callable[..., Page]
    ) -> None:
        page = visit(locked.url)
        key = page.get_by_label("Key", exact=True)
        for wrong in ("elara_wrong", "elara_\u043a\u043b\u044e\u0447"):
            key.fill(wrong)
            page.get_by_role("button", name="Use this key").click()
            expect(page.get_by_role("alert")).to_contain_text("did not accept this key")
            expect(key).to_have_value("")
        expect(page.locator(".notices")).not_to_contain_text("cannot be reached")
        key.fill(locked.keys["asker"])
        page.get_by_role("button", name="Use this key").click()
        ask(page)
        expect(words(page)).to_contain_text("simulation")
        kept = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
        assert locked.keys["asker"] not in kept

    def test_too_many_questions(self, locked: Locked, visit: Callable[..., Page]) -> None:
        page = visit(locked.url)
        page.get_by_label("Key", exact=True).fill(locked.keys["hasty"])
        page.get_by_role("button", name="Use this key").click()
        ask(page)
        finished(page)
        ask(page, "And of scurvy?")
        waits = page.get_by_text(re.compile(r"You may ask again in \d+ seconds?\."))
        expect(waits).to_be_visible()
        expect(page.get_by_role("button", name="Ask again")).to_be_disabled()
        expect(waits).not_to_have_text(waits.inner_text())  # it counts down
        page.wait_for_timeout(3000)
        page.get_by_role("button", name="New conversation").click()
        page.get_by_role("button", name="History").click()
        page.get_by_role("button", name=re.compile("^Open: ")).click()
        left = re.search(r"\d+", waits.inner_text())
        assert left is not None
        assert int(left[0]) <= 58  # and goes on from where it was

    def test_the_focus_stays_in_the_history(
        self, locked: Locked, visit: Callable[..., Page]
    ) -> None:
        page = visit(locked.url)
        page.get_by_label("Key", exact=True).fill(locked.keys["asker"])
        page.get_by_role("button", name="Use this key").click()
        ask(page)
        finished(page)
        page.get_by_role("button", name="History").click()
        heading = page.get_by_role("heading", name="History")
        page.get_by_role("button", name="Rename: ").click()
        page.get_by_role("textbox", name="New name").fill("Iron")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Open: Iron")).to_be_visible()
        expect(heading).to_be_focused()
        page.get_by_role("button", name="Delete all").click()
        page.get_by_role("button", name="Keep them").click()
        expect(heading).to_be_focused()


HTML = "<img src='https://elsewhere.invalid/a.png' onerror='alert(1)'><b>Iron</b>"
SENTENCE = f"{HTML} carries oxygen [1]."
SOURCE = {
    "n": 1,
    "id": "pmc:1#body/0:7-37",
    "article_id": "pmc:1",
    "title": f"Iron {HTML}",
    "section": "Results",
    "part": "body/0",
    "start": 600,
    "end": 600 + len(HTML),
    "text": HTML,
    "url": "https://example.org/article",
    "licence": "CC-BY-4.0",
    "score": 0.8,
    "journal": "Journal",
    "published": "2020-01-01",
}
TOLD = {
    "disclaimer": "Educational, not medical advice.",
    "mode": "model",
    "adapter": "0" * 64,
    "notice": "",
    "warnings": [],
    "sources": [SOURCE],
    "retrieval": "1" * 64,
    "removed_citations": 0,
    "base": False,
}
ARTICLE = {
    "article_id": "pmc:1",
    "title": SOURCE["title"],
    "url": SOURCE["url"],
    "licence": SOURCE["licence"],
    "journal": "Journal",
    "published": "2020-01-01",
    "authors": "A. Author",
    "parts": [
        {"part": "abstract", "heading": "Abstract", "text": "Before. " * 400},
        {"part": "body/0", "heading": "Results", "text": "x" * 599 + " " + HTML + " After."},
    ],
}


def with_sources(page: Page) -> None:
    """Answer in the server's place: one sentence, its source, and HTML in everything."""

    def answer(route: Route) -> None:
        events: list[dict[str, Any]] = [
            {"elara": TOLD, "choices": [{"delta": {"content": SENTENCE}, "finish_reason": None}]},
            {
                "elara": TOLD
                | {
                    "sentences": [
                        {
                            "start": 0,
                            "end": len(SENTENCE),
                            "source": 1,
                            "score": 0.71,
                            "cited": [1],
                        }
                    ]
                },
                "choices": [{"delta": {}, "finish_reason": "stop"}],
            },
        ]
        lines = [json.dumps({"model": "elara-000000000000"} | event) for event in events]
        body = "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"])
        route.fulfill(body=body, content_type="text/event-stream")

    page.route("**/v1/chat/completions", answer)
    page.route("**/evidence/articles/**", lambda route: route.fulfill(json=ARTICLE))


@pytest.mark.parametrize(("width", "colours"), [(390, "light"), (768, "dark"), (1280, "light")])
def test_a_source_is_read_in_its_article_by_keyboard_and_nothing_is_run(
    locked: Locked, visit: Callable[..., Page], width: int, colours: str
) -> None:
    page = visit(locked.url, width=width, colours=colours)
    page.get_by_label("Key", exact=True).fill(locked.keys["asker"])
    page.get_by_role("button", name="Use this key").click()
    with_sources(page)
    expect(page.get_by_role("textbox", name="Question")).to_be_visible()
    assert readable(page)
    ask(page)
    expect(page.get_by_role("status")).to_have_text("Answer finished, 1 source")
    expect(words(page)).to_contain_text(HTML)
    marker = page.get_by_role("button", name="Source 1, support score 0.71, cited by the model")
    assert readable(page)
    marker.focus()
    page.keyboard.press("Enter")
    panel = page.get_by_role("dialog" if width < 900 else "complementary", name="Sources")
    expect(panel.locator("mark")).to_have_text(HTML)
    expect(panel.locator("mark")).to_be_in_viewport()
    expect(page.get_by_role("status")).to_have_text(f"Source 1: {SOURCE['title']}")
    for notice in ("You are talking to an AI", "emergency"):
        told = page.locator(".notices p").filter(has_text=notice)
        expect(told).to_be_in_viewport(ratio=1)
        assert told.evaluate(ON_TOP)
    # What the examples of another adapter say of this answer would be wrong.
    expect(page.get_by_role("button", name="What was this learned from?")).to_have_count(0)
    link = panel.get_by_role("link", name="Open the article at its publisher")
    assert link.get_attribute("rel") == "noopener noreferrer"
    assert page.locator("#page img, #page b, #page script").count() == 0
    assert readable(page)
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(marker).to_be_focused()


@pytest.mark.parametrize(("width", "colours"), [(390, "dark"), (1280, "light")])
def test_the_page_of_an_administrator(
    locked: Locked, visit: Callable[..., Page], width: int, colours: str
) -> None:
    page = visit(locked.url, "/app/admin.html", width=width, colours=colours)
    key = page.get_by_label("Admin key")
    expect(page.get_by_role("alert")).to_contain_text("needs a key")
    again: list[str] = []
    page.on("request", lambda request: again.append(request.url))
    page.evaluate(LOOK)
    key.fill("elara_\u043a\u043b\u044e\u0447")
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("alert")).to_contain_text("a character that no key has")
    assert [url for url in again if url.endswith("admin/adapters")] == []
    key.fill(locked.keys["asker"])
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("alert")).to_contain_text("needs the scope admin")
    assert readable(page)
    key.fill(locked.keys["admin"])
    page.evaluate(LEAVE)
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("region", name="Keys")).to_contain_text("Loading")
    page.evaluate(LOOK)
    expect(page.get_by_role("region", name="Queue")).to_contain_text("Being answered")
    for name in ("Questions", "Loaded adapters"):
        expect(page.get_by_role("region", name=name)).to_be_visible()
    expect(page.get_by_role("region", name="Table of keys")).to_contain_text("hasty")
    page.get_by_role("button", name="Check the audit log").click()
    log = page.get_by_role("region", name="Audit log")
    expect(log.get_by_role("status")).to_have_text(re.compile("^The audit log "))
    assert readable(page)
    page.get_by_role("textbox", name="Another adapter").fill("none-such")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Let another adapter serve?")
    expect(dialog).to_contain_text("none-such")
    dialog.get_by_role("button", name="Exchange now").click()
    models = page.get_by_role("region", name="Models", exact=True)
    expect(models.get_by_role("status")).to_have_text(re.compile(r"[a-z]+.*\."))
    assert locked.keys["admin"] not in page.evaluate("JSON.stringify(localStorage)")
    page.get_by_role("link", name="Ask a question").click()
    page.get_by_label("Key", exact=True).fill(locked.keys["asker"])
    page.get_by_role("button", name="Use this key").click()
    page.get_by_role("link", name="Admin").click()
    page.wait_for_url("**/app/admin.html")


def test_the_times_of_answers_are_a_picture_and_a_table(
    locked: Locked, visit: Callable[..., Page]
) -> None:
    lines = [
        'elara_answer_seconds_bucket{le="1.0"} 2.0',
        'elara_answer_seconds_bucket{le="+Inf"} 5',
    ]
    page = visit(locked.url, "/app/admin.html")
    page.route("**/metrics", lambda route: route.fulfill(body="\n".join(lines)))
    page.get_by_label("Admin key").fill(locked.keys["admin"])
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("img", name="How long 5 answers took.")).to_be_visible()
    page.get_by_text("The same as a table").click()
    rows = page.get_by_role("region", name="Seconds to an answer").get_by_role("row")
    expect(rows).to_have_text([re.compile("up to"), "12", "more3"])


def readable(page: Page) -> bool:
    assert chromium.violations(page) == []
    assert chromium.overflow(page) == 0
    return True

"""Collect from health agencies: the topics of MedlinePlus, and pages of the CDC, WHO and NIH.

An agency's site is read from a page that lists others, as far as its `robots.txt` allows. The list
says what has to come; a list without links, a page that is the same as another one, and a file with
fewer topics than it counts are asked for again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urljoin, urlsplit

from lxml.html import document_fromstring
from protego import Protego

from elara.collect.live.client import FetchError, Request
from elara.collect.live.harvest import Fetch, Incomplete, Source

_AGENT = "elara"
_TOPICS = re.compile(rb"<health-topics\b[^>]*?\btotal=\"(\d+)\"")
_TEXT = "//body//text()[not(ancestor::script or ancestor::style)]"
_TOPIC = re.compile(rb"<health-topic\b")


@dataclass(frozen=True, slots=True)
class Site(Source):
    """A site whose pages are reached from a list; a later `until` reads the list anew.

    Args:
        index: path of the page that lists the others, relative to `base_url`.
        pages: regular expression that the whole path of a listed page must match, relative to
            `base_url`.
        suffix: what the pages are, `html` or `xml`; of XML files, which bear a date, only the
            newest is kept.
    """

    index: str
    pages: str
    suffix: str = "html"

    def run(self, fetch: Fetch) -> None:
        """Read the list, then every page on it that is not here yet."""
        rules = self._rules(fetch)
        index = urljoin(f"{self.base_url}/", self.index)

        def allowed(body: bytes) -> list[str]:
            return [url for url in self._links(body, index) if rules.can_fetch(url, _AGENT)]

        def lacks(body: bytes) -> str:
            return "" if allowed(body) else f"no page that looks like {self.pages!r}"

        step = f"list/{self.until}"
        request = Request(index, check=_wrong_page)
        try:
            found = allowed(fetch.get(step, request, suffix="html", lacks=lacks))
        except Incomplete as error:
            changed = FetchError(
                f"{index} lists {error}: the site has changed; "
                f"collect from other sources until Elara knows its new form."
            )
            return fetch.fail(index, changed)
        except FetchError as error:
            return fetch.fail(index, error)
        found = found[-1:] if self.suffix == "xml" else found[: self.most or None]
        fetch.expect(step, len(found))
        pause = float(rules.crawl_delay(_AGENT) or 0)
        received = sum(self._page(fetch, url, pause) for url in found)
        fetch.account("pages of the list", len(found), received)

    def _page(self, fetch: Fetch, url: str, pause: float) -> bool:
        """Fetch a page that is not here yet; whether it is here now."""
        step = f"page/{url.removeprefix(self.base_url)}"
        check = _wrong_xml if self.suffix == "xml" else _wrong_page
        lacks = _too_few_topics if self.suffix == "xml" else partial(_same, fetch, step)
        request, fresh = Request(url, check=check), step not in fetch.store.steps

        def wrong(body: bytes) -> str:
            return check(body) or lacks(body)

        try:
            fetch.get(step, request, suffix=self.suffix, ids=lambda _: [url], lacks=wrong)
        except FetchError as error:
            fetch.fail(url, error)
            return False
        if fresh:
            fetch.wait(pause)
        return True

    def _rules(self, fetch: Fetch) -> Protego:
        """What the site allows.

        Source: RFC 9309, section 2.3.1, https://www.rfc-editor.org/rfc/rfc9309 (no file, no rules)
        """
        try:
            text, _ = fetch.ask(Request(urljoin(self.base_url, "/robots.txt")))
        except FetchError as error:
            if not 400 <= error.status < 500:
                raise
            text = b""
        return Protego.parse(text.decode("utf-8", "replace"))

    def _links(self, listing: bytes, index: str) -> list[str]:
        """Addresses of the pages that a list names, each once, in a fixed order."""
        pattern = re.compile(self.pages)
        home = urlsplit(self.base_url)
        # A mirror may serve pages whose links still name the original host.
        original = next(site.base_url for site in SITES if site.name == self.name)
        hosts = ("", home.netloc, urlsplit(original).netloc)
        found = set()
        for link in document_fromstring(listing).iter("a"):
            url = urljoin(index, link.get("href") or "").partition("#")[0].partition("?")[0]
            path = urlsplit(url).path.removeprefix(home.path).strip("/")
            if urlsplit(url).netloc in hosts and pattern.fullmatch(path):
                found.add(f"{self.base_url}/{path}")
        return sorted(found)


_SHEETS = "news-room/fact-sheets"
SITES = tuple(
    Site(name, index, pages, "xml" if name == "medlineplus" else "html", base_url=f"https://{host}")
    for name, host, index, pages in (
        ("medlineplus", "medlineplus.gov", "xml.html", r"xml/mplus_topics_\d{4}-\d{2}-\d{2}\.xml"),
        ("cdc", "www.cdc.gov", "health-topics.html", r"[a-z0-9-]+/about/index\.html"),
        ("who", "www.who.int", _SHEETS, rf"{_SHEETS}/detail/[^/]+"),
        ("nih", "www.niams.nih.gov", "health-topics/all-diseases", r"health-topics/[^/]+"),
    )
)


def _wrong_page(body: bytes) -> str:
    return "" if b"</html>" in body[-4096:].lower() else "no complete HTML page"


def _wrong_xml(body: bytes) -> str:
    return "" if body.rstrip().endswith(b"</health-topics>") else "no complete file of topics"


def _too_few_topics(body: bytes) -> str:
    stated = _TOPICS.search(body)
    expected, found = int(stated[1]) if stated else 1, len(_TOPIC.findall(body))
    return "" if found >= expected else f"{found} of {expected} topics"


def _same(fetch: Fetch, step: str, body: bytes) -> str:
    """A page for each address: a server that is troubled sends the same one for several."""
    texts: Any = document_fromstring(body).xpath(_TEXT)
    if not "".join(map(str, texts)).strip():
        return "a page without text"
    other = fetch.store.twin(step, body).removeprefix("page")
    return f"the same page as {other}" if other else ""

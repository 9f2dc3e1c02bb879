"""Web pages and MedlinePlus files of the folder, as a web server would send them."""

from __future__ import annotations

import datetime
import hashlib
import re
from pathlib import Path

from elara.collect.payload import PayloadError, open_chunks
from elara.collect.recognise import recognise
from elara.mirror.messages import HTML, TEXT, Answer, Call, listing, not_found

# Site to where it lists its pages, and how the address of each is made.
SITES = {
    "cdc": ("health-topics.html", "{}/about/index.html"),
    "who": ("news-room/fact-sheets", "news-room/fact-sheets/detail/{}"),
    "nih": ("health-topics/all-diseases", "health-topics/{}"),
}
_PAGES = (".htm", ".html")
_MADE = re.compile(rb'date-generated="(\d\d)/(\d\d)/(\d{4})')


def robots(prefix: str) -> Answer:
    """What crawlers may read: all but one folder.

    Args:
        prefix: path of the service, or "" for its own root.

    Source: RFC 9309, https://www.rfc-editor.org/rfc/rfc9309
    """
    return Answer(f"User-agent: *\nDisallow: {prefix}/private/\n".encode(), TEXT)


class Site:
    """One web site: the pages of the folder that lie below a folder of its name.

    They are served under their own names, with an index, and as the real site lists them.

    Args:
        folder: where the raw files are.
        name: one of `SITES`.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._name = name
        self._pages: dict[str, Path] = {}
        for path in sorted(p for p in folder.rglob("*") if p.suffix in _PAGES):
            parts = path.relative_to(folder).parts
            if name in parts[:-1]:
                self._pages["/".join(parts[parts.index(name) + 1 :])] = path
        self._list, layout = SITES[name]
        self._listed = {layout.format(path.stem): path for path in self._pages.values()}

    def __call__(self, call: Call) -> Answer:
        """Answer one request.

        Args:
            call: the request.
        """
        if call.path in ("", "index.html"):
            links = {page: Path(page).stem for page in self._pages}
            return listing(f"{self._name.upper()} pages", {**links, "private/draft.html": "Draft"})
        if call.path == self._list:
            links = {f"/{self._name}/{page}": path.stem for page, path in self._listed.items()}
            return listing(f"{self._name.upper()} topics", links)
        if call.path == "private/draft.html":
            return Answer(b"<html><body>A polite crawler never asks for this.</body></html>")
        path = self._pages.get(call.path) or self._listed.get(call.path)
        if path is None:
            return not_found(call.path)
        content = path.read_bytes()
        return Answer(content, _content_type(content), stored=True)


def _content_type(content: bytes) -> str:
    """Half of the pages in UTF-8 are said to be; all else only the page itself can tell."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return "text/html"
    return HTML if hashlib.sha256(content).digest()[0] % 2 else "text/html"


class MedlinePlus:
    """The page that links the daily files of health topics, and those files.

    Args:
        folder: where the raw files are; the largest one with health topics is served.

    Source: https://medlineplus.gov/xml.html
    """

    def __init__(self, folder: Path) -> None:
        found = [p for p in folder.rglob("*.xml") if _has_topics(p)]
        largest = max(found, key=lambda p: (p.stat().st_size, p.as_posix()), default=None)
        self._content = b"".join(open_chunks(largest)) if largest else b""
        made = _MADE.search(self._content)
        day = datetime.date(int(made[3]), int(made[1]), int(made[2])) if made else None
        self._file = f"mplus_topics_{day or datetime.date(2026, 1, 1)}.xml"

    def __call__(self, call: Call) -> Answer:
        """Answer one request.

        Args:
            call: the request.
        """
        if call.path == "xml.html" and self._content:
            return listing("MedlinePlus XML files", {f"xml/{self._file}": "Health topic XML"})
        if call.path == f"xml/{self._file}" and self._content:
            return Answer(self._content, "text/xml", stored=True)
        return not_found(call.path)


def _has_topics(path: Path) -> bool:
    try:
        return recognise(next(open_chunks(path), b"")[:65_536])[0] == "medlineplus"
    except PayloadError:
        return False

"""Answer as the sites of health agencies do: web pages and the MedlinePlus file of a folder."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

from elara.collect.payload import open_chunks
from elara.mirror.answers import XML, Answer, Asked, listing, not_found
from elara.mirror.records import recognised

# Site to where it lists its pages, and how the address of each is made.
SITES = {
    "cdc": ("health-topics.html", "{}/about/index.html"),
    "who": ("news-room/fact-sheets", "news-room/fact-sheets/detail/{}"),
    "nih": ("health-topics/all-diseases", "health-topics/{}"),
}
_MADE = re.compile(rb'date-generated="(\d\d)/(\d\d)/(\d{4})')


class Site:
    """One web site: the pages of the folder that lie below a folder of its name.

    They are served as the real site lists them, and under the names of their files.

    Args:
        folder: where the raw files are.
        name: one of `SITES`.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._name = name
        self._list, layout = SITES[name]
        paths = sorted(p for p in folder.rglob("*") if p.suffix in (".htm", ".html"))
        pages = [p for p in paths if name in p.relative_to(folder).parts[:-1]]
        self._listed = {layout.format(path.stem): path for path in pages}
        self._pages = {path.name: path for path in pages} | self._listed

    def __call__(self, path: str, asked: Asked) -> Answer:
        if path == self._list:
            links = [f"/{self._name}/{page}" for page in self._listed]
            return listing(f"{self._name.upper()} topics", links)
        page = self._pages.get(path)
        return Answer(page.read_bytes()) if page else not_found(path)


class MedlinePlus:
    """The page that links the daily files of health topics, and one such file.

    Args:
        folder: where the raw files are; the largest one with health topics is served.

    Source: https://medlineplus.gov/xml.html
    """

    def __init__(self, folder: Path) -> None:
        found = [p for p in recognised(folder, "medlineplus") if p.suffix == ".xml"]
        largest = max(found, key=lambda p: (p.stat().st_size, p.as_posix()), default=None)
        self._content = b"".join(open_chunks(largest)) if largest else b""
        made = _MADE.search(self._content)
        day = datetime.date(int(made[3]), int(made[1]), int(made[2])) if made else "2026-01-01"
        self._file = f"xml/mplus_topics_{day}.xml"

    def __call__(self, path: str, asked: Asked) -> Answer:
        if path == "xml.html" and self._content:
            return listing("MedlinePlus XML files", [self._file])
        if path == self._file and self._content:
            return Answer(self._content, XML)
        return not_found(path)

"""Answer as the other live sources do: Europe PMC, Stack Exchange, and sites of health agencies."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from elara.collect import jats, pubmed
from elara.collect.payload import PayloadError, open_chunks
from elara.mirror.answers import (
    XML,
    Answer,
    Asked,
    json_answer,
    listing,
    not_found,
    number,
    refused,
)
from elara.mirror.records import Corpus, recognised

Item = dict[str, Any]

_QUOTA = 10_000  # requests a day, with a key
_LARGEST_PAGE = 100
# Site to where it lists its pages, and how the address of each is made.
SITES = {
    "cdc": ("health-topics.html", "{}/about/index.html"),
    "who": ("news-room/fact-sheets", "news-room/fact-sheets/detail/{}"),
    "nih": ("health-topics/all-diseases", "health-topics/{}"),
}
_TOPICS = "xml/mplus_topics_2026-01-01.xml"


class EuropePmc:
    """Answers requests below `/europepmc/`; each second PubMed record is found here as well.

    Args:
        corpora: `pubmed` and `pmc`.

    Source: https://europepmc.org/RestfulWebService
    """

    def __init__(self, corpora: dict[str, Corpus]) -> None:
        self._corpora = corpora
        self._result = lru_cache(maxsize=4096)(self._read)

    def __call__(self, path: str, asked: Asked) -> Answer:
        if path != "search":
            return not_found(path)
        query, mark = asked.get("query", "").strip(), asked.get("cursorMark", "*")
        size = number(asked, "pageSize", 25)
        if not 1 <= size <= 1_000:  # errors come with status 200 and without a result list
            message = "Invalid page size provided. Valid size is between 1 and 1000."
            return json_answer({"errCode": 404, "errMsg": message})
        start = number({"mark": mark.removeprefix("AoI")}, "mark", 0)
        hits = [("pubmed", at) for at in self._corpora["pubmed"].search(query) if at % 2 == 0]
        hits += [("pmc", at) for at in sorted(self._corpora["pmc"].search(query))]
        shown = hits[start : start + size]
        content = {
            "hitCount": len(hits),
            # At the end the mark stays the same.
            "nextCursorMark": f"AoI{start + len(shown)}" if shown else mark,
            "request": {"queryString": query, "cursorMark": mark, "pageSize": size},
            "resultList": {"result": [self._result(*hit) for hit in shown]},
        }
        return json_answer(content)

    def _read(self, database: str, at: int) -> dict[str, Any]:
        """A record in the form `core`."""
        parse = pubmed.parse if database == "pubmed" else jats.parse
        found = parse([self._corpora[database].content(at)])
        article = next(parsed.article for parsed in found if parsed.article)
        licence = re.sub(r"-\d.*", "", article.licence).lower().replace("cc-", "cc ")
        is_open = database == "pmc" and licence.startswith("cc")
        result = {
            "id": article.pmid or article.pmcid,
            "source": "MED" if article.pmid else "PMC",
            "pmid": article.pmid,
            "pmcid": article.pmcid,
            "doi": article.doi,
            "title": article.title,
            "abstractText": article.abstract,
            "license": licence if is_open else "",
        }
        return {key: value for key, value in result.items() if value}


class StackExchange:
    """Answers requests below `/stackexchange/`: every site has all questions of the folder.

    Args:
        folder: where answers of the API are, at any depth.

    Source: https://api.stackexchange.com/docs
    """

    def __init__(self, folder: Path) -> None:
        found: dict[int, Item] = {}
        for path in recognised(folder, "api"):
            with contextlib.suppress(PayloadError, ValueError):  # not as the API could have sent it
                for item in json.loads(b"".join(open_chunks(path)))["items"]:
                    if {"question_id", "creation_date"} <= item.keys() and "answer_id" not in item:
                        found.setdefault(item["question_id"], item)
        self._questions = sorted(
            found.values(), key=lambda q: (q["creation_date"], q["question_id"])
        )
        self._used = itertools.count(1)

    def __call__(self, path: str, asked: Asked) -> Answer:
        left = max(1, _QUOTA - next(self._used))
        method = path.partition("/")[2]
        if method == "filters/create":
            name = hashlib.sha256(asked.get("include", "").encode()).hexdigest()[:16]
            content: Item = {"items": [{"filter": f"!{name}"}], "has_more": False}
        elif method == "questions":
            size, page = number(asked, "pagesize", 30), number(asked, "page", 1)
            if not asked.get("site") or not 1 <= size <= _LARGEST_PAGE or not page:
                return refused(400, "bad_parameter", "site, pagesize or page")
            chosen = self._chosen(asked)
            more = page * size < len(chosen)
            shown = chosen[(page - 1) * size : page * size]
            content = {"items": shown, "has_more": more, "total": len(chosen)}
        else:
            return not_found(path)
        return json_answer({**content, "quota_max": _QUOTA, "quota_remaining": left})

    def _chosen(self, asked: Asked) -> list[Item]:
        """Questions by their days; bodies and answers only come with a filter of one's own."""
        earliest, latest = number(asked, "fromdate", 0), number(asked, "todate", 1 << 40)
        left_out = set() if asked.get("filter", "").startswith("!") else {"answers", "body"}
        found = [
            {key: value for key, value in question.items() if key not in left_out}
            for question in self._questions
            if earliest <= question["creation_date"] <= latest
        ]
        return found if asked.get("order") == "asc" else found[::-1]


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

    def __call__(self, path: str, asked: Asked) -> Answer:
        if path == "xml.html" and self._content:
            return listing("MedlinePlus XML files", [_TOPICS])
        return Answer(self._content, XML) if path == _TOPICS and self._content else not_found(path)

"""Europe PMC's search: the same records as PubMed and PMC, as JSON and under other names."""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import Any

import numpy as np

from elara.collect import jats, pubmed
from elara.mirror.corpus import Corpus
from elara.mirror.messages import Answer, Call, json_answer, not_found
from elara.mirror.rawrecords import Numbering, RawRecord
from elara.records import Article

EVERY = 2  # each so many-th PubMed record is found here as well
_LARGEST_PAGE = 1_000
_LICENCES = {"CC-BY-NC-ND": "cc by-nc-nd", "CC-BY-NC-SA": "cc by-nc-sa", "CC-BY-NC": "cc by-nc",
             "CC-BY-ND": "cc by-nd", "CC-BY-SA": "cc by-sa", "CC-BY": "cc by", "CC0": "cc0",
             }  # fmt: skip


class EuropePmc:
    """Answers requests below `/europepmc/`.

    Args:
        corpora: `pubmed` and `pmc`.
        numbering: of both.

    Source: https://europepmc.org/RestfulWebService
    """

    def __init__(self, corpora: dict[str, Corpus], numbering: Numbering) -> None:
        self._corpora = corpora
        self._numbering = numbering
        self._read = lru_cache(maxsize=4096)(_read)

    def __call__(self, call: Call) -> Answer:
        """Answer one request.

        Args:
            call: the request.
        """
        if call.path.rpartition("/")[2] != "search":
            return not_found(call.path)
        query = call.parameters.get("query", "").strip()
        if not query:
            return _error("Search query is missing")
        size = call.number("pageSize", 25)
        if not 1 <= size <= _LARGEST_PAGE:
            return _error("Invalid page size provided. Valid size is between 1 and 1000.")
        mark = call.parameters.get("cursorMark", "*")
        start = _position(mark)
        if start is None:
            return _error("Invalid cursorMark")
        hits = self._hits(query)
        shown = hits[start : start + size]
        content: dict[str, Any] = {"version": "6.9", "hitCount": len(hits)}
        # At the end the mark stays the same.
        content["nextCursorMark"] = _mark(start + len(shown)) if shown else mark
        content["request"] = {
            "queryString": query,
            "resultType": call.parameters.get("resultType", "lite"),
            "cursorMark": mark,
            "pageSize": size,
            "sort": call.parameters.get("sort", ""),
            "synonym": False,
        }
        core = content["request"]["resultType"] == "core"
        content["resultList"] = {"result": [self._result(*hit, core=core) for hit in shown]}
        return json_answer(content)

    def _hits(self, query: str) -> list[tuple[str, int]]:
        found = self._corpora["pubmed"].search(query)
        return [("pubmed", int(i)) for i in found[found % EVERY == 0]] + [
            ("pmc", int(i)) for i in np.sort(self._corpora["pmc"].search(query))
        ]

    def _result(self, database: str, index: int, core: bool) -> dict[str, Any]:
        copy, record = self._corpora[database].place(index)
        article, affiliation = self._read(database, record)
        pmid, pmcid = self._moved(article.pmid, copy), self._moved(article.pmcid, copy)
        licence = next((v for k, v in _LICENCES.items() if article.licence.startswith(k)), "")
        is_open = database == "pmc" and bool(licence)
        result = {
            "id": pmid or pmcid,
            "source": "MED" if pmid else "PMC",
            "pmid": pmid,
            "pmcid": pmcid,
            "doi": article.doi and article.doi + (f".c{copy}" if copy else ""),
            "title": article.title,
            "authorString": f"{', '.join(map(_short, article.authors))}.",
            "pubYear": article.published[:4],
            "isOpenAccess": "Y" if is_open else "N",
        }
        if core:
            result["abstractText"] = article.abstract
            result["affiliation"] = affiliation
            result["license"] = licence if is_open else ""
        present: dict[str, Any] = {key: value for key, value in result.items() if value}
        if core and article.journal:
            present["journalInfo"] = {
                "yearOfPublication": int(article.published[:4] or 0),
                "printPublicationDate": article.published,
                "journal": {"title": article.journal},
            }
        return present

    def _moved(self, number: str, copy: int) -> str:
        """The id of a copy."""
        return re.sub(
            "[0-9]+", lambda own: str(self._numbering.copied(int(own[0]), copy)), number, count=1
        )


def _read(database: str, record: RawRecord) -> tuple[Article, str]:
    """The record as an article, and its first affiliation."""
    content = b"".join(record.plain(0))
    parse = pubmed.parse if database == "pubmed" else jats.parse
    article = next((p.article for p in parse([content]) if p.article), None)
    _, _, after = content.partition(b"<Affiliation>")
    affiliation = after.partition(b"</Affiliation>")[0].decode("utf-8", "replace")
    return article or Article(id="", source=database, title=""), affiliation


def _short(name: str) -> str:
    """`Ada Mary Byron` as `Byron AM`."""
    *given, last = name.split() or [""]
    return f"{last} {''.join(part[0] for part in given)}".strip()


def _mark(position: int) -> str:
    return base64.b64encode(f"AoI{position}".encode()).decode()


def _position(mark: str) -> int | None:
    if mark == "*":
        return 0
    try:
        return int(base64.b64decode(mark, validate=True).decode().removeprefix("AoI"))
    except ValueError:
        return None


def _error(message: str) -> Answer:
    """Errors come with status 200 and without a result list."""
    return json_answer({"errCode": 404, "errMsg": message})

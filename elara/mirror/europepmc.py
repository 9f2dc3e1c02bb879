"""Answer as Europe PMC's search does: the records of PubMed and PMC, as JSON."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from elara.collect import jats, pubmed
from elara.mirror.answers import Answer, Asked, json_answer, not_found, number
from elara.mirror.records import Corpus


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
            "version": "6.9",
            "hitCount": len(hits),
            # At the end the mark stays the same.
            "nextCursorMark": f"AoI{start + len(shown)}" if shown else mark,
            "request": {
                "queryString": query,
                "resultType": asked.get("resultType", "lite"),
                "cursorMark": mark,
                "pageSize": size,
            },
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
            "authorString": f"{', '.join(article.authors)}.",
            "abstractText": article.abstract,
            "license": licence if is_open else "",
            "journalInfo": {
                "printPublicationDate": article.published,
                "journal": {"title": article.journal},
            },
        }
        return {key: value for key, value in result.items() if value}

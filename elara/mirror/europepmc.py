"""Answer as Europe PMC's search does: the records of PubMed and PMC, as JSON."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np

from elara.collect import jats, pubmed
from elara.mirror.corpus import Corpus
from elara.mirror.messages import Answer, Asked, json_answer, not_found, number

EVERY = 2  # each so many-th PubMed record is found here as well


class EuropePmc:
    """Answers requests below `/europepmc/`.

    Args:
        corpora: `pubmed` and `pmc`.

    Source: https://europepmc.org/RestfulWebService
    """

    def __init__(self, corpora: dict[str, Corpus]) -> None:
        self._corpora = corpora
        self._result = lru_cache(maxsize=4096)(self._read)

    def __call__(self, path: str, asked: Asked) -> Answer:
        """Answer one request.

        Args:
            path: the path after the service's name.
            asked: its parameters.
        """
        if path != "search":
            return not_found(path)
        query, mark = asked.get("query", "").strip(), asked.get("cursorMark", "*")
        size = number(asked, "pageSize", 25)
        if not 1 <= size <= 1_000:  # errors come with status 200 and without a result list
            message = "Invalid page size provided. Valid size is between 1 and 1000."
            return json_answer({"errCode": 404, "errMsg": message})
        start = number({"mark": mark.removeprefix("AoI")}, "mark", 0)
        found = self._corpora["pubmed"].search(query)
        hits = [("pubmed", int(i)) for i in found[found % EVERY == 0]]
        hits += [("pmc", int(i)) for i in np.sort(self._corpora["pmc"].search(query))]
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

    def _read(self, database: str, index: int) -> dict[str, Any]:
        """A record in the form `core`."""
        parse = pubmed.parse if database == "pubmed" else jats.parse
        found = parse([self._corpora[database].content(index)])
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
            "pubYear": article.published[:4],
            "isOpenAccess": "Y" if is_open else "N",
            "abstractText": article.abstract,
            "license": licence if is_open else "",
            "journalInfo": {
                "printPublicationDate": article.published,
                "journal": {"title": article.journal},
            },
        }
        return {key: value for key, value in result.items() if value}

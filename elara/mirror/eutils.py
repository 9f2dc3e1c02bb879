"""Answer as NCBI's E-utilities do: esearch, epost and efetch for PubMed and PMC."""

from __future__ import annotations

import hashlib
import threading
from html import escape

from elara.mirror.corpus import Corpus, Selection
from elara.mirror.messages import XML, Answer, Asked, not_found, number

MOST_SHOWN = 9_999  # hits that PubMed shows of a query
_MOST = 10_000  # ids or records in one answer
_DTD = "https://eutils.ncbi.nlm.nih.gov/eutils/dtd"
_SETS = {
    "pubmed": (
        b'<?xml version="1.0" ?>\n<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, '
        b'1st January 2025//EN" "https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd">\n'
        b"<PubmedArticleSet>\n",
        b"</PubmedArticleSet>",
    ),
    "pmc": (
        b'<?xml version="1.0"  ?><!DOCTYPE pmc-articleset PUBLIC "-//NLM//DTD ARTICLE SET 2.0//EN" '
        b'"https://dtd.nlm.nih.gov/ncbi/pmc/articleset/nlm-articleset-2.0.dtd"><pmc-articleset>',
        b"</pmc-articleset>",
    ),
}


class Eutils:
    """Answers E-utilities requests.

    Args:
        corpora: `pubmed` and `pmc`.
        history_requests: how many fetches a WebEnv lives for; 0 for any number.

    Source: https://www.ncbi.nlm.nih.gov/books/NBK25499/
    """

    def __init__(self, corpora: dict[str, Corpus], history_requests: int) -> None:
        self._corpora = corpora
        self._history_requests = history_requests
        self._posted: dict[str, Selection] = {}  # WebEnv to what was posted under it
        self._uses: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, path: str, asked: Asked) -> Answer:
        """Answer one request.

        Args:
            path: the path after the service's name.
            asked: its parameters.
        """
        database = asked.get("db", "pubmed")
        corpus = self._corpora.get(database)
        if corpus is None:
            return _error("eFetchResult", f"Invalid db name specified: {database}", 400)
        match path:
            case "esearch.fcgi":
                return self._esearch(asked, database, corpus)
            case "epost.fcgi":
                return self._epost(asked, corpus)
            case "efetch.fcgi":
                return self._efetch(asked, database, corpus)
        return not_found(path)

    def _esearch(self, asked: Asked, database: str, corpus: Corpus) -> Answer:
        term = asked.get("term", "")
        if not term.strip():  # errors of a search come with status 200
            return _error("eSearchResult", "Empty term and query_key - nothing todo", 200)
        found = corpus.search(term, asked.get("mindate", ""), asked.get("maxdate", ""))
        shown = found[: min(number(asked, "retmax", 20), _MOST)]
        if database == "pubmed":
            shown = shown[:MOST_SHOWN]
        listed = "\n".join(f"<Id>{i}</Id>" for i in corpus.numbers(shown))
        return _xml(
            "eSearchResult",
            "esearch 20060628",
            f"<Count>{len(found)}</Count><RetMax>{len(shown)}</RetMax><RetStart>0</RetStart>"
            f"<IdList>\n{listed}\n</IdList><TranslationSet/>"
            f"<QueryTranslation>{escape(term, quote=False)}</QueryTranslation>",
        )

    def _epost(self, asked: Asked, corpus: Corpus) -> Answer:
        text = asked.get("id", "")
        with self._lock:
            # Named after the ids, so that the same requests get the same answers.
            earlier = 0
            while (name := _name(text, earlier)) in self._posted:
                earlier += 1
            self._posted[name] = corpus.find(_numbers(text))
        content = f"\n\t<QueryKey>1</QueryKey>\n\t<WebEnv>{name}</WebEnv>\n"
        return _xml("ePostResult", "epost 20090526", content)

    def _efetch(self, asked: Asked, database: str, corpus: Corpus) -> Answer:
        if "WebEnv" in asked:
            kept = self._recall(asked["WebEnv"])
            if kept is None:
                return _lost(asked["WebEnv"])
        else:
            kept = corpus.find(_numbers(asked.get("id", "")))
        start = number(asked, "retstart", 0)
        shown = kept[start : start + number(asked, "retmax", _MOST)]
        head, tail = _SETS[database]
        return Answer(corpus.document(head, shown, tail), XML)

    def _recall(self, name: str) -> Selection | None:
        """What was posted, unless it was asked for too often."""
        with self._lock:
            self._uses[name] = self._uses.get(name, 0) + 1
            spent = 0 < self._history_requests < self._uses[name]
            return None if spent else self._posted.get(name)


def _name(text: str, earlier: int) -> str:
    return "MCID_" + hashlib.sha256(f"{earlier} {text}".encode()).hexdigest()[:24]


def _numbers(text: str) -> list[int]:
    parts = (part.strip().upper().removeprefix("PMC") for part in text.split(","))
    return [int(part) for part in parts if part.isascii() and part.isdigit()]


def _lost(name: str) -> Answer:
    """A forgotten WebEnv: half of them are told with status 400, half inside a 200."""
    if int(hashlib.sha256(name.encode()).hexdigest()[0], 16) % 2:
        message = f"cannot retrieve history data. query_key: 1, WebEnv: {name}"
        return _error("eFetchResult", message, 400)
    return _error("eFetchResult", "Unable to obtain query #1", 200)


def _error(root: str, message: str, status: int) -> Answer:
    answer = _xml(root, "efetch 20131226", f"<ERROR>{escape(message, quote=False)}</ERROR>")
    answer.status = status
    return answer


def _xml(root: str, public: str, content: str) -> Answer:
    tool, date = public.split()
    text = (
        f'<?xml version="1.0" encoding="UTF-8" ?>\n<!DOCTYPE {root} PUBLIC "-//NLM//DTD {public}'
        f'//EN" "{_DTD}/{date}/{tool}.dtd">\n<{root}>{content}</{root}>\n'
    )
    return Answer(text.encode(), XML)

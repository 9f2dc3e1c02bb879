"""Answer as NCBI's E-utilities do: esearch, epost and efetch for PubMed and PMC."""

from __future__ import annotations

import hashlib
from collections import Counter
from html import escape

from elara.mirror.answers import XML, Answer, Asked, not_found, number
from elara.mirror.records import Corpus

MOST_SHOWN = 9_999  # hits that are shown of a query
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

    Source: https://www.ncbi.nlm.nih.gov/books/NBK25499/
    """

    def __init__(self, corpora: dict[str, Corpus]) -> None:
        self._corpora = corpora
        self._posted: dict[str, list[int]] = {}  # WebEnv to what was posted under it
        self._times: Counter[str] = Counter()  # that the same ids were posted

    def __call__(self, path: str, asked: Asked) -> Answer:
        database = asked.get("db", "pubmed")
        corpus = self._corpora.get(database)
        if corpus is None:
            return _error("eFetchResult", f"Invalid db name specified: {database}", 400)
        match path:
            case "esearch.fcgi":
                return _esearch(asked, corpus)
            case "epost.fcgi":
                return self._epost(asked, corpus)
            case "efetch.fcgi":
                return self._efetch(asked, database, corpus)
        return not_found(path)

    def _epost(self, asked: Asked, corpus: Corpus) -> Answer:
        text = asked.get("id", "")
        # Named after the ids, so that the same requests get the same answers.
        digest = hashlib.sha256(f"{self._times[text]} {text}".encode()).hexdigest()
        self._times[text] += 1
        self._posted[name := f"MCID_{digest[:24]}"] = corpus.find(text)
        content = f"\n\t<QueryKey>1</QueryKey>\n\t<WebEnv>{name}</WebEnv>\n"
        return _xml("ePostResult", "epost 20090526", content)

    def _efetch(self, asked: Asked, database: str, corpus: Corpus) -> Answer:
        kept = corpus.find(asked.get("id", ""))
        if "WebEnv" in asked:
            if asked["WebEnv"] not in self._posted:
                return _error("eFetchResult", "Unable to obtain query #1", 200)
            kept = self._posted[asked["WebEnv"]]
        start = number(asked, "retstart", 0)
        shown = kept[start : start + number(asked, "retmax", MOST_SHOWN)]
        head, tail = _SETS[database]
        return Answer(head + b"".join(corpus.content(at) + b"\n" for at in shown) + tail, XML)


def _esearch(asked: Asked, corpus: Corpus) -> Answer:
    term = asked.get("term", "")
    if not term.strip():  # errors of a search come with status 200
        return _error("eSearchResult", "Empty term and query_key - nothing todo", 200)
    found = corpus.search(term, asked.get("mindate", ""), asked.get("maxdate", ""))
    shown = found[: min(number(asked, "retmax", 20), MOST_SHOWN)]
    listed = "\n".join(f"<Id>{corpus.numbers[at]}</Id>" for at in shown)
    return _xml(
        "eSearchResult",
        "esearch 20060628",
        f"<Count>{len(found)}</Count><RetMax>{len(shown)}</RetMax><RetStart>0</RetStart>"
        f"<IdList>\n{listed}\n</IdList><TranslationSet/>"
        f"<QueryTranslation>{escape(term, quote=False)}</QueryTranslation>",
    )


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

"""NCBI's E-utilities: esearch, epost and efetch for PubMed and PMC."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from html import escape

from elara.mirror.corpus import Corpus, Selection
from elara.mirror.messages import JSON, TEXT, XML, Answer, Call, json_answer, not_found

# PubMed shows the first 9,999 hits of a query and no more; other databases page on.
LAST_START = 9_998
_MOST = 10_000  # ids or records in one answer
_LONGEST_TARGET = 8_190  # bytes of a request line; longer ones must be posted
_TOO_FAR = (
    "Search Backend failed: Exception:{nl}'retstart' cannot be larger than 9998. For PubMed, {nl}"
    "{tool} can only retrieve the first 9,999 records {nl}matching the query."
)
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


class _History:
    """Results that are kept on the server under one WebEnv."""

    def __init__(self) -> None:
        self.queries: list[tuple[str, Selection]] = []
        self.uses = 0


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
        self._histories: dict[str, _History] = {}
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> Answer:
        """Answer one request.

        Args:
            call: the request.
        """
        if call.method == "GET" and call.length > _LONGEST_TARGET:
            return Answer(b"<html><body>414 Request-URI Too Long</body></html>", status=414)
        tools = {"esearch": self._esearch, "epost": self._epost, "efetch": self._efetch}
        tool = tools.get(call.path.rpartition("/")[2].removesuffix(".fcgi"))
        if tool is None:
            return not_found(call.path)
        database = call.parameters.get("db", "pubmed")
        if database not in self._corpora:
            message = f"Invalid db name specified: {database}"
            return _search_error(message, call) if tool == self._esearch else _error(message, 400)
        return tool(call, database, self._corpora[database])

    def _esearch(self, call: Call, database: str, corpus: Corpus) -> Answer:
        asked = call.parameters
        term = asked.get("term", "")
        if not term.strip():
            return _search_error("Empty term and query_key - nothing todo", call)
        start = call.number("retstart", 0)
        # Both ends of a range must be given.
        dates = (asked.get("mindate", ""), asked.get("maxdate", ""))
        found = corpus.search(term, *(dates if all(dates) else ("", "")))
        if database == "pubmed" and start > LAST_START < len(found) - 1:
            # The message has line breaks, which now and then are not escaped in JSON.
            raw = hashlib.sha256(term.encode()).digest()[0] % 2
            return _search_error(_TOO_FAR.format(nl="\n", tool="ESearch"), call, broken=bool(raw))
        if asked.get("sort", "").lower().replace("+", "_") in ("pub_date", "date", "pubdate"):
            found = corpus.by_date(found)
        shown = found[start : start + min(call.number("retmax", 20), _MOST)]
        if database == "pubmed":
            shown = shown[: LAST_START + 1 - start]
        kept = {}
        if asked.get("usehistory", "") == "y":
            name, key = self._keep(database, found, f"{database} {term} {dates}", asked)
            kept = {"querykey": key, "webenv": name}
        ids = [str(number) for number in corpus.numbers(shown)]
        counts = {"count": str(len(found)), "retmax": str(len(ids)), "retstart": str(start)}
        if asked.get("retmode") == "json":
            result = {**counts, **kept, "idlist": ids, "translationset": [],
                      "querytranslation": term}  # fmt: skip
            return json_answer(_with_header(result))
        names = {"count": "Count", "retmax": "RetMax", "retstart": "RetStart",
                 "querykey": "QueryKey", "webenv": "WebEnv"}  # fmt: skip
        head = "".join(f"<{names[k]}>{v}</{names[k]}>" for k, v in {**counts, **kept}.items())
        listed = "\n".join(f"<Id>{i}</Id>" for i in ids)
        return _xml(
            "eSearchResult",
            "esearch 20060628",
            f"{head}<IdList>\n{listed}\n</IdList><TranslationSet/>"
            f"<QueryTranslation>{escape(term, quote=False)}</QueryTranslation>",
        )

    def _epost(self, call: Call, database: str, corpus: Corpus) -> Answer:
        text = call.parameters.get("id", "")
        if not text.strip():
            return _error("Empty ID list; Nothing to store.", 400)
        name, key = self._keep(database, corpus.find(_numbers(text)), text, call.parameters)
        content = f"\n\t<QueryKey>{key}</QueryKey>\n\t<WebEnv>{name}</WebEnv>\n"
        return _xml("ePostResult", "epost 20090526", content)

    def _keep(
        self, database: str, found: Selection, about: str, asked: Mapping[str, str]
    ) -> tuple[str, str]:
        """Store a result under the client's WebEnv or a new one; its name and query key."""
        with self._lock:
            name = asked.get("WebEnv", "")
            if name not in self._histories or not self._histories[name].queries:
                # Named after the query, so that the same requests get the same answers.
                earlier = 0
                while (name := _name(about, earlier)) in self._histories:
                    earlier += 1
                self._histories[name] = _History()
            queries = self._histories[name].queries
            queries.append((database, found))
            return name, str(len(queries))

    def _efetch(self, call: Call, database: str, corpus: Corpus) -> Answer:
        asked = call.parameters
        start, most = call.number("retstart", 0), min(call.number("retmax", _MOST), _MOST)
        if "WebEnv" in asked:
            found = self._recall(asked["WebEnv"], asked.get("query_key", "1"), database)
            if found is None:
                return _lost(asked["WebEnv"], asked.get("query_key", "1"))
            if database == "pubmed" and start > LAST_START:
                return _error(_TOO_FAR.format(nl="\n", tool="EFetch"), 400)
            if start >= max(len(found), 1):
                return _error(
                    f"Cannot retrieve history data: OUT OF RANGE. Parameter retstart={start} + 1 "
                    f"is greater than number of records available in history. History includes "
                    f"{len(found)} IDs.",
                    400,
                )
        elif asked.get("id", "").strip():
            found = corpus.find(_numbers(asked["id"]))
        else:
            return _error("Empty id list - nothing todo", 400)
        shown = found[start : start + most]
        if asked.get("rettype") == "uilist":
            return Answer("".join(f"{n}\n" for n in corpus.numbers(shown)).encode(), TEXT)
        head, tail = _SETS[database]
        body = corpus.document(head, shown, tail, call.gzip)
        return Answer(body, XML, encoding="gzip" if call.gzip else "")

    def _recall(self, name: str, key: str, database: str) -> Selection | None:
        with self._lock:
            history = self._histories.get(name)
            if history is None:
                return None
            history.uses += 1
            if self._history_requests and history.uses > self._history_requests:
                history.queries.clear()  # the name is not given out again
            at = int(key) - 1 if key.isdigit() else -1
            if not 0 <= at < len(history.queries) or history.queries[at][0] != database:
                return None
            return history.queries[at][1]


def _name(about: str, earlier: int) -> str:
    return "MCID_" + hashlib.sha256(f"{earlier} {about}".encode()).hexdigest()[:24]


def _numbers(text: str) -> list[int]:
    parts = (part.strip().upper().removeprefix("PMC") for part in text.split(","))
    return [int(part) for part in parts if part.isascii() and part.isdigit()]


def _with_header(result: Mapping[str, object]) -> dict[str, object]:
    return {"header": {"type": "esearch", "version": "0.3"}, "esearchresult": result}


def _search_error(message: str, call: Call, broken: bool = False) -> Answer:
    """Errors of a search come with status 200."""
    if call.parameters.get("retmode") != "json":
        content = f"<ERROR>{escape(message, quote=False)}</ERROR>"
        return _xml("eSearchResult", "esearch 20060628", content)
    text = json.dumps(_with_header({"ERROR": message}))
    return Answer((text.replace("\\n", "\n") if broken else text).encode(), JSON)


def _error(message: str, status: int) -> Answer:
    answer = _xml(
        "eFetchResult", "efetch 20131226", f"\n\t<ERROR>{escape(message, quote=False)}</ERROR>\n"
    )
    answer.status = status
    return answer


def _lost(name: str, key: str) -> Answer:
    """A forgotten WebEnv: half of them are told with status 400, half inside a 200."""
    if int(hashlib.sha256(name.encode()).hexdigest()[0], 16) % 2:
        return _error(f"cannot retrieve history data. query_key: {key}, WebEnv: {name}", 400)
    return _error(f"Unable to obtain query #{key}", 200)


def _xml(root: str, public: str, content: str) -> Answer:
    tool, date = public.split()
    text = (
        f'<?xml version="1.0" encoding="UTF-8" ?>\n<!DOCTYPE {root} PUBLIC "-//NLM//DTD {public}'
        f'//EN" "{_DTD}/{date}/{tool}.dtd">\n<{root}>{content}</{root}>\n'
    )
    return Answer(text.encode(), XML)

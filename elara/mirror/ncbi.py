"""Answer as NCBI and NLM do: the E-utilities for PubMed and PMC, and PubMed's files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from html import escape

from isal import igzip

from elara.mirror.answers import GZIP, TEXT, XML, Answer, Asked, listing, not_found, number
from elara.mirror.records import Corpus

MOST_SHOWN = 9_999  # hits that are shown of a query
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
PER_FILE = 1_000  # articles in a baseline file (NLM: 30,000)
REVISED_EVERY = 20  # each so many-th record has a revision in an update file
WITHDRAWN_EVERY = 50  # each so many-th record is withdrawn by the last update file
_NAME = re.compile(r"pubmed26n(\d{4})\.xml\.gz(\.md5)?")
_REVISED = re.compile(rb"<DateRevised>.*?</DateRevised>", re.DOTALL)
_TITLE = re.compile(rb"(<ArticleTitle\b[^>/]*>)")
# Newer than all.
_REVISION = b"<DateRevised><Year>2026</Year><Month>11</Month><Day>01</Day></DateRevised>"


def eutils(corpora: Mapping[str, Corpus], path: str, asked: Asked) -> Answer:
    """Answer an E-utilities request.

    Args:
        corpora: `pubmed` and `pmc`.
        path: the program, such as `esearch.fcgi`.
        asked: the parameters.

    Source: https://www.ncbi.nlm.nih.gov/books/NBK25499/
    """
    database = asked.get("db", "pubmed")
    if database not in corpora:
        return _xml("eFetchResult", f"<ERROR>Invalid db name: {escape(database)}</ERROR>", 400)
    if path == "esearch.fcgi":
        return _esearch(asked, corpora[database])
    if path == "efetch.fcgi":
        found = corpora[database].find(asked.get("id", ""))[:MOST_SHOWN]
        head, tail = _SETS[database]
        return Answer(head + b"\n".join(map(corpora[database].content, found)) + tail, XML)
    return not_found(path)


def _esearch(asked: Asked, corpus: Corpus) -> Answer:
    term = asked.get("term", "")
    if not term.strip():  # errors of a search come with status 200
        return _xml("eSearchResult", "<ERROR>Empty term and query_key - nothing todo</ERROR>")
    found = corpus.search(term, asked.get("mindate", ""), asked.get("maxdate", ""))
    shown = found[: min(number(asked, "retmax", 20), MOST_SHOWN)]
    listed = "\n".join(f"<Id>{corpus.numbers[at]}</Id>" for at in shown)
    return _xml(
        "eSearchResult",
        f"<Count>{len(found)}</Count><RetMax>{len(shown)}</RetMax><RetStart>0</RetStart>"
        f"<IdList>\n{listed}\n</IdList><TranslationSet/>"
        f"<QueryTranslation>{escape(term, quote=False)}</QueryTranslation>",
    )


def _xml(root: str, content: str, status: int = 200) -> Answer:
    text = f'<?xml version="1.0" encoding="UTF-8" ?>\n<{root}>{content}</{root}>\n'
    return Answer(text.encode(), XML, status)


class Bulk:
    """Answers requests below `/pubmed/`.

    Args:
        corpus: the PubMed records. Book records are left out, as NLM does.

    Source: https://ftp.ncbi.nlm.nih.gov/pubmed/baseline/README.txt
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        real = range(len(corpus.records))
        books = [corpus.content(at).startswith(b"<PubmedBook") for at in real]
        self._articles = [at for at in range(corpus.size) if not books[at % len(books)]]
        last = -(-len(self._articles) // PER_FILE)
        self._folders = {"baseline": range(1, last + 1), "updatefiles": range(last + 1, last + 3)}
        self._file = lru_cache(maxsize=8)(self._make)

    def __call__(self, path: str, asked: Asked) -> Answer:
        folder, _, file = path.partition("/")
        numbers = self._folders.get(folder, range(0))
        if numbers and not file:
            files = [f"pubmed26n{n:04}.xml.gz{end}" for n in numbers for end in ("", ".md5")]
            return listing(f"Index of /pubmed/{folder}", files)
        named = _NAME.fullmatch(file)
        if not named or int(named[1]) not in numbers:
            return not_found(path)
        content = self._file(int(named[1]))
        if not named[2]:
            return Answer(content, GZIP)
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return Answer(f"MD5({file.removesuffix('.md5')})= {digest}\n".encode(), TEXT)

    def _make(self, number: int) -> bytes:
        """One file: part of the baseline, revisions, or revisions and withdrawn records."""
        update = number - self._folders["baseline"].stop + 1
        if update < 1:
            part = self._articles[(number - 1) * PER_FILE : number * PER_FILE]
            lines = [self._corpus.content(at) for at in part]
        else:
            lines = [self._revised(at) for at in self._articles[update - 1 :: REVISED_EVERY]]
        if update == 2:
            withdrawn = self._articles[WITHDRAWN_EVERY - 1 :: WITHDRAWN_EVERY]
            pmids = (self._corpus.numbers[at] for at in withdrawn)
            listed = "\n".join(f'<PMID Version="1">{n}</PMID>' for n in pmids)
            lines.append(f"<DeleteCitation>\n{listed}\n</DeleteCitation>".encode())
        head, tail = _SETS["pubmed"]
        return igzip.compress(head + b"\n".join(lines) + b"\n" + tail, 1, mtime=0)

    def _revised(self, at: int) -> bytes:
        content = self._corpus.content(at)
        dated, count = _REVISED.subn(_REVISION, content, count=1)
        if not count:
            dated = content.replace(b"</PMID>", b"</PMID>" + _REVISION, 1)
        return _TITLE.sub(rb"\1Revised: ", dated, count=1)

"""PubMed's baseline and update files, as NLM offers them for download."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

import numpy as np

from elara.mirror.corpus import Corpus
from elara.mirror.messages import TEXT, Answer, Call, not_found
from elara.mirror.packing import gzip_bytes

PER_FILE = 1_000  # articles in a baseline file (NLM: 30,000)
REVISED_EVERY = 20  # each so many-th record has a revision in an update file
WITHDRAWN_EVERY = 50  # each so many-th record is withdrawn by the last update file
_YEAR = 26
_GZIP = "application/x-gzip"
_NAME = re.compile(rf"pubmed{_YEAR}n(\d{{4}})\.xml\.gz(\.md5)?")
_HEAD = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE PubmedArticleSet SYSTEM '
    b'"http://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd">\n<PubmedArticleSet>\n'
)
_TAIL = b"</PubmedArticleSet>\n"
_REVISED = re.compile(rb"<DateRevised>.*?</DateRevised>", re.DOTALL)
_TITLE = re.compile(rb"(<ArticleTitle\b[^>/]*>)")
_REVISION = (
    b"<DateRevised><Year>2026</Year><Month>11</Month><Day>01</Day></DateRevised>"  # newer than all
)


class Bulk:
    """Answers requests below `/pubmed/`.

    Args:
        corpus: the PubMed records. Book records are left out, as NLM does.

    Source: https://ftp.ncbi.nlm.nih.gov/pubmed/baseline/README.txt
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        books = [r.texts[0].startswith(b"<PubmedBook") for r in corpus.records]
        index = np.arange(corpus.size)
        self._articles = index[~np.array(books, dtype=bool)[index % max(len(books), 1)]]
        self._baseline = -(-len(self._articles) // PER_FILE)
        self._file = lru_cache(maxsize=8)(self._make)

    def __call__(self, call: Call) -> Answer:
        """Answer one request.

        Args:
            call: the request.
        """
        numbers = {
            "baseline": range(1, self._baseline + 1),
            "updatefiles": range(self._baseline + 1, self._baseline + 3),
        }
        folder, _, file = call.path.partition("/")
        if folder not in numbers:
            return not_found(call.path)
        if not file:
            return _index(folder, [f"pubmed{_YEAR}n{n:04}.xml.gz" for n in numbers[folder]])
        named = _NAME.fullmatch(file)
        if not named or int(named[1]) not in numbers[folder]:
            return not_found(call.path)
        content = self._file(int(named[1]))
        if not named[2]:
            return Answer(content, _GZIP, stored=True)
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        line = f"MD5({file.removesuffix('.md5')})= {digest}\n"
        return Answer(line.encode(), TEXT, stored=True)

    def _make(self, number: int) -> bytes:
        """One file: part of the baseline, revisions, or revisions and withdrawn records."""
        update = number - self._baseline
        if update < 1:
            part = self._articles[(number - 1) * PER_FILE : number * PER_FILE]
            return gzip_bytes(self._corpus.document(_HEAD, part, _TAIL, gzip=False))
        chosen = self._articles[update - 1 :: REVISED_EVERY]
        lines = [_HEAD, *(self._revised(int(index)) for index in chosen)]
        if update == 2:
            withdrawn = self._corpus.numbers(self._articles[WITHDRAWN_EVERY - 1 :: WITHDRAWN_EVERY])
            pmids = "".join(f'<PMID Version="1">{n}</PMID>\n' for n in withdrawn)
            lines.append(f"<DeleteCitation>\n{pmids}</DeleteCitation>\n".encode())
        return gzip_bytes(b"".join([*lines, _TAIL]))

    def _revised(self, index: int) -> bytes:
        copy, record = self._corpus.place(index)
        content = b"".join(record.plain(copy))
        dated, count = _REVISED.subn(_REVISION, content, count=1)
        if not count:
            dated = content.replace(b"</PMID>", b"</PMID>" + _REVISION, 1)
        return _TITLE.sub(rb"\1Revised: ", dated, count=1) + b"\n"


def _index(folder: str, files: list[str]) -> Answer:
    """A directory listing as the web server of NLM's file archive writes it."""
    rows = "".join(
        f'<a href="{name}">{name}</a>{" " * 12}2026-01-29 14:01  \n'
        for file in files
        for name in (file, f"{file}.md5")
    )
    page = (
        f"<!DOCTYPE html>\n<html><head><title>Index of /pubmed/{folder}</title></head>\n<body>"
        f"<h1>Index of /pubmed/{folder}</h1>\n<pre>Name    Last modified    Size  <hr>"
        f'<a href="/pubmed/">Parent Directory</a>\n{rows}<hr></pre>\n</body></html>\n'
    )
    return Answer(page.encode(), stored=True)

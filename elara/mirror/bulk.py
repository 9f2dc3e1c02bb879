"""Answer as NLM's file archive does: PubMed's baseline and update files with their checksums."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

from isal import igzip

from elara.mirror.answers import GZIP, TEXT, Answer, Asked, listing, not_found
from elara.mirror.records import Corpus

PER_FILE = 1_000  # articles in a baseline file (NLM: 30,000)
REVISED_EVERY = 20  # each so many-th record has a revision in an update file
WITHDRAWN_EVERY = 50  # each so many-th record is withdrawn by the last update file
_NAME = re.compile(r"pubmed26n(\d{4})\.xml\.gz(\.md5)?")
_HEAD = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE PubmedArticleSet SYSTEM '
    b'"http://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd">\n<PubmedArticleSet>\n'
)
_TAIL = b"\n</PubmedArticleSet>\n"
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
        books = [r.content.startswith(b"<PubmedBook") for r in corpus.records]
        self._articles = [i for i in range(corpus.size) if not books[i % len(books)]]
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
        return igzip.compress(_HEAD + b"\n".join(lines) + _TAIL, 1, mtime=0)

    def _revised(self, at: int) -> bytes:
        content = self._corpus.content(at)
        dated, count = _REVISED.subn(_REVISION, content, count=1)
        if not count:
            dated = content.replace(b"</PMID>", b"</PMID>" + _REVISION, 1)
        return _TITLE.sub(rb"\1Revised: ", dated, count=1)

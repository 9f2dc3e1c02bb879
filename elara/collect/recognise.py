"""Tell what a file holds from its first bytes; names and suffixes do not count."""

from __future__ import annotations

import re

from elara.collect.payload import PayloadError, as_utf8
from elara.collect.xmlrecords import root_name

# Root element to the parser that reads it.
_ROOTS = {
    "PubmedArticleSet": "pubmed",
    "PubmedBookArticleSet": "pubmed",
    "PubmedArticle": "pubmed",
    "PubmedBookArticle": "pubmed",
    "DeleteCitation": "pubmed",
    "article": "jats",
    "pmc-articleset": "jats",
    "posts": "posts",
    "Document": "medquad",
    "doc": "medquad",
    "DiseaseFile": "medquad",
    "health-topics": "medlineplus",
    "health-topic": "medlineplus",
    "responseWrapper": "europepmc",
    "html": "webpage",
    "HTML": "webpage",
}
# Root element to what the file is instead of articles.
_OTHER_ROOTS = {
    "eSearchResult": "E-utilities esearch answer: ids, not records",
    "eSummaryResult": "E-utilities esummary answer: summaries, not records",
    "eInfoResult": "E-utilities einfo answer: a description of a database",
    "eLinkResult": "E-utilities elink answer: links, not records",
    "ePostResult": "E-utilities epost answer: a history key, not records",
    "IPGReportSet": "E-utilities efetch answer from another database",
    "rss": "RSS feed",
    "feed": "Atom feed",
    "eFetchResult": "E-utilities efetch error answer, not records",
    "DescriptorRecordSet": "MeSH vocabulary",
    "SupplementalRecordSet": "MeSH vocabulary",
}
# A foreign root may wrap records we know.
_WRAPPED = {
    "pubmed": re.compile(rb"<Pubmed(?:Book)?Article[\s>]"),
    "jats": re.compile(rb"<(?:jats:)?article[\s>]"),
}
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head)[\s>]", re.IGNORECASE)
_MEDLINE = re.compile(rb"^(?:PMID|PMCI|OWN |STAT)- ", re.MULTILINE)
_SIGNATURES = {
    b"7z\xbc\xaf\x27\x1c": "7z archive: unpack it first",
    b"PK\x03\x04": "ZIP archive or Office file: unpack it first",
    b"\x28\xb5\x2f\xfd": "zstd data: unpack it first",
    b"\x04\x22\x4d\x18": "lz4 data: unpack it first",
    b"\x1f\x9d": "compress data (.Z): unpack it first",
    b"Rar!\x1a\x07": "RAR archive: unpack it first",
    b"%PDF": "PDF file",
    b"PAR1": "Parquet file",
    b"\x89PNG": "PNG image",
}
_WINDOW = 65_536  # bytes looked at


def recognise(head: bytes) -> tuple[str, str]:
    """Recognise a format.

    Args:
        head: the first bytes of a file, unpacked; 64 KiB are enough.

    Returns:
        The name of the parser and "", or "" and the reason why the file is not read.
    """
    if not head.strip():
        return "", "empty file"
    for signature, meaning in _SIGNATURES.items():
        if head.startswith(signature):
            return "", meaning
    if head[257:262] == b"ustar":
        return "", "tar archive: unpack it first"
    try:
        head = next(as_utf8([head]))[:_WINDOW]
    except PayloadError as error:
        return "", str(error)
    text = head.lstrip()
    if text.startswith((b"{", b"[")):
        return _json(text)
    root = root_name(text)
    if root in _ROOTS:
        return _ROOTS[root], ""
    # Pages may carry a byte order mark that was encoded twice, so `<` need not come first.
    if _HTML.search(text[:1024]):
        return "webpage", ""
    if text.startswith(b"<"):
        return _foreign_root(root, text)
    if _MEDLINE.search(text[:400]):
        return "medline", ""
    return "", "not a format that Elara reads"


def _json(text: bytes) -> tuple[str, str]:
    if text.startswith(b"{") and b'"items"' in text[:200]:
        return "api", ""
    if text.startswith(b"{") and b'"hitCount"' in text[:200]:
        return "europepmc", ""
    return "", "JSON that is neither a Stack Exchange nor a Europe PMC answer"


def _foreign_root(root: str, text: bytes) -> tuple[str, str]:
    if reason := _OTHER_ROOTS.get(root):
        return "", reason
    for parser, pattern in _WRAPPED.items():
        if pattern.search(text):
            return parser, ""
    return "", f"XML with root <{root}>, which Elara does not read"

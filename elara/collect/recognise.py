"""Tell what a file holds from its first bytes, and text without a signature from its name."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import PurePosixPath

from elara.collect.own import bare_name, decoded
from elara.collect.payload import PayloadError, as_utf8
from elara.collect.tables import table_in
from elara.collect.xmlrecords import root_name

# Root elements by the parser that reads them.
_ROOTS = {
    "pubmed": (
        "PubmedArticleSet", "PubmedBookArticleSet", "PubmedArticle", "PubmedBookArticle",
        "DeleteCitation",
    ),
    "jats": ("article", "pmc-articleset"),
    "posts": ("posts",),
    "medquad": ("Document", "doc", "DiseaseFile"),
    "medlineplus": ("health-topics", "health-topic"),
    "webpage": ("html", "HTML"),
}  # fmt: skip
# A foreign root may wrap records we know.
_WRAPPED = {
    "pubmed": re.compile(rb"<Pubmed(?:Book)?Article[\s>]"),
    "jats": re.compile(rb"<(?:jats:)?article[\s>]"),
}
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head)[\s>]", re.IGNORECASE)
_MEDLINE = re.compile(rb"^(?:PMID|PMCI|OWN |STAT)- ", re.MULTILINE)
_SIGNATURES = {
    b"%PDF-": ("pdf", ""),
    b"PAR1": ("parquet", ""),
    b"\x28\xb5\x2f\xfd": ("", "zstd data: unpack it first"),
    b"\x04\x22\x4d\x18": ("", "lz4 data: unpack it first"),
    b"\x1f\x9d": ("", "compress data (.Z): unpack it first"),
    b"Rar!\x1a\x07": ("", "RAR archive: unpack it first"),
    b"\x89PNG": ("", "PNG image"),
    b"\xff\xd8\xff": ("", "JPEG image"),
    b"\xd0\xcf\x11\xe0": (
        "",
        "Office file of before 2007, or one with a password: save it as .docx, tables as CSV",
    ),
    b"{\\rtf": ("", "RTF file: save it as .docx"),
}
_RIS = re.compile(r"\s*TY  -")
# At the very beginning, but for comments: an article may end with how to cite it.
_BIBTEX = re.compile(r"(?:\s*%[^\n]*\n)*\s*@\w+[ \t]*\{[^,{}=\n]*,\s*[\w-]+\s*=")
# What has no signature of its own is told by the suffix of its name.
_SUFFIXES = {
    ".txt": "text", ".text": "text", ".md": "markdown", ".markdown": "markdown",
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".ris": "ris", ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}  # fmt: skip
_OBJECTS = re.compile(rb'\[\s*(?:\{|\]\s*\Z)|\{\s*"')
_README = re.compile(r"(?:.*[-_. ])?read[-_ ]?me(?:[-_. ].*)?", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x01-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f-\x9f\ufffd]")
_MOST_CONTROLS = 0.005  # share of a text's characters; a third of random bytes are such
_NOT_READ = "not a format that Elara reads"
_WINDOW = 65_536  # bytes looked at


def recognise(head: bytes, file: str = "") -> tuple[str, str]:
    """Recognise a format.

    Args:
        head: the first bytes of a file, unpacked; 64 KiB are enough.
        file: its name, which tells plain text, Markdown and tables without telling columns.

    Returns:
        The name of the parser and "", or "" and the reason why the file is not read.
    """
    if not head.strip():
        return "", "empty file"
    if known := next((found for s, found in _SIGNATURES.items() if head.startswith(s)), None):
        return known
    try:
        head = next(as_utf8([head]))[:_WINDOW]
    except PayloadError as error:
        return "", str(error)
    text = head.lstrip()
    prose = _SUFFIXES.get(_suffix(file)) in ("text", "markdown")
    if text.startswith((b"{", b"[")) and (_OBJECTS.match(text) or not prose):
        return _json(text, _suffix(file))
    root = root_name(text)
    for parser, roots in _ROOTS.items():
        if root in roots:
            return parser, ""
    # Pages may carry a byte order mark that was encoded twice, so `<` need not come first.
    if _HTML.search(text[:1024]):
        return "webpage", ""
    if text.startswith(b"<") and not prose:
        return _foreign_root(root, text)
    if _MEDLINE.search(text[:400]):
        return "medline", ""
    return _text(head, file)


def _text(head: bytes, file: str) -> tuple[str, str]:
    """What a text without a signature is: references, a table, or what its name says."""
    known = _SUFFIXES.get(_suffix(file), "")
    try:
        text = "".join(decoded([head])).removeprefix("\ufeff")
    except PayloadError as error:
        return "", f"named like text, but {error}" if known else _NOT_READ
    if len(_CONTROLS.findall(text)) > _MOST_CONTROLS * len(text):
        return "", "named like text, but its bytes are none" if known else _NOT_READ
    if known in ("text", "markdown") and _README.fullmatch(bare_name(file)):
        return "", (
            "a README, which speaks about other files: rename it if it is a text to learn from"
        )
    if _RIS.match(text):
        return "ris", ""
    if _BIBTEX.match(text):
        return "", "BibTeX: export these references as RIS"
    if known != "markdown" and table_in(text):
        return "csv", ""
    return (known, "") if known else ("", _NOT_READ)


def _suffix(file: str) -> str:
    return PurePosixPath(bare_name(file)).suffix.lower()


def _json(text: bytes, suffix: str) -> tuple[str, str]:
    if text.startswith(b"["):
        return ("json", "") if _OBJECTS.match(text) else ("", "JSON that is no list of records")
    for name, field in (("api", b'"items"'), ("europepmc", b'"hitCount"')):
        if field in text[:200]:
            return name, ""
    if _SUFFIXES.get(suffix) == "jsonl":
        return "jsonl", ""
    # One object on each of the first lines, or one object that goes over several.
    for line in text.split(b"\n")[:5]:
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(json.loads(line), dict):
                return "jsonl", ""
    return "json", ""


def _foreign_root(root: str, text: bytes) -> tuple[str, str]:
    if asked := re.fullmatch(r"(e[A-Z][a-z]+)Result", root):
        return "", f"E-utilities {asked[1].lower()} answer: ids, not records"
    for parser, pattern in _WRAPPED.items():
        if pattern.search(text):
            return parser, ""
    return "", f"XML with root <{root}>, which Elara does not read"

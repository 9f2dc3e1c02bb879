"""Read documents of a user's own: Word files and the text layer of PDF files."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lxml.html import HTMLParser, document_fromstring

from elara.collect.maintext import document_text
from elara.collect.own import can_be_title, file_title, own_article, take_title, titled
from elara.collect.parsed import Dropped, Parsed
from elara.records import Section

INSTALL_PDF = "`pip install --group pdf` in the project, or `pip install pypdf`"
_IGNORED = re.compile(r"An unrecognised element was ignored: \{[^}]*\}(\w+)")
# A word that may go on in the next line. Only small letters can be one word: 5-10, COVID-19.
_SPLIT = re.compile(r"([A-Za-z]*[a-z]{2,})-\n([a-z]{2,})")
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")


def parse_docx(path: Path, file: str) -> Iterator[Parsed]:
    """Read a Word document as one article, one section per heading.

    Insertions are text and deletions are not; footnotes stand at the end. Headers, footers and
    comments are not read. What cannot become text (pictures aside) is named in the reason.

    Args:
        path: the file.
        file: its name, for a text without heading.

    Yields:
        One `Parsed`.

    Source: https://github.com/mwilliamson/python-mammoth
    """
    import mammoth

    try:
        with path.open("rb") as handle:
            result = mammoth.convert_to_html(handle, convert_image=lambda image: [])
    except Exception as error:  # a damaged document leads the library anywhere
        reason = (
            f"Word file that cannot be read ({_said(error)}): open it in Word and save it again"
        )
        yield Parsed(record=0, status="error", reason=reason)
        return
    dropped: list[Dropped] = []
    page = f"<html><body>{result.value}</body></html>"
    tree = document_fromstring(page.encode(), parser=HTMLParser(encoding="utf-8"))
    sections = document_text(tree, dropped)
    if not sections:
        yield Parsed(record=0, status="skipped", reason="Word file without text")
        return
    called = titled(sections, file_title(file))
    found = own_article({"title": take_title(sections)}, sections, called)
    lost = Counter(m[1] for message in result.messages if (m := _IGNORED.match(message.message)))
    if lost:
        kinds = ", ".join(f"{n} {name}" for name, n in sorted(lost.items()))
        found.reason = f"parts of the document that are not read: {kinds}"
    found.dropped = dropped
    yield found


def parse_pdf(path: Path, file: str) -> Iterator[Parsed]:
    """Read the text layer of a PDF file as one article.

    Lines stay lines, in the order in which the file has them, and a page begins a paragraph.
    Nothing is left out: a line that repeats on every page stays too.

    Args:
        path: the file.
        file: its name, for a text whose first line cannot be a title.

    Yields:
        One `Parsed`; the reason names pages without text.

    Source: https://pypdf.readthedocs.io/en/stable/user/extract-text.html
    """
    try:
        import pypdf
    except ImportError:
        reason = f"PDF file, for which a library is needed: {INSTALL_PDF}"
        yield Parsed(record=0, status="skipped", reason=reason)
        return
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what it says, the outcome says
    try:
        reader = pypdf.PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            reason = "PDF file with a password: save it without one"
            yield Parsed(record=0, status="skipped", reason=reason)
            return
        pages = [_page(page.extract_text()) for page in reader.pages]
        about = {str(k): str(v) for k, v in (reader.metadata or {}).items()}
    except pypdf.errors.DependencyError:
        reason = "PDF file whose encryption cannot be read: save it without a password"
        yield Parsed(record=0, status="skipped", reason=reason)
        return
    except Exception as error:  # a damaged file leads the library anywhere
        reason = f"PDF file that cannot be read ({_said(error)}): fetch it again"
        yield Parsed(record=0, status="error", reason=reason)
        return
    if not any(pages):
        reason = "PDF file without a text layer, perhaps a scan: run text recognition (OCR) over it"
        yield Parsed(record=0, status="skipped", reason=reason)
        return
    text = join_split_words("\n\n".join(page for page in pages if page))
    values = {"title": _pdf_title(about, text), "doi": about.get("/doi", "")}
    first = text.partition("\n")[0]
    called = first if can_be_title(first) else file_title(file)
    found = own_article(values, [Section("", text)], called)
    if empty := [str(n) for n, page in enumerate(pages, start=1) if not page]:
        found.reason = f"{len(empty)} of {len(pages)} pages have no text layer: {', '.join(empty)}"
    yield found


def _page(text: str) -> str:
    """A page's lines without spaces at their ends. Half a surrogate pair cannot be stored."""
    sound = text.encode("utf-8", "replace").decode()
    return "\n".join(line.rstrip() for line in sound.split("\n")).strip("\n").replace("\0", "")


def join_split_words(text: str) -> str:
    """Join the words that a line end splits, where the same text proves that they are one.

    Args:
        text: `hyper-` at the end of a line and `tension` in the next become `hypertension` if that
            word stands elsewhere, and `hyper-tension` does not. All other hyphens stay, as in
            `5-` and `10 mg`.
    """
    known = set(_WORD.findall(text.lower()))

    def joined(found: re.Match[str]) -> str:
        one, two = found[1].lower(), found[2]
        proved = one + two in known and f"{one}-{two}" not in known
        return f"{found[1]}{found[2]}" if proved else found[0]

    return _SPLIT.sub(joined, text)


def _pdf_title(about: dict[str, str], text: str) -> str:
    """The title that the file states, if its text has it too: many state a template's."""
    stated = " ".join(about.get("/Title", "").split())
    return stated if stated.casefold() in " ".join(text[:5000].split()).casefold() else ""


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

"""Documents of a user's own: Word files and the text layer of PDF files."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lxml import etree
from lxml.html import HTMLParser, document_fromstring

from elara.collect.htmltext import tree_text
from elara.collect.own import can_be_title, file_title, own_article, take_title, titled
from elara.collect.parsed import Parsed
from elara.collect.xmlrecords import Element, keep_exponents, text_of
from elara.records import Section

INSTALL_PDF = "`pip install --group pdf` in the project, or `pip install pypdf`"
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_HEADING = "\ue010"  # a private character marks headings while the tree becomes text
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
    sections = html_sections(f"<html><body>{result.value}</body></html>")
    if not sections:
        yield Parsed(record=0, status="skipped", reason="Word file without text")
        return
    called = titled(sections, file_title(file))
    found = own_article({"title": take_title(sections)}, sections, called)
    lost = Counter(m[1] for message in result.messages if (m := _IGNORED.match(message.message)))
    if lost:
        kinds = ", ".join(f"{n} {name}" for name, n in sorted(lost.items()))
        found.reason = f"parts of the document that are not read: {kinds}"
    yield found


def html_sections(page: str) -> list[Section]:
    """Everything that an HTML document says, cut into sections at its headings.

    Args:
        page: the document.

    Returns:
        Sections in reading order. Rows of tables are lines with ` | ` between cells.
    """
    try:
        tree = document_fromstring(page.encode(), parser=HTMLParser(encoding="utf-8"))
    except (etree.ParserError, ValueError):
        return []
    keep_exponents(tree)
    for table in reversed(list(tree.iter("table"))):  # a table in a cell before the one around it
        rows = [
            " | ".join(" ".join(tree_text(cell).split()) for cell in row.iterchildren("td", "th"))
            for row in table.iter("tr")
        ]
        caption = text_of(table.find("caption"))
        _fill(table, "pre", "\n".join(line for line in [caption, *rows] if line.strip(" |")))
    for heading in list(tree.iter(*_HEADINGS)):
        _fill(heading, "p", _HEADING + text_of(heading))
    sections = [Section("", "")]
    body = tree.find("body")
    for paragraph in tree_text(tree if body is None else body).split("\n\n"):
        if paragraph.startswith(_HEADING):
            sections.append(Section(paragraph.removeprefix(_HEADING).strip(), ""))
        elif paragraph:
            last = sections[-1]
            last.text = f"{last.text}\n\n{paragraph}" if last.text else paragraph
    if not any(s.text for s in sections):
        return []
    return [s for s in sections if s.text or s.heading]


def _fill(element: Element, tag: str, text: str) -> None:
    tail = element.tail
    element.clear()
    element.tag, element.text, element.tail = tag, text, tail


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

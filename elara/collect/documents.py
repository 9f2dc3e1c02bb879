"""Read a user's own texts: plain text, Markdown, Word files, the text layer of PDF files."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import yaml
from lxml.html import HTMLParser, document_fromstring

from elara.collect.maintext import document_text
from elara.collect.own import (
    can_be_title,
    columns_of,
    decoded,
    file_title,
    own_article,
    take_title,
    titled,
    unused,
)
from elara.collect.parsed import Dropped, Parsed
from elara.records import Section

_IGNORED = re.compile(r"An unrecognised element was ignored: \{[^}]*\}(\w+)")


def _none(reason: str, status: Literal["error", "skipped"] = "skipped") -> Parsed:
    return Parsed(record=0, status=status, reason=reason)


def parse_text(chunks: Iterable[bytes], file: str) -> Parsed:
    """Read a plain text file as one article.

    Args:
        chunks: pieces of the file.
        file: its name, which is the title of a text whose first line cannot be one.

    Returns:
        An article, or why there is none.

    Raises:
        PayloadError: it is not text.
    """
    text = _tidy("".join(decoded(chunks)))
    if not text:
        return _none("text file without text")
    first, _, rest = text.partition("\n")
    # A line of its own, with an empty one after it, is a title; any other belongs to the text.
    alone = rest.startswith("\n") and can_be_title(first) and not first.endswith((".", ":"))
    body = [Section("", rest.strip("\n") if alone else text)]
    values = {"title": first} if alone else {}
    return own_article(values, body, titled(body, file_title(file)))


def parse_markdown(chunks: Iterable[bytes], file: str) -> Parsed:
    """Read a Markdown file as one article, one section per heading.

    Only headings and front matter are interpreted. Everything else stays as it is written, so
    that no table, list or `2*3*4` can be lost in a conversion.

    Args:
        chunks: pieces of the file.
        file: its name, for a text without heading.

    Returns:
        An article, or why there is none. What front matter says of title, licence, date … holds
        for the article.

    Raises:
        PayloadError: it is not text.

    Source: https://spec.commonmark.org/ and https://jekyllrb.com/docs/front-matter/
    """
    front, text = _front_matter(_tidy("".join(decoded(chunks))))
    known = columns_of(list(front), {})
    values = {field: front[names[0]] for field, names in known.items()}
    sections = _sections(text)
    if not any(section.text for section in sections) and not values.get("abstract"):
        return _none("Markdown file without text")
    sections = [s for s in sections if s.text or s.heading]
    if not values.get("title"):
        values["title"] = take_title(sections)
    found = own_article(values, sections, titled(sections, file_title(file)))
    found.reason = unused(list(front), known).replace("columns", "front matter", 1).split(" (")[0]
    return found


def _tidy(text: str) -> str:
    """Without spaces at the ends of lines and empty lines around; a new page is a paragraph."""
    lines = (line.rstrip() for line in text.replace("\f", "\n\n").split("\n"))
    return "\n".join(lines).strip("\n")


def _front_matter(text: str) -> tuple[dict[str, Any], str]:
    first, _, rest = text.partition("\n")
    head, fence, body = rest.partition("\n---\n")
    if first != "---" or not fence:
        return {}, text
    with contextlib.suppress(yaml.YAMLError, ValueError):
        values = yaml.safe_load(head)
        if isinstance(values, dict):
            return {str(key): value for key, value in values.items()}, body.strip("\n")
    return {}, text


def _sections(text: str) -> list[Section]:
    from markdown_it import MarkdownIt

    lines = text.split("\n")
    tokens = MarkdownIt("commonmark").parse(text)
    sections = [Section("", "")]
    begin = 0
    for token, inline in itertools.pairwise(tokens):
        if token.type != "heading_open" or token.level or token.map is None:
            continue
        start, end = token.map
        if end - start > 2:  # a paragraph above a line of dashes is no heading
            continue
        sections[-1].text = "\n".join(lines[begin:start]).strip("\n")
        sections.append(Section(inline.content.strip("*_ "), ""))
        begin = end
    sections[-1].text = "\n".join(lines[begin:]).strip("\n")
    return sections if sections[0].text or len(sections) == 1 else sections[1:]


def parse_docx(path: Path, file: str) -> Parsed:
    """Read a Word document as one article, one section per heading.

    Insertions are text and deletions are not; footnotes stand at the end. Headers, footers and
    comments are not read. What cannot become text (pictures aside) is named in the reason.

    Args:
        path: the file.
        file: its name, for a text without heading.

    Returns:
        An article, or why there is none.

    Source: https://github.com/mwilliamson/python-mammoth
    """
    import mammoth

    try:
        with path.open("rb") as handle:
            result = mammoth.convert_to_html(handle, convert_image=lambda image: [])
    except Exception as error:  # a damaged document leads the library anywhere
        return _none(
            f"Word file that cannot be read ({_said(error)}): open it in Word and save it again",
            "error",
        )
    dropped: list[Dropped] = []
    page = f"<html><body>{result.value}</body></html>"
    tree = document_fromstring(page.encode(), parser=HTMLParser(encoding="utf-8"))
    sections = document_text(tree, dropped)
    if not sections:
        return _none("Word file without text")
    called = titled(sections, file_title(file))
    found = own_article({"title": take_title(sections)}, sections, called)
    lost = Counter(m[1] for message in result.messages if (m := _IGNORED.match(message.message)))
    if lost:
        kinds = ", ".join(f"{n} {name}" for name, n in sorted(lost.items()))
        found.reason = f"parts of the document that are not read: {kinds}"
    found.dropped = dropped
    return found


def parse_pdf(path: Path, file: str) -> Parsed:
    """Read the text layer of a PDF file as one article.

    Lines stay lines, in the order in which the file has them, and a page begins a paragraph.
    Nothing is left out: a line that repeats on every page stays too. Words that a line end splits
    are joined when the text is cleaned.

    Args:
        path: the file.
        file: its name, for a text whose first line cannot be a title.

    Returns:
        An article, or why there is none; the reason names pages without text.

    Source: https://pypdf.readthedocs.io/en/stable/user/extract-text.html
    """
    try:
        import pypdf
    except ImportError:
        return _none(
            "PDF file, for which a library is needed: `pip install --group pdf` in the project, "
            "or `pip install pypdf`"
        )
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what it says, the outcome says
    try:
        reader = pypdf.PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            return _none("PDF file with a password: save it without one")
        pages = [_page(page.extract_text()) for page in reader.pages]
        about = {str(k): str(v) for k, v in (reader.metadata or {}).items()}
    except pypdf.errors.DependencyError:
        return _none("PDF file whose encryption cannot be read: save it without a password")
    except Exception as error:  # a damaged file leads the library anywhere
        return _none(f"PDF file that cannot be read ({_said(error)}): fetch it again", "error")
    if not any(pages):
        reason = "PDF file without a text layer, perhaps a scan: run text recognition (OCR) over it"
        return _none(reason)
    text = "\n\n".join(page for page in pages if page)
    values = {"title": _pdf_title(about, text), "doi": about.get("/doi", "")}
    first = text.partition("\n")[0]
    called = first if can_be_title(first) else file_title(file)
    found = own_article(values, [Section("", text)], called)
    if empty := [str(n) for n, page in enumerate(pages, start=1) if not page]:
        found.reason = f"{len(empty)} of {len(pages)} pages have no text layer: {', '.join(empty)}"
    return found


def _page(text: str) -> str:
    """A page's lines without spaces at their ends. Half a surrogate pair cannot be stored."""
    sound = text.encode("utf-8", "replace").decode()
    return "\n".join(line.rstrip() for line in sound.split("\n")).strip("\n").replace("\0", "")


def _pdf_title(about: dict[str, str], text: str) -> str:
    """The title that the file states, if its text has it too: many state a template's."""
    stated = " ".join(about.get("/Title", "").split())
    return stated if stated.casefold() in " ".join(text[:5000].split()).casefold() else ""


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

"""Read plain text and Markdown as they are written, cut at Markdown's headings."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

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
from elara.collect.parsed import Parsed
from elara.records import Section

_FENCE = "---"


def parse_text(chunks: Iterable[bytes], file: str) -> Iterator[Parsed]:
    """Read a plain text file as one article.

    Args:
        chunks: pieces of the file.
        file: its name, which is the title of a text whose first line cannot be one.

    Yields:
        One `Parsed`.

    Raises:
        PayloadError: it is not text.
    """
    text = _tidy("".join(decoded(chunks)))
    if not text:
        yield Parsed(record=0, status="skipped", reason="text file without text")
        return
    first, _, rest = text.partition("\n")
    # A line of its own, with an empty one after it, is a title; any other belongs to the text.
    alone = rest.startswith("\n") and can_be_title(first) and not first.endswith((".", ":"))
    body = [Section("", rest.strip("\n") if alone else text)]
    values = {"title": first} if alone else {}
    yield own_article(values, body, titled(body, file_title(file)))


def parse_markdown(chunks: Iterable[bytes], file: str) -> Iterator[Parsed]:
    """Read a Markdown file as one article, one section per heading.

    Only headings and front matter are interpreted. Everything else stays as it is written, so
    that no table, list or `2*3*4` can be lost in a conversion.

    Args:
        chunks: pieces of the file.
        file: its name, for a text without heading.

    Yields:
        One `Parsed`. What front matter says of title, licence, date … holds for the article.

    Raises:
        PayloadError: it is not text.

    Source: https://spec.commonmark.org/ and https://jekyllrb.com/docs/front-matter/
    """
    front, text = _front_matter(_tidy("".join(decoded(chunks))))
    known = columns_of(list(front), {})
    values = {field: front[names[0]] for field, names in known.items()}
    sections = _sections(text)
    if not any(section.text for section in sections) and not values.get("abstract"):
        yield Parsed(record=0, status="skipped", reason="Markdown file without text")
        return
    sections = [s for s in sections if s.text or s.heading]
    if not values.get("title"):
        values["title"] = take_title(sections)
    found = own_article(values, sections, titled(sections, file_title(file)))
    found.reason = unused(list(front), known).replace("columns", "front matter", 1).split(" (")[0]
    yield found


def _tidy(text: str) -> str:
    """Without spaces at the ends of lines and empty lines around; a new page is a paragraph."""
    lines = (line.rstrip() for line in text.replace("\f", "\n\n").split("\n"))
    return "\n".join(lines).strip("\n")


def _front_matter(text: str) -> tuple[dict[str, Any], str]:
    first, _, rest = text.partition("\n")
    head, fence, body = rest.partition(f"\n{_FENCE}\n")
    if first != _FENCE or not fence:
        return {}, text
    try:
        values = yaml.safe_load(head)
    except (yaml.YAMLError, ValueError):
        return {}, text
    if not isinstance(values, dict):
        return {}, text
    for key, value in values.items():
        if isinstance(value, datetime.date):
            values[key] = value.isoformat()
    return {str(key): value for key, value in values.items()}, body.strip("\n")


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

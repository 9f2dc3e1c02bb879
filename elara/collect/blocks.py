"""Hold blocks of plain text, and the small steps that every walker over markup shares."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import NamedTuple

from elara.collect.formulas import GOES_ON
from elara.collect.xmlrecords import Element, text_of

LINE = "\ue001"  # a private character stands for a break while white space is normalised
_WORDS = 12  # of a dropped block that its row tells
# A note's number, letter or sign, or several of them: 2 | 1,3–5 | [4] | a,b | iv | ‡
MARK = re.compile(
    r"[\[(]?(?:\d{1,3}[a-z]?|[a-z]|[ivx]{1,4})(?:\s*[,;–-]\s*(?:\d{1,3}|[a-z]))*[\])]?"
    r"|[*†‡§¶‖#↑↩^⁎∗]+",
    re.IGNORECASE,
)
CLOSED = (".", ":", ";", ",", "?", "!")
_ROMAN = (
    (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"),
    (1, "i"),
)  # fmt: skip


class Block(NamedTuple):
    """A piece of text that stands on its own.

    Args:
        kind: `paragraph`, `heading`, `list`, `definitions`, `quote`, `table` or `code`.
        text: its text, with line breaks between items, rows and lines.
        linked: how many of its characters stand in links.
        element: where it comes from, if that matters.
    """

    kind: str
    text: str
    linked: int = 0
    element: Element | None = None


class Flow:
    """The blocks that are done, and the line that is being gathered.

    Args:
        line: what a line break inside a paragraph becomes.
    """

    __slots__ = ("blocks", "line", "linked", "noted", "run")

    def __init__(self, line: str) -> None:
        self.blocks: list[Block] = []
        self.run: list[str] = []
        self.line = line
        self.linked = 0
        self.noted = -1  # how long the run was when a link to a note was left out of it

    def add(self, kind: str, text: str, element: Element, linked: int = 0) -> None:
        """Add a block behind the line that is being gathered, if it has text."""
        self.end()
        if text:
            self.blocks.append(Block(kind, text, linked, element))

    def end(self, element: Element | None = None) -> None:
        """Close the line that is being gathered; it is a paragraph if it has text."""
        if not self.run:
            return
        text = "".join(self.run)
        if LINE in text:
            text = self.line.join(filter(None, (" ".join(r.split()) for r in text.split(LINE))))
        else:
            text = " ".join(text.split())
        if text:
            self.blocks.append(Block("paragraph", text, self.linked, element))
        self.run = []
        self.linked = 0
        self.noted = -1

    def before(self) -> str:
        """The end of the line so far, white space included."""
        text = ""
        for piece in reversed(self.run):
            text = piece[-8:] + text
            if text.strip().rstrip(GOES_ON):
                break
        return text


def joined(parts: list[str], apart: str = "; ") -> str:
    """Pieces on one line, each kept apart from the one before it.

    Args:
        parts: texts without line breaks.
        apart: what goes between two pieces unless the first ends with a mark of its own.
    """
    line = ""
    for part in parts:
        if line:
            line += " " if line.endswith(CLOSED) else apart
        line += part
    return line


def besides(text: str, links: Iterable[Element]) -> str:
    """What a text says besides its links.

    Args:
        text: of an element.
        links: those in it.
    """
    for link in links:
        text = text.replace(text_of(link), "", 1)
    return text


def leading(words: Iterable[str]) -> str:
    """The first of some words, as rows about dropped pieces have them.

    Args:
        words: no more of them are read than the row has.
    """
    return " ".join(itertools.islice(words, _WORDS))


def first_words(text: str) -> str:
    """The first words of a text.

    Args:
        text: any text.
    """
    return leading(text.split())


def opening(element: Element) -> str:
    """The first words of an element, those of one block apart from those of the next.

    Args:
        element: however long it is, only its beginning is read.
    """
    return leading(word for piece in element.itertext(None) for word in str(piece).split())


def numbered(number: int, kind: str) -> str:
    """The number of an item as the list's kind writes it.

    Args:
        number: of the item.
        kind: `1`, `a`, `A`, `i` or `I`.

    Returns:
        The number without its full stop; digits where letters cannot say it.
    """
    text, rest = "", number
    if kind in ("a", "A") and number > 0:
        while rest:
            rest, letter = divmod(rest - 1, 26)
            text = chr(ord("a") + letter) + text
    elif kind in ("i", "I") and 0 < number < 400:
        for value, sign in _ROMAN:
            text += sign * (rest // value)
            rest %= value
    return (text.upper() if kind in ("A", "I") else text) or str(number)

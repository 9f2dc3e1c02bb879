"""Cut an XML stream into its records and read each of them.

Reading records apart has three effects. A malformed record cannot take its neighbours with it. A
file that breaks off keeps everything before the break. And no DOCTYPE ever reaches the XML
parser, so there is no DTD to load and no entity to expand.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from html.entities import html5

from lxml import etree

from elara.collect.payload import PayloadError, as_utf8

Element = etree._Element

_LARGEST = 64 << 20  # bytes: no record is that long, so its end tag is missing
_QUOTED = rb"\"[^\"]*\"|'[^']*'"
# With declarations of its own, in which comments and quotes may hold any character.
_DECLARED = rb"(?><!--.*?-->|<\?.*?\?>|%b|(?!<!--|<\?)[^\]\"'])*" % _QUOTED
_DOCTYPE = rb"<!DOCTYPE(?>[^\[<>\"']|%b)*(?:\[%b\]\s*)?>" % (_QUOTED, _DECLARED)
_PROLOG = re.compile(rb"\s+|<\?.*?\?>|<!--.*?-->|" + _DOCTYPE, re.DOTALL)
_DECLARATIONS = re.compile(_DOCTYPE, re.DOTALL)
_NAME = re.compile(rb"<([A-Za-z_][\w.:-]*)(?=[\s/>])")
# A tag with its ">", or up to the next "<" where that is missing.
_TAG = re.compile(rb"<(?![!?])(?>[^<>\"']|%b)*(?:>|(?=<))" % _QUOTED)
# What hides tags from the eye of a search, and how it ends.
_HIDING = ((b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?", b"?>"))
_NAMED_ENTITY = re.compile(rb"&([A-Za-z][A-Za-z0-9]*);")
_KEPT_ENTITIES = (b"amp", b"lt", b"gt", b"quot", b"apos")
# Prefixes that JATS and PubMed use; a wrapper around many records may have declared them.
_WRAPPER = (
    b'<record xmlns:xlink="http://www.w3.org/1999/xlink"'
    b' xmlns:mml="http://www.w3.org/1998/Math/MathML"'
    b' xmlns:ali="http://www.niso.org/schemas/ali/1.0/"'
    b' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    b' xmlns:jats="https://jats.nlm.nih.gov">'
)
_PARSER = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    huge_tree=True,
    remove_comments=True,
    remove_pis=True,
    collect_ids=False,
)


def root_name(head: bytes) -> str:
    """The name of the root element, prefix included, or "" where the text is not XML.

    Args:
        head: the beginning of a document in UTF-8, long enough to hold the prolog.
    """
    at = 0
    while skipped := _PROLOG.match(head, at):
        at = skipped.end()
    found = _NAME.match(head, at)
    return found[1].decode("ascii", "replace") if found else ""


def split_records(chunks: Iterable[bytes], names: tuple[str, ...]) -> Iterator[bytes]:
    """Cut a stream into the elements with these names, each from start to end tag.

    A record whose end tag is missing is yielded up to the start of the next one.

    Args:
        chunks: pieces of one XML document.
        names: element names (ASCII, with prefix if any). They never contain each other.

    Yields:
        The bytes of one record at a time, in UTF-8. Tags inside comments, literal sections,
        processing instructions and declarations begin no record and end none.

    Raises:
        PayloadError: the document ends before its root element does; all whole records have
            been yielded then.
    """
    wanted = {name.encode() for name in names}
    marks = _marks(names)
    buffer, root, closed = b"", "", False
    begin, at = -1, 0  # of the record that is open, if any, and of what was not looked at
    for chunk in itertools.chain(as_utf8(chunks), [None]):
        buffer += chunk or b""
        if not root and (root := root_name(buffer)):
            marks = _marks((*names, root))
        while mark := marks.search(buffer, at):
            start, name = mark.start(), mark[0].strip(b"</")
            hidden, slash, own = name in (b"!", b"?"), mark[0].startswith(b"</"), name in wanted
            end = _mark_end(buffer, start)
            if end < 0 and chunk is not None:  # it is not in the buffer yet
                at = start
                break
            if end < 0 and begin < 0 and hidden and not buffer.startswith(b"<!D", start):
                where = "inside a comment or the like"
                raise PayloadError(f"the file breaks off {where}: fetch it again")
            end = max(end, start + 2)  # without an end only this record is malformed
            at = end if slash or hidden else mark.end()
            ends = slash and buffer.startswith(b">", end - 1)
            empty = not slash and not hidden and buffer.startswith(b"/>", end - 2)
            if name == root.encode():
                closed = ends or empty
            if begin >= 0 and (ends or (own and not slash)):
                yield buffer[begin : end if own and slash else start]
                begin = -1
            if own and empty:
                yield buffer[start:end]
                at = end
            elif own and not slash:
                begin = start
        else:
            at = max(at, len(buffer) - 64)  # a tag may be split between two pieces
        kept = at if begin < 0 else begin
        buffer, at, begin = buffer[kept:], at - kept, min(begin, 0)
        if len(buffer) > _LARGEST:
            raise PayloadError("a record or comment has no end: fetch the file again")
    if root and not closed:
        raise PayloadError(f"the file breaks off before </{root}>: fetch it again")


def _marks(names: Iterable[str]) -> re.Pattern[bytes]:
    """Tags with these names, and the beginnings of what hides tags."""
    # Alternatives that begin with a letter each are told apart most quickly.
    either = "|".join(rf"{re.escape(name)}(?=[\s/>])" for name in names)
    return re.compile(f"<(?:[!?]|/(?:{either})|{either})".encode())


def _mark_end(data: bytes, at: int) -> int:
    """Where a tag ends, or what hides tags; -1 where that is not in the data."""
    if found := _TAG.match(data, at) or _DECLARATIONS.match(data, at):
        return found.end()
    for opening, ending in _HIDING:
        if data.startswith(opening, at):
            end = data.find(ending, at + len(opening))
            return end + len(ending) if end >= 0 else -1
    unknown = data.startswith(b"<!", at) and len(data) - at >= len("<!DOCTYPE")
    return at + 2 if unknown and not data.startswith(b"<!DOCTYPE", at) else -1


def read_record(record: bytes) -> Element:
    """Read one record.

    Args:
        record: the bytes of one element, in UTF-8.

    Returns:
        The element, without comments and processing instructions. Names of characters that a
        DTD would have declared (`&ensp;`) are read as HTML defines them.

    Raises:
        lxml.etree.XMLSyntaxError: it is not well-formed.

    Source: https://lxml.de/parsing.html#parser-options
    """
    try:
        return etree.fromstring(record, _PARSER)
    except etree.XMLSyntaxError:
        repaired = _NAMED_ENTITY.sub(_character, record)
        return etree.fromstring(_WRAPPER + repaired + b"</record>", _PARSER)[0]


def _character(named: re.Match[bytes]) -> bytes:
    if named[1] in _KEPT_ENTITIES:
        return named[0]
    return html5.get(named[1].decode("ascii") + ";", named[0].decode("ascii")).encode()


def malformed(error: etree.XMLSyntaxError) -> str:
    """The reason line for a record that is not well-formed XML."""
    return f"malformed XML ({error.msg}): fetch the file again or report it to the source"


def inner_text(element: Element) -> str:
    """All text inside an element, with its white space.

    Args:
        element: any element.
    """
    return str(etree.tostring(element, method="text", encoding="unicode", with_tail=False))


def text_of(element: Element | None) -> str:
    """All text inside an element, inline markup removed, white space as single spaces.

    Args:
        element: any element, or None.
    """
    if element is None:
        return ""
    text = inner_text(element) if len(element) else element.text
    if not text:
        return ""
    # What is printable has no white space but spaces: nearly all text, which is told at once.
    plain = "  " not in text and text.isprintable()
    return text.strip(" ") if plain else " ".join(text.split())


def replace_content(element: Element, text: str) -> None:
    """Put text in the place of all that an element holds; what follows the element stays.

    Args:
        element: loses its attributes as well.
        text: what it holds from now on.
    """
    tail = element.tail
    element.clear()
    element.text, element.tail = text, tail

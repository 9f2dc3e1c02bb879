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
_BLANK_END = re.compile(rb"\s*>")
_REST_OF_TAG = re.compile(rb"(?>[^<>\"']|%b)*>" % _QUOTED)
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
    starts = re.compile(rb"<(" + "|".join(names).encode("ascii") + rb")(?=[\s/>])")
    buffer = b""
    root = ""
    between = b""  # the end of what has been passed that is in no record, or ends one
    for chunk in itertools.chain(as_utf8(chunks), [None]):
        buffer += chunk or b""
        root = root or root_name(buffer)
        at = 0
        while True:
            found = starts.search(buffer, at)
            stop = found.start() if found else max(at, len(buffer) - 64)
            hidden = hiding(buffer, at, stop if found else len(buffer))
            passed = stop if hidden < 0 else hidden
            between = (between + buffer[max(at, passed - 4096) : passed])[-4096:]
            at = passed
            if hidden >= 0:
                end = _visible_again(buffer, hidden, chunk is None)
            elif found:
                end = _record_end(buffer, found, starts, chunk is None)
            else:
                break  # a start tag may be split between two pieces
            if end < 0:
                break
            if hidden < 0:
                yield buffer[at:end]
                between = buffer[max(at, end - 64) : end]
            at = end
        buffer = buffer[at:]
        if len(buffer) > _LARGEST:
            raise PayloadError("a record or comment has no end: fetch the file again")
    name = re.escape(root.encode())
    closed = re.compile(rb"</" + name + rb"\s*>|<" + name + rb"(?:\s[^<>]*)?/>")
    if starts.match(buffer) and (end_of_root := closed.search(buffer)):
        yield buffer[: end_of_root.start()]  # it has no end tag itself
    elif root and not closed.search(between + buffer):
        raise PayloadError(f"the file breaks off before </{root}>: fetch it again")


def _record_end(
    buffer: bytes,
    found: re.Match[bytes],
    starts: re.Pattern[bytes],
    last: bool,
) -> int:
    """Where a record ends, or -1 where that is not in the buffer yet."""
    at = found.end()
    if not buffer.startswith(b">", at):
        tag = _REST_OF_TAG.match(buffer, at)
        if tag and buffer[tag.end() - 2] == 47:  # a slash: the record is empty
            return tag.end()
    while True:
        limit, end = _end_tag(buffer, found[1], at)
        hidden = hiding(buffer, at, limit)
        visible = limit if hidden < 0 else hidden
        # A record without end tag ends where the next one starts; a fast check before the exact.
        if buffer.find(b"<" + found[1], at, visible) >= 0:
            following = starts.search(buffer, at, visible)
            if following:
                return following.start()
        if hidden < 0:
            return end
        if (at := hidden_end(buffer, hidden)) < 0:
            if not last:
                return -1
            at = hidden + 2  # only this record is malformed


def _end_tag(buffer: bytes, name: bytes, at: int) -> tuple[int, int]:
    """Where the next end tag with this name begins and ends: -1 where that is not in the buffer."""
    start = buffer.find(b"</" + name, at)
    while start >= 0:
        close = start + len(name) + 2
        if buffer[close : close + 1] == b">":
            return start, close + 1
        if spaced := _BLANK_END.match(buffer, close):
            return start, spaced.end()
        start = buffer.find(b"</" + name, close)
    return len(buffer), -1


def hiding(data: bytes, at: int, stop: int) -> int:
    """Where the next comment, literal section, instruction or declaration begins, or -1.

    Args:
        data: XML.
        at: where to begin.
        stop: where to end.
    """
    found = stop
    for sign in (b"!", b"?"):  # single bytes are found much faster than several
        place = data.find(sign, at + 1, found)
        while place >= 0:
            if data[place - 1] == 60:  # <
                found = place - 1
                break
            place = data.find(sign, place + 1, found)
    return found if found < stop else -1


def hidden_end(data: bytes, at: int) -> int:
    """Where a comment, literal section, instruction or declaration ends.

    Args:
        data: XML.
        at: where it begins.

    Returns:
        The position after it, or -1 where the data ends before.
    """
    for mark, ending in _HIDING:
        if data.startswith(mark, at):
            end = data.find(ending, at + len(mark))
            return end + len(ending) if end >= 0 else -1
    if found := _DECLARATIONS.match(data, at):
        return found.end()
    known = data.startswith(b"<!DOCTYPE", at) or len(data) - at < len("<!DOCTYPE")
    return -1 if known else at + 2


def _visible_again(data: bytes, at: int, last: bool) -> int:
    """Like `hidden_end`; at the end of a file, what hides the rest is an error."""
    end = hidden_end(data, at)
    if end < 0 and last:
        if data.startswith(b"<!DOCTYPE", at):
            return at + 2  # malformed, but nothing is hidden in it
        raise PayloadError("the file breaks off inside a comment or the like: fetch it again")
    return end


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
    return "".join(map(str, element.itertext(None)))


def text_of(element: Element | None) -> str:
    """All text inside an element, inline markup removed, white space as single spaces.

    Args:
        element: any element, or None.
    """
    if element is None:
        return ""
    text = inner_text(element) if len(element) else element.text
    return " ".join(text.split()) if text else ""


def replace_content(element: Element, text: str) -> None:
    """Put text in the place of all that an element holds; what follows the element stays.

    Args:
        element: loses its attributes as well.
        text: what it holds from now on.
    """
    tail = element.tail
    element.clear()
    element.text, element.tail = text, tail

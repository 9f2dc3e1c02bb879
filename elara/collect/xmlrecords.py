"""Cut an XML stream into its records and read each on its own.

Reading records apart has three effects. A malformed record cannot take its neighbours with it. A
file that breaks off keeps everything before the break. And no DOCTYPE ever reaches the XML
parser, so there is no DTD to load and no entity to expand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html.entities import html5

from lxml import etree

from elara.collect.payload import PayloadError, as_utf8

Element = etree._Element

_LARGEST = 64 << 20  # bytes: no record is that long, so its end tag is missing
_PROLOG = re.compile(rb"\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>", re.DOTALL)
_NAME = re.compile(rb"<([A-Za-z_][\w.:-]*)")
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
_EXPONENT = re.compile(r"[-−–+]?[0-9]+")
_SMALL = {
    "sup": str.maketrans("0123456789-−–+", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻⁻⁺"),
    "sub": str.maketrans("0123456789-−–+", "₀₁₂₃₄₅₆₇₈₉₋₋₋₊"),
}
# All that `str.split` splits at, but the blank.
_ASCII_SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f"
_SPACES = (
    _ASCII_SPACES
    + "\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
    + "".join(map(chr, range(0x2000, 0x200B)))
)
_PARSER = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    huge_tree=True,
    remove_comments=True,
    remove_pis=True,
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
        The bytes of one record at a time, in UTF-8.

    Raises:
        PayloadError: the document ends before its root element does; all whole records have
            been yielded then.
    """
    starts = re.compile(rb"<(" + "|".join(names).encode("ascii") + rb")(?=[\s/>])")
    buffer = b""
    root = ""
    tail = b""
    for chunk in as_utf8(chunks):
        buffer += chunk
        root = root or root_name(buffer)
        tail = (tail + chunk)[-4096:]
        at = 0
        while found := starts.search(buffer, at):
            at = found.start()
            end = _record_end(buffer, found, starts)
            if end < 0:
                break
            yield buffer[at:end]
            at = end
        # A start tag may be split between two pieces.
        buffer = buffer[at:] if found else buffer[max(at, len(buffer) - 64) :]
        if len(buffer) > _LARGEST:
            raise PayloadError("a record has no end tag: fetch the file again")
    if root and f"</{root}".encode() not in tail and b"/>" not in tail[-8:]:
        raise PayloadError(f"the file breaks off before </{root}>: fetch it again")


def _record_end(buffer: bytes, found: re.Match[bytes], starts: re.Pattern[bytes]) -> int:
    name = found[1]
    end = buffer.find(b"</" + name + b">", found.end())
    limit = len(buffer) if end < 0 else end
    if buffer.find(b"<" + name, found.end(), limit) >= 0:  # fast check before the exact one
        following = starts.search(buffer, found.end(), limit)
        if following:
            return following.start()
    return end if end < 0 else end + len(name) + 3


def split_rows(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Like `split_records`, for empty elements that hold everything in attributes.

    Args:
        chunks: pieces of one XML document.
        name: element name.

    Yields:
        One element at a time. XML allows no `<` in an attribute, so it ends before the next one.

    Raises:
        PayloadError: the document breaks off.
    """
    start = f"<{name} ".encode("ascii")
    buffer = b""
    for chunk in as_utf8(chunks):
        parts = (buffer + chunk).split(b"<")
        for part in parts[1:-1]:
            if (row := b"<" + part.rstrip()).startswith(start):
                yield row
        buffer = b"<" + parts[-1]
    last = buffer.rstrip()
    if last.startswith(start) and last.endswith(b"/>"):
        yield last
    if not buffer.startswith(b"</"):
        raise PayloadError("the file breaks off before its end tag: fetch it again")


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


def text_of(element: Element | None) -> str:
    """All text inside an element, inline markup removed, white space as single spaces.

    Args:
        element: any element, or None.
    """
    if element is None:
        return ""
    if len(element):
        return squeeze("".join(map(str, element.itertext(None))))
    return squeeze(element.text or "")


def squeeze(text: str) -> str:
    """White space as single spaces, none at the ends: `" ".join(text.split())`.

    Long texts mostly are so already, and finding that out takes a tenth of the time.

    Args:
        text: any text.
    """
    spaces = _ASCII_SPACES if text.isascii() else _SPACES
    if len(text) < 200 or "  " in text or any(map(text.__contains__, spaces)):
        return " ".join(text.split())
    return text.strip()


def keep_exponents(tree: Element) -> Element:
    """Keep small digits apart from the digit before them.

    10<sup>9</sup> becomes 10⁹ and not 109, MSP-1<sub>42</sub> becomes MSP-1₄₂ and not MSP-142.

    Args:
        tree: HTML, JATS or PubMed XML; changed in place.

    Returns:
        The same tree.
    """
    for small in tree.iter("sup", "sub"):
        before = small.getprevious()
        parent = small.getparent()
        text = (small.text or "").strip()
        preceding = before.tail if before is not None else None if parent is None else parent.text
        if not len(small) and (preceding or "")[-1:].isdigit() and _EXPONENT.fullmatch(text):
            small.text = text.translate(_SMALL[str(small.tag)])
    return tree

"""Raw files as streams of bytes: plain or gzip, whole or cut off."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from isal import isal_zlib

CHUNK = 1 << 16  # bytes read at a time: as much as damage inside a gzip file can cost
_UNPACKED = 1 << 20  # bytes unpacked at a time: a bomb cannot fill the memory in one step
_GZIP = b"\x1f\x8b"
_DECLARED = re.compile(rb"""^<\?xml[^>]*encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")


class PayloadError(ValueError):
    """A raw file cannot be read to its end; the message says why and what to do."""


def open_chunks(path: Path) -> Iterator[bytes]:
    """Read a file piece by piece, unpacked where it is gzip by its content.

    Everything that can be unpacked is yielded before a damaged end is reported.

    Args:
        path: the file; its name does not matter.

    Yields:
        Pieces of at most a few MiB.

    Raises:
        PayloadError: the gzip data is cut off or damaged.

    Source: gzip members may follow each other, RFC 1952, section 2.2,
        https://www.rfc-editor.org/rfc/rfc1952
    """
    with path.open("rb") as handle:
        first = handle.read(CHUNK)
        raw = iter(lambda: handle.read(CHUNK), b"")
        if first.startswith(_GZIP):
            yield from _unpack(first, raw)
        elif first:
            yield first
            yield from raw


def _unpack(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    member = isal_zlib.decompressobj(wbits=31)
    waiting = first
    try:
        while True:
            if member.eof:  # another member may follow; zero bytes are padding
                waiting = member.unused_data.lstrip(b"\0")
                if not waiting and not (waiting := next(rest, b"").lstrip(b"\0")):
                    return
                member = isal_zlib.decompressobj(wbits=31)
            if not waiting and not (waiting := next(rest, b"")):
                break
            if piece := member.decompress(waiting, _UNPACKED):
                yield piece
            waiting = member.unconsumed_tail
    except isal_zlib.error as error:  # type: ignore[misc]  # the stub calls it an instance
        raise PayloadError(f"the gzip data is damaged ({error}): fetch the file again") from error
    if piece := member.flush():
        yield piece
    raise PayloadError("the gzip data is cut off: fetch the file again")


def as_utf8(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Pass XML on as UTF-8 without byte order mark, whatever encoding it declares.

    Args:
        chunks: pieces of one XML document.

    Yields:
        The same text in UTF-8. Bytes that are wrong in a UTF-8 file pass unchanged, so that
        only the record that holds them fails.

    Raises:
        PayloadError: the declared encoding is unknown.
    """
    pieces = iter(chunks)
    first = next(pieces, b"")
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        first = first.removeprefix(codecs.BOM_UTF8)
        declared = _DECLARED.match(first[:200].lstrip())
        encoding = declared[1].decode("ascii").lower() if declared else "utf-8"
    if encoding in ("utf-8", "utf8", "us-ascii", "ascii"):
        yield first
        yield from pieces
        return
    try:
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    except LookupError as error:
        raise PayloadError(f"the declared encoding {encoding!r} is unknown: fix it") from error
    yield decoder.decode(first).encode()
    for piece in pieces:
        yield decoder.decode(piece).encode()

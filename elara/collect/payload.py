"""Read raw files as streams of bytes: plain or packed, whole or cut off."""

from __future__ import annotations

import bz2
import codecs
import itertools
import lzma
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from isal.igzip_lib import DECOMP_GZIP, IgzipDecompressor, IsalError

CHUNK = 1 << 16  # bytes read at a time: as much as damage inside a gzip file can cost
_UNPACKED = 1 << 20  # bytes unpacked at a time: a bomb cannot fill the memory in one step
DEEPEST = 4  # layers of packing, or archives in archives
_LONGEST_MARK = 10  # bytes
# Text shrinks to a fourth, monotonous XML to a fiftieth. What grows more is made to fill memory.
_MOST_GROWTH = 250
_ALWAYS_ALLOWED = 64 << 20  # bytes
_DECLARED = re.compile(rb"""^<\?xml[^>]*encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")


class PayloadError(ValueError):
    """A raw file cannot be read to its end; the message says why and what to do."""


class Allowance:
    """How many bytes a file may still give, over all layers that are unpacked from it.

    Args:
        size: of the file, in bytes.
    """

    def __init__(self, size: int) -> None:
        self._left = _ALWAYS_ALLOWED + _MOST_GROWTH * size

    def watch(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass pieces on until there are too many.

        Args:
            chunks: what is unpacked.

        Raises:
            PayloadError: no text shrinks that far, so that the file was made to fill memory.
        """
        for chunk in chunks:
            self._left -= len(chunk)
            if self._left < 0:
                raise PayloadError(
                    f"the archive unpacks to more than {_MOST_GROWTH} times its size, as no text "
                    f"does: do not trust it, and fetch it from its publisher"
                )
            yield chunk


def open_chunks(path: Path) -> Iterator[bytes]:
    """Read a file piece by piece, unpacked where it is gzip, bzip2 or xz by its content.

    Everything that can be unpacked is yielded before a damaged end is reported.

    Args:
        path: the file; its name does not matter.

    Yields:
        Pieces of at most a few MiB.

    Raises:
        PayloadError: the packed data is cut off or damaged.
    """
    yield from unpacked(raw_chunks(path), Allowance(path.stat().st_size))


def raw_chunks(path: Path) -> Iterator[bytes]:
    """Read a file piece by piece, as it is.

    Args:
        path: the file.
    """
    with path.open("rb") as handle:
        yield from iter(lambda: handle.read(CHUNK), b"")


def unpacked(chunks: Iterator[bytes], allowance: Allowance) -> Iterator[bytes]:
    """Take off the layers of gzip, bzip2 and xz that lie around some content.

    Args:
        chunks: the content in pieces, packed or not.
        allowance: what the unpacking is charged to.

    Raises:
        PayloadError: as for `open_chunks`, or there are too many layers.
    """
    name = ""
    for _ in range(DEEPEST):
        first, chunks = peek(chunks, _LONGEST_MARK)
        packing = next((p for p in _PACKINGS if p[1].match(first)), None)
        if packing is None:
            yield from chunks
            return
        name, _, new = packing
        chunks = allowance.watch(_unpack(name, new, chunks))
    raise PayloadError(f"{name} data lies in {DEEPEST - 1} layers of its like: unpack it first")


def peek(chunks: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and all pieces again: an early end is reported after what is readable.

    Args:
        chunks: pieces of some content.
        size: how many bytes at least, where there are so many.

    Raises:
        PayloadError: there is nothing before the damage.
    """
    head = b""
    try:
        while len(head) < size and (chunk := next(chunks, b"")):
            head += chunk
    except PayloadError as error:
        if not head:
            raise
        broken = error

        def fail() -> bytes:
            raise broken

        chunks = iter(fail, b"")
    return head, itertools.chain([head] if head else [], chunks)


# The name of a packing, how its data begins, and what unpacks it: all with the same methods.
# Sources: https://www.rfc-editor.org/rfc/rfc1952, https://sourceware.org/bzip2/manual/manual.html
# and https://tukaani.org/xz/xz-file-format.txt
_PACKINGS: tuple[tuple[str, re.Pattern[bytes], Callable[[], Any]], ...] = (
    ("gzip", re.compile(rb"\x1f\x8b"), lambda: IgzipDecompressor(flag=DECOMP_GZIP)),
    ("bzip2", re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), bz2.BZ2Decompressor),
    ("xz", re.compile(rb"\xfd7zXZ\0"), lzma.LZMADecompressor),
)


def _unpack(name: str, new: Callable[[], Any], chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of all members: they may follow each other in each of the formats."""
    member = new()
    waiting = b""
    try:
        while True:
            if member.eof:
                waiting = member.unused_data.lstrip(b"\0")  # zero bytes are padding
                while not waiting:
                    if not (piece := next(chunks, b"")):
                        return
                    waiting = piece.lstrip(b"\0")
                member = new()
            elif member.needs_input and not (waiting := next(chunks, b"")):
                break
            if piece := member.decompress(waiting, _UNPACKED):
                yield piece
            waiting = b""
    except (IsalError, lzma.LZMAError, OSError) as error:  # type: ignore[misc]  # so the stub
        raise PayloadError(f"the {name} data is damaged ({error}): fetch the file again") from error
    raise PayloadError(f"the {name} data is cut off: fetch the file again")


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
    pieces = itertools.chain([first], pieces)
    if encoding in ("utf-8", "utf8", "us-ascii", "ascii"):
        yield from pieces
        return
    try:
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    except LookupError as error:
        raise PayloadError(f"the declared encoding {encoding!r} is unknown: fix it") from error
    for piece in pieces:
        yield decoder.decode(piece).encode()

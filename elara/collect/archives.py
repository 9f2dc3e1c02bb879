"""Files inside archives (7z, zip, tar), read as streams in one pass without unpacking to disk."""

from __future__ import annotations

import contextlib
import io
import lzma
import queue
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from elara.collect.payload import CHUNK, PayloadError, open_chunks

Members = Generator[tuple[str, Iterator[bytes]], None, None]

_SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OFFICE = "[Content_Types].xml"
# Text shrinks to a fourth, monotonous XML to a fiftieth. What grows more is made to fill memory.
_MOST_GROWTH = 250
_ALWAYS_ALLOWED = 64 << 20  # bytes
_WAITING = 2  # pieces that may lie between the unpacking thread and the reader
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    UnicodeDecodeError,  # in the name of a file
    NotImplementedError,  # a zip method that Python does not have
)
_PASSWORD = "the archive needs a password: unpack it first"
_ENCRYPTED = 1  # bit of the flags of a file in a zip archive


class OfficeFileError(PayloadError):
    """A zip archive that is a text document, a table or slides."""


def is_archive(head: bytes) -> bool:
    """Whether a file is an archive that `open_members` reads.

    Args:
        head: the first 512 bytes of the file, or of what a gzip file holds.

    Source: https://py7zr.readthedocs.io/en/latest/archive_format.html and
        https://www.gnu.org/software/tar/manual/html_node/Standard.html
    """
    return head.startswith((_SEVEN_ZIP, *_ZIP)) or head[257:262] == b"ustar"


def open_members(path: Path) -> Members:
    """Read the files of an archive one after the other.

    Args:
        path: a 7z, zip or tar archive, the last also packed with gzip, bzip2 or xz.

    Yields:
        The name of a file in the archive and its content in pieces. What is not read of it
        before the next one is asked for is skipped.

    Raises:
        OfficeFileError: the archive is a document of an office program.
        PayloadError: the archive is damaged, needs a password, or holds far
            more than its size suggests. Everything before the damage has been yielded.
    """
    with path.open("rb") as handle:
        head = handle.read(8)
    size = path.stat().st_size
    if head.startswith(_SEVEN_ZIP):
        members = _seven_zip_members(path)
    elif head.startswith(_ZIP):
        members = _zip_members(path)
    else:
        members = _tar_members(path)
    allowance = _Allowance(size)
    try:
        for name, chunks in members:
            reading = allowance.watch(_sound(chunks))
            yield name, reading
            for _ in reading:
                pass
    except _DAMAGE as error:
        raise _damaged(error) from error
    finally:
        members.close()


def open_member(path: Path, name: str) -> Iterator[bytes]:
    """The content of one file in an archive.

    Args:
        path: the archive.
        name: as `open_members` gives it.

    Raises:
        PayloadError: as for `open_members`.
        KeyError: there is no such file.
    """
    for found, chunks in open_members(path):
        if found == name:
            yield from chunks
            return
    raise KeyError(f"{path.name} holds no file {name!r}: it changed since it was collected.")


class _Allowance:
    """How many bytes an archive may still give."""

    def __init__(self, size: int) -> None:
        self._left = _ALWAYS_ALLOWED + _MOST_GROWTH * size

    def watch(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._left -= len(chunk)
            if self._left < 0:
                raise PayloadError(
                    f"the archive unpacks to more than {_MOST_GROWTH} times its size, as no text "
                    f"does: do not trust it, and fetch it from its publisher"
                )
            yield chunk


def _damaged(error: Exception) -> PayloadError:
    reason = str(error) or type(error).__name__
    return PayloadError(f"the archive is damaged ({reason}): fetch it again")


def _sound(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Damage that shows while a file is being read reaches its reader in one form."""
    try:
        yield from chunks
    except _DAMAGE as error:
        raise _damaged(error) from error


class _Stream(io.BufferedIOBase):
    """Pieces as the file that `tarfile` reads from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int | None = -1, /) -> bytes:
        size = size or 0  # tarfile always says how much
        pieces = [self._rest]
        missing = size - len(self._rest)
        while missing > 0 and (piece := next(self._chunks, b"")):
            pieces.append(piece)
            missing -= len(piece)
        whole = b"".join(pieces)
        self._rest = whole[size:]
        return whole[:size]


def _tar_members(path: Path) -> Members:
    # tarfile does not compare gzip checksums, so what comes here is unpacked already.
    chunks = open_chunks(path)
    with tarfile.open(fileobj=_Stream(chunks), mode="r|*", bufsize=CHUNK) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content:
                yield member.name, _pieces(content.read)
    for _ in chunks:  # the checksum comes last
        pass


def _zip_members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        if _OFFICE in archive.namelist():
            raise OfficeFileError("Office file: save its text in a format that Elara reads")
        for member in archive.infolist():
            if member.flag_bits & _ENCRYPTED:
                raise PayloadError(_PASSWORD)
            if not member.is_dir():
                with archive.open(member) as content:
                    yield member.filename, _pieces(content.read)


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    return iter(lambda: read(CHUNK), b"")


class _Abandoned(Exception):
    """Nobody reads the archive any more."""


class _Hose:
    """What the unpacking thread writes and the reader takes, a few pieces at a time.

    The items are the name of a file when it begins, its pieces, and at the end None or the
    exception that ended the unpacking.
    """

    def __init__(self) -> None:
        self._items: queue.Queue[str | bytes | BaseException | None] = queue.Queue(_WAITING)
        self._abandoned = threading.Event()

    def put(self, item: str | bytes | BaseException | None) -> None:
        while not self._abandoned.is_set():
            try:
                return self._items.put(item, timeout=1.0)
            except queue.Full:
                continue
        raise _Abandoned

    def take(self) -> str | bytes | None:
        item = self._items.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def abandon(self) -> None:
        self._abandoned.set()
        while not self._items.empty():  # a thread that waits for room goes on and notices
            self._items.get_nowait()


def _seven_zip_members(path: Path) -> Members:
    """py7zr unpacks into objects of ours; a thread of its own turns that into a stream."""
    hose = _Hose()
    thread = threading.Thread(target=_unpack_seven_zip, args=(path, hose), daemon=True)
    thread.start()
    try:
        item = hose.take()
        while item is not None:
            name, after = str(item), list[str | None]()
            yield name, _content(hose, after)
            item = after[0] if after else None
    finally:
        hose.abandon()
        thread.join()


def _content(hose: _Hose, after: list[str | None]) -> Iterator[bytes]:
    while isinstance(item := hose.take(), bytes):
        yield item
    after.append(item)


def _unpack_seven_zip(path: Path, hose: _Hose) -> None:
    import py7zr
    from py7zr.exceptions import PasswordRequired

    class Writer(py7zr.Py7zIO):
        def write(self, data: bytes | bytearray) -> int:
            hose.put(bytes(data))
            return len(data)

        def read(self, size: int | None = None) -> bytes:
            return b""

        def seek(self, offset: int, whence: int = 0) -> int:
            return 0

        def flush(self) -> None:
            pass

        def size(self) -> int:
            return 0

    class Writers(py7zr.WriterFactory):
        def create(self, filename: str) -> py7zr.Py7zIO:
            hose.put(filename)
            return Writer()

    ended: BaseException | None = None
    try:
        # With an open file instead of a path, py7zr unpacks in the order of the archive.
        with path.open("rb") as handle, py7zr.SevenZipFile(handle) as archive:
            archive.extract(factory=Writers())
    except _Abandoned:
        return
    except PasswordRequired:
        ended = PayloadError(_PASSWORD)
    except Exception as error:
        ended = _damaged(error)  # a damaged header leads the library anywhere
    with contextlib.suppress(_Abandoned):
        hose.put(ended)

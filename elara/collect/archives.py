"""Read files inside archives (7z, zip, tar) as streams, without unpacking them to disk."""

from __future__ import annotations

import contextlib
import io
import itertools
import lzma
import queue
import stat
import struct
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from operator import itemgetter
from pathlib import Path

from elara.collect.payload import CHUNK, Allowance, PayloadError, peek, raw_chunks, unpacked
from elara.workspace.names import escaped

Members = Generator[tuple[str, Iterator[bytes]], None, None]
# Of a 7z archive: the number and name of a file with a piece of it; at the end None or the error.
_Item = tuple[int, str, bytes] | PayloadError | None

_SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_HEADER = 30  # bytes that stand before the name of a file in a zip archive
_LISTED = b"PK\x01\x02"  # begins each line of the list at the end of a zip archive
_OFFICE = "[Content_Types].xml"
_WORD = "word/document.xml"
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
_ENCRYPTED, _UTF8 = 1, 8  # bits of the two bytes of flags of a file in a zip archive


class WordFileError(PayloadError):
    """A zip archive that is a Word document: `elara.collect.documents` reads it."""


class NotReadError(PayloadError):
    """An entry of an archive is not read, or a document that looks like an archive."""


def kind_of(head: bytes) -> str:
    """What kind of archive begins so: `7z`, `zip`, `tar`, or "".

    Args:
        head: the first 512 bytes of the file, or of what a gzip file holds.

    Source: https://py7zr.readthedocs.io/en/latest/archive_format.html and
        https://www.gnu.org/software/tar/manual/html_node/Standard.html
    """
    if head.startswith(_SEVEN_ZIP):
        return "7z"
    if head.startswith(_ZIP):
        return "zip"
    return "tar" if head[257:262] == b"ustar" else ""


def open_members(path: Path, allowance: Allowance | None = None) -> Members:
    """Read the files of an archive one after the other.

    Args:
        path: a 7z, zip or tar archive, also packed with gzip, bzip2 or xz.
        allowance: what the unpacking is charged to; None goes by the size of the file.

    Yields:
        The name of a file in the archive, as `elara.workspace.names` shows it, and its content in
        pieces. What is not read of it before the next one is asked for is skipped. The content
        of an entry that is no file, or that cannot be unpacked, raises `NotReadError`.

    Raises:
        NotReadError: the archive is a document of an office program.
        WordFileError: it is a Word document.
        PayloadError: the archive is damaged, needs a password, or holds far
            more than its size suggests. Everything before the damage has been yielded.
    """
    allowance = allowance or Allowance(path.stat().st_size)
    lies_open = bool(kind_of(next(raw_chunks(path), b"")))
    head, chunks = peek(unpacked(raw_chunks(path), allowance), 512)
    kind = kind_of(head)
    with _damage_named(), contextlib.ExitStack() as stack:
        if kind in ("7z", "zip"):  # their list of files comes last
            if not lies_open:
                path = stack.enter_context(on_disk(chunks))
            members = _seven_zip_members(path) if kind == "7z" else _zip_members(path)
        else:
            members = _tar_members(chunks)
        stack.callback(members.close)
        for name, content in members:
            reading = allowance.watch(_sound(content))
            yield escaped(name), reading
            with contextlib.suppress(NotReadError):
                for _ in reading:
                    pass


@contextlib.contextmanager
def on_disk(chunks: Iterator[bytes]) -> Iterator[Path]:
    """An archive from inside another file, put down for as long as it is read.

    Args:
        chunks: its bytes.
    """
    with tempfile.TemporaryDirectory(prefix="elara-archive-") as folder:
        path = Path(folder) / "archive"
        with path.open("wb") as file:
            file.writelines(chunks)
        yield path


def _damaged(error: Exception) -> PayloadError:
    reason = str(error) or type(error).__name__
    return PayloadError(f"the archive is damaged ({reason}): fetch it again")


@contextlib.contextmanager
def _damage_named() -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise _damaged(error) from error


def _sound(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Damage that shows while a file is being read reaches its reader in one form."""
    with _damage_named():
        yield from chunks


class _Stream(io.BufferedIOBase):
    """Pieces as the file that `tarfile` reads from, which takes them in any size."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, size: int | None = -1, /) -> bytes:
        return next(self._chunks, b"")


def _tar_members(chunks: Iterator[bytes]) -> Members:
    # tarfile does not compare gzip checksums, so what comes here is unpacked already.
    with tarfile.open(fileobj=_Stream(chunks), mode="r|", encoding="utf-8") as archive:
        for member in archive:
            if not member.isdir():
                yield member.name, _tar_content(archive, member)
    for _ in chunks:  # the checksum comes last
        pass


def _tar_content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    if member.islnk() or member.issym():
        kind = "hard" if member.islnk() else "symbolic"
        raise NotReadError(f"a {kind} link to {escaped(member.linkname)}, which is not followed")
    content = archive.extractfile(member) if member.isfile() else None
    if content is None:
        kind = "named pipe" if member.isfifo() else "device"
        raise NotReadError(f"a {kind}, not a file")
    yield from _pieces(content.read)


def _zip_members(path: Path) -> Members:
    """Each file of a zip archive stands for itself: damage to one does not touch the others."""
    with _open_zip(path) as archive:
        names = archive.namelist()
        if _WORD in names:
            raise WordFileError(f"{path.name} is a Word document, not an archive")
        if _OFFICE in names:
            raise NotReadError("Office file: save slides as .docx, tables as CSV")
        if {"mimetype", "content.xml"} <= set(names):
            raise NotReadError("OpenDocument file: save it as .docx, tables as CSV")
        for member in archive.infolist():
            if not member.is_dir():
                yield member.filename, _zip_content(archive, member)


def _zip_content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    if member.flag_bits & _ENCRYPTED:
        raise NotReadError(_PASSWORD)
    if stat.S_ISLNK(member.external_attr >> 16):
        raise NotReadError("a symbolic link, which is not followed")
    try:
        content = archive.open(member)
    except NotImplementedError:
        method = member.compress_type
        raise NotReadError(f"packed by the zip method {method}: unpack it first") from None
    with content:
        yield from _pieces(content.read)


class _ListReader(io.FileIO):
    """A zip archive whose list of files claims UTF-8 for names that are not: it claims no more.

    zipfile gives up the whole archive for one such name. Without the claim it takes every byte
    for a sign of code page 437, from which the bytes can be had back.

    Source: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3.7, 4.3.12
        and 4.4.4
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.claims: list[int] = []
        self.opening = True

    def read(self, size: int | None = -1, /) -> bytes:
        data = bytearray(super().read(size) or b"")
        if size == _HEADER and data.startswith(_ZIP[0]):
            data[7] &= ~_UTF8
        at = 0
        while self.opening and data[at : at + 4] == _LISTED:
            self.claims.append(data[at + 9] & _UTF8)
            data[at + 9] &= ~_UTF8
            at += 46 + sum(struct.unpack_from("<3H", data, at + 28))
        return bytes(data)


def _open_zip(path: Path) -> zipfile.ZipFile:
    with contextlib.suppress(UnicodeDecodeError):
        return zipfile.ZipFile(path)
    reader = _ListReader(path)
    archive = zipfile.ZipFile(reader)
    reader.opening = False
    for member, claimed in zip(archive.infolist(), reader.claims, strict=True):
        if claimed:
            name = member.orig_filename.encode("cp437")
            member.filename = name.decode("utf-8", "surrogateescape")
    return archive


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    return iter(lambda: read(CHUNK), b"")


class _Abandoned(Exception):
    """Nobody reads the archive any more."""


def _seven_zip_members(path: Path) -> Members:
    """py7zr unpacks into objects of ours; a thread of its own turns that into a stream."""
    items: queue.Queue[_Item] = queue.Queue(_WAITING)
    abandoned = threading.Event()

    def put(item: _Item) -> None:
        while not abandoned.is_set():
            with contextlib.suppress(queue.Full):
                return items.put(item, timeout=0.1)
        raise _Abandoned

    def taken() -> Iterator[tuple[int, str, bytes]]:
        while isinstance(item := items.get(), tuple):
            yield item
        if item:
            raise item

    thread = threading.Thread(target=_unpack_seven_zip, args=(path, put), daemon=True)
    thread.start()
    try:
        for (_, name), pieces in itertools.groupby(taken(), key=itemgetter(0, 1)):
            yield name, filter(None, map(itemgetter(2), pieces))
    finally:
        abandoned.set()
        thread.join()


def _unpack_seven_zip(path: Path, put: Callable[[_Item], None]) -> None:
    import py7zr
    from py7zr.exceptions import PasswordRequired
    from py7zr.io import NullIO

    class Writer(NullIO):
        def __init__(self, number: int, name: str) -> None:
            self.place = number, name

        def write(self, data: bytes | bytearray) -> int:
            put((*self.place, bytes(data)))
            return len(data)

    class Writers(py7zr.WriterFactory):
        numbers = itertools.count()

        def create(self, filename: str) -> py7zr.Py7zIO:
            writer = Writer(next(self.numbers), filename)
            writer.write(b"")  # an empty file has a name as well
            return writer

    ended: PayloadError | None = None
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
        put(ended)

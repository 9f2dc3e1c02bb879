"""Read files inside archives (7z, zip, tar) as streams, without unpacking them to disk."""

from __future__ import annotations

import contextlib
import io
import lzma
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path

from elara.collect.payload import CHUNK, Allowance, PayloadError, peek, raw_chunks, unpacked
from elara.workspace.names import escaped

Members = Generator[tuple[str, Iterator[bytes]], None, None]

_SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OFFICE = "[Content_Types].xml"
_WORD = "word/document.xml"
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a zip method that Python does not have
)
_PASSWORD = "the archive needs a password: unpack it first"
_ENCRYPTED = 1  # bit of the flags of a file in a zip archive
_KINDS = {
    tarfile.LNKTYPE: "hard link",
    tarfile.SYMTYPE: "symbolic link",
    tarfile.FIFOTYPE: "named pipe",
}


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
        if kind in ("7z", "zip") and not lies_open:  # their list of files comes last
            path = stack.enter_context(on_disk(chunks))
        if kind == "7z":
            members = _seven_zip_members(path, allowance)
        else:
            members = _zip_members(path) if kind == "zip" else _tar_members(chunks)
        stack.callback(members.close)
        for name, content in members:
            reading = _sound(content) if kind == "7z" else allowance.watch(_sound(content))
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
    content = archive.extractfile(member) if member.isfile() else None
    if content is None:
        kind = _KINDS.get(member.type, "device")
        target = f" to {escaped(member.linkname)}" if member.linkname else ""
        raise NotReadError(f"a {kind}{target}, not a file")
    yield from iter(lambda: content.read(CHUNK), b"")


def _zip_members(path: Path) -> Members:
    """Each file of a zip archive stands for itself: damage to one does not touch the others."""
    try:
        opened = zipfile.ZipFile(path)
    except UnicodeDecodeError:
        raise PayloadError(
            "a name in the archive is no UTF-8, as it says: unpack it first"
        ) from None
    with opened as archive:
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
        yield from iter(lambda: content.read(CHUNK), b"")


def _seven_zip_members(path: Path, allowance: Allowance) -> Members:
    """py7zr unpacks into objects of ours: they write files, which are read when all are done."""
    import py7zr
    from py7zr.exceptions import PasswordRequired
    from py7zr.io import NullIO

    class Writer(NullIO):
        def __init__(self, place: Path) -> None:
            self.place = place
            place.touch()

        def write(self, data: bytes | bytearray) -> int:
            with self.place.open("ab") as file:
                file.writelines(allowance.watch(iter([bytes(data)])))
            return len(data)

    class Writers(py7zr.WriterFactory):
        def create(self, filename: str) -> py7zr.Py7zIO:
            names.append(filename)
            return Writer(folder / str(len(names)))

    def content(number: int) -> Iterator[bytes]:
        yield from raw_chunks(folder / str(number))
        if ended and number == len(names):
            raise ended

    names: list[str] = []
    ended: PayloadError | None = None
    with tempfile.TemporaryDirectory(prefix="elara-archive-") as temporary:
        folder = Path(temporary)
        try:
            # With an open file instead of a path, py7zr unpacks in the order of the archive.
            with path.open("rb") as handle, py7zr.SevenZipFile(handle) as archive:
                archive.extract(factory=Writers())
        except PasswordRequired:
            ended = PayloadError(_PASSWORD)
        except PayloadError as error:
            ended = error
        except Exception as error:
            ended = _damaged(error)  # a damaged header leads the library anywhere
        for number, name in enumerate(names, start=1):
            yield name, content(number)
        if ended:
            raise ended

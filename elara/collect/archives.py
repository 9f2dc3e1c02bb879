"""Read files inside archives (zip, tar) as streams, without unpacking them to disk."""

from __future__ import annotations

import io
import lzma
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path

from elara.collect.payload import CHUNK, Allowance, PayloadError, peek, raw_chunks, unpacked
from elara.workspace.names import escaped

Members = Generator[tuple[str, Iterator[bytes]], None, None]

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OFFICE = "[Content_Types].xml"
_WORD = "word/document.xml"
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    UnicodeDecodeError,  # in the name of a file
)
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
    """What kind of archive begins so: `zip`, `tar`, or "".

    Args:
        head: the first 512 bytes of the file, or of what a gzip file holds.

    Source: https://www.gnu.org/software/tar/manual/html_node/Standard.html
    """
    if head.startswith(_ZIP):
        return "zip"
    return "tar" if head[257:262] == b"ustar" else ""


def open_members(path: Path, allowance: Allowance | None = None) -> Members:
    """Read the files of an archive one after the other.

    Args:
        path: a zip or tar archive, also packed with gzip, bzip2 or xz.
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
    lies_open = lies_open or kind == "tar"  # the list of files of a zip archive comes last
    with _damage_named(), nullcontext(path) if lies_open else on_disk(chunks) as place:
        members = _zip_members(place) if kind == "zip" else _tar_members(chunks)
        with closing(members):
            for name, content in members:
                reading = allowance.watch(_sound(content))
                yield escaped(name), reading
                with suppress(NotReadError):
                    for _ in reading:
                        pass


@contextmanager
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


@contextmanager
def _damage_named() -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise PayloadError(
            f"the archive is damaged ({reason}): fetch it again, or unpack it first"
        ) from error


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
    with zipfile.ZipFile(path) as archive:
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
    if stat.S_ISLNK(member.external_attr >> 16):
        raise NotReadError("a symbolic link, which is not followed")
    try:
        content = archive.open(member)
    except RuntimeError as error:  # by a method that Python does not have, or with a password
        raise NotReadError(f"packed in a way that is not read ({error}): unpack it first") from None
    with content:
        yield from iter(lambda: content.read(CHUNK), b"")

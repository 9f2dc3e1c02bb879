"""Archives are read as streams; damage and bombs end in a message."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from elara.collect import payload, stackexchange
from elara.collect.archives import WordFileError, kind_of, open_members
from elara.collect.payload import PayloadError, open_chunks
from elara.collect.recognise import recognise

ROWS = "".join(
    f'<row Id="{i}" PostTypeId="1" Title="Question {i}" Body="{random.Random(i).random()}" />\n'
    for i in range(4_000)
)
POSTS = f'<?xml version="1.0"?>\n<posts>\n{ROWS}</posts>'.encode()
FILES = {
    "Badges.xml": b"<badges></badges>",
    "empty.txt": b"",
    "Posts.xml": POSTS,
    "z/a.txt": b"end",
}


def zipped(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def tarred(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


WRITERS = {"zip": zipped, "tar.gz": tarred}


@pytest.fixture(params=WRITERS)
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"any name {request.param}"
    WRITERS[request.param](path, FILES)
    return path


def read_all(path: Path) -> dict[str, bytes]:
    return {name: b"".join(chunks) for name, chunks in open_members(path)}


def test_every_file_of_an_archive_is_read_whole(archive: Path) -> None:
    assert list(read_all(archive).items()) == list(FILES.items())


def test_what_is_not_read_is_skipped(archive: Path) -> None:
    heads = {name: next(chunks, b"")[:8] for name, chunks in open_members(archive)}
    assert heads == {name: content[:8] for name, content in FILES.items()}


def test_posts_are_found_by_content_in_any_archive(archive: Path) -> None:
    def questions() -> Iterator[str]:
        for _, chunks in open_members(archive):
            head = next(chunks, b"")
            if recognise(head)[0] == "posts":
                found = stackexchange.parse_posts([head, *chunks], "health.example.com")
                yield from (p.article.id for p in found if p.article)

    ids = list(questions())
    assert len(ids) == 4_000
    assert ids[-1] == "stackexchange:health.example.com/3999"


def test_a_damaged_archive_says_so_after_what_was_whole(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-20_000])
    with pytest.raises(PayloadError, match=r"(damaged|cut off).*fetch"):
        read_all(archive)


def test_damage_inside_a_file_is_noticed(archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0x10
    archive.write_bytes(content)
    with pytest.raises(PayloadError, match="damaged"):
        read_all(archive)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_bomb_is_given_up(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "_ALWAYS_ALLOWED", 1 << 20)
    path = tmp_path / "bomb"
    WRITERS[kind](path, {"text.txt": b"whole", "zeros.xml": bytes(12 << 20)})
    members = open_members(path)
    _, text = next(members)
    assert b"".join(text) == b"whole"
    _, zeros = next(members)
    with pytest.raises(PayloadError, match="do not trust it"):
        sum(map(len, zeros))


def test_office_files_are_named(tmp_path: Path) -> None:
    office = tmp_path / "a.docx"
    zipped(office, {"[Content_Types].xml": b"<Types/>", "word/document.xml": b"<w/>"})
    with pytest.raises(WordFileError):
        read_all(office)
    zipped(office, {"[Content_Types].xml": b"<Types/>", "xl/workbook.xml": b"<w/>"})
    with pytest.raises(PayloadError, match="Office"):
        read_all(office)


def test_archives_are_told_from_other_files(tmp_path: Path) -> None:
    zipped(tmp_path / "zip", FILES)
    assert kind_of((tmp_path / "zip").read_bytes()[:512])
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    assert kind_of(plain.getvalue()[:512])
    assert not kind_of(POSTS[:512])
    assert not kind_of(b"")


def test_a_dump_reads_the_same_packed_as_plain(
    source_files: Path, tmp_path: Path, least: Callable[[int], int]
) -> None:
    folder = min((source_files / "stackexchange" / "dump").iterdir())
    (plain,), site = folder.iterdir(), folder.name
    zipped(tmp_path / f"{site}.zip", {"Posts.xml": plain.read_bytes()})
    members = open_members(tmp_path / f"{site}.zip")
    _, packed = next(members)
    found = list(stackexchange.parse_posts(packed, site))
    assert found == list(stackexchange.parse_posts(open_chunks(plain), site))
    assert sum(p.article is not None for p in found) >= least(100)

"""Packed files inside archives, archives inside archives, and entries that are no files."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from test_collect_archives import WRITERS
from test_collect_names import outcomes, page

from elara.collect import collect_folder, payload, raw_record

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "twice.gz": lambda content: gzip.compress(gzip.compress(content)),
}


def packed(kind: str, files: dict[str, bytes], folder: Path) -> bytes:
    path = folder / f"made.{kind}"
    WRITERS[kind](path, files)
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.mark.parametrize("kind", WRITERS)
def test_a_packed_file_inside_an_archive_is_read(kind: str, tmp_path: Path) -> None:
    files = {f"{n}.xml.{name}": pack(page(n)) for n, (name, pack) in enumerate(PACK.items(), 1)}
    (tmp_path / "a").write_bytes(packed(kind, files, tmp_path))
    assert outcomes(tmp_path) == {f"a!{name}": ("article", "") for name in files}
    for row in collect_folder(tmp_path).articles.collect().rows(named=True):
        assert raw_record(tmp_path, row["raw_file"], 0) in page(int(row["pmid"]))


@pytest.mark.parametrize("pack", PACK)
def test_a_packed_file_is_read(pack: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(PACK[pack](page(1)))
    assert outcomes(tmp_path) == {"a": ("article", "")}
    (tmp_path / "a").write_bytes(PACK[pack](b"".join(map(page, range(1, 99))))[:-9])
    found = collect_folder(tmp_path).outcomes.collect()
    assert found["status"].to_list().count("error") == 1
    assert "cut off" in found.filter(status="error")["reason"].item()


@pytest.mark.parametrize("outer", WRITERS)
@pytest.mark.parametrize("inner", WRITERS)
def test_an_archive_inside_an_archive_is_read(outer: str, inner: str, tmp_path: Path) -> None:
    inside = packed(inner, {"a!.xml.gz": gzip.compress(page(1)), "b": page(2)}, tmp_path)
    files = {"in": inside, "last.xml": page(3)}
    (tmp_path / "out!.bz2").write_bytes(bz2.compress(packed(outer, files, tmp_path)))
    names = ["out!.bz2!in!a!.xml.gz", "out!.bz2!in!b", "out!.bz2!last.xml"]
    assert outcomes(tmp_path) == dict.fromkeys(names, ("article", ""))
    assert raw_record(tmp_path, names[0], 0) in page(1)
    with pytest.raises(FileNotFoundError, match=r"holds no file 'out!\.bz2!in!lost\.xml'"):
        raw_record(tmp_path, "out!.bz2!in!lost.xml", 0)


def test_what_is_packed_too_deep_is_named(tmp_path: Path) -> None:
    content, layers = page(1), page(2)
    for _ in range(9):
        content, layers = packed("zip", {"z": content}, tmp_path), gzip.compress(layers)
    (tmp_path / "deep!!!!!!.zip").write_bytes(content)
    (tmp_path / "deep.gz").write_bytes(layers)
    (tmp_path / "flat!!!!!!.zip").write_bytes(packed("zip", {"z": page(3)}, tmp_path))
    found = outcomes(tmp_path)
    assert found.pop("flat!!!!!!.zip!z") == ("article", "")
    assert [status for status, _ in found.values()] == ["skipped", "error"]
    assert [
        "zip archive inside 4" in r or "gzip data lies in 3" in r for _, r in found.values()
    ] == [
        True,
        True,
    ]


def test_a_bomb_in_layers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "_ALWAYS_ALLOWED", 1 << 20)
    bomb = gzip.compress(gzip.compress(b"<posts>" + bytes(64 << 20)))
    (tmp_path / "a.zip").write_bytes(packed("zip", {"a": bomb}, tmp_path))
    (tmp_path / "b.xz").write_bytes(lzma.compress(b"<posts>" + bytes(64 << 20)))
    assert ["do not trust it" in r for _, r in outcomes(tmp_path).values()] == [True, True]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\x28\xb5\x2f\xfd..", "zstd"),
        (b"Rar!\x1a\x07\x01\x00", "RAR"),
        (b"\x1f\x9d..", "compress"),
    ],
)
def test_what_cannot_be_unpacked_is_named(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(packed("zip", {"a": content}, tmp_path))
    ((status, reason),) = outcomes(tmp_path).values()
    assert status == "skipped"
    assert name in reason


def tar_of(*members: tuple[str, bytes, str]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for number, (name, kind, target) in enumerate(members, start=1):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            content = page(number) if kind == tarfile.REGTYPE else b""
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def test_every_entry_of_a_tar_has_an_outcome(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(
        tar_of(
            ("caf\udce9.xml", tarfile.REGTYPE, ""),
            ("/absolute.xml", tarfile.REGTYPE, ""),
            ("../above.xml", tarfile.REGTYPE, ""),
            ("long" * 200, tarfile.REGTYPE, ""),
            ("two\nlines", tarfile.REGTYPE, ""),
            ("folder", tarfile.DIRTYPE, ""),
            ("hard", tarfile.LNKTYPE, "caf\udce9.xml"),
            ("soft", tarfile.SYMTYPE, "/etc/passwd"),
            ("pipe", tarfile.FIFOTYPE, ""),
            ("device", tarfile.CHRTYPE, ""),
            ("last", tarfile.REGTYPE, ""),
        )
    )
    found = outcomes(tmp_path)
    read = [r"caf\xe9.xml", "/absolute.xml", "../above.xml", "long" * 200, r"two\nlines", "last"]
    assert {f for f, (status, _) in found.items() if status == "article"} == {
        f"a.tar!{name}" for name in read
    }
    assert "hard link to caf\\xe9.xml" in found["a.tar!hard"][1]
    assert "symbolic link to /etc/passwd" in found["a.tar!soft"][1]
    assert "pipe" in found["a.tar!pipe"][1]
    assert "device" in found["a.tar!device"][1]
    assert len(found) == 10
    assert raw_record(tmp_path, r"a.tar!caf\xe9.xml", 0) in page(1)


def test_names_in_a_zip_are_read_or_told_to_be_no_text(tmp_path: Path) -> None:
    made = packed("zip", {"badXXé.xml": page(1), "ok é": page(3)}, tmp_path)
    (tmp_path / "a.zip").write_bytes(made.replace(b"XX\xc3\xa9", b"\xff\xfe\xc3\xa9"))
    (tmp_path / "b.zip").write_bytes(made)
    info = zipfile.ZipInfo("caf@.xml")
    with zipfile.ZipFile(tmp_path / "dos.zip", "w") as archive:
        archive.writestr(info, page(4))
    dos = (tmp_path / "dos.zip").read_bytes().replace(b"caf@", b"caf\x82")  # code page 437
    (tmp_path / "dos.zip").write_bytes(dos)
    found = outcomes(tmp_path)
    assert "unpack it first" in found.pop("a.zip")[1]
    names = ["b.zip!badXXé.xml", "b.zip!ok é", "dos.zip!café.xml"]
    assert found == dict.fromkeys(names, ("article", ""))
    assert raw_record(tmp_path, names[1], 0) in page(3)


def test_what_is_wrong_with_one_file_of_a_zip_is_its_own(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    locked, odd, broken = (zipfile.ZipInfo(name) for name in ("locked", "odd", "broken"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for info in (link, locked, odd, broken, zipfile.ZipInfo("last")):
            archive.writestr(info, page(1))
        locked.flag_bits |= 1  # as the list at the end of the archive says
        odd.compress_type = 97
        broken.CRC ^= 1
    found = {name.partition("!")[2]: told for name, told in outcomes(tmp_path).items()}
    assert found["last"] == ("article", "")
    assert "link" in found["link"][1]
    assert "password" in found["locked"][1]
    assert "zip method" in found["odd"][1]
    assert "damaged" in found["broken"][1]

"""Whatever a file system or an archive calls its files, each has its outcome."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elara.collect import collect_folder, raw_record
from elara.pipeline.state import files_digest
from elara.workspace.names import escaped, escaped_path, unescaped_path

PAGE = "<PubmedArticle><MedlineCitation><PMID>{}</PMID><Article><ArticleTitle>T</ArticleTitle>\
</Article></MedlineCitation></PubmedArticle>"
NAMES = {
    b"bad\xff\xfename.xml": r"bad\xff\xfename.xml",
    b"bad\xff\xfdname.xml": r"bad\xff\xfdname.xml",
    rb"bad\xff\xfename.xml": r"bad\\xff\\xfename.xml",
    b"two\nlines\tand\x1b[31m.xml": r"two\nlines\tand\x1b[31m.xml",
    b"folder \xe9/caf\xe9.xml": r"folder \xe9/caf\xe9.xml",
    "café – naïve.xml".encode(): "café – naïve.xml",
    b"a" * 251 + b".xml": "a" * 251 + ".xml",
    b"odd!.xml": "odd!.xml",
}


def page(number: int) -> bytes:
    return f"<PubmedArticleSet>{PAGE.format(number)}</PubmedArticleSet>".encode()


def outcomes(folder: Path) -> dict[str, tuple[str, str]]:
    found = collect_folder(folder).outcomes.collect()
    rows = found.select("file", "status", "reason").rows()
    assert len({row[0] for row in rows}) == len(rows)
    return {file: (status, reason) for file, status, reason in rows}


@given(st.text())
def test_no_two_names_look_the_same(name: str) -> None:
    assert unescaped_path(escaped(name)) == name


@given(st.binary().filter(lambda b: b"\0" not in b))
def test_any_bytes_can_be_had_back(name: bytes) -> None:
    text = escaped_path(os.fsdecode(name))
    text.encode()  # raises where a surrogate is left
    assert os.fsencode(unescaped_path(text)) == name


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_text_is_shown_with_escapes(tmp_path: Path) -> None:
    for number, name in enumerate(NAMES, start=1):
        path = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118 - bytes
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(page(number))
    assert outcomes(tmp_path) == dict.fromkeys(NAMES.values(), ("article", ""))
    articles = collect_folder(tmp_path).articles.collect()
    assert articles.height == len(NAMES)
    for row in articles.rows(named=True):
        raw = raw_record(tmp_path, row["raw_file"], row["raw_record"])
        assert f"<PMID>{row['pmid']}</PMID>".encode() in raw
    assert len(files_digest(str(tmp_path))) == 64


def test_what_is_no_file_is_named_and_never_opened(tmp_path: Path) -> None:
    (tmp_path / "whole.xml").write_bytes(page(1))
    os.mkfifo(tmp_path / "pipe.xml")
    os.mkfifo(tmp_path / "journal.jsonl")
    (tmp_path / "lost.xml").symlink_to("nowhere")
    (tmp_path / "loop.xml").symlink_to("loop.xml")
    (tmp_path / "zero.xml").symlink_to("/dev/zero")
    (tmp_path / "above").symlink_to(tmp_path)
    with socket.socket(socket.AF_UNIX) as ear:
        here = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket has to be short
        ear.bind("ear.xml")
        os.chdir(here)
    found = outcomes(tmp_path)
    assert {file: status for file, (status, _) in found.items()} == {
        "whole.xml": "article",
        "pipe.xml": "skipped",
        "journal.jsonl": "skipped",
        "lost.xml": "error",
        "loop.xml": "error",
        "zero.xml": "skipped",
        "above": "skipped",
        "ear.xml": "skipped",
    }
    assert "named pipe" in found["pipe.xml"][1]
    assert "device" in found["zero.xml"][1]
    assert "not followed" in found["above"][1]
    assert "No such file" in found["lost.xml"][1]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="becomes another user")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o700)
    (shut / "a.xml").write_bytes(page(1))
    (tmp_path / "whole.xml").write_bytes(page(2))
    for folder in (tmp_path, *tmp_path.parents):
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(0o755)
    code = (
        "import os, sys; from pathlib import Path; from elara.collect.listing import list_files\n"
        "os.setuid(65534)\n"
        "print([(f.name, f.broken, f.no_file) for f in list_files(Path(sys.argv[1]))])"
    )
    said = subprocess.check_output([sys.executable, "-c", code, str(tmp_path)], text=True)
    assert "('shut', True, 'cannot be reached (Permission denied)" in said
    assert "('whole.xml', False, '')" in said


def test_a_time_beyond_the_calendar_is_no_time(tmp_path: Path) -> None:
    (tmp_path / "late.xml").write_bytes(page(1))
    os.utime(tmp_path / "late.xml", (400_000_000_000, 400_000_000_000))
    assert outcomes(tmp_path) == {"late.xml": ("article", "")}


def test_a_folder_whose_name_a_notebook_cannot_hold_is_a_clear_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "elara.cli", "run", "--dry-run", "--local-files", b"/tmp/\xe9"]
    done = subprocess.run(
        [*command, "-w", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert r"`/tmp/\xe9` is no text" in done.stderr

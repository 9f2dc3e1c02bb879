"""Every file in a workspace is accounted for, and whatever was done to one is a named failure."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from elara.audit import audit
from elara.audit.records import why_unchecked
from elara.collect.live.store import Store, payload_table
from elara.continual.versions import Versions
from elara.export.exporting import _seal
from elara.workspace import (
    STAGES,
    Workspace,
    file_sha256,
    identity_of,
    manifest_text,
    sealed,
)

BEGAN = 1_790_000_000.0  # when the first stage began; each later one begins a minute after


def write_stage(place: Workspace, stage: str, at: float, rows: int = 3) -> None:
    """A stage that read the one before it."""
    work = place.begin(stage, {"rows": rows})
    work._started = at
    before = list(STAGES)[: list(STAGES).index(stage)]
    for earlier in before[-1:]:
        work.path(earlier, f"{earlier}.parquet")
    files: dict[str, object] = {f"{stage}.parquet": pl.DataFrame({"n": list(range(rows))})}
    if stage == "collect":
        store = Store(place.folder("collect") / "payloads", "pubmed")
        store.add("one", "https://example.org/1", b"<a/>", "xml")
        files["payloads.parquet"] = payload_table(place.folder("collect") / "payloads")
    if stage == "train":
        adapter = work.draft / "adapter"
        adapter.mkdir()
        save_file({"w": np.zeros(8, "float32")}, adapter / "adapter_model.safetensors")
        (adapter / "training.json").write_text("{}")
    work.write(files)
    # as if it had taken no longer than a stage of a minute does
    seal_again(place, stage, lambda manifest: manifest.update(seconds=1.0))


def seal_again(place: Workspace, stage: str, change: Callable[[dict], object]) -> None:
    """Change a manifest as someone would who computes its identity and its seal again."""
    path = place.folder(stage) / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    manifest["identity"] = identity_of(manifest)
    path.write_text(manifest_text(sealed(manifest)))


def write_run(place: Workspace, number: int, stage: str) -> None:
    """What the pipeline leaves of a run."""
    folder = place.root / "notebooks"
    folder.mkdir(exist_ok=True)
    copy = folder / f"{number:02}-{stage}.ipynb"
    copy.write_text('{"cells": []}')
    minute = f"2026-09-21T14:{13 + number}:50Z"
    record = {"identity": place.manifest(stage)["identity"], "ended": minute, "seconds": 1}
    whole = sealed(record | {"executed": file_sha256(copy)})
    copy.with_suffix(".json").write_text(manifest_text(whole))
    (place.root / "logs" / f"{copy.stem}.log").write_text("hello\n")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished workspace with a file of every class. Not to be changed."""
    workspace = Workspace(tmp_path_factory.mktemp("made") / "workspace")
    for number, stage in enumerate(STAGES, start=1):
        write_stage(workspace, stage, BEGAN + 60 * number)
        write_run(workspace, number, stage)
    home = workspace.folder("train")
    Versions(home).keep()
    for into in (home / "exports", workspace.root / "exports"):
        (into / "merged").mkdir(parents=True)
        (into / "merged" / "model.safetensors").write_bytes(b"weights")
        _seal(into / "merged", "merged", "x", {"adapter": {}}, pl.DataFrame({"kl": [0.1]}))
        (into / ".export").mkdir()
        (into / ".export" / "lock").touch()
    for loose in (".checkpoints/run/checkpoint-1/model.bin", "curves/events.1", ".sweep/a/b"):
        (home / loose).parent.mkdir(parents=True)
        (home / loose).write_bytes(b"x")
    return workspace.root


@pytest.fixture
def whole(made: Path, workspace: Workspace) -> Workspace:
    """A copy of it, to be damaged."""
    shutil.copytree(made, workspace.root)
    return workspace


def failures(place: Workspace) -> list[str]:
    return [line for line in audit(place).lines() if "FAILED" in line]


def on_disk(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if not p.is_dir())


def version(place: Workspace) -> Path:
    return next(place.folder("train").glob("versions/v*"))


def test_an_untouched_workspace_passes_and_every_file_is_accounted_for(whole: Workspace) -> None:
    before = {path: (whole.root / path).stat().st_mtime_ns for path in on_disk(whole.root)}
    result = audit(whole)
    assert failures(whole) == []
    assert result.passed
    assert result.finished == list(STAGES)
    assert list(result.files) == list(before)
    assert {p: (whole.root / p).stat().st_mtime_ns for p in on_disk(whole.root)} == before
    # what nothing records is named as such, and nothing else is
    loose = {path for path, f in result.files.items() if f.passed is None}
    parts = ("logs/", ".checkpoints", "curves", ".sweep", "lock")
    assert all(any(part in path for part in parts) for path in loose)
    assert "logs/serve/manifest.json" not in loose
    assert {f.passed for f in result.others} == {True}


CLASSES = [
    "raw/collect.parquet",
    "raw/payloads/pubmed/journal.jsonl",
    "raw/payloads/pubmed/000001.xml.gz",
    "evaluation/evaluate.parquet",
    "logs/serve/serve.parquet",
    "lora_adapters/adapter/adapter_model.safetensors",
    "lora_adapters/exports/merged/model.safetensors",
    "lora_adapters/exports/merged/export.json",
    "exports/merged/model.safetensors",
    "exports/merged/export.json",
    "VERSION/adapter_model.safetensors",
    "VERSION/version.json",
    "notebooks/02-inspect.ipynb",
    "notebooks/02-inspect.json",
    *(f"{home}/manifest.json" for home in STAGES.values()),
]


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("how", ["changed", "missing", "link", "pipe", "cut"])
def test_a_file_of_each_class_that_was_damaged_is_named(
    whole: Workspace, name: str, how: str, tmp_path: Path
) -> None:
    path = whole.root / name.replace("VERSION", version(whole).relative_to(whole.root).as_posix())
    data = bytearray(path.read_bytes())
    path.unlink()
    if how == "changed":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "link":
        (tmp_path / "same").write_bytes(data)
        path.symlink_to(tmp_path / "same")
    elif how == "pipe":
        os.mkfifo(path)
    named = path.relative_to(whole.root).as_posix()
    result = audit(whole)
    told = [line for line in result.lines() if "FAILED" in line]
    assert any(f" {named} " in line for line in told), told
    assert not result.passed
    assert set(on_disk(whole.root)) == set(result.files)


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"files": 3, "seal": 1}', b"[" * 9999, b"\xff"])
@pytest.mark.parametrize("name", CLASSES)
def test_nonsense_in_a_record_is_a_failure_not_a_crash(
    whole: Workspace, name: str, data: bytes
) -> None:
    path = whole.root / name.replace("VERSION", version(whole).relative_to(whole.root).as_posix())
    path.write_bytes(data)
    assert any(path.name in line for line in failures(whole))


@pytest.mark.parametrize(
    "folder",
    [
        *STAGES.values(),
        "",
        "logs",
        "raw/payloads",
        "raw/payloads/pubmed",
        "lora_adapters/adapter",
        "lora_adapters/exports",
        "lora_adapters/exports/merged",
        "exports/merged",
        "VERSION",
        "lora_adapters/versions",
        "notebooks",
        "somewhere/new",
    ],
)
def test_a_file_that_was_added_is_named(whole: Workspace, folder: str) -> None:
    place = version(whole) if folder == "VERSION" else whole.root / folder
    place.mkdir(parents=True, exist_ok=True)
    for name in ("more.bin", "09-more.ipynb", "more.json"):
        (place / name).write_bytes(b"")
        (told,) = failures(whole)
        assert f"{(place / name).relative_to(whole.root).as_posix()} was added" in told
        (place / name).unlink()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("left", ["record", "notebook", "reader", "files"])
def test_a_lost_manifest_is_noticed_by_any_one_trace(
    whole: Workspace, stage: str, left: str
) -> None:
    home = whole.folder(stage)
    name = f"{list(STAGES).index(stage) + 1:02}-{stage}"
    (home / "manifest.json").unlink()
    kept = {"record": f"{name}.json", "notebook": f"{name}.ipynb"}.get(left)
    for path in whole.root.glob(f"notebooks/{name}.*"):
        if path.name != kept:
            path.unlink()
    if left != "files":
        for path in sorted(home.rglob("*"), reverse=True):
            if path.is_file() and "serve" not in path.parent.name:
                path.unlink()
    if left != "reader":
        later = list(STAGES)[list(STAGES).index(stage) + 1 :]
        for reader in later:
            (whole.folder(reader) / "manifest.json").unlink()
    elif stage == "serve":
        return  # nothing reads it
    assert any(f"{STAGES[stage]}/manifest.json is missing, though" in x for x in failures(whole))


def test_a_workspace_without_a_trace_of_a_stage_does_not_ask_for_it(workspace: Workspace) -> None:
    write_stage(workspace, "collect", BEGAN)
    work = workspace.begin("inspect", {})  # a run that was cut off
    (work.draft / "half.parquet").write_bytes(b"")
    result = audit(workspace)
    assert result.passed
    assert result.files["processed/inspect/.partial/half.parquet"].passed is None
    assert result.finished == ["collect"]


def forge(place: Workspace, stage: str, *, identity: bool, seal: bool) -> str:
    """Change a table, and as much of the manifest as asked."""
    path = place.folder(stage) / f"{stage}.parquet"
    path.write_bytes(path.read_bytes() + b"\0")
    record = place.folder(stage) / "manifest.json"
    manifest = json.loads(record.read_text())
    entry = manifest["files"][path.name]
    entry |= {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    if identity:
        manifest["identity"] = identity_of(manifest)
    record.write_text(manifest_text(sealed(manifest) if seal else manifest))
    return f"{STAGES[stage]}/manifest.json"


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("identity", "seal"), [(False, False), (False, True), (True, True)])
def test_a_manifest_with_a_hash_computed_again_is_noticed(
    whole: Workspace, stage: str, identity: bool, seal: bool
) -> None:
    named = forge(whole, stage, identity=identity, seal=seal)
    assert any(named in line for line in failures(whole))


def test_a_stage_that_was_run_again_is_stale_not_damaged(whole: Workspace) -> None:
    write_stage(whole, "clean", BEGAN + 6000, rows=4)
    result = audit(whole)
    assert result.passed, failures(whole)
    told = [f.detail for f in result.others if f.passed is None]
    assert told == [
        "clean was run by hand since: stale, see `elara status`",
        "expand read an earlier result of clean: stale, see `elara status`",
    ]


def test_a_restored_adapter_is_stale_not_damaged(whole: Workspace) -> None:
    kept = version(whole).name
    adapter = whole.folder("train") / "adapter" / "training.json"
    adapter.write_text('{"other": 1}')
    Versions(whole.folder("train")).restore(kept)
    seal_again(whole, "train", lambda manifest: manifest["counts"].update(other=1))
    result = audit(whole)
    assert result.passed, failures(whole)
    assert len([f for f in result.others if f.passed is None]) == 2


def test_a_failed_run_keeps_the_earlier_copy_apart(whole: Workspace) -> None:
    folder = whole.root / "notebooks"
    failed = folder / "03-clean.failed.ipynb"
    failed.write_text("{}")
    record = {"error": "no such luck", "executed": file_sha256(failed), "ended": "x"}
    (folder / "03-clean.json").write_text(manifest_text(sealed(record)))
    result = audit(whole)
    assert result.passed, failures(whole)
    assert result.files["notebooks/03-clean.failed.ipynb"].passed is True
    assert result.files["notebooks/03-clean.ipynb"].passed is None
    failed.write_text("{ }")
    assert failures(whole) == ["notebooks: FAILED: notebooks/03-clean.failed.ipynb was changed"]


def test_more_payloads_than_the_finished_table_are_told(whole: Workspace) -> None:
    store = Store(whole.folder("collect") / "payloads", "pubmed")
    store.add("two", "https://example.org/2", b"<b/>", "xml")
    result = audit(whole)
    assert result.passed
    assert result.files["raw/payloads/pubmed/journal.jsonl"].detail.startswith("more was fetched")
    assert result.files["raw/payloads/pubmed/000002.xml.gz"].passed


def test_strange_names_and_closed_files_are_reported(
    whole: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [b"caf\xe9.txt", b"new\nline", "ünïcode".encode(), b"\x1b[31mred", b"[bold]"]
    for name in names:
        Path(os.fsdecode(os.fsencode(whole.root / "evaluation") + b"/" + name)).write_bytes(b"")
    (whole.root / "evaluation" / "loop").symlink_to(whole.root)
    told = failures(whole)
    assert len(told) == len(names) + 1
    for line in told:
        line.encode("utf-8")
        assert line.isprintable()

    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("elara.audit.records.file_sha256", refuse)
    assert any("evaluate.parquet cannot be read (Permission denied)" in x for x in failures(whole))


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to the superuser")
def test_a_folder_that_cannot_be_listed_is_a_failure(whole: Workspace) -> None:
    folder = whole.root / "evaluation"
    folder.chmod(0)
    try:
        assert any("evaluation cannot be listed" in line for line in failures(whole))
    finally:
        folder.chmod(0o755)


EACH = """import sys
from elara.cli import main
for folder in sys.argv[1:]:
    sys.argv = ["elara", "verify", "--adapter", folder]
    try:
        main()
    except SystemExit as ended:
        print(ended.code)
print("loaded:", *{"torch", "transformers"} & sys.modules.keys())
"""


def test_what_is_no_adapter_is_refused_without_loading_anything(
    whole: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    expected = {
        tmp_path: "is not an adapter",
        whole.root: "lora_adapters/adapter",
        tmp_path / "file": "There is no adapter folder",
        tmp_path / "nothing": "There is no adapter folder",
    }
    said = subprocess.run(
        [sys.executable, "-c", EACH, *map(str, expected)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in said.stderr
    assert said.stdout.splitlines() == ["1", "1", "1", "1", "loaded:"]
    for told, message in zip(said.stderr.split("Error: ")[1:], expected.values(), strict=True):
        assert message in told


def test_kept_embeddings_and_remembered_scores_are_explained_and_fail_nothing() -> None:
    assert "computed again" in why_unchecked("embeddings/217cab42/2673ea09.parquet")
    assert "seal of its own" in why_unchecked("evaluation/history/scores.jsonl")
    assert not why_unchecked("embeddings/notes.txt")

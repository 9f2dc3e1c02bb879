"""A stage is whole or absent; a workspace says clearly what is wrong with it."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from elara.workspace import Workspace, WorkspaceError, write_atomically
from elara.workspace.parameters import ParameterError, parameters_of
from elara.workspace.workspace import default_workspace

TABLE = pl.DataFrame({"id": ["a", "b"], "n": [1, 2]})


def finish(place: Workspace, stage: str, rows: int = 2, **parameters: object) -> dict:
    work = place.begin(stage, parameters)
    return work.write({"articles.parquet": TABLE.head(rows), "note.json": {"rows": rows}})


def test_a_finished_stage_lists_its_files(workspace: Workspace) -> None:
    manifest = finish(workspace, "collect", seed=1)
    assert manifest["files"]["articles.parquet"]["rows"] == 2
    assert manifest["parameters"] == {"seed": 1}
    assert workspace.manifest("collect") == json.loads(json.dumps(manifest))
    assert workspace.damage("collect") == ""
    assert not (workspace.folder("collect") / ".partial").exists()


def test_reading_names_the_input_and_its_identity(workspace: Workspace) -> None:
    first = finish(workspace, "collect")
    work = workspace.begin("inspect", {})
    assert work.read("collect", "articles.parquet").equals(TABLE)
    assert work.write({})["inputs"] == {"collect": first["identity"]}


def test_what_lies_beside_the_stages_can_be_an_input(workspace: Workspace) -> None:
    stage = workspace.begin("evaluate", {})
    with pytest.raises(WorkspaceError, match=r"retrieval/manifest\.json names no identity"):
        stage.uses("retrieval")
    (workspace.root / "retrieval").mkdir()
    (workspace.root / "retrieval" / "manifest.json").write_text('{"identity": "abc"}')
    stage.uses("retrieval")
    assert stage.write({"x.json": {}})["inputs"] == {"retrieval": "abc"}


def test_json_lines_keep_nested_values(workspace: Workspace) -> None:
    chats = pl.DataFrame({"messages": [[{"role": "user", "content": "pH ≥ 7.4 µ"}]]})
    workspace.begin("expand", {}).write({"train.jsonl": chats})
    line = (workspace.folder("expand") / "train.jsonl").read_text(encoding="utf-8")
    assert json.loads(line) == {"messages": [{"role": "user", "content": "pH ≥ 7.4 µ"}]}
    assert workspace.begin("train", {}).read("expand", "train.jsonl").equals(chats)


def test_identity_depends_on_content_not_on_time_or_place(tmp_path: Path) -> None:
    first = finish(Workspace(tmp_path / "one"), "collect", workspace="one")
    time.sleep(1.1)
    again = finish(Workspace(tmp_path / "two"), "collect", workspace="two")
    other = finish(Workspace(tmp_path / "three"), "collect", rows=1)
    assert first["identity"] == again["identity"]
    assert first["started"] != again["started"]
    assert other["identity"] != first["identity"]


def test_reading_an_unfinished_stage_names_the_notebook(workspace: Workspace) -> None:
    work = workspace.begin("inspect", {})
    with pytest.raises(WorkspaceError, match="01-collect"):
        work.read("collect", "articles.parquet")


def test_an_unfinished_rerun_leaves_the_earlier_result(workspace: Workspace) -> None:
    before = finish(workspace, "collect")
    work = workspace.begin("collect", {})
    (work.draft / "articles.parquet").write_bytes(b"half")
    del work  # the process "dies" here
    assert workspace.manifest("collect")["identity"] == before["identity"]
    assert workspace.damage("collect") == ""


def test_files_of_an_earlier_run_go_when_not_written_again(workspace: Workspace) -> None:
    finish(workspace, "collect")
    workspace.begin("collect", {}).write({"other.json": {}})
    names = {p.name for p in workspace.folder("collect").iterdir()}
    assert names == {"manifest.json", "other.json"}


def test_damage_is_found(workspace: Workspace) -> None:
    finish(workspace, "collect")
    path = workspace.folder("collect") / "note.json"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    assert workspace.damage("collect") == "note.json was changed"
    path.unlink()
    assert workspace.damage("collect") == "note.json is missing"


def test_a_broken_manifest_is_one_clear_error(workspace: Workspace) -> None:
    finish(workspace, "collect")
    (workspace.folder("collect") / "manifest.json").write_text("{")
    with pytest.raises(WorkspaceError, match=r"manifest\.json is not valid JSON"):
        workspace.manifest("collect")


def test_a_workspace_that_is_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="Remedy: name a folder"):
        Workspace(tmp_path / "file").begin("collect", {})


def _begin_without_rights(root: Path, result: multiprocessing.Queue) -> None:
    if os.geteuid() == 0:  # root may write anywhere
        os.setuid(65534)
    try:
        Workspace(root).begin("collect", {})
    except WorkspaceError as error:
        result.put(str(error))
    else:
        result.put("no error")


def test_a_read_only_workspace_is_one_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    message = in_a_process(_begin_without_rights, tmp_path / "workspace")
    assert "Remedy: name a folder that you may write to" in message


def in_a_process(work: Callable[..., None], root: Path) -> str:
    context = multiprocessing.get_context("fork")
    result = context.Queue()
    process = context.Process(target=work, args=(root, result))
    process.start()
    message: str = result.get(timeout=30)
    process.join()
    return message


def _write_with_limit(root: Path, result: multiprocessing.Queue) -> None:
    work = Workspace(root).begin("collect", {})
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    try:
        work.write({"big.md": "x" * 100_000})
    except WorkspaceError as error:
        result.put(str(error))


def test_a_write_that_does_not_fit_keeps_what_was_stored(workspace: Workspace) -> None:
    before = finish(workspace, "collect")
    message = in_a_process(_write_with_limit, workspace.root)
    assert "free some space" in message
    assert workspace.manifest("collect")["identity"] == before["identity"]
    assert workspace.damage("collect") == ""


def test_a_full_disk_keeps_what_was_stored(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = finish(workspace, "collect")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    work = workspace.begin("collect", {})
    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(WorkspaceError, match="free some space"):
        work.write({"articles.parquet": TABLE})
    assert workspace.manifest("collect")["identity"] == before["identity"]


def test_the_same_stage_twice_at_once_is_refused(workspace: Workspace) -> None:
    script = (
        "import sys, time; from elara.workspace import Workspace;"
        "w = Workspace(sys.argv[1]).begin('collect', {}); print('on', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(workspace.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "on\n"
        with pytest.raises(WorkspaceError, match=f"already running .*process {other.pid}"):
            workspace.begin("collect", {})
        other.kill()
    assert finish(workspace, "collect")  # a killed process leaves no lock behind


def test_writing_atomically_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, "one")
    write_atomically(path, "two")
    assert path.read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]


def test_default_workspace_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    monkeypatch.setenv("ELARA_WORKSPACE", str(tmp_path))
    assert default_workspace() == (tmp_path, "from ELARA_WORKSPACE")
    monkeypatch.delenv("ELARA_WORKSPACE")
    monkeypatch.chdir(tmp_path)
    assert default_workspace() == (project / "workspace", "the default: none was named")


def test_parameters_are_the_literals_of_the_cells_so_far() -> None:
    cells = ["", "import os\nrate: float = 1e-3\nname = 'x'\nother = object()", "begin()"]
    namespace = {"In": cells, "rate": 1e-3, "name": "x", "other": object(), "_hidden": 1}
    assert parameters_of(namespace) == {"name": "x", "rate": 1e-3}


def test_without_history_all_literals_so_far_are_parameters() -> None:
    namespace = {"In": [""], "Out": {}, "rate": 1e-3, "other": object(), "_hidden": 1}
    assert parameters_of(namespace) == {"rate": 1e-3}
    assert parameters_of({"rate": 1e-3}) == {"rate": 1e-3}


def test_an_unknown_injected_parameter_names_the_closest() -> None:
    cells = ["", "learning_rate = 1e-3", "# Parameters\nlearning_rat = 1e-4\n", "begin()"]
    with pytest.raises(ParameterError, match="`learning_rat`: did you mean `learning_rate`"):
        parameters_of({"In": cells, "learning_rate": 1e-3, "learning_rat": 1e-4})


def test_injected_parameters_win() -> None:
    cells = ["", "learning_rate = 1e-3", "# Parameters\nlearning_rate = 1e-4\n", "begin()"]
    assert parameters_of({"In": cells, "learning_rate": 1e-4}) == {"learning_rate": 1e-4}


def test_importing_elara_imports_no_other_package() -> None:
    """That is what makes it quick on every machine."""
    code = (
        "import sys; before = set(sys.modules); import elara\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(new - sys.stdlib_module_names))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["elara"]

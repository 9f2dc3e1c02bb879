"""A run under an environment that is not the developer's: proxies, odd paths, full disks, users."""

from __future__ import annotations

import ast
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import command_line
import elsewhere
import pytest
from tiny_notebooks import BEGIN, WRITE, write_notebook

from elara import pipeline
from elara.machine.proxies import reach_this_computer_directly
from elara.pipeline import running
from elara.pipeline.notebooks import read_notebook
from elara.workspace import Workspace, WorkspaceError, cannot_write
from elara.workspace.parameters import ParameterError, resolve_path

Make = Callable[..., pipeline.Plan]
PROXY = "http://127.0.0.1:9"
needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may do this"
)


def elara(
    *arguments: object,
    cwd: Path | None = None,
    prefix: tuple[str, ...] = (),
    program: tuple[str, str] = ("-m", "elara.cli"),
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, *program, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        cwd=cwd,
        check=False,
        timeout=120,
        env=os.environ | variables,
    )


def quiet(_: str) -> None:
    pass


def only_collect(notebooks: Path, workspace: Path) -> tuple[object, ...]:
    return ("run", "--only", "collect", "--notebooks", notebooks, "-w", workspace)


# Proxies


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "all_proxy"])
def test_this_computer_is_never_asked_of_a_proxy(name: str) -> None:
    environment = {name: PROXY, "NO_PROXY": "intranet.example", "no_proxy": "10.0.0.1"}
    assert reach_this_computer_directly(environment) == []
    for spelling in ("NO_PROXY", "no_proxy"):
        hosts = environment[spelling].split(",")
        assert hosts == ["10.0.0.1", "intranet.example", "localhost", "127.0.0.1", "::1"]
    assert environment[name] == PROXY


def test_without_a_proxy_the_environment_stays_as_it_is() -> None:
    environment = {"PATH": "/bin", "http_proxy": ""}
    assert reach_this_computer_directly(environment) == []
    assert environment == {"PATH": "/bin", "http_proxy": ""}


def test_a_proxy_that_no_client_can_use_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    environment = {"ALL_PROXY": "socks://user:secret@127.0.0.1:9", "HTTPS_PROXY": PROXY}
    assert reach_this_computer_directly(environment) == ["ALL_PROXY"]
    assert "ALL_PROXY" not in environment
    said = capsys.readouterr().err
    assert "ALL_PROXY=127.0.0.1:9 is ignored" in said
    assert "secret" not in said


def test_every_client_in_a_kernel_reaches_this_computer(
    notebooks: Path, workspace: Workspace
) -> None:
    ask = """import http.server, threading, urllib.request, httpx, requests
from elara.serve import wait_until_ready
class Here(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'{"state": "ready"}')
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Here)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
httpx.get(url, timeout=5); requests.get(url, timeout=5); urllib.request.urlopen(url, timeout=5)
wait_until_ready(url)"""
    write_notebook(
        notebooks / "01-collect.ipynb",
        "",
        BEGIN.format(stage="collect"),
        ask,
        WRITE.format(stage="collect", rows=1),
    )
    said = elara(
        *only_collect(notebooks, workspace.root),
        HTTP_PROXY=PROXY,
        https_proxy=PROXY,
        ALL_PROXY="socks5://127.0.0.1:9",
    )
    assert said.returncode == 0, said.stderr


# Paths and values


@pytest.mark.parametrize("name", ["{x}", "a {0} 50% 'b\" ~c", "ü" * 100, "p" * 200])
def test_a_folder_may_have_any_name(tmp_path: Path, notebooks: Path, name: str) -> None:
    here = tmp_path / name
    notebooks = notebooks.rename(tmp_path / f"nb {name}")
    (here / "texts").mkdir(parents=True)
    (here / "texts" / "a.txt").touch()
    made = pipeline.make_plan(
        Workspace(here), parameters={"local_files": str(here / "texts")}, folder=notebooks
    )
    assert pipeline.run(made, made.notebooks[:1], report=quiet) == 1
    assert (here / "notebooks" / "01-collect.ipynb").exists()
    assert next(iter(pipeline.states(made))).status == "fresh"


@pytest.mark.parametrize("value", ["a" * 300, "~nosuch", "nul\0", "/etc", "{x}", "%s"])
def test_a_plain_value_is_a_value(notebooks: Path, workspace: Workspace, value: str) -> None:
    write_notebook(notebooks / "01-collect.ipynb", 'email: str = ""', "1")
    made = pipeline.make_plan(workspace, parameters={"email": value}, folder=notebooks)
    found = pipeline.fingerprint(made, made.notebooks[0])
    assert found["parameters"] == {"email": value}
    assert found["paths"] == {}


@pytest.mark.parametrize("value", ["~nosuch/x", "nul\0"])
def test_a_path_that_cannot_be_one_is_refused(plan: Make, value: str) -> None:
    with pytest.raises(ParameterError, match=r"`local_files` is .*, which is no path"):
        plan(local_files=value)


def test_a_folder_with_any_file_names_can_be_digested(plan: Make, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "texts") + b"/caf\xe9.txt")).write_bytes(b"x")
    made = plan(local_files=str(tmp_path / "texts"))
    assert len(pipeline.fingerprint(made, made.notebooks[0])["paths"]["local_files"]) == 64


def test_a_model_folder_is_meant_from_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_path("base_model", "./mymodel") == str(tmp_path / "mymodel")
    assert resolve_path("base_model", "owner/name") == "owner/name"
    assert resolve_path("base_model", "owner/name@main") == "owner/name@main"
    assert resolve_path("question", "./mymodel") == "./mymodel"
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert resolve_path("base_model", "owner/name") == str(tmp_path / "owner" / "name")
    assert resolve_path("base_model", "owner", default="owner") == "owner"


def test_a_relative_path_in_a_profile_is_meant_from_here_too(
    plan: Make, notebooks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    profile = notebooks / "profiles" / "mine.yaml"
    profile.write_text("01-collect:\n  local_files: texts\n", encoding="utf-8")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    found = plan(profile="mine").overrides["01-collect"]
    assert found == {"local_files": str(tmp_path / "texts")}


@pytest.mark.parametrize("name", ["workspace", "collect.workspace", "01-collect.workspace"])
def test_the_workspace_is_no_parameter(plan: Make, name: str) -> None:
    with pytest.raises(ParameterError, match="use --workspace B"):
        plan(**{name: "B"})


def test_nor_can_a_profile_set_the_workspace(plan: Make, notebooks: Path) -> None:
    profile = notebooks / "profiles" / "mine.yaml"
    profile.write_text("01-collect:\n  workspace: B\n", encoding="utf-8")
    with pytest.raises(ParameterError, match="use --workspace B"):
        plan(profile="mine")


# Full disks


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_nothing_is_named(
    plan: Make, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), str(workspace.root / "notebooks" / "x"))

    monkeypatch.setattr(running, "execute", fail)
    made = plan()
    with pytest.raises(pipeline.NotebookError) as caught:
        pipeline.run(made, made.notebooks, report=quiet)
    message = str(caught.value)
    assert ("is read-only" if code == errno.EROFS else "MB are free; a whole run") in message
    assert "Remedy:" in message
    state = next(iter(pipeline.states(made)))
    assert state.status == "failed"
    assert state.why in message


def test_a_disk_that_fills_up_inside_a_cell_is_named(plan: Make, notebooks: Path) -> None:
    write_notebook(
        notebooks / "01-collect.ipynb", "", 'raise OSError(28, "No space left on device")'
    )
    made = plan()
    with pytest.raises(pipeline.NotebookError, match=r"In \[2\]: OSError(.|\n)*no space left on"):
        pipeline.run(made, made.notebooks, report=quiet)


def test_a_record_that_cannot_be_written_in_the_end_still_says_failed(
    plan: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = running.write_atomically, []

    def full(path: Path, text: str) -> None:
        calls.append(path)
        if len(calls) > 2:  # what was asked for, and the first record
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, text)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(running, "write_atomically", full)
    monkeypatch.setattr(running, "execute", fail)
    made = plan()
    with pytest.raises(pipeline.NotebookError, match="no space left on"):
        pipeline.run(made, made.notebooks, report=quiet)
    state = next(iter(pipeline.states(made)))
    assert (state.status, state.why) == ("failed", "the run broke off in this notebook")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@needs_root
def test_a_full_disk_is_one_clear_error(notebooks: Path, tiny_disk: Path) -> None:
    write_notebook(
        notebooks / "01-collect.ipynb", "", "for _ in range(100):\n    print('x' * 9999)"
    )
    said = elara(*only_collect(notebooks, tiny_disk / "ws"))
    assert said.returncode == 1
    assert f"no space left on {tiny_disk}" in said.stderr
    assert "Traceback" not in said.stderr
    status = command_line.elara("status", "--notebooks", notebooks, "-w", tiny_disk / "ws")
    assert "failed" in status.stdout
    assert not list(tiny_disk.rglob(".*.json.*")), "the cut-off record is still there"


def test_the_disk_of_the_failed_file_is_named(tmp_path: Path) -> None:
    said = cannot_write(tmp_path, OSError(errno.ENOSPC, "full", "/dev/nosuch/file"))
    assert isinstance(said, WorkspaceError)
    assert "no space left on /dev:" in str(said) or "no space left on /:" in str(said)


# Consoles


EACH = """import sys
from elara.cli import main
words = sys.argv[1:]
while words:
    end = words.index("then")
    sys.argv, words = ["elara", *words[:end]], words[end + 1 :]
    try:
        main()
    except SystemExit:
        pass
    for stream in (sys.stdout, sys.stderr):
        print("-- ended --", file=stream)
"""


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1:strict", ""])
def test_a_console_without_utf8_shows_the_table(run_once: tuple[Path, Path], encoding: str) -> None:
    plain = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    notebooks, workspace = run_once
    place = ("-p", "rows=7", "--notebooks", notebooks, "-w", workspace)
    commands = [["parameters"], ["run", "--dry-run"], ["run", "-p", "röws=→"]]
    words = [word for command in commands for word in (*command, *place, "then")]
    started = elara(  # one start for all: each takes seconds
        *(*words, "--help", "then"), program=("-c", EACH), **plain, PYTHONIOENCODING=encoding
    )
    assert started.returncode == 0
    assert "Traceback" not in started.stderr
    said = [stream.split("-- ended --\n")[:-1] for stream in (started.stdout, started.stderr)]
    for shown, told in zip(*said, strict=True):
        # (in a locale without UTF-8 such a name is bytes, and is said to be no text)
        assert shown or "Unknown parameter" in told or "is no text" in told
    assert len(said[0]) == 4


# Killed kernels


def test_the_cell_that_was_running_is_named(plan: Make, notebooks: Path) -> None:
    write_notebook(
        notebooks / "01-collect.ipynb", "", "1", "# big\nimport os\nos.kill(os.getpid(), 9)", "2"
    )
    made = plan()
    with pytest.raises(pipeline.NotebookError, match=r"in cell In \[3\] \(`# big`\); perhaps mem"):
        pipeline.run(made, made.notebooks, report=quiet)


def test_a_draft_that_was_cut_off_is_no_second_error(tmp_path: Path) -> None:
    (tmp_path / "x.ipynb").write_text('{"cells": [', encoding="utf-8")
    assert running._running_cell(tmp_path / "x.ipynb") == ""


# Magics


@pytest.mark.parametrize(
    "line",
    [
        "%matplotlib inline",
        "!ls",
        "x = !ls",
        "?print",
        "print?",
        "%%bash\nls",
        "%time 1",
        "x = %pwd",
    ],
)
def test_magics_are_no_hindrance(tmp_path: Path, line: str) -> None:
    path = tmp_path / "01-collect.ipynb"
    write_notebook(path, "", line, "from elara.text import phi")
    assert "elara/text/phi.py" in read_notebook(path).modules


def test_imports_below_a_timing_magic_count(tmp_path: Path) -> None:
    path = tmp_path / "01-collect.ipynb"
    write_notebook(path, "", "%%time\nfrom elara.text import phi")
    assert "elara/text/phi.py" in read_notebook(path).modules


def test_a_magic_among_the_parameters_runs(plan: Make, notebooks: Path) -> None:
    write_notebook(
        notebooks / "01-collect.ipynb",
        "%matplotlib inline\nrows: int = 3\n!true",
        BEGIN.format(stage="collect"),
        WRITE.format(stage="collect", rows="rows"),
    )
    made = plan(rows=4)
    assert pipeline.run(made, made.notebooks[:1], report=quiet) == 1
    assert made.workspace.manifest("collect")["parameters"]["rows"] == 4


def test_a_cell_that_is_not_python_can_be_planned(tmp_path: Path) -> None:
    path = tmp_path / "01-collect.ipynb"
    write_notebook(path, "rows: int = 3", "def (")
    assert read_notebook(path).defaults == {"workspace": "", "rows": 3}
    write_notebook(path, "rows: int = = 3", "1")
    with pytest.raises(ParameterError, match="tagged `parameters` is not valid Python"):
        read_notebook(path)


# The rest of the environment


@pytest.mark.parametrize(
    ("prefix", "variables"),
    [
        (("sh", "-c", 'ulimit -n 256; exec "$@"', "-"), {"LANG": "C", "LC_ALL": "C"}),
        (("sh", "-c", 'umask 077; exec "$@"', "-"), {"TZ": "Pacific/Kiritimati"}),
        (("env", "-u", "TZ", "-u", "HOME"), {}),
    ],
)
def test_a_run_elsewhere(
    notebooks: Path,
    workspace: Workspace,
    project: Path,
    tmp_path: Path,
    prefix: tuple[str, ...],
    variables: dict[str, str],
) -> None:
    log = tmp_path / "network"
    guard = f"{project / 'tests' / 'offline'}{os.pathsep}{project}"
    said = elara(
        *only_collect(notebooks, workspace.root),
        prefix=prefix,
        PYTHONPATH=guard,
        ELARA_NETWORK_LOG=str(log),
        **variables,
    )
    assert said.returncode == 0, said.stderr
    assert not log.exists(), "the network was asked"


@needs_root
def test_a_checkout_that_may_not_be_written(notebooks: Path, workspace: Workspace) -> None:
    if not shutil.which("setpriv"):
        pytest.skip("no setpriv, which takes root's right to write anywhere")
    for path in (notebooks / "profiles", notebooks, *notebooks.glob("*.ipynb")):
        path.chmod(0o555)
    rightless = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    touch = subprocess.run([*rightless, "touch", str(notebooks / "x")], check=False)
    assert touch.returncode, "the folder can be written after all"
    said = elara(*only_collect(notebooks, workspace.root), prefix=rightless, HOME="/nonexistent")
    assert said.returncode == 0, said.stderr


@needs_root
@pytest.mark.parametrize("place", elsewhere.PLACES)
def test_a_run_in_another_place(notebooks: Path, tmp_path: Path, project: Path, place: str) -> None:
    home = elsewhere.folder_for_anyone(tmp_path)
    shutil.copytree(notebooks, home / "notebooks")
    said = elara(
        *only_collect(home / "notebooks", home / "workspace"),
        prefix=elsewhere.prefix(place, project),
        PYTHONPATH=str(project),
        HOME=str(home / "none"),
        cwd=home,
    )
    assert said.returncode == 0, said.stderr
    assert (home / "workspace" / "raw" / "manifest.json").is_file()


def test_every_text_file_is_opened_as_utf8(project: Path) -> None:
    wrong = []
    # The collect half opens what others wrote, and decides the encoding for each file.
    files = [p for p in (project / "elara").rglob("*.py") if "collect" not in p.parts]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or any(k.arg == "encoding" for k in node.keywords):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            modes = [a.value for a in node.args if isinstance(a, ast.Constant)]
            binary = name == "open" and any("b" in str(mode) for mode in modes)
            binary |= ast.unparse(node.func) == "Image.open"
            if name in ("read_text", "write_text", "open") and not binary:
                wrong.append(f"{path}:{node.lineno}")
    assert wrong == []

"""Guides as a reader follows them: their blocks in order, and commands as the shell reads them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from accelerate.commands.launch import launch_command_parser
from torch.distributed.run import get_args_parser
from typer.testing import CliRunner

from elara.cli import app
from elara.pipeline.notebooks import read_notebook
from elara.serve.schemas import ChatRequest
from elara.train.devices.launch import read_job

PROJECT = Path(__file__).resolve().parents[2]
WORKER = "elara.train.devices.worker"

_FENCE = re.compile(r"^( *)(`{3,})(.*)\n((?:.*\n)*?)\1\2 *$", re.MULTILINE)
_MENTIONED = re.compile(r"`((?:elara|make|papermill|python) [^`…]+)`")
# Every program of the guides that is not to run is this script: it notes what it was called with.
# srun goes on to what it starts, so that the quotes inside a SLURM script are read as well.
_NOTE = """\
#!/bin/bash
printf '%s\\0' "$#" "$PWD" "${0##*/}" "$@" >> "$NOTES"
case ${0##*/} in
  pip) echo polars==1.0 ;;
  scontrol) echo first-machine ;;
  srun) while [[ $1 == --* ]]; do shift; done; exec "$@" ;;
esac
"""
_REAL = ("bash", "head")  # all else that a block names is noted, or is not found


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        language: the word after the fence, or "".
        text: what is inside, as typed.
    """

    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A program that a block of shell called.

    Args:
        folder: where.
        program: its name.
        given: its arguments.
    """

    folder: Path
    program: str
    given: list[str]


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page, in order; those inside a directive too, which the book renders."""
    for _, _, language, text in _FENCE.findall(page):
        if language.startswith("{"):
            yield from blocks(text)
        else:
            yield Block(language.strip(), text)


def mentioned(page: str) -> list[str]:
    """The commands between the blocks, in sentences and tables."""
    return _MENTIONED.findall(_FENCE.sub("", page))


def prepare_shell(folder: Path, programs: list[str]) -> None:
    """Let a folder look like the project, with programs that note and do nothing."""
    for name in ("Makefile", "environment.yml", "notebooks", "elara", "benchmarks"):
        (folder / name).symlink_to(PROJECT / name)
    bin_ = folder / ".venv" / "bin"
    bin_.mkdir(parents=True)
    (bin_ / "activate").touch()
    for program in programs:
        (bin_ / program).write_text(_NOTE)
        (bin_ / program).chmod(0o755)
    for program in _REAL:
        (bin_ / program).symlink_to(f"/bin/{program}")


def shell(script: str, folder: Path) -> list[Command]:
    """Run a block with bash from a folder, and give the programs that it called."""
    notes = folder / ".notes"
    notes.write_bytes(b"")
    environment = {
        "PATH": str(folder / ".venv" / "bin"),
        "NOTES": str(notes),
        "CONDA_PREFIX": "/opt/conda/envs/elara",
        "SLURM_SUBMIT_DIR": str(folder),
        "SLURM_JOB_NODELIST": "machine[1-2]",
        "SLURM_JOB_ID": "4711",
        "SLURM_NNODES": "2",
        "SLURM_NODEID": "1",
    }
    done = subprocess.run(
        ["/bin/bash", "-e", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    # A `cd` that fails before `&&` ends nothing, but says so.
    assert (done.returncode, done.stderr) == (0, ""), f"{script}\n{done.stderr}"
    words = iter(notes.read_text().split("\0")[:-1])
    return [
        Command(Path(next(words)), next(words), [next(words) for _ in range(int(many))])
        for many in words
    ]


def check(command: Command) -> None:
    """Run a command if it is one of Elara's; else see that all that it names exists."""
    folder, given = command.folder, command.given
    match command.program:
        case "elara":
            elara(folder, given)
        case "make":
            make(given)
        case "python":
            python(folder, given)
        case "papermill":
            papermill(folder, given)
        case "accelerate":
            asked = launch_command_parser().parse_args(given[1:])
            assert (folder / asked.config_file).is_file(), asked.config_file
            worker(folder, asked.module, asked.training_script, asked.training_script_args)
        case "torchrun":
            asked = get_args_parser().parse_args(given)
            worker(folder, asked.module, asked.training_script, asked.training_script_args)
        case "curl":
            ChatRequest.model_validate_json(given[given.index("-d") + 1])
        case "trtllm-serve":
            assert (folder / given[0] / "config.json").is_file(), given[0]
        case "vllm":
            _, lora, adapter = given[-1].partition("elara=")
            model = folder / (
                f"{adapter}/adapter_config.json" if lora else f"{given[1]}/config.json"
            )
            assert model.is_file(), model
        case "conda" | "ollama" | "llama-cli" | "llama-server" | "tensorboard":
            for option, value in pairwise(given):
                if option in ("-f", "-m", "--logdir"):
                    assert (folder / value).exists(), value


def elara(folder: Path, given: list[str]) -> None:
    """Run the command line in this process."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        done = CliRunner().invoke(app, given)
    finally:
        os.chdir(here)
    if "FINGERPRINT" in given:  # stands for one that only the reader has: any other is refused
        assert "expected FINGERPRINT" in done.output
        return
    assert done.exit_code == 0, f"elara {' '.join(given)}\n{done.output}\n{done.exception!r}"


def make(given: list[str]) -> None:
    """Let make say what it would do, and check that."""
    done = subprocess.run(
        ["make", "-n", "PYTHON=python3", *given], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0, f"make {' '.join(given)}\n{done.stderr}"
    for line in done.stdout.splitlines():
        _, _, called = line.partition("/bin/")
        program, *rest = called.split() or [""]
        if program == "python" and rest[0].endswith(".py"):
            python(PROJECT, rest)
        elif program == "elara":
            elara(PROJECT, rest)


def python(folder: Path, given: list[str]) -> None:
    """A script or module exists and knows its options; so do the files that it is to read."""
    if given[0] == "-m":
        found = importlib.util.find_spec(f"{given[1]}.__main__")
        assert found, f"python -m {given[1]}"
        assert found.origin
        source, rest = Path(found.origin).read_text(), given[2:]
    else:
        source, rest = (folder / given[0]).read_text(), given[1:]
    for word in rest:
        if word.startswith("--"):
            assert f'"{word}"' in source, f"{given}: no option {word}"
        elif word.endswith(".txt"):
            assert (folder / word).is_file(), word


def papermill(folder: Path, given: list[str]) -> None:
    """The notebook exists and has the parameters."""
    source = next(word for word in given if word.endswith(".ipynb"))
    known = read_notebook(folder / source).defaults
    for option, name in pairwise(given):
        assert option != "-p" or name in known, f"{source} has no parameter {name}"


def worker(folder: Path, module: bool, script: str, given: list[str]) -> None:
    """What is started on several GPUs is Elara's worker, with a job folder that can be read."""
    assert module
    assert script == WORKER
    assert importlib.util.find_spec(script)
    (job,) = given
    read_job(folder / job.removeprefix("/"))


def preferences(text: str, folder: Path) -> None:
    """Lines of feedback, as the page prints them, are read as such."""
    from elara.continual.feedback import read_preferences

    file = folder / "shown.jsonl"
    file.write_text(text, encoding="utf-8")
    read = read_preferences(file)["id"].to_list()
    assert read == [json.loads(line)["id"] for line in text.splitlines()]


def plan(text: str, folder: Path) -> None:
    """The plan of an experiment, as the page prints it, starts one of the reader's two adapters.

    Three judgements wait as well.
    """
    from elara.model import WEIGHTS_FILE
    from elara.serve.experiments.assign import read_plan
    from elara.serve.feedback import Feedback, FeedbackStore
    from elara.workspace import Workspace, file_sha256

    file = folder / "plan.yaml"
    file.write_text(text, encoding="utf-8")
    printed = read_plan(file)[0]
    place = Workspace(folder / "workspace")
    standing = place.folder("train") / "adapter"
    candidate = shutil.copytree(standing, standing.with_name("candidate"))
    (candidate / WEIGHTS_FILE).write_bytes(b"other weights")
    for name, adapter in ((printed.standing, standing), (printed.candidate, candidate)):
        text = text.replace(name, file_sha256(adapter / WEIGHTS_FILE))
    file.write_text(text, encoding="utf-8")
    store = FeedbackStore(place.root / "serving" / "feedback.sqlite", lambda event: None, str)
    turn = {"role": "user", "content": "What helps against a fever?"}
    told = Feedback(messages=[turn], answer="Rest.", receipt="", thumb="up")
    for name in ("FIRST_ID", "SECOND_ID", "THIRD_ID"):
        store.add(told, name, printed.standing)

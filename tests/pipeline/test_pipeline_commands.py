"""Mistyped commands say what to type, and parameters are listed."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from elara import __version__
from elara.cli import app
from elara.workspace.parameters import ParameterError


def typed(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    if isinstance(done.exception, ParameterError):
        return str(done.exception)
    return done.output


def test_the_version() -> None:
    assert typed("--version") == f"elara {__version__}\n"


def test_a_mistyped_command_or_option_names_the_closest() -> None:
    assert "Did you mean 'status'?" in typed("stauts")
    assert "--workspace" in typed("run", "--workspce", "x")


def test_a_parameter_without_a_value(notebooks: Path) -> None:
    said = typed("run", "--notebooks", str(notebooks), "--parameter", "seed")
    assert said == "`seed` is not NAME=VALUE: write -p seed=VALUE."


def test_an_empty_value_and_the_next_option(notebooks: Path, tmp_path: Path) -> None:
    place = ["--notebooks", str(notebooks), "-w", str(tmp_path / "w")]
    assert "01-collect" in typed("run", "--dry-run", "-p", "local_files=", "--only", "1", *place)


def test_from_and_only_exclude_each_other(notebooks: Path) -> None:
    said = typed("run", "--from", "3", "--only", "2", "--notebooks", str(notebooks))
    assert "--from 3 and --only 2 exclude each other" in said


def test_the_parameters_of_a_stage() -> None:
    said = typed("parameters", "expand", "-p", "seed=4")
    assert "default: 0" in said
    assert "another seed holds out" in said
    assert "02-inspect" not in said
    assert "did you mean `expand`" in typed("parameters", "expnd")

"""A pipeline of three tiny notebooks that write real stages."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_notebooks import BEGIN, WRITE, write_notebook

from elara import pipeline
from elara.workspace import Workspace


def write_notebooks(folder: Path) -> Path:
    """Three numbered notebooks and two profiles."""
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles" / "laptop.yaml").write_text("{}\n")
    (folder / "profiles" / "gpu.yaml").write_text("02-inspect:\n  learning_rate: 2e-4\n")
    write_notebook(
        folder / "01-collect.ipynb",
        'rows: int = 3\nlocal_files: str = ""',
        BEGIN.format(stage="collect"),
        WRITE.format(stage="collect", rows="rows"),
    )
    write_notebook(
        folder / "02-inspect.ipynb",
        "learning_rate: float = 1e-3\nseed: int = 0\nfail: bool = False",
        BEGIN.format(stage="inspect"),
        'before = stage.read("collect", "collect.parquet")',
        'if fail:\n    raise ValueError("no such luck")',
        WRITE.format(stage="inspect", rows="len(before)"),
    )
    write_notebook(
        folder / "03-clean.ipynb",
        "seed: int = 0\nsources: list = []\nmirrors: dict = {}",
        BEGIN.format(stage="clean"),
        'before = stage.read("inspect", "inspect.parquet")',
        WRITE.format(stage="clean", rows="len(before)"),
    )
    return folder


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    """A folder with three numbered notebooks and two profiles."""
    return write_notebooks(tmp_path / "notebooks")


@pytest.fixture(scope="session")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The notebooks, and a workspace in which all three have run. Not to be changed."""
    home = tmp_path_factory.mktemp("run-once")
    folder = write_notebooks(home / "notebooks")
    made = pipeline.make_plan(Workspace(home / "workspace"), folder=folder)
    assert pipeline.run(made, made.notebooks, report=lambda _: None) == 3
    return folder, home / "workspace"


@pytest.fixture
def finished(run_once: tuple[Path, Path], workspace: Workspace) -> None:
    """The workspace is a copy of one in which all three notebooks have run."""
    shutil.copytree(run_once[1], workspace.root)


@pytest.fixture
def plan(workspace: Workspace, notebooks: Path) -> Callable[..., pipeline.Plan]:
    """Make a plan over the tiny notebooks, with parameters as keywords."""

    def make(profile: str = "", **parameters: object) -> pipeline.Plan:
        return pipeline.make_plan(
            workspace, profile=profile, parameters=parameters, folder=notebooks
        )

    return make

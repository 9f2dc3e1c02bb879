"""Find the articles that nobody may be shown: retracted ones, and those that tests are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from elara.workspace import Workspace, WorkspaceError
from elara.workspace.retractions import LIST, completed, listed, read_list

# What an article is known by.
NAMES = ("id", "pmid", "pmcid", "doi")


def withheld(workspace: Workspace, articles: pl.DataFrame) -> dict[str, str]:
    """The articles that nobody may be shown, whatever their licence.

    Args:
        workspace: its `retractions.csv` with what collect and inspect know of the articles that
            are named there, and the block list of its stage expand.
        articles: with `id`, `pmid`, `pmcid` and `doi`.

    Returns:
        The id of each such article to `retracted` or `blocked`.

    Raises:
        WorkspaceError: one of the lists cannot be read.
    """
    retractions, block_list, *_ = lists(workspace)
    found: dict[str, str] = {}
    if block_list.exists():
        blocked = read_columns(block_list, ("pmid",)).filter(pl.col("pmid") != "")
        for name in articles.join(blocked, on="pmid", how="semi")["id"].sort():
            found[name] = "blocked"
    if retractions.exists():
        found |= dict.fromkeys(retracted(workspace, articles), "retracted")
    return found


def retracted(workspace: Workspace, articles: pl.DataFrame) -> pl.Series:
    """The ids of those articles that a workspace's list of retractions names, by any name.

    Args:
        workspace: with the list, and the tables that say which articles are the same.
        articles: with `id`, `pmid`, `pmcid` and `doi`.

    Raises:
        WorkspaceError: the list or one of the tables cannot be read.
    """
    named = read_list(workspace)
    try:
        rows = completed(named, workspace)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise WorkspaceError(
            f"The articles that {workspace.root / LIST} names cannot be looked up among those of "
            f"the stages collect and inspect ({error}): run these stages again."
        ) from error
    return listed(rows, articles)["id"]


def lists(workspace: Workspace) -> tuple[Path, Path, Path, Path]:
    """The files that decide it, each there or not.

    Args:
        workspace: where they are.

    Returns:
        The lists of retracted and of blocked articles, and the tables of collect and inspect that
        say which articles are the same as a retracted one.
    """
    return (
        workspace.root / LIST,
        workspace.folder("expand") / "blocked.parquet",
        workspace.folder("collect") / "articles.parquet",
        workspace.folder("inspect") / "removed.parquet",
    )


def file_state(path: Path) -> tuple[int, ...]:
    """What changes with a file: its time, size and number; () where there is none.

    Args:
        path: the file.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_columns(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Some columns of a table that a stage left.

    Args:
        path: a Parquet file.
        columns: their names.

    Raises:
        WorkspaceError: it cannot be read, or lacks one of them.
    """
    try:
        return pl.read_parquet(path, columns=list(columns))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise WorkspaceError(
            f"{path} cannot be read ({error}): run the stage that wrote it again."
        ) from error

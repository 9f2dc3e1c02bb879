"""List the tables that a finished stage left, and read their first rows."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from elara.workspace.parameters import ParameterError, unknown_names
from elara.workspace.stages import STAGES
from elara.workspace.workspace import Workspace


def stage_tables(workspace: Workspace, stage: str) -> dict[str, int]:
    """The tables that a finished stage left, and their rows.

    Args:
        workspace: where the stage has run.
        stage: its name.

    Returns:
        File name without suffix to number of rows.

    Raises:
        ParameterError: there is no such stage.
        WorkspaceError: it has not finished.
    """
    return {_stem(name): rows for name, rows in _files(workspace, stage).items()}


def table_rows(
    workspace: Workspace, stage: str, table: str, where: Sequence[str] = (), *, most: int
) -> tuple[pl.DataFrame, int]:
    """The first rows of a table.

    Args:
        workspace: where the stage has run.
        stage: its name.
        table: a name that `stage_tables` gives.
        where: conditions `column=value` or `column=value,value`, which all have to hold.
        most: how many rows to read.

    Returns:
        The rows, and how many there are in all.

    Raises:
        ParameterError: there is no such stage, table or column, or a condition is not of that form.
        WorkspaceError: the stage has not finished.
    """
    files = _files(workspace, stage)
    found = next((name for name in files if table in (name, _stem(name))), "")
    if not found:
        raise ParameterError(unknown_names([table], map(_stem, files), "table"))
    path = workspace.folder(stage) / found
    frame = pl.scan_ndjson(path) if path.suffix == ".jsonl" else pl.scan_parquet(path)
    columns = frame.collect_schema()
    for condition in where:
        name, equals, values = condition.partition("=")
        if wrong := unknown_names([name], columns, "column"):
            raise ParameterError(wrong)
        if not equals or columns[name].is_nested():
            why = f"write {name}=VALUE" if not equals else f"`{name}` holds lists"
            raise ParameterError(f"`--where {condition}` cannot be compared: {why}.")
        frame = frame.filter(pl.col(name).cast(pl.String).is_in(values.split(",")))
    return frame.head(most).collect(), frame.select(pl.len()).collect().item()


def _files(workspace: Workspace, stage: str) -> dict[str, int]:
    if wrong := unknown_names([stage], STAGES, "stage"):
        raise ParameterError(wrong)
    entries, tables = workspace.manifest(stage)["files"], (".parquet", ".jsonl")
    return {name: entry["rows"] for name, entry in entries.items() if name.endswith(tables)}


def _stem(name: str) -> str:
    return name.rpartition(".")[0]

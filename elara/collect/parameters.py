"""Check the parameters of stage 1, and keep what was collected from being replaced unasked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elara.collect.licences import folder_licence
from elara.collect.listing import source_folder
from elara.collect.live.harvest import check_contact
from elara.collect.live.sources import last_day, wanted_sources
from elara.collect.own import check_columns
from elara.workspace import Stage, Workspace, WorkspaceError
from elara.workspace.parameters import ParameterError, require


def check(values: Mapping[str, Any]) -> None:
    """Refuse what cannot be collected.

    Args:
        values: see `elara.workspace.check_parameters`.

    Raises:
        ParameterError: there is no such folder, source, day or licence, no address for live
            sources, a folder beside them, or a column that is to hold what no article has.
    """
    named = values.get("sources", [])
    if named and values.get("local_files"):
        raise ParameterError(
            f"`local_files` is {values['local_files']!r} and `sources` is {named!r}, but a run "
            "collects from one of the two: leave the other empty, on the command line with "
            "`--local-files ''` or `-p sources=`."
        )
    try:
        wanted_sources(named, values.get("base_urls", {}))
        if named:
            check_contact(values.get("email", ""))
        elif "local_files" in values:
            source_folder(values["local_files"])
        if values.get("until"):
            last_day(values["until"])
        folder_licence(values.get("licence", ""))
        check_columns(values.get("columns", {}))
    except (ValueError, OSError) as error:
        raise ParameterError(str(error)) from error
    require(values, "use 0 for all records, or a positive number", most=0)


class ReplacementError(ValueError):
    """Collected data would be replaced; the message says which, by what, and how to allow it."""


def keep_collected(stage: Stage, replace: bool) -> None:
    """Refuse to replace articles that were collected from elsewhere, unless that is wished.

    Args:
        stage: the collect stage, begun.
        replace: whether it is.

    Raises:
        ReplacementError: the workspace holds articles of another folder or of other live sources.
    """
    values = stage.parameters
    lost = would_replace(stage.workspace, values["local_files"], values["sources"])
    if lost and not replace:
        raise ReplacementError(
            f"{lost} To keep them, name the same source again or another workspace; to replace "
            "them, use `elara run --replace`, or set `replace` to True in this notebook "
            "(papermill: `-p replace True`)."
        )


def would_replace(workspace: Workspace, local_files: str, sources: Sequence[str]) -> str:
    """Say what a new collection would replace.

    What came from the embedded sample may be replaced at any time, and live sources may be added.

    Args:
        workspace: where it would be collected.
        local_files: the folder to collect from, or "".
        sources: the live sources to collect from.

    Returns:
        A sentence, or "" where nothing of the user's would be replaced.
    """
    try:
        manifest = workspace.manifest("collect")
    except WorkspaceError:  # nothing was collected, or what there is cannot be used any more
        return ""
    earlier: Mapping[str, Any] = manifest["parameters"]
    folder, live = earlier.get("local_files", ""), earlier.get("sources", [])
    articles = manifest["counts"].get("articles", 0)
    same = [Path(f).expanduser().resolve() if f else None for f in (folder, local_files)]
    kept = same[0] == same[1] and set(live) <= set(sources)
    if kept or not articles or not (folder or live):
        return ""
    return (
        f"{workspace.root} holds {articles:,} articles collected from {_origin(folder, live)}; "
        f"this run would replace them by {_origin(local_files, sources)}."
    )


def _origin(folder: str, live: Sequence[str]) -> str:
    if live:
        return f"live sources ({', '.join(live)})"
    return f"the folder {folder}" if folder else "the embedded sample, which is synthetic"

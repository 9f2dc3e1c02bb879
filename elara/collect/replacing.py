"""Keep what a workspace has collected from being replaced by something else unasked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elara.workspace import Stage, Workspace, WorkspaceError


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
    kept = _absolute(folder) == _absolute(local_files) and set(live) <= set(sources)
    if kept or not articles or not (folder or live):
        return ""
    return (
        f"{workspace.root} holds {articles:,} articles collected from {_origin(folder, live)}; "
        f"this run would replace them by {_origin(local_files, sources)}."
    )


def _absolute(folder: str) -> str:
    return str(Path(folder).expanduser().resolve()) if folder else ""


def _origin(folder: str, live: Sequence[str]) -> str:
    if live:
        return f"live sources ({', '.join(live)})"
    return f"the folder {folder}" if folder else "the embedded sample, which is synthetic"

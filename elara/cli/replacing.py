"""Keep a run from replacing, unasked, what was collected from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from elara import pipeline
from elara.pipeline.notebooks import Notebook
from elara.workspace import WorkspaceError


def would_replace(plan: pipeline.Plan, chosen: Sequence[Notebook]) -> str:
    """What the collect notebook would replace that came from elsewhere, or "".

    Args:
        plan: with all values that were given.
        chosen: the notebooks that will run.
    """
    for values in map(plan.values, chosen):
        if values.get("replace") is False:  # nor was it set with -p
            from elara import collect

            return collect.would_replace(plan.workspace, values["local_files"], values["sources"])
    return ""


def allow_to_replace(plan: pipeline.Plan, lost: str, allowed: bool) -> None:
    """Let the collect notebook replace it, if that was allowed.

    Args:
        plan: its overrides are changed.
        lost: from `would_replace`.
        allowed: whether `--replace` was given.

    Raises:
        WorkspaceError: it was not.
    """
    if not allowed:
        raise WorkspaceError(
            f"{lost} To keep them, leave the source as it was or name another workspace (-w); "
            "to replace them, add --replace."
        )
    for notebook in plan.notebooks:
        if "replace" in notebook.defaults:
            plan.overrides[notebook.name]["replace"] = True

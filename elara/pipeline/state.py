"""Tell which notebooks are fresh, and what has changed for those that are not.

A notebook is fresh when four things stand since it last ran: its code cells, its parameters, what
earlier stages left, and the `elara` modules it imports; and when the files it left are whole. Any
other notebook is stale, and so is everything after it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from elara.pipeline.notebooks import Notebook, sha256
from elara.pipeline.plan import Plan, changes
from elara.workspace import MAIN_TABLES, STAGES, WorkspaceError
from elara.workspace.parameters import ONCE, PATHS

_LIST, _READS_LIST = "retractions.csv", "elara/workspace/retractions.py"


@dataclass(frozen=True)
class State:
    """Where a notebook stands in a workspace.

    Args:
        notebook: the notebook.
        status: `fresh`, `incomplete` (as `fresh`, but a source did not give everything), `stale`,
            `failed` or `never run`.
        why: what changed, what is missing, or the error; "" when fresh.
        rows: rows of the stage's main table, or None.
        seconds: how long it took, or None.
    """

    notebook: Notebook
    status: str
    why: str = ""
    rows: int | None = None
    seconds: float | None = None


def states(plan: Plan) -> Iterator[State]:
    """Say for every notebook whether it is fresh, and if not why.

    Args:
        plan: what would run.

    Yields:
        One state per notebook, in order. After a notebook that is neither fresh nor incomplete,
        all are stale.
    """
    broken: Notebook | None = None
    for notebook in plan.notebooks:
        state = _state(plan, notebook)
        # Later stages can build on an incomplete one, which runs again all the same.
        usable = state.status in ("fresh", "incomplete")
        if broken and usable:
            state = replace(state, status="stale", why=f"{broken.name} will run again")
        elif not usable:
            broken = broken or notebook
        yield state


def _state(plan: Plan, notebook: Notebook) -> State:
    record = read_record(plan.record_path(notebook))
    if record is None:
        return State(notebook, "never run")
    seconds = record.get("seconds")
    if record.get("error"):
        return State(notebook, "failed", record["error"], None, seconds)
    try:
        manifest = plan.workspace.manifest(notebook.stage)
    except WorkspaceError:
        return State(notebook, "stale", "its results are gone", None, seconds)
    rows = manifest["files"].get(MAIN_TABLES.get(notebook.stage, ""), {}).get("rows")
    by_hand = manifest["identity"] != record["identity"]
    why = (
        difference(record["fingerprint"], fingerprint(plan, notebook))
        or (by_hand and "the stage was run by hand since")
        or _beside(plan, manifest["inputs"])
        or plan.workspace.damage(notebook.stage)
    )
    if why:
        return State(notebook, "stale", why, rows, seconds)
    if missing := manifest.get("incomplete"):
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        return State(notebook, "incomplete", f"missing: {missing[0]}{more}", rows, seconds)
    return State(notebook, "fresh", "", rows, seconds)


def _beside(plan: Plan, read: dict[str, str]) -> str:
    """Say what a stage read beside the stages and is not the same now, or "".

    It may have been made by the very run that read it, so a fingerprint, which is taken before a
    run, cannot tell.
    """
    keys = [k for k in read if k not in STAGES and plan.workspace.identity(k) != read[k]]
    return f"input changed: {', '.join(sorted(keys))}" if keys else ""


def read_record(path: Path) -> dict[str, Any] | None:
    """How a notebook's last run went, or None where there is no record of one.

    Args:
        path: see `Plan.record_path`.
    """
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or cut off by a crash: as if it never ran
        return None
    return record


def fingerprint(plan: Plan, notebook: Notebook) -> dict[str, Any]:
    """Everything that decides what a notebook would produce now.

    Args:
        plan: gives parameters and workspace.
        notebook: one of the plan's notebooks.

    Returns:
        code, parameters, inputs (identity of every earlier stage, and the list of retracted
        articles for the notebook that reads it), modules and paths (a digest of
        each folder or file that a parameter of `elara.workspace.parameters.PATHS` names).
    """
    resolved = {k: v for k, v in plan.values(notebook).items() if k not in ONCE}
    inputs = {}
    for earlier in plan.notebooks[: plan.notebooks.index(notebook)]:
        with contextlib.suppress(WorkspaceError):
            inputs[earlier.stage] = plan.workspace.manifest(earlier.stage)["identity"]
    if _READS_LIST in notebook.modules and (plan.workspace.root / _LIST).is_file():
        inputs[_LIST] = sha256((plan.workspace.root / _LIST).read_bytes())
    return {
        "code": notebook.code,
        "parameters": resolved,
        "inputs": inputs,
        "modules": notebook.modules,
        "paths": {k: files_digest(v) for k, v in resolved.items() if k in PATHS and v},
    }


def files_digest(value: str) -> str:
    """A digest of the names, sizes and times of the files that a parameter names.

    Args:
        value: a folder or file. "" is returned where there is none.
    """
    try:
        path = Path(value).expanduser()
        if not path.exists():
            return ""
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        # Bytes, for a name need not be UTF-8.
        found = [(os.fsencode(p), p.stat()) for p in files]
    except (OSError, RuntimeError, ValueError) as error:
        # A part that may not be read, or a hub id that no path can be: the notebook will say so.
        return f"not readable: {error}"
    return sha256(b"\n".join(b"%s\t%d\t%d" % (n, s.st_size, s.st_mtime_ns) for n, s in found))


def difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Say what has changed between two fingerprints, or "".

    Args:
        old: of the last run.
        new: as it would be now.
    """
    if old["code"] != new["code"]:
        return "its code cells changed"
    if changed := changes(old["parameters"], new["parameters"]):
        return f"parameter {', '.join(sorted(changed))}"
    for part, what in (("inputs", "input"), ("modules", "module")):
        keys = [k for k in {**old[part], **new[part]} if old[part].get(k) != new[part].get(k)]
        if keys:
            return f"{what} changed: {', '.join(sorted(keys))}"
    moved = [k for k in new["paths"] if old["paths"].get(k) != new["paths"][k]]
    return f"files in `{moved[0]}` changed" if moved else ""

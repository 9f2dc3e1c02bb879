"""Tell in a few lines which workspace a run uses, where its notebooks stand and what it left."""

from __future__ import annotations

import json
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from elara.pipeline.plan import Plan
from elara.pipeline.state import states

_COLOURS = {"fresh": "green", "failed": "red", "never run": "dim"}


def opening_lines(plan: Plan, named: str = "") -> list[str]:
    """Say which workspace this is and what it was made with.

    Args:
        plan: what would run.
        named: the folder that `--workspace` named, or "".
    """
    place = plan.workspace
    lines = [f"Workspace: {place.root} (from --workspace)" if named else str(place)]
    if plan.recalled and (plan.recalled.given() or plan.recalled.profile != "laptop"):
        profile = plan.recalled.profile
        values = ({} if profile == "laptop" else {"profile": profile}) | plan.recalled.given()
        given = ", ".join(f"{name}={value}" for name, value in values.items())
        lines.append(f"As in earlier runs here: {given} (--forget leaves this out)")
    return lines + [f"Changed: {change}" for change in plan.changed]


def status_table(plan: Plan) -> Table:
    """Lay out which notebooks are fresh, which are stale and why."""
    table = Table()
    for name in ("notebook", "status", "why", "rows", "seconds"):
        table.add_column(name, justify="right" if name in ("rows", "seconds") else "left")
    for state in states(plan):
        table.add_row(
            state.notebook.name,
            f"[{_COLOURS.get(state.status, 'yellow')}]{state.status}[/]",
            escape(state.why),
            "" if state.rows is None else f"{state.rows:,}",
            "" if state.seconds is None else f"{state.seconds:,.0f}",
        )
    return table


def closing_lines(plan: Plan, seconds: float, book: Path | None = None) -> list[str]:
    """Say where the results are and what to type next.

    Args:
        plan: what has run.
        seconds: how long it took.
        book: the first page of the book, if it was built.
    """
    place = plan.workspace
    verdict = place.folder("evaluate") / "verdict.json"
    adapter = place.folder("train") / "adapter"
    results = {"Adapter": adapter, "Evaluation": verdict, "Book": book}
    lines = {name: str(path) for name, path in results.items() if path and path.exists()}
    if verdict.exists():
        lines["Verdict"] = json.loads(verdict.read_text(encoding="utf-8"))["verdict"]
    lines["Took"] = f"{seconds / 60:.1f} minutes"
    steps = {"lab": "explore"}
    if adapter.exists():
        steps["serve"] = "ask the adapter"
    if any(state.status != "fresh" for state in states(plan)):
        steps = {"run": "go on"} | steps
    steps["status"] = "see what is fresh"
    lines["Next"] = ", ".join(f"{place.command(name)} ({why})" for name, why in steps.items())
    return [f"{name:<11} {text}" for name, text in lines.items()]

"""Read parameters from the command line, and lay out what a command tells before and after."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Column, Table

from elara.pipeline.notebooks import explanations
from elara.pipeline.plan import Plan, select
from elara.pipeline.state import states
from elara.workspace.names import escaped
from elara.workspace.parameters import ParameterError

_COLOURS = {"fresh": "green", "failed": "red", "never run": "dim"}


def parse_parameters(
    given: Sequence[str], workspace: str = "", local_files: str | None = None
) -> dict[str, str]:
    """Take `NAME=VALUE` apart.

    Args:
        given: what followed `-p`, one item each time.
        workspace: the folder that was named, which has to be text too.
        local_files: the folder that `--local-files` named, if it was given.

    Raises:
        ParameterError: an item has no `=`, or is no text.
    """
    for text in (workspace, local_files or "", *given):
        if any("\ud800" <= sign <= "\udfff" for sign in text):  # bytes that are not UTF-8
            raise ParameterError(
                f"`{escaped(text)}` is no text (UTF-8, in this locale) that a notebook can hold: "
                "rename the folder, or give it a second name with `ln -s FOLDER NAME`."
            )
    values: dict[str, str] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals:
            raise ParameterError(f"`{item}` is not NAME=VALUE: write -p {item}=VALUE.")
        values[name.strip()] = value.strip()
    return values if local_files is None else values | {"local_files": local_files}


def parameter_tables(plan: Plan, stage: str = "") -> list[Table]:
    """Lay out the parameters of a stage, or of all, as the next run would set them.

    Args:
        plan: gives notebooks and values.
        stage: number, name or stage of a notebook; "" means all.

    Raises:
        ParameterError: there is no such notebook; the message gives the closest.
    """
    tables = []
    for notebook in select(plan, only=stage):
        meanings = explanations(notebook.path)
        heads = ("parameter", "value", "type", "what it does")
        columns = [Column(head, overflow="fold") for head in heads]
        tables.append(Table(*columns, title=notebook.name, title_justify="left"))
        for name, value in plan.values(notebook).items():
            if name == "workspace":  # --workspace sets it, for all notebooks
                continue
            default = notebook.defaults[name]
            values = repr(value) if value == default else f"{value!r}\ndefault: {default!r}"
            cells = (name, escape(values), type(default).__name__, escape(meanings[name]))
            tables[-1].add_row(*cells)
    return tables


def opening_lines(plan: Plan, named: str = "") -> list[str]:
    """Say which workspace this is and what it was made with.

    Args:
        plan: what would run.
        named: the folder that `--workspace` named, or "".
    """
    place = plan.workspace
    lines = [f"Workspace: {place.root} (from --workspace)" if named else str(place)]
    if plan.recalled:
        profile = plan.recalled.profile
        values = ({} if profile == "laptop" else {"profile": profile}) | plan.recalled.given()
        given = ", ".join(f"{name}={value}" for name, value in values.items())
        lines += [f"As in earlier runs here: {given} (--forget leaves this out)"] if given else []
    return lines + [f"Changed: {change}" for change in plan.changed]


def status_table(plan: Plan) -> Table:
    """Lay out which notebooks are fresh, which are stale and why."""
    numbers = [Column(name, justify="right") for name in ("rows", "seconds")]
    table = Table("notebook", "status", "why", *numbers)
    for state in states(plan):
        table.add_row(
            state.notebook.name,
            f"[{_COLOURS.get(state.status, 'yellow')}]{state.status}[/]",
            escape(state.why),
            *("" if n is None else f"{n:,.0f}" for n in (state.rows, state.seconds)),
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

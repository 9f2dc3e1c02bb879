"""Run experiments with people, look through their feedback, and learn from it."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from elara.cli.printing import err, say
from elara.workspace import Workspace

if TYPE_CHECKING:
    from elara.serve.config import Settings

ab = typer.Typer(no_args_is_help=True, help="Experiments that compare two adapters with people.")
feedback = typer.Typer(no_args_is_help=True, help="What people said about answers.")
Place = Annotated[str, typer.Option("--workspace", "-w", help="The workspace that is served.")]
Reason = Annotated[str, typer.Option(help="Why; it goes into the audit log.")]
Override = Annotated[
    str | None, typer.Option(help="Why to use an adapter that the release gate blocks.")
]
Ids = Annotated[list[str], typer.Argument(help="Which, as `elara feedback list` names them.")]


@ab.command()
def start(
    plan: Annotated[Path, typer.Option(help="What is declared before it begins (YAML).")],
    workspace: Place = "",
    override: Override = None,
) -> None:
    """Start an experiment, unless the release gate blocks one of its adapters."""
    from elara.serve.commands import experiments

    settings = _settings(workspace, override)
    name = experiments(settings).start(plan, time.time(), partial(_admit, settings))
    say(f"{name} runs: `elara ab status` looks at it.")


@ab.command()
def status(workspace: Place = "") -> None:
    """Say how the experiment stands; look as often as you like."""
    from elara.serve.commands import experiments

    found, now = experiments(_settings(workspace)), time.time()
    if why := found.watch(now):
        say(f"The experiment has just been ended by its plan: {why}.")
    say(*found.status(now).lines())


@ab.command()
def promote(workspace: Place = "", reason: Reason = "", override: Override = None) -> None:
    """Let the candidate answer everybody, unless the release gate blocks it."""
    from elara.serve.commands import experiments

    settings = _settings(workspace, override)
    name = experiments(settings).promote(time.time(), reason, partial(_admit, settings))
    say(f"{name} answers everybody from now on.", "`elara ab rollback` takes this back.")


@ab.command()
def rollback(workspace: Place = "", reason: Reason = "") -> None:
    """End the experiment, or take the last promotion back."""
    from elara.serve.commands import experiments

    name = experiments(_settings(workspace)).rollback(time.time(), reason)
    say(f"{name} answers everybody from now on.")


@feedback.command("list")
def list_feedback(workspace: Place = "") -> None:
    """Show what waits to be looked at."""
    from elara.serve.commands import feedback as kept_by

    store = kept_by(_settings(workspace))
    waiting = store.listed()
    for kept in waiting:
        alike = f", {kept.alike} others alike" if kept.alike else ""
        say(f"{kept.id} of {kept.made}, by adapter {kept.adapter[:12]}{alike}")
        say(*(f"  {turn['role']}: {turn['content']}" for turn in kept.content["messages"]))
        for name in ("answer", "thumb", "correction", "comment", "dangerous"):
            if told := kept.content[name]:
                say(f"  {name}: {told}")
    accepted, rejected = len(store.listed("accepted")), len(store.listed("rejected"))
    say(f"{len(waiting)} waiting, {accepted} accepted, {rejected} rejected")


@feedback.command()
def accept(ids: Ids, workspace: Place = "") -> None:
    """Let adapters learn from it."""
    _decide(ids, "accepted", workspace)


@feedback.command()
def reject(ids: Ids, workspace: Place = "") -> None:
    """Let nothing learn from it."""
    _decide(ids, "rejected", workspace)


def loop(workspace: Place = "") -> None:
    """Tune the adapter on accepted feedback, let it pass the gate, and stop for your decision."""
    from elara.continual import PreferenceConfig
    from elara.continual.loop import run_loop
    from elara.records import Preference, frame
    from elara.serve.commands import feedback as kept_by

    accepted, unusable = kept_by(_settings(workspace)).preferences()
    rows = frame(accepted, Preference)
    done = run_loop(Workspace(workspace), rows, PreferenceConfig(), unusable=unusable)
    say(*done.lines())


def _decide(ids: list[str], state: Literal["accepted", "rejected"], workspace: str) -> None:
    from elara.serve.commands import feedback as kept_by

    store = kept_by(_settings(workspace))
    for name in ids:
        store.decide(name, state)
        say(f"{name}: {state}")


def _settings(workspace: str, override: str | None = None) -> Settings:
    """Those of the server; a workspace whose name is mistyped is an error of its own."""
    from elara.serve.config import Settings

    settings = Settings.from_environment(workspace=workspace, override=override)
    if settings.serving is None:
        Workspace(workspace).must_exist()
    return settings


def _admit(settings: Settings, adapter: str) -> dict[str, str]:
    """Ask the release gate about an adapter, warn of what it found, and say what to record."""
    from elara.serve.adapters import AdapterRefused
    from elara.serve.commands import may_serve
    from elara.serve.experiments import ExperimentError
    from elara.serve.released import BLOCKED

    try:
        found = may_serve(settings, adapter)
    except AdapterRefused as error:
        raise ExperimentError(f"{adapter} may not be served: {error}") from None
    if found.notice:
        err.print(escape(f"Warning: {adapter}: {found.notice}"), style="yellow")
    if found.result == BLOCKED:
        err.print("Warning: only a server with an override of its own will serve it.")
    return {"gate": found.result, "notice": found.notice}

"""Run experiments with people, look through their feedback, and learn from it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from elara.cli.printing import say
from elara.workspace import Workspace

ab = typer.Typer(no_args_is_help=True, help="Experiments that compare two adapters with people.")
feedback = typer.Typer(no_args_is_help=True, help="What people said about answers.")
Place = Annotated[str, typer.Option("--workspace", "-w", help="The workspace that is served.")]
Reason = Annotated[str, typer.Option(help="Why; it goes into the audit log.")]
Ids = Annotated[list[str], typer.Argument(help="Which, as `elara feedback list` names them.")]


@ab.command()
def start(
    plan: Annotated[Path, typer.Option(help="What is declared before it begins (YAML).")],
    workspace: Place = "",
) -> None:
    """Start an experiment."""
    _ab("start", workspace, plan=plan)


@ab.command()
def status(workspace: Place = "") -> None:
    """Say how the experiment stands; look as often as you like."""
    _ab("status", workspace)


@ab.command()
def promote(workspace: Place = "", reason: Reason = "") -> None:
    """Let the candidate answer everybody."""
    _ab("promote", workspace, reason=reason)


@ab.command()
def rollback(workspace: Place = "", reason: Reason = "") -> None:
    """End the experiment, or take the last promotion back."""
    _ab("rollback", workspace, reason=reason)


@feedback.command("list")
def list_feedback(workspace: Place = "") -> None:
    """Show what waits to be looked at."""
    _feedback("list", [], workspace)


@feedback.command()
def accept(ids: Ids, workspace: Place = "") -> None:
    """Let adapters learn from it."""
    _feedback("accept", ids, workspace)


@feedback.command()
def reject(ids: Ids, workspace: Place = "") -> None:
    """Let nothing learn from it."""
    _feedback("reject", ids, workspace)


def loop(workspace: Place = "") -> None:
    """Tune the adapter on accepted feedback, let it pass the gate, and stop for your decision."""
    from elara.continual import PreferenceConfig
    from elara.continual.loop import run_loop
    from elara.records import Preference, frame
    from elara.serve.config import serving_folder
    from elara.serve.feedback import FeedbackStore

    place = _place(workspace)
    store = FeedbackStore(serving_folder(place) / "feedback.sqlite", partial(_audit, place))
    accepted, unusable = store.preferences()
    done = run_loop(place, frame(accepted, Preference), PreferenceConfig(), unusable=unusable)
    say(*done.lines())


def _ab(act: str, workspace: str, **given: Any) -> None:
    from elara.serve.commands import ab as run

    place = _place(workspace)
    say(*run(act, place, partial(_audit, place), **given))


def _feedback(act: str, ids: list[str], workspace: str) -> None:
    from elara.serve.commands import feedback as run

    place = _place(workspace)
    say(*run(act, ids, place, partial(_audit, place)))


def _place(workspace: str) -> Workspace:
    place = Workspace(workspace)
    place.must_exist()
    return place


def _audit(place: Workspace, event: dict[str, Any]) -> None:
    """Record an act in the audit log of the workspace's server."""
    from elara.serve.config import AUDIT_LOG, serving_folder
    from elara.serve.journal import account, append
    from elara.serve.participation import act_of

    append(serving_folder(place) / AUDIT_LOG, act_of(event, account()))

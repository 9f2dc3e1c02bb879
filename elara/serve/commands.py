"""Run experiments and look through feedback from the command line: `elara ab`, `elara feedback`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from elara.serve.config import serving_folder
from elara.serve.experiments import ExperimentError, Experiments
from elara.serve.feedback import FeedbackError, FeedbackStore
from elara.workspace import Workspace

Audit = Callable[[dict[str, Any]], None]


def ab(
    act: str,
    place: Workspace,
    audit: Audit,
    *,
    plan: Path | None = None,
    reason: str = "",
    refuse: Callable[[str], str] | None = None,
) -> Iterator[str]:
    """Start, look at, promote or end an experiment.

    Args:
        act: `start`, `status`, `promote` or `rollback`.
        place: the workspace whose server it is.
        audit: see `Experiments`.
        plan: the plan, for `start`.
        reason: for `promote` and `rollback`.
        refuse: see `Experiments.start`.

    Yields:
        Lines to print.

    Raises:
        ExperimentError: the act is not known, or not possible; the message says what is.
    """
    experiments, now = Experiments(serving_folder(place), audit), time.time()
    match act:
        case "start" if plan:
            yield f"{experiments.start(plan, now, refuse)} runs: `elara ab status` looks at it."
        case "start":
            raise ExperimentError("Which plan? `elara ab start --plan PLAN.yaml`.")
        case "status":
            if why := experiments.watch(now):
                yield f"The experiment has just been ended by its plan: {why}."
            yield from experiments.status(now).lines()
        case "promote":
            yield f"{experiments.promote(now, reason)} answers everybody from now on."
            yield "`elara ab rollback` takes this back."
        case "rollback":
            yield f"{experiments.rollback(now, reason)} answers everybody from now on."
        case _:
            raise ExperimentError(f"{act!r} is not known: use start, status, promote or rollback.")


def feedback(act: str, ids: list[str], place: Workspace, audit: Audit) -> Iterator[str]:
    """Look through feedback, accept it for training, or reject it.

    Args:
        act: `list`, `accept` or `reject`.
        ids: which, for `accept` and `reject`.
        place: the workspace whose server it is.
        audit: see `FeedbackStore`.

    Yields:
        Lines to print.

    Raises:
        FeedbackError: the act is not known, or there is no such feedback.
    """
    store = FeedbackStore(serving_folder(place) / "feedback.sqlite", audit)
    states: Any = {"accept": "accepted", "reject": "rejected"}
    if act == "list":
        waiting = store.listed()
        for kept in waiting:
            alike = f", {kept.alike} others alike" if kept.alike else ""
            yield f"{kept.id} of {kept.made}, by adapter {kept.adapter[:12]}{alike}"
            for turn in kept.content["messages"]:
                yield f"  {turn['role']}: {turn['content']}"
            for name in ("answer", "thumb", "correction", "comment", "dangerous"):
                if told := kept.content[name]:
                    yield f"  {name}: {told}"
        numbers = {state: len(store.listed(state)) for state in states.values()}
        yield f"{len(waiting)} waiting, " + ", ".join(
            f"{n} {state}" for state, n in numbers.items()
        )
    elif act in states and ids:
        for name in ids:
            store.decide(name, states[act])
            yield f"{name}: {states[act]}"
    else:
        raise FeedbackError("Use `elara feedback list`, or `accept` or `reject` with ids.")

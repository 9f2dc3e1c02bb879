"""Estimate the time, memory and disk that a run will take, before it starts.

The laptop run on the sample was measured, `benchmarks/stages.json`, with what an article, a token
or a held-out example more adds to it. Where that says nothing, nothing is guessed.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from elara.pipeline.notebooks import PACKAGE, Notebook
from elara.pipeline.plan import Plan
from elara.pipeline.state import states
from elara.workspace import WorkspaceError, stage_module

MEASURED = PACKAGE.parent / "benchmarks" / "stages.json"
# Settings of which only the default was measured; those of the model are stage 5's.
_MODEL = ("base_model", "quantisation", "precision")
_SETTINGS = {
    "train": ("lora_variant", "batch_size", "max_length", "processes"),
    "evaluate": ("max_length", "max_new_tokens"),
    "serve": ("max_new_tokens",),
}
# Units, and from which amount on each is used.
_TIMES = (("h", 3600.0, 5400.0), ("min", 60.0, 90.0), ("s", 1.0, 0.0))
_SIZES = (("GB", 1e9, 0.95e9), ("MB", 1e6, 0.0))


@dataclass(frozen=True)
class Forecast:
    """What a stage is expected to take. None: there is nothing to tell it by.

    Args:
        notebook: the notebook of the stage.
        basis: by what the rest was told, or why it could not be.
        seconds: wall time.
        memory: highest use of memory, all processes together, in bytes.
        disk: what the stage leaves in the workspace, in bytes.
    """

    notebook: Notebook
    basis: str
    seconds: float | None = None
    memory: float | None = None
    disk: float | None = None


def forecast(plan: Plan, notebooks: Sequence[Notebook]) -> list[Forecast]:
    """Estimate what notebooks will take, if they run in this workspace with these parameters.

    Args:
        plan: parameters and workspace.
        notebooks: those of the plan's notebooks that would run.
    """
    if _measured()["stages"].keys() != {notebook.stage for notebook in plan.notebooks}:
        return [Forecast(notebook, "nothing was measured") for notebook in notebooks]
    work, why_not = _work(plan, {notebook.stage for notebook in notebooks})
    return [_one(plan, notebook, work, why_not) for notebook in notebooks]


def _one(plan: Plan, notebook: Notebook, work: Mapping[str, float], why_not: str) -> Forecast:
    measured = _measured()["stages"][notebook.stage]
    at = measured.get("at", {})
    if missing := [what for what in at if what not in work]:
        return Forecast(notebook, why_not or f"the number of {missing[0]} is not known yet")
    if others := _not_measured(plan, notebook.stage):
        hint = "; notebook 5 says it once the model is loaded" if notebook.stage == "train" else ""
        return Forecast(notebook, f"nothing was measured with {', '.join(others)}{hint}")
    seconds, mib, disk = (_at(measured, key, work) for key in ("seconds", "peak_mib", "disk_bytes"))
    memory = min(mib, measured.get("most_mib", mib)) * 2**20
    if notebook.stage == "collect" and plan.values(notebook).get("sources"):
        return Forecast(notebook, "the services decide how long they take", None, memory, disk)
    basis = f"from the run measured on the sample with {_measured()['cores']} cores"
    basis += "".join(
        f", for about {work[what]:,.0f} {what}" for what in at if work[what] != at[what]
    )
    return Forecast(notebook, basis, seconds, memory, disk)


def _not_measured(plan: Plan, stage: str) -> list[str]:
    """The settings of the next run of a stage that are not those of the measured one."""
    if stage not in _SETTINGS:
        return []
    by_stage = {notebook.stage: notebook for notebook in plan.notebooks}
    named = [("train", name) for name in _MODEL] + [(stage, name) for name in _SETTINGS[stage]]
    pairs = ((name, by_stage[of].defaults, plan.values(by_stage[of])) for of, name in named)
    return [f"{name}={now[name]}" for name, usual, now in pairs if now.get(name) != usual.get(name)]


def report(
    plan: Plan, notebooks: Sequence[Notebook], *, force: bool = False
) -> tuple[Table, list[str]]:
    """Lay out which notebooks would run, why, and what they are expected to take.

    Args:
        plan: parameters and workspace.
        notebooks: which of the plan's notebooks to consider.
        force: fresh ones would run too.

    Returns:
        A table with one row for each notebook, and lines to print below it.
    """
    chosen = [state for state in states(plan) if state.notebook in notebooks]
    runs = [s.notebook for s in chosen if force or s.status != "fresh"]
    expected = {f.notebook.name: f for f in forecast(plan, runs)}
    numbers = [Column(name, justify="right") for name in ("time", "memory", "disk")]
    table = Table("notebook", "would run", *numbers)
    for state in chosen:
        one = expected.get(state.notebook.name)
        amounts = ((one.seconds, _TIMES), (one.memory, _SIZES), (one.disk, _SIZES)) if one else ()
        why = "forced" if one and state.status == "fresh" else state.why or state.status
        table.add_row(state.notebook.name, escape(why), *(_about(*amount) for amount in amounts))
    return table, list(_below(plan, list(expected.values())))


def _below(plan: Plan, expected: Sequence[Forecast]) -> Iterator[str]:
    if not expected:
        yield "Nothing would run."
        return
    seconds, memories, disks = (
        [amount for f in expected if (amount := getattr(f, what)) is not None]
        for what in ("seconds", "memory", "disk")
    )
    memory, disk = max(memories, default=None), sum(disks) if disks else None
    least = "" if len(seconds) == len(memories) == len(expected) else "at least "
    together = _about(sum(seconds) if seconds else None, _TIMES)
    yield f"Together: {least}{together}, {_needs(memory, disk)}."
    for basis in dict.fromkeys(f.basis for f in expected):
        names = [f.notebook.name.split("-")[0] for f in expected if f.basis == basis]
        yield f"{', '.join(names)}: {basis}."
    yield from _short(plan, memory, disk)


def _short(plan: Plan, memory: float | None, disk: float | None) -> Iterator[str]:
    """What this machine has free, and a warning for what is short."""
    import psutil

    place = plan.workspace.root
    while not place.exists():
        place = place.parent
    free_memory, free_disk = psutil.virtual_memory().available, shutil.disk_usage(place).free
    yield f"Free here: {_needs(free_memory, free_disk)} at {place}."
    if memory is not None and memory > free_memory:
        yield "Warning: memory is short. End other programs, or lower max_length and batch_size."
    if disk is not None and disk > free_disk:
        yield "Warning: the disk is short. Free some space, or name a workspace elsewhere (-w)."


def _needs(memory: float | None, disk: float | None) -> str:
    return f"{_about(memory, _SIZES)} of memory, {_about(disk, _SIZES)} of disk"


def _about(amount: float | None, units: Iterable[tuple[str, float, float]]) -> str:
    """An amount with two digits at most."""
    if amount is None:
        return "not known"
    unit, length = next((unit, length) for unit, length, least in units if amount >= least)
    value = max(amount / length, 1)
    digits = 1 - math.floor(math.log10(value))
    return f"about {round(value, min(digits, 1 if value < 10 else 0)):g} {unit}"


def _at(measured: Mapping[str, Any], key: str, work: Mapping[str, float]) -> float:
    each, at = measured.get("each", {}).get(key, 0), measured.get("at", {})
    more = sum(each * (work[what] - at[what]) for what in at)
    return max(0.0, float(measured[key] + more))


@functools.cache
def _measured() -> dict[str, Any]:
    found: dict[str, Any] = {"stages": {}}
    with contextlib.suppress(OSError):  # an installed package has no benchmarks
        found = json.loads(MEASURED.read_text(encoding="utf-8"))
    return found


def _work(plan: Plan, stages: set[str]) -> tuple[dict[str, float], str]:
    """Articles, tokens and examples of the next run as far as known, and why the articles are not.

    Of stages that do not run, what they left counts.
    """
    work: dict[str, float] = {}
    articles, why_not = _articles(plan, "collect" in stages)
    if articles is not None:
        work["articles"] = articles
    examples = _examples(plan, stages, articles)
    values = _values(plan, "train")
    limits = [values["max_train_tokens"]] if values.get("max_train_tokens") else []
    if examples:
        work["examples"] = examples["test"]
        limits.append(examples["train"] * _measured()["stages"]["train"]["tokens_per_example"])
    if limits:
        compared = values.get("sweep_tokens", 0) * len(values.get("sweep_rates", []))
        work["tokens"] = min(limits) * values.get("epochs", 1) + compared
    return work, why_not


def _examples(plan: Plan, stages: set[str], articles: float | None) -> dict[str, float]:
    """How many examples of `train` and `test` stage 4 has left or will leave; {} if not known."""
    if not stages & {"collect", "inspect", "clean", "expand"}:
        with contextlib.suppress(WorkspaceError, KeyError):
            files = plan.workspace.manifest("expand")["files"]
            return {split: files[f"{split}.jsonl"]["rows"] for split in ("train", "test")}
    if articles is None:
        return {}
    sample = _measured()["stages"]["expand"]
    share = articles / sample["at"]["articles"]
    return {split: round(rows * share) for split, rows in sample["examples"].items()}


def _articles(plan: Plan, anew: bool) -> tuple[float | None, str]:
    """How many articles stage 1 has left or will leave, and why that cannot be told."""
    if not anew:
        with contextlib.suppress(WorkspaceError, KeyError):
            return plan.workspace.manifest("collect")["counts"]["articles"], ""
    collect = stage_module("collect", "forecast")
    sample = _measured()["stages"]["collect"]
    found: tuple[float | None, str] = collect.expected_articles(_values(plan, "collect"), sample)
    return found


def _values(plan: Plan, stage: str) -> dict[str, Any]:
    return plan.values(next(n for n in plan.notebooks if n.stage == stage))

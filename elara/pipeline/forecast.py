"""Estimate the time, memory and disk that a run will take, before it starts.

A stage that has run in the workspace is measured by that run. Any other is measured by the laptop
run on the sample, `benchmarks/stages.json`, and by what an article, a token or a held-out example
more has added there. Where neither says anything, nothing is guessed.
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
from elara.pipeline.state import fingerprint, read_record, states
from elara.workspace import WorkspaceError, stage_module

MEASURED = PACKAGE.parent / "benchmarks" / "stages.json"
# Settings with which a run is not comparable to one without; those of the model are stage 5's.
_MODEL = ("base_model", "quantisation", "precision")
_KINDS = {
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
        seconds: wall time.
        memory: highest use of memory, all processes together, in bytes.
        disk: what the stage leaves in the workspace, in bytes.
        basis: by what these were told, or why they could not be.
    """

    notebook: Notebook
    seconds: float | None
    memory: float | None
    disk: float | None
    basis: str


def forecast(plan: Plan, notebooks: Sequence[Notebook]) -> list[Forecast]:
    """Estimate what notebooks will take, if they run in this workspace with these parameters.

    Args:
        plan: parameters and workspace.
        notebooks: those of the plan's notebooks that would run.
    """
    stages = _measured()["stages"]
    if not stages or not stages.keys() <= {notebook.stage for notebook in plan.notebooks}:
        return [Forecast(n, None, None, None, "nothing was measured") for n in notebooks]
    work, why_not = _work(plan, {notebook.stage for notebook in notebooks})
    return [_one(plan, notebook, work, why_not) for notebook in notebooks]


def _one(plan: Plan, notebook: Notebook, work: Mapping[str, float], why_not: str) -> Forecast:
    nothing = functools.partial(Forecast, notebook, None, None, None)
    measured = _measured()["stages"].get(notebook.stage)
    if measured is None:
        return nothing("nothing was measured")
    at = measured.get("at", {})
    if missing := [what for what in at if what not in work]:
        return nothing(why_not or f"the number of {missing[0]} is not known yet")
    seconds, mib, disk = (_at(measured, key, work) for key in ("seconds", "peak_mib", "disk_bytes"))
    memory = min(mib, measured.get("most_mib", mib)) * 2**20
    usual = _kind(notebook.stage, {n.stage: n.defaults for n in plan.notebooks})
    others = {k: v for k, v in _kind(notebook.stage, _values(plan)).items() if v != usual[k]}
    if notebook.stage == "collect" and _values(plan)["collect"].get("sources"):
        return Forecast(notebook, None, memory, disk, "the services decide how long they take")
    if last := _last_run(plan, notebook):
        before, took, left = last
        seconds = took * seconds / max(_at(measured, "seconds", before), 0.1)
        disk = left * disk / max(_at(measured, "disk_bytes", before), 1)
        known = None if others else memory
        return Forecast(notebook, seconds, known, disk, "from its last run here")
    if others:
        listed = ", ".join(f"{name}={value}" for name, value in others.items())
        hint = "; notebook 5 says it once the model is loaded" if notebook.stage == "train" else ""
        return nothing(f"nothing was measured with {listed}{hint}")
    basis = f"from the run measured on the sample with {_measured()['cores']} cores"
    basis += "".join(
        f", for about {work[what]:,.0f} {what}" for what in at if work[what] != at[what]
    )
    return Forecast(notebook, seconds, memory, disk, basis)


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


def _values(plan: Plan) -> dict[str, dict[str, Any]]:
    return {notebook.stage: plan.values(notebook) for notebook in plan.notebooks}


def _kind(stage: str, values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The settings with which one run of a stage can be compared to another."""
    if stage not in _KINDS:
        return {}
    own = {name: values[stage].get(name) for name in _KINDS[stage]}
    return {name: values["train"].get(name) for name in _MODEL} | own


def _last_run(plan: Plan, notebook: Notebook) -> tuple[dict[str, float], float, float] | None:
    """Work, seconds and bytes of the notebook's last run here, if the next is comparable to it."""
    then, train = _record(plan, notebook.stage), _record(plan, "train")
    if not then or then.get("error") or "seconds" not in then:
        return None
    parameters, inputs = then["fingerprint"]["parameters"], then["fingerprint"]["inputs"]
    # What it read has to be there still, for its size to be known.
    if not inputs.items() <= fingerprint(plan, notebook)["inputs"].items():
        return None
    values = {"train": train.get("fingerprint", {}).get("parameters", {})}
    if _kind(notebook.stage, values | {notebook.stage: parameters}) != _kind(
        notebook.stage, _values(plan)
    ):
        return None
    work, _ = _work(Plan(plan.workspace, plan.notebooks, {notebook.name: parameters}), set())
    if not _measured()["stages"][notebook.stage].get("at", {}).keys() <= work.keys():
        return None
    files = (p for p in plan.workspace.folder(notebook.stage).rglob("*") if p.is_file())
    return work, then["seconds"], sum(p.stat().st_size for p in files)


def _record(plan: Plan, stage: str) -> dict[str, Any]:
    notebook = next(n for n in plan.notebooks if n.stage == stage)
    return read_record(plan.record_path(notebook)) or {}


def _work(plan: Plan, stages: set[str]) -> tuple[dict[str, float], str]:
    """Articles, tokens and examples of the next run as far as known, and why the articles are not.

    Of stages that do not run, what they left counts.
    """
    work: dict[str, float] = {}
    articles, why_not = _articles(plan, "collect" in stages)
    if articles is not None:
        work["articles"] = articles
    examples = _examples(plan, stages, articles)
    values = _values(plan)["train"]
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
    with contextlib.suppress(WorkspaceError, KeyError):
        counted = plan.workspace.manifest("collect")["counts"]["articles"]
        notebook = next(n for n in plan.notebooks if n.stage == "collect")
        then, now = _record(plan, "collect").get("fingerprint", {}), fingerprint(plan, notebook)
        if not anew or all(then.get(part) == now[part] for part in ("parameters", "paths")):
            return counted, ""  # it would read again what it has read
    collect = stage_module("collect", "forecast")
    found: tuple[float | None, str] = collect.expected_articles(
        _values(plan)["collect"], _measured()["stages"]["collect"]
    )
    return found

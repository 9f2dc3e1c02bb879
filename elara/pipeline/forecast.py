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
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

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


@dataclass(frozen=True)
class _Size:
    """How much work there is: `articles`, `tokens` and `examples`, as far as known."""

    known: Mapping[str, float]
    why_not: str = ""


def forecast(plan: Plan, notebooks: Iterable[Notebook]) -> list[Forecast]:
    """Estimate what notebooks will take, if they run in this workspace with these parameters.

    Args:
        plan: parameters and workspace.
        notebooks: those of the plan's notebooks that would run.
    """
    notebooks = list(notebooks)
    size = _size(plan, {notebook.stage for notebook in notebooks})
    return [_of(plan, notebook, size) for notebook in notebooks]


def _of(plan: Plan, notebook: Notebook, size: _Size) -> Forecast:
    nothing = functools.partial(Forecast, notebook, None, None, None)
    measured = _measured()["stages"].get(notebook.stage)
    if measured is None:
        return nothing("nothing was measured")
    if missing := [what for what in measured.get("at", ()) if what not in size.known]:
        return nothing(size.why_not or f"the number of {missing[0]} is not known yet")
    seconds, mib, disk = (_at(measured, key, size) for key in ("seconds", "peak_mib", "disk_bytes"))
    memory = min(mib, measured.get("most_mib", mib)) * 2**20
    usual = _comparable(plan, notebook.stage, defaults=True)
    others = {k: v for k, v in _comparable(plan, notebook.stage).items() if v != usual[k]}
    if notebook.stage == "collect" and _values(plan, "collect").get("sources"):
        return Forecast(notebook, None, memory, disk, "the services decide how long they take")
    if last := _last_run(plan, notebook):
        before, took, left = last
        seconds = took * seconds / max(_at(measured, "seconds", before), 0.1)
        disk = left * disk / max(_at(measured, "disk_bytes", before), 1)
        return Forecast(
            notebook, seconds, None if others else memory, disk, "from its last run here"
        )
    if others:
        listed = ", ".join(f"{name}={value}" for name, value in others.items())
        hint = "; notebook 5 says it once the model is loaded" if notebook.stage == "train" else ""
        return nothing(f"nothing was measured with {listed}{hint}")
    basis = f"from the run measured on the sample with {_measured()['cores']} cores"
    for what, at in measured.get("at", {}).items():
        if size.known[what] != at:
            basis += f", for about {size.known[what]:,.0f} {what}"
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
    found = {state.notebook.name: state for state in states(plan)}
    chosen = [found[notebook.name] for notebook in notebooks]
    runs = [s.notebook for s in chosen if force or s.status != "fresh"]
    expected = {f.notebook.name: f for f in forecast(plan, runs)}
    table = Table()
    for name in ("notebook", "would run", "time", "memory", "disk"):
        table.add_column(name, justify="left" if name in ("notebook", "would run") else "right")
    for state in chosen:
        cells = ["", "", ""]
        if one := expected.get(state.notebook.name):
            cells = [_time(one.seconds), _size_of(one.memory), _size_of(one.disk)]
        why = state.why or state.status
        if one and state.status == "fresh":
            why = "forced"
        table.add_row(state.notebook.name, escape(why), *cells)
    return table, list(_below(plan, list(expected.values())))


def _below(plan: Plan, expected: Sequence[Forecast]) -> Iterator[str]:
    if not expected:
        yield "Nothing would run."
        return
    seconds, disk = (_sum(getattr(f, what) for f in expected) for what in ("seconds", "disk"))
    memory = max((f.memory for f in expected if f.memory is not None), default=None)
    known = all(f.seconds is not None and f.memory is not None for f in expected)
    least = "" if known else "at least "
    needs = f"{_size_of(memory)} of memory, {_size_of(disk)} of disk"
    yield f"Together: {least}{_time(seconds)}, {needs}."
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
    yield f"Free here: {_size_of(free_memory)} of memory, {_size_of(free_disk)} of disk at {place}."
    if memory is not None and memory > free_memory:
        yield "Warning: memory is short. End other programs, or lower max_length and batch_size."
    if disk is not None and disk > free_disk:
        yield "Warning: the disk is short. Free some space, or name a workspace elsewhere (-w)."


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"about {_round(seconds / length)} {unit}"
    return f"about {_round(max(seconds, 1))} s"


def _size_of(amount: float | None) -> str:
    if amount is None:
        return "not known"
    unit, length = ("GB", 1e9) if amount >= 0.95e9 else ("MB", 1e6)
    return f"about {_round(max(amount / length, 1))} {unit}"


def _round(value: float) -> str:
    """Two digits at most."""
    digits = 1 - math.floor(math.log10(value))
    return f"{round(value, min(digits, 1 if value < 10 else 0)):g}"


def _at(measured: Mapping[str, Any], key: str, size: _Size) -> float:
    more = sum(
        measured["each"].get(key, 0) * (size.known[what] - at)
        for what, at in measured.get("at", {}).items()
    )
    return max(0.0, float(measured[key] + more))


@functools.cache
def _measured() -> dict[str, Any]:
    found: dict[str, Any] = {"stages": {}}
    with contextlib.suppress(OSError):  # an installed package has no benchmarks
        found = json.loads(MEASURED.read_text(encoding="utf-8"))
    return found


def _values(plan: Plan, stage: str, *, defaults: bool = False) -> dict[str, Any]:
    notebook = next((n for n in plan.notebooks if n.stage == stage), None)
    if notebook is None:
        return {}
    return notebook.defaults if defaults else plan.values(notebook)


def _comparable(plan: Plan, stage: str, *, defaults: bool = False) -> dict[str, Any]:
    """The settings with which one run of a stage can be compared to another."""
    own, train = (_values(plan, name, defaults=defaults) for name in (stage, "train"))
    return _kind(stage, own, train)


def _kind(stage: str, own: Mapping[str, Any], train: Mapping[str, Any]) -> dict[str, Any]:
    if stage not in _KINDS:
        return {}
    return {n: train.get(n) for n in _MODEL} | {n: own.get(n) for n in _KINDS[stage]}


def _last_run(plan: Plan, notebook: Notebook) -> tuple[_Size, float, float] | None:
    """Work, seconds and bytes of the notebook's last run here, if the next is comparable to it."""
    then = _record(plan, notebook.stage)
    if not then or then.get("error") or "seconds" not in then:
        return None
    parameters, inputs = then["fingerprint"]["parameters"], then["fingerprint"]["inputs"]
    train = _record(plan, "train").get("fingerprint", {}).get("parameters", {})
    # What it read has to be there still, for its size to be known.
    inputs_now = fingerprint(plan, notebook)["inputs"]
    if any(inputs_now.get(stage) != identity for stage, identity in inputs.items()):
        return None
    if _kind(notebook.stage, parameters, train) != _comparable(plan, notebook.stage):
        return None
    earlier = _size(Plan(plan.workspace, plan.notebooks, {notebook.name: parameters}), set())
    if not _measured()["stages"][notebook.stage].get("at", {}).keys() <= earlier.known.keys():
        return None
    return earlier, then["seconds"], _bytes(plan.workspace.folder(notebook.stage))


def _record(plan: Plan, stage: str) -> dict[str, Any]:
    paths = [plan.record_path(n) for n in plan.notebooks if n.stage == stage]
    return (read_record(paths[0]) if paths else None) or {}


def _size(plan: Plan, stages: set[str]) -> _Size:
    """How much work the next run has; of stages that do not run, what they left counts."""
    measured = _measured()["stages"]
    if not measured or not measured.keys() <= {notebook.stage for notebook in plan.notebooks}:
        return _Size({}, "nothing was measured")
    known: dict[str, float] = {}
    articles, why_not = _articles(plan, "collect" in stages)
    if articles is not None:
        known["articles"] = articles
    examples = _examples(plan, stages, articles)
    values = _values(plan, "train")
    limits = [values["max_train_tokens"]] if values.get("max_train_tokens") else []
    if examples:
        known["examples"] = examples["test"]
        limits.append(examples["train"] * measured["train"]["tokens_per_example"])
    if limits:
        compared = values.get("sweep_tokens", 0) * len(values.get("sweep_rates", []))
        known["tokens"] = min(limits) * values.get("epochs", 1) + compared
    return _Size(known, why_not)


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
        if not anew or _same_source(plan):
            return counted, ""
    collect = stage_module("collect", "forecast")
    found: tuple[float | None, str] = collect.expected_articles(
        _values(plan, "collect"), _measured()["stages"]["collect"]
    )
    return found


def _same_source(plan: Plan) -> bool:
    """Whether stage 1 would read again what it has read."""
    notebook = next(n for n in plan.notebooks if n.stage == "collect")
    then, now = _record(plan, "collect").get("fingerprint", {}), fingerprint(plan, notebook)
    return all(then.get(part) == now[part] for part in ("parameters", "paths"))


def _bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())

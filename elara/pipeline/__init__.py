"""Runs the numbered notebooks in order and knows which of them need to run again.

A notebook is fresh when four things stand since it last ran: its code cells, its parameters, what
earlier stages left, and the `elara` modules it imports; and when the files it left are whole. Any
other notebook is stale, and so is everything after it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from elara.pipeline.execute import CellError, execute
from elara.pipeline.notebooks import NOTEBOOKS, Notebook, numbered, read_notebook, sha256
from elara.pipeline.remembered import FILE, Settings, changes, recall, remember
from elara.workspace import (
    MAIN_TABLES,
    STAGES,
    Workspace,
    WorkspaceError,
    cannot_write,
    disk_trouble,
    file_sha256,
    lock,
    manifest_text,
    sealed,
    write_atomically,
)
from elara.workspace.checks import check
from elara.workspace.parameters import (
    ONCE,
    PATHS,
    ParameterError,
    from_here,
    like,
    unknown_parameters,
)

# What later stages can build on. An incomplete stage runs again all the same.
_STANDING = ("fresh", "incomplete")
_SHOWN = 5  # lines of what is missing


class NotebookError(RuntimeError):
    """A notebook failed; the message names notebook, cell, error and the kept copy."""


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


@dataclass
class Plan:
    """Notebooks, resolved parameters and the workspace they run in.

    Args:
        workspace: where to run.
        notebooks: all numbered notebooks, in order.
        overrides: notebook name to the parameters that differ from its defaults.
        settings: what a run of this plan leaves for later runs to use again.
        recalled: what earlier runs left, or None in a new workspace.
        changed: how the parameters differ from those of earlier runs, `name: old → new`.
    """

    workspace: Workspace
    notebooks: list[Notebook]
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    recalled: Settings | None = None
    changed: list[str] = field(default_factory=list)

    def record_path(self, notebook: Notebook) -> Path:
        """The file that says how the notebook's last run went."""
        return self.workspace.root / "notebooks" / f"{notebook.name}.json"

    def values(self, notebook: Notebook) -> dict[str, Any]:
        """All parameters of a notebook, as this plan would run it."""
        return notebook.defaults | self.overrides.get(notebook.name, {})


def make_plan(
    workspace: Workspace,
    *,
    profile: str = "",
    parameters: Mapping[str, Any] | None = None,
    folder: Path = NOTEBOOKS,
    forget: bool = False,
    checked: bool = True,
) -> Plan:
    """Read the notebooks and resolve every parameter, before anything runs.

    Args:
        workspace: where to run. What its earlier runs were given holds again, where it is not
            given anew.
        profile: a file in `profiles/` beside the notebooks: notebook name to parameters that
            differ from the notebook's own defaults, which are the laptop profile. "" is the
            profile of earlier runs, or `laptop`.
        parameters: `name` or `stage.name` to value; a bare name is set wherever it exists.
            Relative paths, here and in a profile, start in the current directory: see
            `elara.workspace.parameters.from_here`.
        folder: where the numbered notebooks are.
        forget: leave out what earlier runs were given.
        checked: refuse values, among those that are new here, that a stage cannot use.

    Raises:
        ParameterError: a profile or parameter names something that no notebook has (the message
            gives the closest name), sets `workspace`, or gives what the stage cannot use.
        WorkspaceError: there are no notebooks in `folder`, or what earlier runs were given cannot
            be read.
    """
    notebooks = [read_notebook(path) for path in numbered(folder)]
    if not notebooks:
        raise WorkspaceError(f"No numbered notebooks in {folder}: run from a checkout of Elara.")
    recalled = None if forget else recall(workspace.root)
    profile = profile or (recalled or Settings()).profile
    usual = _usual(notebooks, folder, profile)
    earlier = _still_known(recalled, notebooks, workspace.root / FILE) if recalled else {}
    given = _given(notebooks, earlier, parameters or {})
    plan = Plan(workspace, notebooks, recalled=recalled)
    for n in notebooks:
        values = usual[n.name] | given[n.name]
        plan.overrides[n.name] = {k: v for k, v in values.items() if v != n.defaults[k]}
        own = {k: v for k, v in values.items() if v != usual[n.name][k] and k not in ONCE}
        if own:
            plan.settings.parameters[n.name] = own
    plan.settings = replace(plan.settings, profile=profile)
    if recalled:
        before = _usual(notebooks, folder, recalled.profile)
        before = {n.name: before[n.name] | earlier.get(n.name, {}) for n in notebooks}
        plan.changed = changes(before, {n.name: plan.values(n) for n in notebooks})
    if checked:
        kept = plan.settings.parameters
        check_values(plan, [n for n in notebooks if kept.get(n.name) != earlier.get(n.name)])
    return plan


def _given(
    notebooks: Sequence[Notebook],
    earlier: Mapping[str, Mapping[str, Any]],
    parameters: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """What each notebook is given: by earlier runs, or anew."""
    given: dict[str, dict[str, Any]] = {n.name: dict(earlier.get(n.name, {})) for n in notebooks}
    for name, value in parameters.items():
        stage, _, bare = name.rpartition(".")
        _refuse_workspace(bare, value)
        takers = [n for n in notebooks if bare in n.defaults and stage in ("", n.stage, n.name)]
        if not takers:
            known = {p for n in notebooks for p in n.defaults}
            if stage:
                known = {f"{n.stage}.{p}" for n in notebooks for p in n.defaults}
            raise ParameterError(unknown_parameters([name], known))
        for notebook in takers:
            given[notebook.name][bare] = _like(notebook, bare, value)
    return given


def _usual(notebooks: Sequence[Notebook], folder: Path, profile: str) -> dict[str, dict[str, Any]]:
    """Every parameter's value where nobody sets it: the notebook's own, or that of the profile."""
    overrides = _profile(folder / "profiles" / f"{profile}.yaml", notebooks)
    return {n.name: n.defaults | overrides[n.name] for n in notebooks}


def _still_known(
    recalled: Settings, notebooks: Sequence[Notebook], path: Path
) -> dict[str, dict[str, Any]]:
    """What earlier runs were given, unless a notebook no longer has that parameter."""
    for notebook in notebooks:
        values = recalled.parameters.get(notebook.name, {})
        if wrong := unknown_parameters(values, notebook.defaults):
            raise ParameterError(
                f"{path} keeps a parameter that {notebook.name} no longer has. {wrong} Correct "
                "the file, or run once with --forget."
            )
    return recalled.parameters


def check_values(plan: Plan, notebooks: Sequence[Notebook]) -> None:
    """Refuse values that a stage cannot use, before anything runs.

    A notebook checks its own when it begins; one that runs as it stands is left to that.

    Args:
        plan: gives the values.
        notebooks: which of the plan's notebooks to look at.

    Raises:
        ParameterError: the message names notebook, parameter and remedy.
    """
    for notebook in notebooks:
        if plan.overrides[notebook.name] and notebook.stage in STAGES:
            try:
                check(notebook.stage, plan.values(notebook))
            except ParameterError as error:
                raise ParameterError(f"{notebook.name}: {error}") from error


def _profile(path: Path, notebooks: Sequence[Notebook]) -> dict[str, dict[str, Any]]:
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise ParameterError(f"There is no profile {path.stem!r}; known are: {known}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ParameterError(f"{path} is not valid YAML: {error}") from error
    by_name = {n.name: n for n in notebooks}
    if wrong := unknown_parameters(content, by_name):
        raise ParameterError(f"{path}: {wrong.replace('parameter', 'notebook')}")
    overrides: dict[str, dict[str, Any]] = {n.name: {} for n in notebooks}
    for name, values in content.items():
        if wrong := unknown_parameters(values or {}, by_name[name].defaults):
            raise ParameterError(f"{path}, {name}: {wrong}")
        for key, value in (values or {}).items():
            _refuse_workspace(key, value)
            overrides[name][key] = _like(by_name[name], key, value)
    return overrides


def _refuse_workspace(name: str, value: Any) -> None:
    """The notebooks would work in one folder while the pipeline looks for results in another."""
    if name == "workspace":
        raise ParameterError(
            f"`workspace` cannot be set as a parameter of a run: use --workspace {value} (or -w, "
            "or ELARA_WORKSPACE), which holds for every notebook."
        )


def _like(notebook: Notebook, name: str, value: Any) -> Any:
    """Give a value the type of the parameter's default, and a path the meaning it has here."""
    default = notebook.defaults[name]
    try:
        value = like(name, value, default)
    except ParameterError as error:
        raise ParameterError(f"{notebook.name}: {error}") from None
    return from_here(name, value, default) if isinstance(value, str) else value


def fingerprint(plan: Plan, notebook: Notebook) -> dict[str, Any]:
    """Everything that decides what a notebook would produce now.

    Args:
        plan: gives parameters and workspace.
        notebook: one of the plan's notebooks.

    Returns:
        code, parameters, inputs (identity of every earlier stage), modules and paths (a digest of
        each folder or file that a parameter of `elara.workspace.parameters.PATHS` names).
    """
    resolved = {k: v for k, v in plan.values(notebook).items() if k not in ONCE}
    before = [n.stage for n in plan.notebooks[: plan.notebooks.index(notebook)]]
    inputs = {}
    for stage in before:
        with contextlib.suppress(WorkspaceError):
            inputs[stage] = plan.workspace.manifest(stage)["identity"]
    return {
        "code": notebook.code,
        "parameters": resolved,
        "inputs": inputs,
        "modules": notebook.modules,
        "paths": {k: _listing(v) for k, v in resolved.items() if k in PATHS and v},
    }


def _listing(value: str) -> str:
    try:
        path = Path(value).expanduser()
        if not path.exists():
            return ""
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        # Bytes, for a name need not be UTF-8.
        told = [(os.fsencode(p), p.stat()) for p in files]
    except (OSError, RuntimeError, ValueError) as error:
        # A part that may not be read, or a hub id that no path can be: the notebook will say so.
        return f"not readable: {error}"
    return sha256(b"\n".join(b"%s\t%d\t%d" % (n, s.st_size, s.st_mtime_ns) for n, s in told))


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
        if broken and state.status in _STANDING:
            why = f"{broken.name} will run again"
            state = State(notebook, "stale", why, state.rows, state.seconds)
        if state.status not in _STANDING:
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
    why = _difference(record["fingerprint"], fingerprint(plan, notebook))
    if not why and manifest["identity"] != record["identity"]:
        why = "the stage was run by hand since"
    why = why or plan.workspace.damage(notebook.stage)
    if why:
        return State(notebook, "stale", why, rows, seconds)
    if missing := manifest.get("incomplete"):
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        return State(notebook, "incomplete", f"missing: {missing[0]}{more}", rows, seconds)
    return State(notebook, "fresh", "", rows, seconds)


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


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    if old["code"] != new["code"]:
        return "its code cells changed"
    for part, what in (("parameters", "parameter"), ("inputs", "input"), ("modules", "module")):
        keys = [k for k in {**old[part], **new[part]} if old[part].get(k) != new[part].get(k)]
        if keys and part == "parameters":
            changes = [f"{k}: {old[part].get(k)!r} → {new[part].get(k)!r}" for k in sorted(keys)]
            return f"{what} {', '.join(changes)}"
        if keys:
            return f"{what} changed: {', '.join(sorted(keys))}"
    changed = [k for k in new["paths"] if old["paths"].get(k) != new["paths"][k]]
    return f"files in `{changed[0]}` changed" if changed else ""


def select(plan: Plan, *, start: str = "", only: str = "") -> list[Notebook]:
    """Choose notebooks by number, name or stage (`4`, `04`, `04-expand`, `expand`).

    Args:
        plan: gives the notebooks.
        start: this one and all after it.
        only: just this one.

    Raises:
        ParameterError: no notebook is called so, or both are given.
    """
    if start and only:
        raise ParameterError(
            f"--from {start} and --only {only} exclude each other: --from runs a notebook and all "
            "after it, --only just one."
        )
    wanted = only or start
    if not wanted:
        return plan.notebooks
    for i, notebook in enumerate(plan.notebooks):
        number = notebook.name.split("-")[0]
        if wanted in (number, number.lstrip("0"), notebook.name, notebook.stage):
            return [notebook] if only else plan.notebooks[i:]
    known = [n.stage for n in plan.notebooks]
    raise ParameterError(unknown_parameters([wanted], known).replace("parameter", "stage"))


def run(
    plan: Plan,
    notebooks: Sequence[Notebook],
    *,
    force: bool = False,
    report: Callable[[str], None] = print,
) -> int:
    """Run what is not fresh, in order; stop at the first failure.

    Args:
        plan: parameters and workspace.
        notebooks: which of the plan's notebooks to consider.
        force: run fresh ones too.
        report: takes one line of text at a time.

    Returns:
        How many notebooks ran.

    Raises:
        NotebookError: a notebook failed; a rerun continues with it.
        WorkspaceError: the workspace cannot be written, or a run is going on in it.
    """
    folder = plan.workspace.root / "notebooks"
    try:
        (plan.workspace.root / "logs").mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        held = lock(plan.workspace.root / "logs" / "pipeline.lock", "The pipeline")
    except OSError as error:
        raise cannot_write(plan.workspace.root, error) from error
    ran, noted = 0, set[str]()
    try:
        remember(plan.workspace.root, plan.settings)
        for notebook in notebooks:
            state = next(s for s in states(plan) if s.notebook == notebook)
            if state.status == "fresh" and not force:
                report(f"{notebook.name}: fresh")
                continue
            for line in _notes(plan, notebook, noted):
                report(line)
            why = "its last run failed" if state.status == "failed" else state.why or state.status
            report(f"{notebook.name}: running ({'forced' if force else why})")
            seconds = _execute(plan, notebook, folder, report)
            report(f"{notebook.name}: done in {seconds:.0f} s")
            for line in _result(plan.workspace, notebook, noted):
                report(line)
            ran += 1
    finally:
        held.release()
    return ran


def _notes(plan: Plan, notebook: Notebook, noted: set[str]) -> Iterator[str]:
    """What earlier stages want to be known, unless this run has said so already."""
    for earlier in plan.notebooks[: plan.notebooks.index(notebook)]:
        with contextlib.suppress(WorkspaceError):
            for line in plan.workspace.manifest(earlier.stage).get("notes", ()):
                if line not in noted:
                    noted.add(line)
                    yield f"{earlier.name}: note: {line}"


def _result(workspace: Workspace, notebook: Notebook, noted: set[str]) -> Iterator[str]:
    """What a stage has just made, how to list it, and what to know before building on it."""
    manifest = workspace.manifest(notebook.stage)
    if summary := manifest.get("summary"):
        yield f"  {summary}"
    if listed := manifest.get("listed"):
        yield f"  to list them: {command(workspace, 'show', notebook.stage, listed)}"
    missing = manifest.get("incomplete", ())
    for line in missing[:_SHOWN]:
        yield f"  incomplete: {line}"
    if len(missing) > _SHOWN:
        yield f"  incomplete: and {len(missing) - _SHOWN:,} more"
    for line in manifest.get("notes", ()):
        noted.add(line)
        yield f"  note: {line}"


def command(workspace: Workspace, *words: str) -> str:
    """A command of Elara as one would type it for this workspace.

    Args:
        workspace: named in the command, unless it is the default.
        words: the command and what follows it.
    """
    place = [] if workspace.is_default else ["-w", shlex.quote(str(workspace.root))]
    return " ".join(["elara", words[0], *place, *words[1:]])


def _execute(plan: Plan, notebook: Notebook, folder: Path, report: Callable[[str], None]) -> float:
    draft, kept = folder / f".{notebook.name}.ipynb", folder / f"{notebook.name}.ipynb"
    failed = folder / f"{notebook.name}.failed.ipynb"
    record: dict[str, Any] = {"fingerprint": fingerprint(plan, notebook)}
    started = time.monotonic()
    # Written first, so that the record stands even when nothing can be written in the end.
    _write_record(plan, notebook, record | {"error": "the run broke off in this notebook"})
    try:
        failed.unlink(missing_ok=True)
        with _kernels_work_in(plan.workspace):
            execute(
                notebook.path,
                draft,
                parameters=plan.overrides.get(notebook.name) or {},
                log=plan.workspace.root / "logs" / f"{notebook.name}.log",
                report=report,
            )
        draft.replace(kept)
    except (CellError, OSError) as error:
        place = plan.workspace.root
        what = str(error)
        if isinstance(error, OSError):
            what = str(cannot_write(place, error))
        elif (code := disk_trouble(what)) and "Remedy:" not in what:
            what += f"\n{cannot_write(place, OSError(code, os.strerror(code)))}"
        seconds = round(time.monotonic() - started, 1)
        with contextlib.suppress(WorkspaceError):  # then the first record has to do
            failure = record | {"error": what, "seconds": seconds}
            _write_record(plan, notebook, failure, draft)
        ending = "Fix the problem, then run the same command again: it continues there."
        with contextlib.suppress(OSError):
            draft.replace(failed)
            ending = f"The failed copy is {failed}. {ending}"
        joined = "failed in" if isinstance(error, CellError) else "failed:"
        raise NotebookError(f"{notebook.name} {joined} {what}\n{ending}") from error
    seconds = round(time.monotonic() - started, 1)
    record["seconds"] = seconds
    record["identity"] = plan.workspace.manifest(notebook.stage)["identity"]
    _write_record(plan, notebook, record, kept)
    return seconds


@contextlib.contextmanager
def _kernels_work_in(workspace: Workspace) -> Iterator[None]:
    """Name the workspace to the kernels that start meanwhile."""
    before = os.environ.get("ELARA_WORKSPACE")
    os.environ["ELARA_WORKSPACE"] = str(workspace.root)
    try:
        yield
    finally:
        del os.environ["ELARA_WORKSPACE"]
        if before is not None:
            os.environ["ELARA_WORKSPACE"] = before


def _write_record(
    plan: Plan, notebook: Notebook, record: Mapping[str, Any], copy: Path | None = None
) -> None:
    """Write how a run went, so that `elara verify` notices a change in it and in the copy."""
    told = dict(record) | {"ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    try:
        if copy is not None and copy.exists():
            told["executed"] = file_sha256(copy)
        write_atomically(plan.record_path(notebook), manifest_text(sealed(told)))
    except OSError as error:
        raise cannot_write(plan.workspace.root, error) from error

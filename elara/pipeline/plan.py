"""Resolve which notebooks run and with which parameters, before anything runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from elara.pipeline.notebooks import NOTEBOOKS, Notebook, numbered, read_notebook
from elara.workspace import STAGES, Workspace, WorkspaceError, check_parameters
from elara.workspace.parameters import ONCE, ParameterError, convert, resolve_path, unknown_names

FILE = "parameters.json"


@dataclass(frozen=True)
class Settings:
    """What a run was asked for.

    Args:
        profile: a file in `profiles/` beside the notebooks.
        parameters: notebook name to the parameters that were set, without those of the profile.
    """

    profile: str = "laptop"
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)

    def given(self) -> dict[str, Any]:
        """Each parameter as one would type it: `seed`, or `05-train.seed` where they differ."""
        found: dict[str, Any] = {}
        for name in sorted({name for values in self.parameters.values() for name in values}):
            set_in = {n: values[name] for n, values in self.parameters.items() if name in values}
            first, *others = set_in.values()
            same = all(value == first for value in others)
            found |= {name: first} if same else {f"{n}.{name}": v for n, v in set_in.items()}
        return found


def load_settings(root: Path) -> Settings | None:
    """What earlier runs in a workspace were asked for.

    Args:
        root: the workspace's folder.

    Returns:
        The settings, or None where no run has kept any.

    Raises:
        WorkspaceError: the file that keeps them cannot be read.
    """
    path = root / FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parameters = {name: dict(values) for name, values in content["parameters"].items()}
        return Settings(str(content["profile"]), parameters)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WorkspaceError(
            f"{path} should hold the parameters of this workspace and cannot be read ({error!r}). "
            "Correct it, or run once with --forget, which starts from the notebooks' own values."
        ) from error


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
            `elara.workspace.parameters.resolve_path`.
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
    recalled = None if forget else load_settings(workspace.root)
    profile = profile or (recalled or Settings()).profile
    usual = _usual(notebooks, folder, profile)
    earlier = _still_known(recalled, notebooks, workspace.root / FILE) if recalled else {}
    given = _given(notebooks, earlier, parameters or {})
    plan = Plan(workspace, notebooks, settings=Settings(profile), recalled=recalled)
    for n in notebooks:
        values = usual[n.name] | given[n.name]
        plan.overrides[n.name] = {k: v for k, v in values.items() if v != n.defaults[k]}
        own = {k: v for k, v in values.items() if v != usual[n.name][k] and k not in ONCE}
        if own:
            plan.settings.parameters[n.name] = own
    if recalled:
        before = _usual(notebooks, folder, recalled.profile)
        pairs = [(before[n.name] | earlier.get(n.name, {}), plan.values(n)) for n in notebooks]
        lines = (line for old, new in pairs for line in changes(old, new))
        plan.changed = list(dict.fromkeys(lines))
    if checked:
        kept = plan.settings.parameters
        check_values(plan, [n for n in notebooks if kept.get(n.name) != earlier.get(n.name)])
    return plan


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Say which parameters of a notebook have another value than before.

    Args:
        old: name to value before.
        new: name to value now.

    Returns:
        `name: old → new` for each.
    """
    differ = (n for n in {**new, **old} if n not in ONCE and old.get(n) != new.get(n))
    return [f"{name}: {old.get(name)!r} → {new.get(name)!r}" for name in differ]


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
                check_parameters(notebook.stage, plan.values(notebook))
            except ParameterError as error:
                raise ParameterError(f"{notebook.name}: {error}") from error


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
    raise ParameterError(unknown_names([wanted], (n.stage for n in plan.notebooks), "stage"))


def _usual(notebooks: Sequence[Notebook], folder: Path, profile: str) -> dict[str, dict[str, Any]]:
    """Every parameter's value where nobody sets it: the notebook's own, or that of the profile."""
    path = folder / "profiles" / f"{profile}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise ParameterError(f"There is no profile {path.stem!r}; known are: {known}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ParameterError(f"{path} is not valid YAML: {error}") from error
    by_name = {n.name: n for n in notebooks}
    if wrong := unknown_names(content, by_name, "notebook"):
        raise ParameterError(f"{path}: {wrong}")
    usual = {n.name: dict(n.defaults) for n in notebooks}
    for name, values in content.items():
        if wrong := unknown_names(values or {}, by_name[name].defaults):
            raise ParameterError(f"{path}, {name}: {wrong}")
        for key, value in (values or {}).items():
            usual[name][key] = _value(by_name[name], key, value)
    return usual


def _still_known(
    recalled: Settings, notebooks: Sequence[Notebook], path: Path
) -> dict[str, dict[str, Any]]:
    """What earlier runs were given, unless a notebook no longer has that parameter."""
    for notebook in notebooks:
        values = recalled.parameters.get(notebook.name, {})
        if wrong := unknown_names(values, notebook.defaults):
            raise ParameterError(
                f"{path} keeps a parameter that {notebook.name} no longer has. {wrong} Correct "
                "the file, or run once with --forget."
            )
    return recalled.parameters


def _given(
    notebooks: Sequence[Notebook],
    earlier: Mapping[str, Mapping[str, Any]],
    parameters: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """What each notebook is given: by earlier runs, or anew."""
    given: dict[str, dict[str, Any]] = {n.name: dict(earlier.get(n.name, {})) for n in notebooks}
    for name, value in parameters.items():
        stage, _, bare = name.rpartition(".")
        takers = [n for n in notebooks if bare in n.defaults and stage in ("", n.stage, n.name)]
        if not takers:
            known = {p for n in notebooks for p in n.defaults}
            if stage:
                known = {f"{n.stage}.{p}" for n in notebooks for p in n.defaults}
            raise ParameterError(unknown_names([name], known))
        for notebook in takers:
            given[notebook.name][bare] = _value(notebook, bare, value)
    return given


def _value(notebook: Notebook, name: str, value: Any) -> Any:
    """Give a value the type of the parameter's default, and a path the meaning it has here."""
    if name == "workspace":  # notebooks would work in one folder, and results be sought in another
        raise ParameterError(
            f"`workspace` cannot be set as a parameter of a run: use --workspace {value} (or -w, "
            "or ELARA_WORKSPACE), which holds for every notebook."
        )
    default = notebook.defaults[name]
    try:
        value = convert(name, value, default)
    except ParameterError as error:
        raise ParameterError(f"{notebook.name}: {error}") from None
    return resolve_path(name, value, default) if isinstance(value, str) else value

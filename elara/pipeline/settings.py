"""Keep the profile and parameters of a run for later runs in the same workspace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elara.workspace import WorkspaceError, write_atomically, writing_to
from elara.workspace.parameters import ONCE

FILE = "parameters.json"

Values = Mapping[str, Mapping[str, Any]]


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
        together: dict[str, list[tuple[str, Any]]] = {}
        for notebook, values in self.parameters.items():
            for name, value in values.items():
                together.setdefault(name, []).append((notebook, value))
        found: dict[str, Any] = {}
        for name, places in sorted(together.items()):
            if all(value == places[0][1] for _, value in places):
                found[name] = places[0][1]
            else:
                found |= {f"{notebook}.{name}": value for notebook, value in places}
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


def save_settings(root: Path, settings: Settings) -> None:
    """Keep the settings for later runs.

    Args:
        root: the workspace's folder, which must exist.
        settings: what this run was asked for.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    content = {"profile": settings.profile, "parameters": settings.parameters}
    with writing_to(root):
        write_atomically(root / FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def changes(before: Values, now: Values) -> list[str]:
    """Say which parameters have another value than before.

    Args:
        before: notebook name to all its parameters.
        now: the same, as they would be used now.

    Returns:
        `name: old → new`, once for all notebooks in which the same change was made.
    """
    lines = [
        f"{name}: {before[notebook][name]!r} → {value!r}"
        for notebook, values in now.items()
        for name, value in values.items()
        if name not in ONCE and before[notebook][name] != value
    ]
    return list(dict.fromkeys(lines))

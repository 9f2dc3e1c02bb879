"""Make working copies of the notebooks for JupyterLab, so that no committed file changes.

A copy lies in `lab/` of its workspace and begins with the values that the workspace was made with.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from elara.pipeline.notebooks import Notebook, read_notebook, sha256
from elara.pipeline.plan import Plan
from elara.pipeline.state import read_record
from elara.workspace import write_atomically, writing_to

# By the first line `elara.workspace.parameters.parameters_of` tells papermill's cell.
_COMMENT = "Parameters\n# of this workspace: these win over the cell above, so change them here"
_MADE = ".made.json"  # file name of a copy to its SHA-256 when it was made


@dataclass(frozen=True)
class Copies:
    """The notebooks to open.

    Args:
        folder: where they lie.
        root: the folder to start JupyterLab in, so that their links to the guides work.
        outdated: copies that were changed or run, and kept, although the notebook that they come
            from, or the values that it begins with, changed as well.
        saved: where changed copies were moved to make room for new ones.
    """

    folder: Path
    root: Path
    outdated: list[Path]
    saved: list[Path]


def working_copies(plan: Plan, *, fresh: bool = False) -> Copies:
    """Bring the working copies of all notebooks and appendices up to date.

    A copy that was neither changed nor run is made anew; one that was is kept.

    Args:
        plan: the notebooks, and the values that they begin with.
        fresh: make every copy anew; one that was changed stays under another name.

    Raises:
        WorkspaceError: the workspace cannot be written.
    """
    folder = plan.workspace.root / "lab"
    root = Path(os.path.commonpath([plan.notebooks[0].path.resolve().parents[1], folder]))
    copies = Copies(folder, root, [], [])
    with writing_to(plan.workspace.root):
        folder.mkdir(parents=True, exist_ok=True)
        # Without a record every copy there is counts as changed, and is kept.
        made: dict[str, str] = read_record(folder / _MADE) or {}
        appendices = sorted(plan.notebooks[0].path.parent.glob("[A-Z]-*.ipynb"))
        for notebook in (*plan.notebooks, *map(read_notebook, appendices)):
            _copy(plan, notebook, made, fresh, copies)
        write_atomically(folder / _MADE, json.dumps(made, indent=2) + "\n")
    return copies


def start(copies: Copies, plan: Plan, arguments: Sequence[str] = ()) -> int:
    """Open the first notebook in JupyterLab, and wait until JupyterLab ends.

    Args:
        copies: from `working_copies`.
        plan: gives the workspace in which they run.
        arguments: more options of JupyterLab.

    Returns:
        Its exit status.
    """
    first = (copies.folder / plan.notebooks[0].path.name).relative_to(copies.root)
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={copies.root}"]
    command += [f"--LabApp.default_url=/lab/tree/{quote(first.as_posix())}", *arguments]
    place = {"ELARA_WORKSPACE": str(plan.workspace.root)}
    return subprocess.run(command, env=os.environ | place, check=False).returncode


def _copy(
    plan: Plan, notebook: Notebook, made: dict[str, str], fresh: bool, copies: Copies
) -> None:
    path = copies.folder / notebook.path.name
    text = _text(plan, notebook, copies.folder)
    now, then = sha256(text.encode()), made.get(path.name)
    if path.exists() and sha256(path.read_bytes()) != then:
        if not fresh:
            copies.outdated.extend([path] if now != then else [])
            return
        names = (path.with_stem(f"{path.stem}.{n}") for n in itertools.count(1))
        saved = next(name for name in names if not name.exists())
        copies.saved.append(path.replace(saved))
    write_atomically(path, text)
    made[path.name] = now


def _text(plan: Plan, notebook: Notebook, folder: Path) -> str:
    """A notebook with the plan's values, and with links that hold in another folder."""
    import nbformat
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    document = load_notebook_node(str(notebook.path))
    if values := plan.overrides.get(notebook.name):
        document = parameterize_notebook(
            document, values, comment=_COMMENT, kernel_name="python3", language="python"
        )
        for cell in document.cells:  # papermill gives the cell it adds a name by chance
            if "injected-parameters" in cell.metadata.get("tags", []):
                cell.id = "parameters-of-this-workspace"
    upwards = Path(os.path.relpath(notebook.path.parents[1].resolve(), folder)).as_posix()
    for cell in document.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace("](../", f"]({upwards}/")
    return str(nbformat.writes(document)) + "\n"

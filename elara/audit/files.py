"""List the files below a folder and compare them with what a record says.

A file that cannot be read or has a strange name becomes a finding and stops nothing. Some files
grow, or come and go, while Elara works: no record can say what they should be, and each has its
reason here.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elara.workspace import file_sha256, seal_holds
from elara.workspace.names import escaped

_LOG = "a log: it grows while a run goes on, and no result is read from it"
_LOCK = "a lock, or who held it"
_DRAFT = "a draft of a run that is going on or was interrupted: no result until it is finished"
_TRAINING = "checkpoints and trials of training: what came of them is in the adapter"
_CURVES = "a tracker's curves: the losses themselves are in losses.parquet"
_RESTORING = "an adapter half restored: the next use of the versions finishes it"
_EDITOR = "a copy that JupyterLab keeps"
_LAB = "a working copy of a notebook, to be changed in JupyterLab"
_SETTINGS = "what the next run will use: what each stage did use is in its manifest"

_UNCHECKED = {
    r"logs/[^/]+\.log": _LOG,
    r"logs/[^/]+\.(lock|owner)": _LOCK,
    r"(.+/)?versions/\.lock(\.owner)?": _LOCK,
    r"(.+/)?exports/\.export/lock(\.owner)?": _LOCK,
    r"raw/payloads/(\.until|\.harvest\.(lock|owner))": _LOCK,
    r"raw/payloads/[^/]+/[^/]+\.part": _DRAFT,
    r"(.+/)?\.partial/.+": _DRAFT,
    r"(.+/)?versions/\.keeping/.+": _DRAFT,
    r"(.+/)?exports/\.export/drafts/.+": _DRAFT,
    r"notebooks/\.[^/]+\.ipynb": _DRAFT,
    r"(.+/)?\.[^/]+\.\d+": _DRAFT,  # what `write_atomically` was killed in
    r"lora_adapters/\.(checkpoints|sweep|job)/.+": _TRAINING,
    r"lora_adapters/curves/.+": _CURVES,
    r"lora_adapters/(\.(restoring|replaced)/.+|\.restoring\.json)": _RESTORING,
    r"notebooks/\.ipynb_checkpoints/.+": _EDITOR,
    r"lab/.+": _LAB,
    r"parameters\.json": _SETTINGS,
}


@dataclass(frozen=True)
class Finding:
    """What is known of one file, or of one thing that should hold between files.

    Args:
        group: what it belongs to: a stage, `payloads`, an export, a kept version, …
        path: the file's path below the workspace.
        passed: whether it holds; None where nothing says what it should be.
        detail: what was found.
    """

    group: str
    path: str
    passed: bool | None
    detail: str


def files_below(root: Path) -> tuple[dict[str, str], list[Finding]]:
    """Every file below a folder; links are named, not followed.

    Args:
        root: the folder.

    Returns:
        Path below the folder to "" for an ordinary file, else why it cannot be compared; and a
        finding for each folder that cannot be listed.
    """
    found: dict[str, str] = {}
    closed: list[Finding] = []

    def not_listed(error: OSError) -> None:
        if isinstance(error, FileNotFoundError):  # there is none, or a run has just removed it
            return
        path = Path(error.filename).relative_to(root).as_posix()
        detail = f"cannot be listed ({error.strerror}): allow reading it"
        closed.append(Finding("folders", path, False, detail))

    for folder, folders, files in os.walk(root, onerror=not_listed):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted([*files, *links]):
            path = Path(folder) / name
            found[path.relative_to(root).as_posix()] = _oddity(path)
    return found, closed


def _oddity(path: Path) -> str:
    """Why a file cannot be compared, or "". A pipe would be waited for, so it is not opened."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return f"is a link to {escaped(str(path.readlink()))}: put the file itself there"
    except OSError as error:
        return f"cannot be inspected ({error.strerror})"
    return "" if stat.S_ISREG(mode) else "is not a regular file: remove it"


def compare(root: Path, found: Mapping[str, str], group: str, path: str, sha256: str) -> Finding:
    """Compare one file with the hash that a record has for it.

    Args:
        root: the workspace.
        found: what lies in it, from `files_below`.
        group: what the file belongs to.
        path: the file, below the workspace.
        sha256: what its hash should be.
    """
    if path not in found:
        return Finding(group, path, False, "is missing")
    if found[path]:
        return Finding(group, path, False, found[path])
    try:
        same = file_sha256(root / path) == sha256
    except OSError as error:
        return Finding(group, path, False, f"cannot be read ({error.strerror})")
    return Finding(group, path, same, "as recorded" if same else "was changed")


def read_record(
    root: Path,
    found: Mapping[str, str],
    group: str,
    path: str,
    render: Callable[[Any], str],
) -> tuple[dict[str, Any], Finding]:
    """Read a record that carries its own hash, and say whether it stands.

    Args:
        root: the workspace.
        found: what lies in it.
        group: what the record belongs to.
        path: the record, below the workspace.
        render: how it was written; it is compared byte for byte.

    Returns:
        Its content ({} where it cannot be read) and the finding. A record without a seal was
        written by an earlier Elara: it is used, and is not checked itself.
    """

    def finding(passed: bool | None, detail: str) -> Finding:
        return Finding(group, path, passed, detail)

    if path not in found:
        return {}, finding(False, "is missing")
    if found[path]:
        return {}, finding(False, found[path])
    try:
        data = (root / path).read_bytes()
        content = json.loads(data)
        if not isinstance(content, dict):
            return {}, finding(False, "was changed: it is no record")
        if "seal" not in content:
            return content, finding(None, "it has no seal (an earlier Elara wrote none)")
        whole = data == render(content).encode() and seal_holds(content)
    except OSError as error:
        return {}, finding(False, f"cannot be read ({error.strerror})")
    except (ValueError, RecursionError) as error:
        return {}, finding(False, f"was changed: it is not valid JSON ({error})")
    return content, finding(whole, "as sealed" if whole else "was changed")


def why_unchecked(path: str) -> str:
    """Why nothing says what a file should be; "" where something should.

    Args:
        path: the file, below the workspace.
    """
    matching = (why for form, why in _UNCHECKED.items() if re.fullmatch(form, path, re.DOTALL))
    return next(matching, "")

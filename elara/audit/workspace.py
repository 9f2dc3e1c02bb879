"""Account for every file in a workspace: it is as recorded, it is not, or nothing says.

A record can be deleted together with all that it names; a whole export, kept version or source of
payloads that is gone leaves nothing to notice it by. And whoever computes every hash anew, the
records' own seals too, is not noticed: for that, the adapter's fingerprint must come another way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from elara.audit import chain
from elara.audit.files import Finding, files_below, why_unchecked
from elara.audit.records import of_payloads, of_runs, of_sealed_folders, of_stage
from elara.workspace import MANIFEST, STAGES, Workspace
from elara.workspace.names import escaped

# An executed notebook: the stage, and whether it failed.
_EXECUTED = re.compile(r"notebooks/\d+-([^/.]+)(\.failed)?\.ipynb")


@dataclass(frozen=True)
class Audit:
    """What was found in a workspace.

    Args:
        files: every file on disk, by its path below the workspace.
        others: what is no file on disk: missing files, closed folders, how stages fit together.
        finished: the stages whose manifest can be read.
    """

    files: dict[str, Finding]
    others: list[Finding]
    finished: list[str]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(f.passed is not False for f in (*self.files.values(), *self.others))

    def lines(self) -> Iterator[str]:
        """One line per failure, and one per group for what is well and for what nothing records."""
        findings = [*self.others, *self.files.values()]
        order = list(dict.fromkeys([*STAGES, *(f.group for f in findings)]))
        for group in order:
            own = [f for f in findings if f.group == group]
            for f in own:
                if f.passed is False:
                    yield f"{group}: FAILED: {escaped(f.path)} {f.detail}"
            if well := sum(f.passed is True for f in own):
                what = "links between results" if group == "chain" else "files as recorded"
                yield f"{group}: ok: {well} {what}"
            rest = sorted(f.detail for f in own if f.passed is None)
            for why, same in groupby(rest):
                number = len(list(same))
                yield f"{group}: not checked: {number} {'file' if number == 1 else 'files'}: {why}"


def audit(place: Workspace) -> Audit:
    """Compare every file in a workspace with what records of runs say of it.

    Nothing is changed, no model is loaded, and links are not followed.

    Args:
        place: the workspace.

    Returns:
        A finding for every file, and what else was noticed.
    """
    root = place.root
    found, others = files_below(root)
    manifests: dict[str, dict[str, Any]] = {}
    findings: list[Finding] = []
    for stage, home in STAGES.items():
        if f"{home}/{MANIFEST}" in found:
            manifest, rows = of_stage(root, found, stage)
            findings += rows
            if manifest:
                manifests[stage] = manifest
    findings += [*of_payloads(root, found), *of_sealed_folders(root, found)]
    records, rows = of_runs(root, found)
    findings += rows
    others += [f for f in findings if f.path not in found]
    files = _one_each(f for f in findings if f.path in found)
    evidence: dict[str, str] = {}
    for path in sorted(found.keys() - files.keys()):
        files[path] = _unrecorded(path, found[path])
        if files[path].passed is False and (stage := _ran(path)):
            evidence.setdefault(stage, path)
    for path in files:
        if path.startswith("notebooks/") and (stage := _ran(path)):
            evidence.setdefault(stage, path)
    others += [f for f in chain.lost(manifests, records, evidence) if f.path not in found]
    others += [*chain.inputs(manifests), *chain.runs(manifests, records)]
    return Audit(dict(sorted(files.items())), others, list(manifests))


def _one_each(findings: Iterable[Finding]) -> dict[str, Finding]:
    """One finding for each file: where two records name it, the worse."""
    order = {None: 0, True: 1, False: 2}
    files: dict[str, Finding] = {}
    for finding in findings:
        earlier = files.setdefault(finding.path, finding)
        if order[finding.passed] > order[earlier.passed]:
            files[finding.path] = finding
    return files


def _unrecorded(path: str, oddity: str) -> Finding:
    """What to say of a file that no record names."""
    group = _group(path)
    if why := why_unchecked(path):
        return Finding(group, path, None, why)
    detail = "was added: no record names it"
    match = _EXECUTED.fullmatch(path)
    if match and match[1] in STAGES:
        record = path.removesuffix(".ipynb").removesuffix(".failed") + ".json"
        detail = f"was added, or {record} is missing or names another"
    return Finding(group, path, False, f"{oddity}; it {detail}" if oddity else detail)


def _ran(path: str) -> str:
    """The stage that has run if this file, which no manifest names, is there; or ""."""
    if match := _EXECUTED.fullmatch(path):
        return "" if match[2] or match[1] not in STAGES else match[1]
    group = _group(path)
    return group if group in STAGES else ""


def _group(path: str) -> str:
    if path.startswith(f"{STAGES['collect']}/payloads/"):
        return "payloads"
    homes = {home: stage for stage, home in STAGES.items()}
    stage = next((s for home, s in homes.items() if path.startswith(f"{home}/")), "")
    return stage or (path.split("/")[0] if "/" in path else "workspace")

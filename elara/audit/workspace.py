"""Account for every file in a workspace: it is as recorded, it is not, or nothing says.

A record can be deleted together with all that it names; a whole export, kept version or source of
payloads that is gone leaves nothing to notice it by. And whoever computes every hash anew, the
records' own seals too, is not noticed: for that, the adapter's fingerprint must come another way.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from elara.audit.records import Finding, Records, files_below, recorded, why_unchecked
from elara.workspace import MANIFEST, STAGES, Workspace
from elara.workspace.names import escaped

# An executed notebook: the stage, and whether it failed.
_EXECUTED = re.compile(r"notebooks/\d+-([^/.]+)(\.failed)?\.ipynb")
# Times are kept to the second, and a record is written a moment after what it tells of.
_SLACK = 2.0


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
        for group in dict.fromkeys([*STAGES, *(f.group for f in findings)]):
            own = [f for f in findings if f.group == group]
            for f in own:
                if f.passed is False:
                    yield f"{group}: FAILED: {escaped(f.path)} {f.detail}"
            if well := sum(f.passed is True for f in own):
                what = "links between results" if group == "chain" else "files as recorded"
                yield f"{group}: ok: {well} {what}"
            for why, same in groupby(sorted(f.detail for f in own if f.passed is None)):
                number = len(list(same))
                yield f"{group}: not checked: {number} {'file' if number == 1 else 'files'}: {why}"
        if any(path.endswith("/export.json") for path in self.files):
            yield "exports: not checked: their answers were not compared again, only their bytes"


def audit(place: Workspace) -> Audit:
    """Compare every file in a workspace with what records of runs say of it.

    Nothing is changed, no model is loaded, and links are not followed.

    Args:
        place: the workspace.

    Returns:
        A finding for every file, and what else was noticed.
    """
    found, others = files_below(place.root)
    manifests, runs, findings = recorded(place.root, found)
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
    others += [f for f in _lost(manifests, runs, evidence) if f.path not in found]
    others += _chain(manifests, runs)
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
    stage = next((s for s, home in STAGES.items() if path.startswith(f"{home}/")), "")
    return stage or (path.split("/")[0] if "/" in path else "workspace")


# A stage that is run again by hand makes the later ones stale, and so does a restored adapter:
# every byte is right, so that is told and does not fail. It fails where no such run explains it,
# because the earlier stage says that it ended before the later one began.


def _chain(manifests: Records, runs: Records) -> Iterator[Finding]:
    """Whether each stage read the results that are there now, and left what its run names."""
    for stage, manifest in manifests.items():
        path, record = f"{STAGES[stage]}/{MANIFEST}", runs.get(stage, {})
        for earlier, identity in manifest["inputs"].items():
            if earlier in manifests:  # a missing manifest is a finding of its own
                fits = f"read {earlier} as it is now"
                stale = f"{stage} read an earlier result of {earlier}"
                odd = (
                    f"{stage} read another result of {earlier}, though {earlier} was not run "
                    f"since: {STAGES[earlier]}/{MANIFEST} or this file was replaced"
                )
                now, then = manifests[earlier], manifest.get("started")
                yield _link(path, now, identity, then, (fits, stale, odd))
        if "identity" in record:
            odd = (
                "differs from what its run record names, though it was not written since: it or "
                "the record was replaced"
            )
            told = "as its run record names it", f"{stage} was run by hand since", odd
            yield _link(path, manifest, record["identity"], record.get("ended"), told)


def _link(
    path: str, now: Mapping[str, Any], identity: str, then: object, told: tuple[str, str, str]
) -> Finding:
    """Whether a result is the one that was named: it fits, is stale, or was replaced."""
    fits, stale, odd = told
    if identity == now["identity"]:
        return Finding("chain", path, True, fits)
    if _explained(now, _time(then)):
        return Finding("chain", path, None, f"{stale}: stale, see `elara status`")
    return Finding("chain", path, False, odd)


def _lost(manifests: Records, records: Records, evidence: dict[str, str]) -> Iterator[Finding]:
    """Stages that have run, by what others say, and have no manifest."""
    for stage, home in STAGES.items():
        if stage in manifests:
            continue
        whys = [f"{reader} read it" for reader, m in manifests.items() if stage in m["inputs"]]
        if "identity" in records.get(stage, {}):
            whys.append("a run record says that it finished")
        if stage in evidence:
            whys.append(f"{escaped(evidence[stage])} is there")
        if whys:
            detail = f"is missing, though {whys[0]}: `elara run --only {stage} --force`"
            yield Finding(stage, f"{home}/{MANIFEST}", False, detail)


def _explained(manifest: Mapping[str, Any], then: float | None) -> bool:
    """Whether a result may have been made after `then`, or was changed by a restored version."""
    started, seconds = _time(manifest.get("started")), manifest.get("seconds")
    if then is None or started is None or not isinstance(seconds, int | float):
        return True
    return "restored" in manifest or started + seconds + _SLACK >= then


def _time(text: object) -> float | None:
    try:
        return datetime.datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None

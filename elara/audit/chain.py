"""Check that stages fit together: each read what is there now, and none lost its manifest.

A stage that is run again by hand makes the later ones stale, and so does a restored adapter:
every byte is right, so that is told and does not fail. It fails where no such run explains it,
because the earlier stage says that it ended before the later one began.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from elara.audit.files import Finding
from elara.workspace import MANIFEST, STAGES
from elara.workspace.names import escaped

Records = Mapping[str, dict[str, Any]]
# Times are kept to the second, and a record is written a moment after what it tells of.
_SLACK = 2.0


def inputs(manifests: Records) -> Iterator[Finding]:
    """Whether each stage read the results that are there now.

    Args:
        manifests: of the finished stages that can be read.
    """
    for stage, manifest in manifests.items():
        for earlier, identity in manifest["inputs"].items():
            now = manifests.get(earlier)
            if now is None:  # a missing manifest is a finding of its own
                continue
            path = f"{STAGES[stage]}/{MANIFEST}"
            if identity == now["identity"]:
                yield Finding("chain", path, True, f"read {earlier} as it is now")
            elif _explained(now, _time(manifest.get("started"))):
                detail = f"{stage} read an earlier result of {earlier}: stale, see `elara status`"
                yield Finding("chain", path, None, detail)
            else:
                detail = (
                    f"{stage} read another result of {earlier}, though {earlier} was not run "
                    f"since: {STAGES[earlier]}/{MANIFEST} or this file was replaced"
                )
                yield Finding("chain", path, False, detail)


def runs(manifests: Records, records: Records) -> Iterator[Finding]:
    """Whether each stage's result is the one that its run record names.

    Args:
        manifests: of the finished stages that can be read.
        records: stage to the record of its last run.
    """
    for stage, record in records.items():
        if stage not in manifests or "identity" not in record:
            continue
        manifest, path = manifests[stage], f"{STAGES[stage]}/{MANIFEST}"
        if record["identity"] == manifest["identity"]:
            yield Finding("chain", path, True, "as its run record names it")
        elif _explained(manifest, _time(record.get("ended"))):
            detail = f"{stage} was run by hand since: stale, see `elara status`"
            yield Finding("chain", path, None, detail)
        else:
            detail = (
                "differs from what its run record names, though it was not written since: it or "
                "the record was replaced"
            )
            yield Finding("chain", path, False, detail)


def lost(manifests: Records, records: Records, evidence: Mapping[str, str]) -> Iterator[Finding]:
    """Stages that have run, by what others say, and have no manifest.

    Args:
        manifests: of the finished stages that can be read.
        records: stage to the record of its last run.
        evidence: stage to a file that only a finished stage leaves.
    """
    for stage, home in STAGES.items():
        if stage in manifests:
            continue
        readers = [s for s, m in manifests.items() if stage in m["inputs"]]
        whys = [f"{reader} read it" for reader in readers]
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

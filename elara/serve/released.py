"""Read what the release gate found about an adapter, and what users are told of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from elara.audit.verify import SUMS_FILE
from elara.serve.adapters import AdapterRefused
from elara.workspace import file_sha256
from elara.workspace.formats import seal_holds

BLOCKED, PASSED = "blocked", "no regression found"
NOT_ASKED = "not asked"


@dataclass(frozen=True)
class GateStatus:
    """What the gate found.

    Args:
        result: its word, or `not asked`.
        notice: what every answer says of it; "" where nothing was found.
        checks: names of the checks that block.
        record: the file that says so; None where there is none.
    """

    result: str = NOT_ASKED
    notice: str = ""
    checks: tuple[str, ...] = ()
    record: Path | None = None


def gate_status(adapter: Path, records: Sequence[Path] = ()) -> GateStatus:
    """What the gate's records say about an adapter.

    Args:
        adapter: the adapter's folder.
        records: files `gate.json`. The first one about this adapter counts.
    """
    sums = adapter / SUMS_FILE
    fingerprint = file_sha256(sums) if sums.is_file() else None
    whys: dict[str, None] = {}
    for record in records:
        told, why = _read(record)
        if told and told["bound_to"].get("adapter") == fingerprint:
            break
        whys[why or "the records known here are about other adapters"] = None
    else:
        why = "; ".join(whys) or "no record of it is known here"
        return GateStatus(notice=f"This adapter has not passed the release gate: {why}.")
    blocking = tuple(c["check"] for c in told["checks"] if c["result"] == BLOCKED)
    notices = {
        PASSED: "",
        BLOCKED: f"The release gate blocks this adapter ({', '.join(blocking)}).",
    }
    unclear = "The release gate could not tell whether this adapter is worse than its base model."
    return GateStatus(told["result"], notices.get(told["result"], unclear), blocking, record)


def admitted(adapter: Path, records: Sequence[Path], override: str) -> GateStatus:
    """Let an adapter be served unless the gate blocks it and nobody answers for it.

    Args:
        adapter: the adapter's folder.
        records: see `gate_status`.
        override: why it is to be served all the same; "" where nobody says so.

    Raises:
        AdapterRefused: the gate blocks it.
    """
    found = gate_status(adapter, records)
    if found.result != BLOCKED:
        return found
    if not override.strip():
        raise AdapterRefused(
            f"{found.notice} Its record is {found.record}. To use it all the same, say why with "
            f"`--override REASON`, to `elara serve` and to `elara ab`. The reason is recorded, and "
            f"every answer shows it."
        )
    notice = f"{found.notice} It is served all the same, for this reason: {override.strip()}"
    return replace(found, notice=notice)


def _read(record: Path) -> tuple[dict[str, Any] | None, str]:
    """The record, or why there is none that can be trusted."""
    if not record.is_file():
        return None, f"{record} is not there"
    try:
        told = json.loads(record.read_text(encoding="utf-8"))
        whole = seal_holds(told) and {"result", "checks", "bound_to"} <= told.keys()
    except (OSError, ValueError, AttributeError):
        whole = False
    return (told, "") if whole else (None, f"{record} is damaged; run `elara gate` again")

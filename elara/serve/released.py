"""Read what the release gate found about an adapter, and what users are told of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
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
    """

    result: str = NOT_ASKED
    notice: str = ""
    checks: tuple[str, ...] = ()


def gate_status(adapter: Path, record: Path | None) -> GateStatus:
    """What a gate's record says about an adapter.

    Args:
        adapter: the adapter's folder.
        record: `gate.json`; None where there is none.
    """
    told, why = _read(record)
    sums = adapter / SUMS_FILE
    fingerprint = file_sha256(sums) if sums.is_file() else ""
    if told and told["bound_to"].get("adapter") != (fingerprint or None):
        told, why = None, "its record is about another adapter"
    if told is None:
        return GateStatus(notice=f"This adapter has not passed the release gate: {why}.")
    blocking = tuple(c["check"] for c in told["checks"] if c["result"] == BLOCKED)
    notices = {
        PASSED: "",
        BLOCKED: f"The release gate blocks this adapter ({', '.join(blocking)}).",
    }
    unclear = "The release gate could not tell whether this adapter is worse than its base model."
    return GateStatus(told["result"], notices.get(told["result"], unclear), blocking)


def admitted(adapter: Path, record: Path | None, override: str) -> GateStatus:
    """Let an adapter be served unless the gate blocks it and nobody answers for it.

    Args:
        adapter: the adapter's folder.
        record: `gate.json`; None where there is none.
        override: why it is to be served all the same; "" where nobody says so.

    Raises:
        AdapterRefused: the gate blocks it.
    """
    found = gate_status(adapter, record)
    if found.result != BLOCKED:
        return found
    if not override.strip():
        raise AdapterRefused(
            f"{found.notice} Its record is {record}. To serve it all the same, say why: "
            f"`elara serve --override REASON`. The reason is recorded, and every answer shows it."
        )
    notice = f"{found.notice} It is served all the same, for this reason: {override.strip()}"
    return GateStatus(found.result, notice, found.checks)


def _read(record: Path | None) -> tuple[dict[str, Any] | None, str]:
    """The record, or why there is none that can be trusted."""
    if record is None or not record.is_file():
        return None, "no record of it is known here"
    try:
        told = json.loads(record.read_text(encoding="utf-8"))
        whole = seal_holds(told) and {"result", "checks", "bound_to"} <= told.keys()
    except (OSError, ValueError, AttributeError):
        whole = False
    return (told, "") if whole else (None, f"{record} is damaged; run `elara gate` again")

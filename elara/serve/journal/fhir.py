"""Export the audit log as FHIR AuditEvent, release R4B: a line of JSON for each request or act.

Source: https://hl7.org/fhir/R4B/auditevent.html
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from elara.serve.journal.chain import Row, reading, rows
from elara.serve.journal.entries import JournalError

Resource = dict[str, Any]

_TERMS = "http://terminology.hl7.org/CodeSystem"
# https://hl7.org/fhir/R4B/valueset-audit-event-outcome.html: 4 minor, 8 serious, 12 major failure
_OUTCOMES = {"answered": "0", "cancelled": "4", "refused": "4", "failed": "8", "interrupted": "12"}
_TOLD_ELSEWHERE = {"kind", "time", "request", "entry", "key", "outcome"}


def resources(found: Iterable[Row]) -> Iterator[Resource]:
    """AuditEvents, one for each request (when it ended) and one for each act of administration.

    Args:
        found: records in order.

    Yields:
        Resources as JSON has them. Requests without an end come last; their outcome is 12.

    Raises:
        JournalError: a record was not written by Elara.
    """
    under_way: dict[str, dict[str, Any]] = {}
    for row in found:
        try:
            values = json.loads(row.body)
            match values["kind"]:
                case "accepted":
                    must_have = {name: values[name] for name in ("time", "key", "request")}
                    under_way[values["entry"]] = values | must_have
                case "ended":
                    yield _request(under_way.pop(values["entry"]), values)
                case "event":
                    yield _act(values)
                case kind:
                    raise ValueError(f"its kind is {kind!r}")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise JournalError(
                f"Record {row.sequence} was not written by Elara ({error!r}), or its first half is "
                "missing: nothing was exported. `elara verify --audit` says what is damaged."
            ) from None
    for accepted in under_way.values():
        yield _request(accepted, {})


def export(path: Path, to: Path) -> int:
    """Write the log as lines of JSON.

    Args:
        path: the database.
        to: the file to write; one that is there is replaced.

    Returns:
        How many resources were written.

    Raises:
        JournalError: the log cannot be read, or the file cannot be written.
    """
    draft, count = to.with_name(f".{to.name}.{os.getpid()}"), 0
    try:
        with reading(path) as connection, draft.open("w", encoding="utf-8") as file:
            for resource in resources(rows(connection)):
                file.write(json.dumps(resource) + "\n")
                count += 1
        draft.replace(to)
    except (OSError, sqlite3.Error) as error:
        raise JournalError(f"{path} cannot be exported to {to} ({error}).") from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
    return count


def _request(accepted: Mapping[str, Any], ended: Mapping[str, Any]) -> Resource:
    outcome = ended.get("outcome", "interrupted")
    start, end = accepted["time"], ended.get("time")
    return _resource(
        accepted,
        {
            "type": _coding(f"{_TERMS}/audit-event-type", "rest", "RESTful Operation"),
            "subtype": [
                _coding("http://hl7.org/fhir/restful-interaction", "operation", "operation")
            ],
            "period": {"start": start} | ({"end": end} if end else {}),
            "outcome": _OUTCOMES[outcome],
            "outcomeDesc": outcome,
        },
        by=accepted["key"],
        what=f"request {accepted['request']}",
        details={k: v for k, v in {**accepted, **ended}.items() if k not in _TOLD_ELSEWHERE},
    )


def _act(event: Mapping[str, Any]) -> Resource:
    what = event["what"]
    application = _coding(
        "http://dicom.nema.org/resources/ontology/DCM", "110100", "Application Activity"
    )
    fixed = {"type": application, "outcome": _OUTCOMES["answered"], "outcomeDesc": what}
    return _resource(event, fixed, by=event["by"], what=what, details=event["details"])


def _resource(
    record: Mapping[str, Any], fixed: Resource, *, by: str, what: str, details: Mapping[str, Any]
) -> Resource:
    told = [{"type": k, "valueString": str(v)} for k, v in sorted(details.items()) if v != ""]
    entity: Resource = {"name": what} | ({"detail": told} if told else {})
    who = {"identifier": {"value": by}} if by else {"display": "nobody is named: no key is needed"}
    return {
        "resourceType": "AuditEvent",
        **fixed,
        "action": "E",
        "recorded": record["time"],
        "agent": [{"who": who, "requestor": True}],
        "source": {
            "observer": {"display": "Elara"},
            "type": [_coding(f"{_TERMS}/security-source-type", "4", "Application Server")],
        },
        "entity": [entity],
    }


def _coding(system: str, code: str, display: str) -> dict[str, str]:
    return {"system": system, "code": code, "display": display}

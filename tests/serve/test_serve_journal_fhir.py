"""The audit log leaves as FHIR AuditEvents that a validator accepts."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from elara.serve.journal import Accepted, Event, Journal, JournalError, append
from elara.serve.journal.fhir import export

OUTCOMES = {"answered": "0", "cancelled": "4", "refused": "4", "failed": "8"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log with each outcome, a request that a crash interrupted, and two acts."""
    path = tmp_path / "audit.db"

    async def serve(journal: Journal) -> None:
        await journal.write(Accepted(request="lost", key="", adapter="", template="1"))
        for outcome in OUTCOMES:
            record = Accepted(
                request=outcome, key="k1", adapter="a" * 64, template="1", arm="B", text="[NAME] ?"
            )
            await journal.write(record)
            await journal.write(
                record.ended(outcome, tokens_in=5, tokens_out=7, milliseconds=12)  # type: ignore[arg-type]
            )

    with Journal(path) as journal:
        asyncio.run(serve(journal))
    append(path, Event(what="override", by="k9", details={"reason": "drill", "note": ""}))
    append(path, Event(what="ab-rollback", by="root"))
    return path


def exported(path: Path) -> list[dict[str, Any]]:
    to = path.parent / "audit.jsonl"
    number = export(path, to)
    found = [json.loads(line) for line in to.read_text().splitlines()]
    assert len(found) == number
    return found


def test_every_resource_is_valid(path: Path) -> None:
    pytest.importorskip("fhir.resources", reason="pip install fhir.resources")
    from fhir.resources.R4B.auditevent import AuditEvent
    from pydantic import ValidationError

    for resource in exported(path):
        AuditEvent.model_validate(resource)
        for name in ("type", "recorded", "agent", "source"):  # the validator does refuse
            with pytest.raises(ValidationError):
                AuditEvent.model_validate({k: v for k, v in resource.items() if k != name})


def test_a_request_is_one_resource_with_its_outcome(path: Path) -> None:
    found = exported(path)
    requests = {r["entity"][0]["name"]: r for r in found if r["type"]["code"] == "rest"}
    assert {name: r["outcome"] for name, r in requests.items()} == {
        **{f"request {name}": code for name, code in OUTCOMES.items()},
        "request lost": "12",
    }
    answered = requests["request answered"]
    assert answered["outcomeDesc"] == "answered"
    assert answered["agent"] == [{"who": {"identifier": {"value": "k1"}}, "requestor": True}]
    assert answered["period"]["start"] == answered["recorded"] <= answered["period"]["end"]
    details = {d["type"]: d["valueString"] for d in answered["entity"][0]["detail"]}
    assert details == {
        "adapter": "a" * 64,
        "arm": "B",
        "milliseconds": "12",
        "template": "1",
        "text": "[NAME] ?",
        "tokens_in": "5",
        "tokens_out": "7",
    }
    assert "end" not in requests["request lost"]["period"]
    assert requests["request lost"]["outcomeDesc"] == "interrupted"


def test_an_act_is_one_resource_with_its_details(path: Path) -> None:
    override, rollback = (r for r in exported(path) if r["type"]["code"] == "110100")
    assert override["agent"][0]["who"] == {"identifier": {"value": "k9"}}
    assert override["entity"] == [
        {"name": "override", "detail": [{"type": "reason", "valueString": "drill"}]}
    ]
    assert rollback["entity"] == [{"name": "ab-rollback"}]


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "no JSON",
        '{"kind": "other"}',
        '{"kind": "ended", "entry": "none"}',
        "[]",
        '{"kind": "accepted"}',
    ],
)
def test_a_record_of_another_kind_is_named_and_no_file_is_left(path: Path, body: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE record SET body = ? WHERE sequence = 4", (body,))
    with pytest.raises(JournalError, match="Record 4 was not written by Elara"):
        export(path, path.parent / "audit.jsonl")
    assert [p.name for p in path.parent.iterdir() if "jsonl" in p.name] == []
    with pytest.raises(JournalError, match="cannot be exported to"):
        export(path, path / "below")

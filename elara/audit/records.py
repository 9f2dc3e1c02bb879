"""Read what manifests, journals of payloads, exports, kept versions and runs say of files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from elara.audit.files import Finding, compare, read_record
from elara.workspace import MANIFEST, STAGES, content_digest, identity_of, manifest_text
from elara.workspace.formats import json_text

Found = Mapping[str, str]
_PAYLOADS = f"{STAGES['collect']}/payloads"
_EXPORT = re.compile(rf"((?:{STAGES['train']}/)?exports/[^/.][^/]*)/.+", re.DOTALL)
_VERSION = re.compile(rf"({STAGES['train']}/versions/v\d{{4,}}-[0-9a-f]{{8}})/.+", re.DOTALL)
_RUN = re.compile(r"notebooks/(\d+-([^/.]+))\.json")


def of_stage(root: Path, found: Found, stage: str) -> tuple[dict[str, Any], list[Finding]]:
    """A finished stage's manifest, and each of its files against it.

    Args:
        root: the workspace.
        found: what lies in it.
        stage: its name.

    Returns:
        The manifest, {} where it cannot be used, and the findings, the manifest's first.
    """
    home = STAGES[stage]
    manifest, own = read_record(root, found, stage, f"{home}/{MANIFEST}", manifest_text)
    if own.passed is None:
        own = Finding(stage, own.path, False, "was changed: it has no seal")
    try:
        files = {str(name): str(entry["sha256"]) for name, entry in manifest["files"].items()}
        inputs = all(isinstance(value, str) for value in manifest["inputs"].values())
        if not inputs or (own.passed and manifest["identity"] != identity_of(manifest)):
            own = Finding(stage, own.path, False, "was changed: its identity does not fit")
    except (KeyError, TypeError, AttributeError):
        why = own.detail if own.passed is False else "was changed: it is not a manifest"
        return {}, [Finding(stage, own.path, False, why)]
    rows = [compare(root, found, stage, f"{home}/{n}", digest) for n, digest in files.items()]
    return manifest, [own, *rows]


def of_payloads(root: Path, found: Found) -> Iterator[Finding]:
    """Answers of live sources against their journals, and each journal against the finished table.

    Args:
        root: the workspace.
        found: what lies in it.
    """
    table = _payload_table(root, found)
    kept = [p for p in found if re.fullmatch(rf"{_PAYLOADS}/[^/]+/journal\.jsonl", p)]
    sources = {p.split("/")[2] for p in kept} | {row["source"] for row in table or []}
    for source in sorted(sources):
        path = f"{_PAYLOADS}/{source}/journal.jsonl"
        finished = None if table is None else [r for r in table if r["source"] == source]
        lines, own = _journal(root, found, path, finished)
        yield own
        for line in lines:
            yield compare(root, found, "payloads", f"{_PAYLOADS}/{line['file']}", line["sha256"])


def _payload_table(root: Path, found: Found) -> list[dict[str, Any]] | None:
    path = f"{STAGES['collect']}/payloads.parquet"
    if found.get(path, "missing"):
        return None
    try:
        return pl.read_parquet(root / path).to_dicts()
    except (OSError, pl.exceptions.PolarsError):  # the stage's own findings say that it is damaged
        return None


def _journal(
    root: Path, found: Found, path: str, finished: list[dict[str, Any]] | None
) -> tuple[list[dict[str, Any]], Finding]:
    def finding(passed: bool | None, detail: str) -> Finding:
        return Finding("payloads", path, passed, detail)

    if found.get(path, "is missing"):
        return finished or [], finding(False, found.get(path, "is missing"))
    try:
        text = (root / path).read_bytes()
        whole = text[: text.rfind(b"\n") + 1]  # a kill may cut the last line short
        lines = [json.loads(line) for line in whole.splitlines()]
        for line in lines:
            _ = line["file"], line["sha256"]  # both are there, or it is no journal
    except OSError as error:
        return finished or [], finding(False, f"cannot be read ({error.strerror})")
    except (ValueError, RecursionError, TypeError, KeyError):
        return finished or [], finding(False, "was changed: a line in it is no payload")
    if finished is None:
        return lines, finding(None, "no table of payloads that it could be compared with")
    if any(row not in lines for row in finished):
        return lines, finding(False, "was changed: payloads.parquet lists what it does not")
    if len(lines) > len(finished) or text != whole:
        return lines, finding(None, "more was fetched since collect finished")
    return lines, finding(True, "as payloads.parquet lists")


def of_sealed_folders(root: Path, found: Found) -> Iterator[Finding]:
    """Every export against its `export.json`, and every kept version against its `version.json`.

    Args:
        root: the workspace.
        found: what lies in it.
    """
    for form, record in ((_EXPORT, "export.json"), (_VERSION, "version.json")):
        for folder in sorted({match[1] for path in found if (match := form.fullmatch(path))}):
            yield from _sealed_folder(root, found, folder, record)


def _sealed_folder(root: Path, found: Found, folder: str, name: str) -> Iterator[Finding]:
    group = "/".join(folder.split("/")[-2:])
    record, own = read_record(root, found, group, f"{folder}/{name}", json_text)
    files = record.get("files")
    if own.passed is not False and not isinstance(files, dict):
        own = Finding(group, own.path, False, "was changed: it lists no files")
    elif own.passed is not False and name == "version.json":
        # A version carries the start of its content's hash in its name.
        content = content_digest(files or {})
        if record.get("sha256") != content or not folder.endswith(content[:8]):
            own = Finding(group, own.path, False, "was changed: it belongs to another version")
    yield own
    for file, digest in files.items() if isinstance(files, dict) else ():
        yield compare(root, found, group, f"{folder}/{file}", str(digest))


def of_runs(root: Path, found: Found) -> tuple[dict[str, dict[str, Any]], list[Finding]]:
    """Records of runs, and the executed notebooks that they name.

    Args:
        root: the workspace.
        found: what lies in it.

    Returns:
        Stage to the record of its last run, and the findings.
    """
    records: dict[str, dict[str, Any]] = {}
    findings: list[Finding] = []
    for path in sorted(found):
        if not (match := _RUN.fullmatch(path)) or match[2] not in STAGES:
            continue
        record, own = read_record(root, found, "notebooks", path, manifest_text)
        records[match[2]] = record
        findings.append(own)
        kept, failed = f"notebooks/{match[1]}.ipynb", f"notebooks/{match[1]}.failed.ipynb"
        copy, other = (failed, kept) if "error" in record else (kept, failed)
        if digest := record.get("executed"):
            findings.append(compare(root, found, "notebooks", copy, str(digest)))
        elif copy in found:
            detail = "its run record names no hash (an earlier Elara wrote none)"
            findings.append(Finding("notebooks", copy, None, detail))
        elif record and copy == kept:
            findings.append(Finding("notebooks", copy, False, "is missing"))
        if other == kept and kept in found:
            detail = "left by a run before the last one, which failed"
            findings.append(Finding("notebooks", kept, None, detail))
    return records, findings

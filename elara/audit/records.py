"""Compare the files of a workspace with what manifests, journals, exports and runs say of them.

A file that cannot be read or has a strange name becomes a finding and stops nothing. Some files
grow, or come and go, while Elara works: no record can say what they should be, and each has its
reason here.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from elara.workspace import (
    MANIFEST,
    STAGES,
    content_digest,
    file_sha256,
    identity_of,
    manifest_text,
    seal_holds,
)
from elara.workspace.formats import json_text
from elara.workspace.names import escaped

_UNCHECKED = {
    r"evaluation/history/[^/]+\.jsonl?": "a record of an evaluation, which has a seal of its own",
    r"logs/[^/]+\.log": "a log: it grows while a run goes on, and no result is read from it",
    r"(logs/[^/]+\.(lock|owner)|(.+/)?(versions/\.lock|exports/\.export/lock)(\.owner)?"
    r"|raw/payloads/(\.until|\.harvest\.(lock|owner)))": "a lock, or who held it",
    # the last of these is what `write_atomically` was killed in
    r"(raw/payloads/[^/]+/[^/]+\.part|(.+/)?(\.partial|versions/\.keeping|exports/\.export/drafts)"
    r"/.+|notebooks/\.[^/]+\.ipynb|(.+/)?\.[^/]+\.\d+)": (
        "a draft of a run that is going on or was interrupted: no result until it is finished"
    ),
    r"\.retrieval\.partial(\.old)?/.+": "a draft of the index: no result until it is finished",
    r"lora_adapters/\.(checkpoints|sweep|job)/.+": (
        "checkpoints and trials of training: what came of them is in the adapter"
    ),
    r"evaluation/gate\.json": "the release gate's result: it has a seal of its own",
    r"lora_adapters/curves/.+": ("a tracker's curves: the losses themselves are in losses.parquet"),
    r"lora_adapters/(\.(restoring|replaced)/.+|\.restoring\.json)": (
        "an adapter half restored: the next use of the versions finishes it"
    ),
    r"notebooks/\.ipynb_checkpoints/.+": "a copy that JupyterLab keeps",
    r"(.+/)?WITHDRAWN\.(json|html)": (
        "a mark of withdrawal, which says why and belongs to no seal: see `elara retract`"
    ),
    r"retractions\.csv": "the list of retracted articles: inspect reads it, and you may edit it",
    r"serving/.+": "what a server keeps of experiments and feedback, which changes while it runs",
    r"plan\.yaml": "the plan of an experiment, to be filled in",
    r"loop/.+": "what `elara loop` made: it is a workspace of its own, to be verified with -w",
    r"embeddings/.+\.parquet": "kept embeddings: those that are missing are computed again",
    r"lab/.+": "a working copy of a notebook, to be changed in JupyterLab",
    r"parameters\.json": ("what the next run will use: what each stage did use is in its manifest"),
}
_PAYLOADS = f"{STAGES['collect']}/payloads"
_EXPORT = re.compile(rf"((?:{STAGES['train']}/)?exports/[^/.][^/]*)/.+", re.DOTALL)
_VERSION = re.compile(rf"({STAGES['train']}/versions/v\d{{4,}}-[0-9a-f]{{8}})/.+", re.DOTALL)
_RUN = re.compile(r"notebooks/(\d+-([^/.]+))\.json")

Records = dict[str, dict[str, Any]]


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


def why_unchecked(path: str) -> str:
    """Why nothing says what a file should be; "" where something should.

    Args:
        path: the file, below the workspace.
    """
    matching = (why for form, why in _UNCHECKED.items() if re.fullmatch(form, path, re.DOTALL))
    return next(matching, "")


def recorded(root: Path, found: Mapping[str, str]) -> tuple[Records, Records, list[Finding]]:
    """Read every record in a workspace, and compare the files that they name.

    Args:
        root: the workspace.
        found: what lies in it, from `files_below`.

    Returns:
        Stage to its manifest, where that can be used; stage to the record of its last run; and
        the findings: a file may have several.
    """
    look = _Records(root, found)
    manifests, runs = look.manifests(), look.runs()
    others = (*look.payloads(), *look.sealed_folders(), *look.index())
    return manifests, runs, [*look.findings, *others]


class _Records:
    """The records of one workspace, read one after the other."""

    def __init__(self, root: Path, found: Mapping[str, str]) -> None:
        self.root, self.found = root, found
        self.findings: list[Finding] = []

    def compare(self, group: str, path: str, sha256: str) -> Finding:
        """Compare one file with the hash that a record has for it."""
        if why := self.found.get(path, "is missing"):
            return Finding(group, path, False, why)
        try:
            same = file_sha256(self.root / path) == sha256
        except OSError as error:
            return Finding(group, path, False, f"cannot be read ({error.strerror})")
        return Finding(group, path, same, "as recorded" if same else "was changed")

    def read(
        self, group: str, path: str, render: Callable[[Any], str]
    ) -> tuple[dict[str, Any], Finding]:
        """A record that carries its own hash ({} where it cannot be read), and whether it stands.

        It is compared byte for byte with how `render` writes it.
        """

        def finding(passed: bool, detail: str) -> Finding:
            return Finding(group, path, passed, detail)

        if why := self.found.get(path, "is missing"):
            return {}, finding(False, why)
        try:
            data = (self.root / path).read_bytes()
            content = json.loads(data)
            if not isinstance(content, dict):
                return {}, finding(False, "was changed: it is no record")
            whole = data == render(content).encode() and seal_holds(content)
        except OSError as error:
            return {}, finding(False, f"cannot be read ({error.strerror})")
        except (ValueError, RecursionError) as error:
            return {}, finding(False, f"was changed: it is not valid JSON ({error})")
        return content, finding(whole, "as sealed" if whole else "was changed")

    def manifests(self) -> Records:
        """The manifests of finished stages, each with its files compared."""
        usable = {}
        for stage, home in STAGES.items():
            if f"{home}/{MANIFEST}" in self.found and (manifest := self._manifest(stage, home)):
                usable[stage] = manifest
        return usable

    def _manifest(self, stage: str, home: str) -> dict[str, Any]:
        manifest, own = self.read(stage, f"{home}/{MANIFEST}", manifest_text)
        try:
            files = {str(name): str(entry["sha256"]) for name, entry in manifest["files"].items()}
            inputs = all(isinstance(value, str) for value in manifest["inputs"].values())
            if not inputs or (own.passed and manifest["identity"] != identity_of(manifest)):
                own = Finding(stage, own.path, False, "was changed: its identity does not fit")
        except (KeyError, TypeError, AttributeError):
            why = own.detail if own.passed is False else "was changed: it is not a manifest"
            self.findings.append(Finding(stage, own.path, False, why))
            return {}
        self.findings.append(own)
        self.findings += [self.compare(stage, f"{home}/{n}", h) for n, h in files.items()]
        return manifest

    def payloads(self) -> Iterator[Finding]:
        """Answers of live sources against their journals, and journals against the table."""
        table = self._payload_table()
        journals = [p for p in self.found if re.fullmatch(rf"{_PAYLOADS}/[^/]+/journal\.jsonl", p)]
        sources = {p.split("/")[2] for p in journals} | {row["source"] for row in table or []}
        for source in sorted(sources):
            path = f"{_PAYLOADS}/{source}/journal.jsonl"
            finished = None if table is None else [r for r in table if r["source"] == source]
            lines, passed, detail = self._journal(path, finished)
            yield Finding("payloads", path, passed, detail)
            for line in lines:
                yield self.compare("payloads", f"{_PAYLOADS}/{line['file']}", line["sha256"])

    def _payload_table(self) -> list[dict[str, Any]] | None:
        path = f"{STAGES['collect']}/payloads.parquet"
        if self.found.get(path, "missing"):
            return None
        try:
            return pl.read_parquet(self.root / path).to_dicts()
        except (OSError, pl.exceptions.PolarsError):  # the stage's own findings name the damage
            return None

    def _journal(
        self, path: str, finished: list[dict[str, Any]] | None
    ) -> tuple[list[dict[str, Any]], bool | None, str]:
        """The lines of a journal, whether it stands, and what was found."""
        if why := self.found.get(path, "is missing"):
            return finished or [], False, why
        try:
            text = (self.root / path).read_bytes()
            whole = text[: text.rfind(b"\n") + 1]  # a kill may cut the last line short
            lines = [json.loads(line) for line in whole.splitlines()]
            for line in lines:
                _ = line["file"], line["sha256"]  # both are there, or it is no journal
        except OSError as error:
            return finished or [], False, f"cannot be read ({error.strerror})"
        except (ValueError, RecursionError, TypeError, KeyError):
            return finished or [], False, "was changed: a line in it is no payload"
        if finished is None:
            return lines, None, "no table of payloads that it could be compared with"
        if any(row not in lines for row in finished):
            return lines, False, "was changed: payloads.parquet lists what it does not"
        if len(lines) > len(finished) or text != whole:
            return lines, None, "more was fetched since collect finished"
        return lines, True, "as payloads.parquet lists"

    def sealed_folders(self) -> Iterator[Finding]:
        """Every export against its `export.json`, and every version against `version.json`."""
        for form, name in ((_EXPORT, "export.json"), (_VERSION, "version.json")):
            for folder in sorted(
                {match[1] for path in self.found if (match := form.fullmatch(path))}
            ):
                yield from self._sealed_folder(folder, name)

    def _sealed_folder(self, folder: str, name: str) -> Iterator[Finding]:
        group = "/".join(folder.split("/")[-2:])
        record, own = self.read(group, f"{folder}/{name}", json_text)
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
            yield self.compare(group, f"{folder}/{file}", str(digest))

    def index(self) -> Iterator[Finding]:
        """The index of passages against its manifest."""
        path = f"retrieval/{MANIFEST}"
        if path in self.found:
            manifest, own = self.read("retrieval", path, manifest_text)
            yield own
            files = manifest.get("files") if own.passed else None
            for name, entry in (files or {}).items():
                yield self.compare("retrieval", f"retrieval/{name}", str(entry["sha256"]))

    def runs(self) -> Records:
        """The records of runs, with the executed notebooks that they name compared."""
        records: Records = {}
        for path in sorted(self.found):
            if not (match := _RUN.fullmatch(path)) or match[2] not in STAGES:
                continue
            record, own = self.read("notebooks", path, manifest_text)
            records[match[2]] = record
            self.findings.append(own)
            self.findings += self._executed(f"notebooks/{match[1]}", record)
        return records

    def _executed(self, name: str, record: dict[str, Any]) -> Iterator[Finding]:
        kept, failed = f"{name}.ipynb", f"{name}.failed.ipynb"
        copy = failed if "error" in record else kept
        if digest := record.get("executed"):
            yield self.compare("notebooks", copy, str(digest))
        elif record and copy == kept and kept not in self.found:
            yield Finding("notebooks", copy, False, "is missing")
        if copy == failed and kept in self.found:
            detail = "left by a run before the last one, which failed"
            yield Finding("notebooks", kept, None, detail)

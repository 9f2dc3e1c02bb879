"""Keep a record of every evaluation, so that versions of an adapter can be compared later.

A record stands in `evaluation/history/`, in a file that is never written again. It holds all that a
comparison needs: what was judged, on what, and every number of the result.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

import elara
from elara.audit.certificate import described
from elara.evaluate.asking import template_hash
from elara.evaluate.scores import EvaluationError
from elara.evaluate.verdict import Judgement
from elara.model import LanguageModel
from elara.workspace import Stage, Workspace, content_digest, file_sha256, sealed, writing_to
from elara.workspace.formats import json_text, seal_holds

HISTORY = "history"
SCHEMA = 1  # of a record; a later one is not read by this version
_SUMS = "SHA256SUMS"  # of a sealed adapter folder: its hash is the adapter's fingerprint
_FEWEST = 4  # characters by which a fingerprint may be named
_NEEDED = ("made", "adapter", "base", "template", "sets", "parameters", "verdict", "comparisons")
_TYPES = {"made": str, "adapter": str, "base": str, "template": str}


def make_record(
    judgement: Judgement,
    *,
    adapter: str,
    base: str,
    template: str,
    sets: Mapping[str, Mapping[str, Any]],
    parameters: Mapping[str, Any],
    **parts: pl.DataFrame | Mapping[str, Any],
) -> dict[str, Any]:
    """Put an evaluation into one record.

    Args:
        judgement: result of `judge`.
        adapter: the adapter's fingerprint, SHA-256 in hexadecimal.
        base: name of its base model, with a hash of its weights where that is known.
        template: hash of the chat template.
        sets: each evaluation set to its number of `items` and its `sha256`.
        parameters: of the stage.
        parts: what else was found, as a table or as plain values: `specialties` (the map of
            coverage), `languages`, `letters`, `mention`, `arms`, `safety`, `calibration`.

    Returns:
        The record, with the hash of its content and a seal.
    """
    found: dict[str, Any] = {"schema": SCHEMA, "adapter": adapter, "base": base}
    found |= {"template": template, "sets": {n: dict(known) for n, known in sets.items()}}
    found |= {"parameters": dict(parameters), "verdict": dataclasses.asdict(judgement.verdict)}
    found |= {"comparisons": judgement.comparisons.to_dicts()}
    for name, part in sorted(parts.items()):
        found[name] = part.to_dicts() if isinstance(part, pl.DataFrame) else dict(part)
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    told = {"content": content_digest(found), "made": made, "elara": elara.__version__}
    return sealed(json.loads(json_text(found | told)))


def record_evaluation(
    stage: Stage,
    lm: LanguageModel,
    judgement: Judgement,
    passport: Mapping[str, Any],
    sets: Mapping[str, pl.DataFrame | Sequence[str]],
    **parts: pl.DataFrame | Mapping[str, Any],
) -> Path:
    """Leave the record of a finished evaluation in the stage's history.

    Args:
        stage: the stage, with its results written.
        lm: the model that was judged.
        judgement: what was found; its verdict is the confirmed one.
        passport: the completed passport, from `elara.audit.with_verdict`.
        sets: name of each set to its `Example` rows, or to what names its items and their content.
        parts: see `make_record`.

    Returns:
        The record's file, see `leave_record`.

    Raises:
        WorkspaceError: the folder cannot be written.
    """
    record = make_record(
        judgement,
        adapter=passport["completes"]["fingerprint"],
        base=passport["base_model"],
        template=template_hash(lm, ""),
        sets={name: _described(given) for name, given in sets.items()},
        parameters=stage.parameters,
        **parts,
    )
    return leave_record(stage.home, record)


def _described(given: pl.DataFrame | Sequence[str]) -> dict[str, Any]:
    if isinstance(given, pl.DataFrame):
        return described(given)
    return {"items": len(given), "sha256": content_digest({"items": sorted(given)})}


def leave_record(evaluation: Path, record: Mapping[str, Any]) -> Path:
    """Write a record to the history, unless the same evaluation has left it already.

    Args:
        evaluation: the folder of the evaluation.
        record: from `make_record`.

    Returns:
        The file that holds it: a new one, or the one of an evaluation with the same result.

    Raises:
        WorkspaceError: the folder cannot be written.
    """
    known, _ = read_history(evaluation)
    for path, earlier in known:
        if earlier["content"] == record["content"]:
            return path
    folder = evaluation / HISTORY
    stem = f"{record['made'].replace(':', '')}-{record['adapter'][:8]}"
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            path = folder / f"{stem}{f'-{number}' if number > 1 else ''}.json"
            try:
                with path.open("x", encoding="utf-8") as file:  # never over another one
                    file.write(json_text(dict(record)))
            except FileExistsError:
                number += 1
            else:
                return path


def read_history(evaluation: Path) -> tuple[list[tuple[Path, dict[str, Any]]], list[str]]:
    """Read all records of a folder.

    Args:
        evaluation: the folder of the evaluation.

    Returns:
        Each file with its record, the oldest first; and for each that cannot be used, which it is
        and why.
    """
    found, damaged = [], []
    for path in sorted((evaluation / HISTORY).glob("*.json")):
        try:
            found.append((path, read_record(path)))
        except EvaluationError as error:
            damaged.append(str(error))
    return sorted(found, key=lambda pair: (pair[1]["made"], pair[0].name)), damaged


def read_record(path: Path) -> dict[str, Any]:
    """Read one record.

    Args:
        path: its file.

    Raises:
        EvaluationError: it cannot be read, is not as it was written, or is of a later version.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path} cannot be read ({error}): evaluate again.") from error
    if not isinstance(record, dict) or "schema" not in record:
        raise EvaluationError(f"{path} is not a record of an evaluation: name one of {HISTORY}/.")
    if record["schema"] != SCHEMA:
        raise EvaluationError(
            f"{path} has version {record['schema']} of records, and this Elara reads {SCHEMA}: "
            "evaluate again, or use the version that wrote it."
        )
    wrong_type = any(not isinstance(record.get(n), kind) for n, kind in _TYPES.items())
    if not seal_holds(record) or wrong_type or any(name not in record for name in _NEEDED):
        raise EvaluationError(f"{path} is not as it was written: evaluate again.")
    return record


def chosen_records(
    workspace: Workspace, names: Sequence[str]
) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """Find the records that somebody names.

    Args:
        workspace: where names are looked up.
        names: each a record's file or its name without `.json`, the folder of an evaluation, an
            adapter's folder, or the beginning of a fingerprint; of several records that fit, the
            newest. None: all of the workspace.

    Returns:
        Each with the name to show, in the order of the names; and what is damaged.

    Raises:
        EvaluationError: nothing fits a name, two adapters do, or a named record is damaged.
    """
    home = workspace.folder("evaluate")
    known, damaged = read_history(home)
    if not names:
        return [(path.stem, record) for path, record in known], damaged
    found = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_file():
            found.append((path.stem, read_record(path)))
            continue
        among = known
        if (path / HISTORY).is_dir():
            among, more = read_history(path)
            damaged += [line for line in more if line not in damaged]
        found.append(_newest(name, path, among, home))
    return found, damaged


def _newest(
    name: str, path: Path, known: Sequence[tuple[Path, dict[str, Any]]], home: Path
) -> tuple[str, dict[str, Any]]:
    sums = path / _SUMS
    wanted = file_sha256(sums) if sums.is_file() else name.lower()
    if (path / HISTORY).is_dir():
        fitting = list(known)
    else:
        fitting = [(p, r) for p, r in known if p.stem == name or _fits(r["adapter"], wanted)]
    adapters = {record["adapter"] for _, record in fitting}
    if len(adapters) > 1 and not path.is_dir():
        raise EvaluationError(
            f"{name} fits {len(adapters)} adapters: write more of the fingerprint. There are "
            f"{', '.join(sorted(a[:12] for a in adapters))}."
        )
    if not fitting:
        there = ", ".join(p.stem for p, _ in known) or "none"
        raise EvaluationError(
            f"No record of an evaluation fits {name}. In {home / HISTORY} there are: {there}. "
            "Notebook 6 leaves one each time that it runs."
        )
    newest, record = fitting[-1]
    return newest.stem, record


def _fits(fingerprint: str, wanted: str) -> bool:
    return len(wanted) >= _FEWEST and fingerprint.startswith(wanted)

"""Read a folder of public evaluation sets, and of lists of PubMed ids, into one shape.

Whoever publishes a set chooses the names of its fields; `FIELDS` lists those of the medical parts
of MMLU, MedQA, MedMCQA, PubMedQA, AfriMed-QA, FrenchMedMCQA and HealthBench, and of this project's
own sets. The sets themselves are not part of Elara: their licences differ, and some forbid it.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from elara.audit.certificate import AuditError

# Our name of a field to the names that sets give it; the first that holds something counts.
FIELDS = {
    "id": ("id", "sample_id", "prompt_id", "qid", "question_id", "pmid", "pubid"),
    "question": ("question", "QUESTION", "prompt", "scenario", "stem"),
    "options": ("options", "answer_options", "choices", "answers", "opa opb opc opd ope"),
    "answer": ("answer", "correct_answer", "LONG_ANSWER", "long_answer", "gold"),
    "rationale": ("rationale", "answer_rationale", "exp", "explanation", "ideal_completions_data"),
    "context": ("CONTEXTS", "contexts", "context"),
    "pmid": ("pmid", "pubid", "PMID"),
}
_SCHEMA: Any = {"id": pl.String, "question": pl.String, "options": pl.List(pl.String)}
_SCHEMA |= dict.fromkeys(("answer", "rationale", "pmid"), pl.String)
_KINDS = (".csv", ".json", ".jsonl", ".parquet", ".txt", ".yaml", ".yml")
_PMID = re.compile(r"(?:PMID:?\s*)?(\d{1,9})", re.IGNORECASE)


def read_evaluation_sets(folder: Path) -> dict[str, pl.DataFrame]:
    """Read every set in a folder and the folders in it.

    Args:
        folder: files in JSON, JSON Lines, YAML, Parquet or CSV (with a header, or without as those
            of MMLU), also with `.gz`; and `.txt` files with a PubMed id or a question a line.

    Returns:
        The path of each file within the folder, without its endings, to its items: columns id,
        question, options, answer, rationale (with the context that a set gives) and pmid.

    Raises:
        AuditError: there is no such folder, nothing in it, or a file that cannot be read.
    """
    if not folder.is_dir():
        raise AuditError(f"There is no folder {folder}: `evaluation_sets` names one, or is empty.")
    sets: dict[str, pl.DataFrame] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name[0] != "."):
        if path.name.lower().startswith(("readme", "licen", "copying")) or path.suffix == ".md":
            continue
        kind = path.suffix.lower() if path.suffix != ".gz" else Path(path.stem).suffix.lower()
        name = str(path.relative_to(folder)).removesuffix(".gz").removesuffix(kind)
        try:
            rows = list(_rows(path, kind))
        except (ValueError, OSError, pl.exceptions.PolarsError) as error:
            raise AuditError(
                f"{path} cannot be read as an evaluation set ({error}): an item needs a question "
                f"or a PubMed id. Use {', '.join(_KINDS)}, or move the file elsewhere."
            ) from error
        sets[name] = _frame(rows, name)
    if not sets:
        raise AuditError(f"There is no evaluation set in {folder}: put one there, see the guide.")
    return sets


def blocked(sets: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The PubMed ids that sets hold, which retrieval must not return either.

    Args:
        sets: from `read_evaluation_sets`.

    Returns:
        Columns set and pmid.
    """
    rows = [(name, pmid) for name, items in sets.items() for pmid in items["pmid"] if pmid]
    return (
        pl.DataFrame(rows, {"set": pl.String, "pmid": pl.String}, orient="row")
        .unique()
        .sort("set", "pmid")
    )


def _rows(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The items of a file, with the names of its fields."""
    if kind == ".parquet":
        yield from pl.read_parquet(path).iter_rows(named=True)
        return
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    if kind == ".txt":
        yield from _lines([line.strip() for line in text.splitlines() if line.strip()])
    elif kind == ".csv":
        yield from _csv(text)
    elif kind == ".jsonl":
        yield from map(json.loads, filter(str.strip, text.split("\n")))
    elif kind == ".json":
        yield from _json(json.loads(text))
    elif kind in (".yaml", ".yml"):
        import yaml

        yield from _json(yaml.safe_load(text))
    else:
        raise ValueError("its ending is unknown")


def _lines(lines: list[str]) -> Iterator[dict[str, Any]]:
    """A list of PubMed ids, or of questions; a list of ids with a line that is none is refused."""
    ids = [_PMID.fullmatch(line) for line in lines]
    listed = sum(map(bool, ids)) > len(lines) / 2
    for found, line in zip(ids, lines, strict=True):
        if listed and not found:
            raise ValueError(f"{line[:40]!r} is no PubMed id")
        yield {"pmid": found[1]} if found else {"question": line}


def _csv(text: str) -> Iterator[dict[str, Any]]:
    rows = list(csv.reader(io.StringIO(text)))
    names = {name for names in FIELDS.values() for name in " ".join(names).split()}
    if rows and not names & set(rows[0]):  # MMLU: question, four options, letter
        if any(len(row) != 6 or row[5] not in "ABCD" for row in rows if row):
            raise ValueError("it has no header with known names, and is no file of MMLU")
        for number, (question, *options, key) in enumerate(filter(None, rows)):
            answer = options["ABCD".index(key)]
            yield {"id": number, "question": question, "options": options, "answer": answer}
    else:
        yield from csv.DictReader(io.StringIO(text))


def _json(content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, dict) and all(isinstance(item, dict) for item in content.values()):
        # PubMedQA: the PubMed id of each item is its key.
        for key, item in content.items():
            yield {"id": key, "pmid": key if key.isdigit() else "", **item}
    elif isinstance(content, list) and all(isinstance(item, dict) for item in content):
        yield from content
    else:
        raise ValueError("it holds neither a list of items nor a table of them")


def _frame(rows: list[dict[str, Any]], name: str) -> pl.DataFrame:
    """The items in the one shape."""
    items = []
    for number, row in enumerate(rows):
        item = {field: _first(row, names) for field, names in FIELDS.items()}
        if not item["question"] and not item["pmid"]:
            raise AuditError(
                f"Item {number + 1} of the evaluation set {name} has no question and no PubMed id "
                f"under the names that Elara knows ({', '.join(FIELDS['question'])}); it has: "
                f"{', '.join(map(str, row))}."
            )
        options = _texts(item["options"])
        told = [*_texts(item["rationale"]), *_texts(item["context"])]
        question, answer = ("\n".join(_texts(item[part])) for part in ("question", "answer"))
        key = str(item["id"] or item["pmid"] or number)
        items.append((key, question, options, answer, "\n".join(told), str(item["pmid"])))
    return pl.DataFrame(items, _SCHEMA, orient="row")


def _first(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        parts = [row[part] for part in name.split() if row.get(part) not in (None, "")]
        if parts:
            return parts if " " in name else parts[0]
    return ""


def _texts(value: Any) -> list[str]:
    """The texts in a field: it may be one, a list, a table by letters, or chat messages."""
    if isinstance(value, str):
        if value.startswith(("{", "[")):  # options as JSON, or as Python prints them
            try:
                return _texts(json.loads(value))
            except ValueError:
                return [value]
        return [value] if value.strip() else []
    if isinstance(value, dict):
        told = value.get("content") or value.get("text") or value.get("ideal_completion")
        return _texts(told if told else list(value.values()))
    if isinstance(value, (list, tuple)):
        return [text for part in value for text in _texts(part)]
    return [] if value is None else [str(value)]

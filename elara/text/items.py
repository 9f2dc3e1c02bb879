"""Read files of published evaluation items, with the names that their authors gave the fields.

JSON, JSON Lines, YAML, Parquet, CSV (with a header, or without as those of MMLU), each also with
`.gz`, and `.txt` files with a PubMed id or a question a line.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

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
KINDS = (".csv", ".json", ".jsonl", ".parquet", ".txt", ".yaml", ".yml")
_PMID = re.compile(r"(?:PMID:?\s*)?(\d{1,9})", re.IGNORECASE)


def item_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a folder and of the folders in it that may hold items.

    Args:
        folder: what to look through; hidden files, read-me files and licences are left out.

    Returns:
        The path of each file within the folder, without its endings, and the file.
    """
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name[0] != "."):
        if (
            not path.name.lower().startswith(("readme", "licen", "copying"))
            and path.suffix != ".md"
        ):
            yield str(path.relative_to(folder)).removesuffix(".gz").removesuffix(_kind(path)), path


def raw_items(path: Path) -> Iterator[dict[str, Any]]:
    """The items of a file, with the names of its fields.

    Args:
        path: the file.

    Raises:
        ValueError: it holds no items in a form that is known.
        OSError: it cannot be read.
        polars.exceptions.PolarsError: it is no Parquet file.
    """
    kind = _kind(path)
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


def field(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The first of several fields that holds something, or "".

    Args:
        row: an item, from `raw_items`.
        names: names to try, such as a value of `FIELDS`; several in one, parted by blanks, are
            taken together as a list.
    """
    for name in names:
        parts = [row[part] for part in name.split() if row.get(part) not in (None, "")]
        if parts:
            return parts if " " in name else parts[0]
    return ""


def texts_in(value: Any) -> list[str]:
    """The texts in a field: it may be one, a list, a table by letters, or chat messages.

    Args:
        value: what the field holds.
    """
    if isinstance(value, str):
        if value.startswith(("{", "[")):  # options as JSON, or as Python prints them
            try:
                return texts_in(json.loads(value))
            except ValueError:
                return [value]
        return [value] if value.strip() else []
    if isinstance(value, dict):
        told = value.get("content") or value.get("text") or value.get("ideal_completion")
        return texts_in(told if told else list(value.values()))
    if isinstance(value, (list, tuple)):
        return [text for part in value for text in texts_in(part)]
    return [] if value is None else [str(value)]


def _kind(path: Path) -> str:
    return path.suffix.lower() if path.suffix != ".gz" else Path(path.stem).suffix.lower()


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
            row = {"id": number, "question": question, "options": options, "answer": answer}
            yield row | {"answer_idx": key}
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

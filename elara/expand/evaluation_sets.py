"""Read a folder of public evaluation sets, and of lists of PubMed ids, into one shape.

Whoever publishes a set chooses the names of its fields; `elara.text.items` lists those of the medical
parts of MMLU, MedQA, MedMCQA, PubMedQA, AfriMed-QA, FrenchMedMCQA and HealthBench, and of this
project's own sets. The sets themselves are not part of Elara: their licences differ, and some
forbid it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from elara.audit.certificate import AuditError
from elara.text.items import FIELDS, KINDS, field, item_files, raw_items, texts_in

_SCHEMA: Any = {"id": pl.String, "question": pl.String, "options": pl.List(pl.String)}
_SCHEMA |= dict.fromkeys(("answer", "rationale", "pmid"), pl.String)


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
    for name, path in item_files(folder):
        try:
            rows = list(raw_items(path))
        except (ValueError, OSError, pl.exceptions.PolarsError) as error:
            raise AuditError(
                f"{path} cannot be read as an evaluation set ({error}): an item needs a question "
                f"or a PubMed id. Use {', '.join(KINDS)}, or move the file elsewhere."
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


def _frame(rows: list[dict[str, Any]], name: str) -> pl.DataFrame:
    """The items in the one shape."""
    items = []
    for number, row in enumerate(rows):
        item = {name: field(row, names) for name, names in FIELDS.items()}
        if not item["question"] and not item["pmid"]:
            raise AuditError(
                f"Item {number + 1} of the evaluation set {name} has no question and no PubMed id "
                f"under the names that Elara knows ({', '.join(FIELDS['question'])}); it has: "
                f"{', '.join(map(str, row))}."
            )
        options = texts_in(item["options"])
        told = [*texts_in(item["rationale"]), *texts_in(item["context"])]
        question, answer = ("\n".join(texts_in(item[part])) for part in ("question", "answer"))
        key = str(item["id"] or item["pmid"] or number)
        items.append((key, question, options, answer, "\n".join(told), str(item["pmid"])))
    return pl.DataFrame(items, _SCHEMA, orient="row")

"""Read the public multiple-choice sets of medicine from a folder, as they are published.

The sets are not part of Elara. `public_sets.yaml` says where each comes from, under which licence,
and which of its splits counts as the test: that of MedMCQA is the validation split, since the
answers of its test are not published.
"""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from elara.evaluate.choices import Choice
from elara.evaluate.scores import EvaluationError
from elara.text.items import FIELDS, field, item_files, raw_items, texts_in

Row = dict[str, Any]
_SPLITS = {"train": "train", "dev": "dev", "val": "validation", "test": "test"}
_SPLIT = re.compile(r"(?<![a-z])(train|dev|val|test)(?:idation|ing)?(?![a-z])")
_KEYS = ("answer_idx", "correct_answers", "correct_answer", "answer", "cop", "final_decision")
_SUBJECTS = ("specialty", "subject_name", "subject", "meta_info")
_DECISIONS = ("yes", "no", "maybe")


@functools.cache
def known_sets() -> dict[str, Row]:
    """The sets that can be read: title, named, address, licence, form and split of each."""
    file = resources.files("elara.evaluate").joinpath("public_sets.yaml")
    table: dict[str, Row] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return table


def read_public_sets(
    folder: Path, sets: Sequence[str] = ()
) -> tuple[list[Choice], list[dict[str, str]]]:
    """Read multiple-choice items of the public sets in a folder.

    Args:
        folder: files as published, in this folder or in those within it. The path of a file says
            to which set it belongs, and which split it is.
        sets: names from `known_sets` that have to be there; none: whatever is there.

    Returns:
        The items of the split that counts as each set's test, or of the one split that is there,
        and a row for each item or file that was left out: set, id and reason.

    Raises:
        EvaluationError: there is no such folder, a wanted set is not in it, or a file cannot be
            read.
    """
    if not folder.is_dir():
        raise EvaluationError(f"There is no folder {folder} with public sets: name another one.")
    files: dict[str, list[tuple[str, Path]]] = {}
    rejected: list[dict[str, str]] = []
    for name, path in item_files(folder):
        found = _set_of(name)
        if found:
            files.setdefault(found, []).append((name, path))
        else:
            rejected.append(left("", name, "its path names no set that Elara asks"))
    for name in sets:
        _require(name, files, folder)
    choices: list[Choice] = []
    for name in sorted(set(sets) & set(files) if sets else files):
        for split, stem, path in _of_test(name, files[name], rejected):
            choices += _read(name, split, stem, path, rejected)
    return choices, rejected


def _require(name: str, files: dict[str, Any], folder: Path) -> None:
    if name not in known_sets():
        raise EvaluationError(f"Unknown set {name!r}: {', '.join(known_sets())}.")
    if name not in files:
        told = known_sets()[name]
        raise EvaluationError(
            f"{folder} holds no file of {name} ({told['title']}). Get it from {told['address']} "
            f"(licence: {told['licence']}; {told['form']}), and put its {told['split']} split into "
            f"{folder / name}."
        )


def left(name: str, item: str, reason: str) -> dict[str, str]:
    """A row about what was left out.

    Args:
        name: of the set, or "".
        item: an item or a file.
        reason: why.
    """
    return {"set": name, "id": item, "reason": reason}


def _set_of(name: str) -> str:
    """The set with the longest word in the path: FrenchMedMCQA also holds `medmcqa`."""
    low = name.lower()
    found = [(len(w), key) for key, told in known_sets().items() for w in told["named"] if w in low]
    return max(found)[1] if found else ""


def _of_test(
    name: str, files: list[tuple[str, Path]], rejected: list[dict[str, str]]
) -> list[tuple[str, str, Path]]:
    """The files of the split that counts; where no file is of that split, of the best there is."""
    split = [(_split(stem), stem, path) for stem, path in files]
    order = [known_sets()[name]["split"], "test", "validation", "dev", "", "train"]
    best = min((order.index(one[0]) for one in split), default=0)
    for found, stem, _ in split:
        if found != order[best]:
            rejected.append(left(name, stem, f"not of the split that is asked: {order[best]}"))
    return [one for one in split if one[0] == order[best]]


def _split(stem: str) -> str:
    found = _SPLIT.findall(stem.lower())
    return _SPLITS[found[-1]] if found else ""


def _read(
    name: str, split: str, stem: str, path: Path, rejected: list[dict[str, str]]
) -> list[Choice]:
    try:
        rows = list(raw_items(path))
    except (ValueError, OSError, pl.exceptions.PolarsError) as error:
        raise EvaluationError(
            f"{path} cannot be read as {known_sets()[name]['title']} ({error}): it is published "
            f"as {known_sets()[name]['form']}."
        ) from error
    subject = re.sub(r"[-_](?:test|dev|val|validation|train).*$", "", Path(stem).name)
    if (
        name == "mmlu"
        and subject not in known_sets()[name]["subjects"]
        and "subject" not in (rows or [{}])[0]
    ):
        rejected.append(left(name, stem, "a subject that is not among the medical ones"))
        return []
    keys = {str(row["cop"]) for row in rows if row.get("cop") is not None}
    from_one, unclear = "4" in keys, bool(keys) and not keys & {"0", "4"}
    found = []
    for number, row in enumerate(rows):
        key = f"{name}:{field(row, FIELDS['id']) or number}"
        key = f"{name}:{subject}:{number}" if name == "mmlu" else key
        reason = "its file does not tell whether keys count from 0 or from 1" * unclear
        reason = reason or _skip(name, row)
        if reason:
            rejected.append(left(name, key, reason))
        else:
            found.append(_choice(row, name, split or "unnamed", key, subject, from_one))
    return found


def _skip(name: str, row: Row) -> str:
    """Why an item of a set is not a question with one right option."""
    if name == "afrimedqa" and row.get("question_type", "mcq") != "mcq":
        return f"no multiple choice: {row['question_type']}"
    if name == "mmlu" and row.get("subject", "") not in ("", *known_sets()[name]["subjects"]):
        return "a subject that is not among the medical ones"
    right = _listed(row.get("correct_answers") or row.get("correct_answer") or "")
    return f"{len(right)} right answers" if len(right) > 1 else ""


def _choice(row: Row, name: str, split: str, key: str, subject: str, from_one: bool) -> Choice:
    letters, options = _options(row, name)
    told = str(field(row, _SUBJECTS))
    return Choice(
        id=key,
        set=name,
        split=split,
        specialty=told or (subject if name == "mmlu" else ""),
        question="\n".join(texts_in(field(row, FIELDS["question"]))).replace("\r\n", "\n").strip(),
        options=tuple(options),
        key=_key(row, letters, options, from_one),
        context="\n".join(_contexts(row)) if name == "pubmedqa" else "",
    )


def _contexts(row: Row) -> list[str]:
    """The abstract of PubMedQA; the Hub's files have it beside the labels of its parts."""
    told = field(row, FIELDS["context"])
    return texts_in(told.get("contexts", []) if isinstance(told, dict) else told)


def _options(row: Row, name: str) -> tuple[list[str], list[str]]:
    """Letters and texts; empty ones at the end, which some sets have, are none."""
    if name == "pubmedqa":
        return list(_DECISIONS), list(_DECISIONS)
    told = field(row, FIELDS["options"]) or [
        row[f"answer_{c}"] for c in "abcde" if row.get(f"answer_{c}")
    ]
    if isinstance(told, str):
        told = _parsed(told)
    table = sorted(told.items()) if isinstance(told, dict) else enumerate(told)
    pairs = [
        (chr(65 + place) if isinstance(place, int) else place, str(text or "").strip())
        for place, text in table
    ]
    while pairs and pairs[-1][1] in ("", "N/A"):
        pairs.pop()
    return [letter for letter, _ in pairs], [text for _, text in pairs]


def _parsed(told: str) -> Any:
    """A table or list, written as JSON or as Python prints it; anything else holds no option."""
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(told)
        except (ValueError, SyntaxError):
            continue
        return found if isinstance(found, (dict, list)) else []
    return []


def _listed(told: Any) -> list[str]:
    """The right answers that a field names: a list, or letters parted by commas."""
    if isinstance(told, str):
        return [part for part in re.split(r"[,;]\s*", told) if part] if len(told) < 16 else [told]
    return [str(part) for part in told] if isinstance(told, (list, tuple)) else [str(told)]


def _key(row: Row, letters: list[str], options: list[str], from_one: bool) -> int:
    """Position of the right option, from 0, or -1."""
    for name in _KEYS:
        named = row.get(name)
        if isinstance(named, int):
            return named - from_one if named - from_one < len(options) else -1
        right = _listed("" if named is None else named)
        if len(right) == 1 and right[0].strip():
            found = _position(right[0].strip(), letters, options, from_one)
            if found >= 0:
                return found
    return -1


def _position(told: str, letters: list[str], options: list[str], from_one: bool) -> int:
    """By letter; by text; by number. An option may itself read `B`, as of hepatitis B."""
    plain = told.lower().removeprefix("option")
    low = [letter.lower().removeprefix("option") for letter in letters]
    if plain in low:
        return low.index(plain)
    if told in options:
        return options.index(told)
    return int(told) - from_one if told.isdigit() and int(told) - from_one < len(options) else -1

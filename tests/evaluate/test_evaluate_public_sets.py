"""The public sets are read as they are published, and what is left out is counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elara.evaluate.choices import sound
from elara.evaluate.public_sets import known_sets, read_public_sets
from elara.evaluate.scores import EvaluationError

MCQ = {"question_type": "mcq", "question": "Which?", "options": {"A": "x", "B": "y", "E": ""}}
OPTIONS = {"opa": "v", "opb": "w", "opc": "x", "opd": "y"}
SIMPLE = {"question": "Laquelle ?", "answers": {"a": "x", "b": "y"}}
ABSTRACT = {"QUESTION": "Does it?", "CONTEXTS": ["It was tried.", "It did."]}
FORMS: list[tuple[str, Any, str, int]] = [
    ("anatomy_test.csv", 'Which bone?,Ulna,"Femur, left",Tibia,Hyoid,B\n', "Femur, left", 4),
    ("mmlu/virology.jsonl", {"subject": "virology"}, "", 0),
    (
        "mmlu/all.jsonl",
        {"subject": "anatomy", "question": "Which?", "choices": ["2", "0", "1"], "answer": 1},
        "0",
        3,
    ),
    (
        "medqa/US/test.jsonl",
        {"question": "Which?", "options": {"A": "B", "B": "A"}, "answer": "A", "answer_idx": "B"},
        "A",
        2,
    ),
    ("medmcqa/dev.json", [{"id": "a", "question": "?", "cop": 4, **OPTIONS}], "y", 4),
    ("medmcqa/validation.jsonl", {"id": "a", "question": "?", "cop": 0, **OPTIONS}, "v", 4),
    ("medmcqa/val.jsonl", {"id": "a", "question": "?", "cop": 2, **OPTIONS}, "", 0),
    ("mmlu/empty.jsonl", "", "", 0),
    ("pubmedqa/ori.json", {"12": ABSTRACT | {"final_decision": "maybe"}}, "maybe", 3),
    ("afrimedqa.jsonl", MCQ | {"sample_id": "s", "answer": "B"}, "y", 2),
    (
        "afrimed_old.csv",
        'question,question_type,answer_options,correct_answer\nWhich?,mcq,"{""option1"": ""x"", '
        '""option2"": ""y""}",option2\n',
        "y",
        2,
    ),
    ("FrenchMedMCQA/test.json", [SIMPLE | {"id": "f", "correct_answers": ["b"]}], "y", 2),
    ("frenchmedmcqa/test.json", [SIMPLE | {"id": "f", "correct_answers": ["a", "b"]}], "", 0),
]


def write(folder: Path, name: str, content: Any) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(("name", "content", "right", "options"), FORMS)
def test_a_form_is_read(tmp_path: Path, name: str, content: Any, right: str, options: int) -> None:
    write(tmp_path, name, content)
    choices, rejected = read_public_sets(tmp_path)
    if not options:
        assert (choices, len(rejected)) == ([], 1)
        return
    assert (sound(choices), rejected) == ((choices, []), [])
    (choice,) = choices
    assert (choice.options[choice.key], len(choice.options)) == (right, options)


def test_parquet_of_the_hub_is_read(tmp_path: Path) -> None:
    row = {"pubid": 7, "question": "Does it?", "context": {"contexts": ["So."], "labels": ["L"]}}
    (tmp_path / "pubmedqa").mkdir()
    table = pl.DataFrame([row | {"long_answer": "It does.", "final_decision": "yes"}])
    table.write_parquet(tmp_path / "pubmedqa" / "test.parquet")
    ((choice,), _) = read_public_sets(tmp_path, ["pubmedqa"])
    assert (choice.id, choice.letter, choice.context) == ("pubmedqa:7", "A", "So.")


def test_only_the_split_that_counts_is_asked(tmp_path: Path) -> None:
    for split in ("train", "dev", "test", "validation"):
        write(
            tmp_path, f"medmcqa/{split}.jsonl", {"id": split, "question": "?", "cop": 0, **OPTIONS}
        )
    choices, rejected = read_public_sets(tmp_path)
    assert [(c.id, c.split) for c in choices] == [("medmcqa:validation", "validation")]
    assert {row["reason"] for row in rejected} == {"not of the split that is asked: validation"}
    assert len(rejected) == 3


def test_a_missing_set_is_told_with_its_address_and_licence(tmp_path: Path) -> None:
    write(tmp_path, "notes.jsonl", {"question": "?"})
    assert read_public_sets(tmp_path)[1][0]["reason"] == "its path names no set that Elara asks"
    for name, about in known_sets().items():
        with pytest.raises(EvaluationError) as error:
            read_public_sets(tmp_path, [name])
        assert all(str(about[part]) in str(error.value) for part in ("address", "licence", "form"))
    with pytest.raises(EvaluationError, match="Unknown set 'usmle'"):
        read_public_sets(tmp_path, ["usmle"])
    with pytest.raises(EvaluationError, match="no folder"):
        read_public_sets(tmp_path / "none")
    write(tmp_path, "medqa/test.json", "{")
    with pytest.raises(EvaluationError, match=r"test\.json cannot be read as MedQA"):
        read_public_sets(tmp_path)


def test_real_files_are_read(shared_data: Path) -> None:
    wanted = ("afrimedqa", "frenchmedmcqa", "mmlu", "pubmedqa")
    choices, left = read_public_sets(shared_data / "qa", wanted)
    asked, rejected = sound(choices)
    counts = Counter(choice.set for choice in asked)
    assert counts == {"afrimedqa": 2983, "frenchmedmcqa": 164, "mmlu": 30, "pubmedqa": 500}
    assert Counter(row["reason"] for row in rejected)["two options are the same"] == 42
    assert Counter(row["reason"] for row in left)["no multiple choice: saq"] == 1811
    assert len(choices) == len(asked) + len(rejected)

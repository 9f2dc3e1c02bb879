"""The curated cases are whole, their figures are accounted for, and a faulty file is refused."""

from __future__ import annotations

import copy
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from elara.expand import Case, CuratedError, curated_examples, read_cases, render, review_table
from elara.expand.cases import GENERAL_KNOWLEDGE
from elara.model import SYSTEM_PROMPT
from elara.records import Example, records

# The subjects that the reference asks for, one per specialty.
SUBJECTS = {
    "Cardiology": "STEMI",
    "Internal Medicine": "creatinine",
    "Infectious Disease": "meningitis",
    "Hematology": "reversal",
    "Neurology": "thrombolysis",
    "Pediatrics": "24-day-old",
    "Surgery/Trauma": "hemoperitoneum",
    "Emergency Medicine": "embolism",
    "Radiology": "chest",
    "Psychiatry": "suicid",
    "Dermatology": "melanoma",
    "Orthopedics": "hip",
    "OB/GYN": "preeclampsia",
}
CASES = read_cases()
WHOLE: dict[str, Any] = {
    "id": "curated-99-fever",
    "specialty": "Pediatrics",
    "title": "Fever",
    "setting": {"resources": "health center", "region": "not stated", "population": "paediatric"},
    "stance": "treat",
    "missing": [],
    "instruction": "A child of 12 kg has a fever of 39 °C. What now?",
    "reasoning": "It looks viral.",
    "interim": [],
    "management": ["Give paracetamol 180 mg by mouth, not in liver failure.", "Look again."],
    "branches": [],
    "red_flags": ["Lethargy"],
    "would_change": ["A stiff neck"],
    "safety_note": "Educational text only.",
    "guidelines": [{"body": "WHO", "title": "Pocket book", "year": 2013, "checked": "2026-11"}],
    "sources": {
        "who": {"title": "Pocket book", "section": "11", "year": 2013, "address": "https://who.int"}
    },
    "facts": [
        {
            "kind": "dose",
            "text": "paracetamol 180 mg by mouth",
            "drug": "paracetamol",
            "amount": "180",
            "unit": "mg",
            "route": "oral",
            "weight_kg": 12,
            "per_kg": 15,
            "caution": "not in liver failure",
            "source": "who",
        }
    ],
    "review_status": "not reviewed by a clinician",
    "second_answer": {"status": "agreed"},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """The whole case with one value replaced; `path` is like `facts.0.drug`."""
    case = copy.deepcopy(WHOLE)
    place: Any = case
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in way:
        place = place[part]
    place[last] = value
    return case


def read(folder: Path, case: object) -> Case:
    (folder / "99.yaml").write_text(yaml.safe_dump(case))
    (found,) = read_cases(folder)
    return found


def test_a_whole_case_becomes_an_example(tmp_path: Path) -> None:
    (example,) = records(curated_examples("system", [read(tmp_path, WHOLE)]), Example)
    assert example.messages[2].content == (
        "**Clinical reasoning**\nIt looks viral.\n\n"
        "**Management**\n1. Give paracetamol 180 mg by mouth, not in liver failure.\n"
        "2. Look again.\n\n**Red flags**\n- Lethargy\n\n"
        "**What would change the plan**\n- A stiff neck\n\n"
        "**Safety note**\nEducational text only."
    )


@pytest.mark.parametrize("key", sorted(WHOLE))
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(CuratedError, match=rf"99\.yaml: `{key}`: Field required"):
        read(tmp_path, {k: v for k, v in WHOLE.items() if k != key})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("red_flags", [{"Fever": "stop"}], r"`red_flags\.0`"),
        ("stance", "perhaps", "`stance`"),
        ("instruction", "A child has a fever.", "`instruction`"),
        ("reasoning", "Seen in 30% of children.", "the figure 30 in .* stands in no fact"),
        ("management", ["Give paracetamol 120 mg by mouth."], "the figure 120"),
        ("management", ["Look again."], "does not stand in the answer in these words"),
        ("facts.0.source", "nobody", "names the source `nobody`"),
        ("facts.0.route", "", "needs `route`"),
        ("facts.0.drug", "ibuprofen", "does not name ibuprofen"),
        ("facts.0.amount", "200", "does not state the amount 200"),
        ("facts.0.per_kg", 10, r"12\.0 kg × 10\.0 is 120"),
        ("facts.0.caution", "not in asthma", "caution of .* does not stand in the same step"),
        ("facts.0.kind", "window", "needs `of`, `value` and `unit`"),
        ("missing", ["vaccinations"], "belong together"),
    ],
)
def test_what_does_not_hold_is_named(
    tmp_path: Path, path: str, value: object, message: str
) -> None:
    with pytest.raises(CuratedError, match=rf"99\.yaml: .*{message}"):
        read(tmp_path, changed(path, value))


def test_no_certainty_where_data_are_missing(tmp_path: Path) -> None:
    case = WHOLE | {
        "missing": ["vaccinations"],
        "interim": ["Watch the child."],
        "branches": ["If none, it is certainly measles."],
    }
    with pytest.raises(CuratedError, match='"certainly" is certain, but decisive data'):
        read(tmp_path, case)


@pytest.mark.parametrize("text", ["a: [", "just words"])
def test_a_file_that_is_no_case(tmp_path: Path, text: str) -> None:
    (tmp_path / "99.yaml").write_text(text)
    with pytest.raises(CuratedError, match=r"99\.yaml"):
        read_cases(tmp_path)


def test_two_cases_with_one_id(tmp_path: Path) -> None:
    for name in ("98.yaml", "99.yaml"):
        (tmp_path / name).write_text(yaml.safe_dump(WHOLE))
    with pytest.raises(CuratedError, match="Two case files have the id curated-99-fever"):
        read_cases(tmp_path)


@pytest.mark.parametrize(
    ("status", "trained"), [("agreed", 1), ("settled", 1), ("open", 0), ("pending", 0)]
)
def test_a_case_trains_only_after_a_second_answer(
    tmp_path: Path, status: str, trained: int
) -> None:
    case = read(tmp_path, changed("second_answer.status", status))
    assert curated_examples("system", [case]).height == trained


def test_a_guideline_is_old_after_two_years(tmp_path: Path) -> None:
    case = read(tmp_path, WHOLE)
    for month, old in (("2015-12", 0), ("2016-01", 1)):
        assert review_table([case], month)["old"].to_list() == [old]
    unchecked = read(tmp_path, changed("guidelines.0.checked", None))
    assert review_table([unchecked])["unchecked"].to_list() == [1]


def test_every_specialty_has_the_case_of_the_reference() -> None:
    texts = defaultdict(str)
    for case in CASES:
        texts[case.specialty] += f"{case.id} {case.instruction} {render(case)}"
    assert set(texts) == set(SUBJECTS)
    for specialty, subject in SUBJECTS.items():
        assert re.search(subject, texts[specialty], re.IGNORECASE), specialty


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_a_case_is_fit_to_train_on(case: Case) -> None:
    assert case.instruction.count("?") == 1
    assert case.safety_note.startswith("Educational text only.")
    assert case.review_status == "not reviewed by a clinician"
    assert len(case.management) >= (4 if case.stance == "treat" else 2)
    assert len(case.red_flags) >= 3
    # Within the 1,024 tokens that notebook 5 trains on; a token is at least half a word here.
    assert len(f"{SYSTEM_PROMPT} {case.instruction} {render(case)}".split()) <= 680


def test_one_threshold_has_one_value() -> None:
    values: dict[str, set[object]] = defaultdict(set)
    for case in CASES:
        for fact in case.facts:
            if fact.kind in ("threshold", "window"):
                key = f"{fact.of.casefold()} in {fact.unit}"
                values[key].add((fact.relation, fact.value))
    assert not {key: found for key, found in values.items() if len(found) > 1}


def test_every_source_is_used() -> None:
    for case in CASES:
        used = {fact.source for fact in case.facts} - {GENERAL_KNOWLEDGE}
        assert used == set(case.sources), case.id


def test_the_set_is_as_broad_as_promised() -> None:
    per_specialty = Counter(case.specialty for case in CASES)
    assert min(per_specialty.values()) >= 4
    assert len(CASES) >= 52
    assert sum(bool(case.missing) for case in CASES) >= 13
    stances = Counter(case.stance for case in CASES)
    assert stances["not indicated"] >= 3
    assert stances["refuse"] >= 2
    low = ("district hospital", "health center", "prehospital")
    assert sum(case.setting.resources in low for case in CASES) >= 13
    assert sum(case.setting.population != "adult" for case in CASES) >= 10
